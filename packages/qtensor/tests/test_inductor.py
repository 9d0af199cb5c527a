"""Modules and functions through torch's default compiler, whose own code then surrounds ours."""

import shutil

import pytest
import torch
from torch import nn

import qtensor
from qtensor import nn as qnn
from qtensor import ops

from .models import filled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),  # by inductor
    pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="needs C++"),
]


class Model(nn.Module):
    """A layer of each kind, and functions of quantized tensors between them."""

    def __init__(self):
        super().__init__()
        self.conv = filled(qnn.intrinsic.quantized.ConvReLU2d(3, 8, 3, padding=1), 0.05, 0)
        self.norm = qnn.quantized.BatchNorm2d(8).eval()
        self.linear = filled(qnn.quantized.Linear(8, 6), 0.05, 100)
        self.dynamic = filled(qnn.quantized.dynamic.Linear(6, 5))
        self.table = qnn.quantized.Embedding(10, 6)

    def forward(self, image, index):
        q = qtensor.quantize_per_tensor(image, 0.03, 100, qtensor.quint8)
        q = self.norm(self.conv(q))
        q = torch.nn.functional.max_pool2d(q, 2).permute(0, 2, 3, 1)
        q = ops.hardswish(self.linear(q[:, :1].flatten(1, 2)), 0.05, 90)
        q = torch.cat([q, q], 1)
        return q, self.dynamic(torch.sin(q.dequantize()[:, 0]) + self.table(index))


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    import torch._inductor.config as config

    monkeypatch.setattr(config, "compile_threads", 1)
    torch._dynamo.reset()


def test_the_default_backend_changes_no_integer():
    model = Model().eval()
    inputs = torch.randn(2, 3, 8, 8), torch.tensor([1, 9])
    expected, real = model(*inputs)
    with qtensor.fallback("error"):
        result, compiled = torch.compile(model, fullgraph=True)(*inputs)
    assert torch.equal(result.int_repr(), expected.int_repr())
    assert result.qparams == expected.qparams
    # Its sine and ours may differ in the last bit, and then a rounded activation by a step.
    torch.testing.assert_close(compiled, real, rtol=0, atol=0.02 * float(real.detach().abs().max()))
