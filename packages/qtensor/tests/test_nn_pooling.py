"""Pooling modules: what torch's own give for the same arguments."""

import copy
import io

import pytest
import torch
from torch import nn

import qtensor
from qtensor.nn import quantized as modules

CASES = [
    ("MaxPool{}d", (2,), {}),
    ("MaxPool{}d", (3, 2), {"padding": 1, "dilation": 2, "ceil_mode": True}),
    ("AvgPool{}d", (2,), {}),
    ("AvgPool{}d", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
    ("AdaptiveAvgPool{}d", (3,), {}),
]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("name", "args", "options"), CASES, ids=str)
def test_same_as_torchs(dims, name, args, options):
    float_module = getattr(nn, name.format(dims))(*args, **options)
    kind = getattr(modules, name.format(dims))
    x = torch.randn(2, 3, *[9, 8, 7][:dims])
    q = qtensor.quantize_per_tensor(x, 0.03, 100, qtensor.quint8)
    for module in (kind(*args, **options), kind.from_float(float_module.eval())):
        result = module(q)
        assert torch.equal(result.int_repr(), float_module(q).int_repr())
        assert (result.dequantize() - float_module(q.dequantize())).abs().max() <= 0.0151
        assert result.qparams == q.qparams
        assert torch.equal(module(q[0]).int_repr(), result[0].int_repr())
        assert torch.equal(module(x), float_module(x))
        assert repr(module) == repr(float_module)
        assert isinstance(module, type(float_module))
    assert not kind.from_float(float_module).training


def test_arguments_may_change_and_modules_be_saved():
    q = qtensor.quantize_per_tensor(torch.randn(1, 3, 8, 8), 0.03, 100, qtensor.quint8)
    module = modules.MaxPool2d(2)
    module(q)
    module.kernel_size = module.stride = 4
    assert module(q).shape == (1, 3, 2, 2)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for other in (copy.deepcopy(module), loaded):
        assert torch.equal(other(q).int_repr(), module(q).int_repr())


def test_refused():
    q = qtensor.quantize_per_tensor(torch.randn(1, 3, 8, 8), 0.03, 100, qtensor.quint8)
    with pytest.raises(NotImplementedError, match="no indices"):
        modules.MaxPool2d(2, return_indices=True)(q)
    with pytest.raises(ValueError, match="2 spatial dimensions"):
        modules.MaxPool2d(2)(q[0, 0])


def test_exported():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = modules.MaxPool2d(2)

        def forward(self, x):
            return self.pool(qtensor.quantize_per_tensor(x, 0.03, 100, qtensor.quint8)).dequantize()

    model, x = Model(), torch.randn(1, 3, 8, 8)
    for strict in (True, False):
        program = torch.export.export(model, (x,), strict=strict)
        assert torch.equal(program.module()(x), model(x))
        assert "torch.ops.qtensor.max_pool" in program.graph_module.code
