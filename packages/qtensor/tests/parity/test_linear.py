"""Fused linear layers and products of quantized tensors against those that torch is removing."""

import pytest
import torch
from torch import nn

import qtensor
from qtensor import nn as qnn
from qtensor import ops

legacy = pytest.importorskip("torch.ao.quantization")
legacy_nn = pytest.importorskip("torch.ao.nn")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the old stack warns about itself
]

X = torch.randn(9, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def onednn():
    """Theirs has leaky ReLU and tanh fused in this engine only."""
    engine = torch.backends.quantized.engine
    if "onednn" not in torch.backends.quantized.supported_engines:
        pytest.skip("needs the onednn engine")
    torch.backends.quantized.engine = "onednn"
    yield
    torch.backends.quantized.engine = engine


@pytest.mark.parametrize(
    ("name", "activation"), [("LinearLeakyReLU", nn.LeakyReLU(0.3)), ("LinearTanh", nn.Tanh())]
)
def test_fused_modules(onednn, name, activation):
    torch.manual_seed(0)
    module = getattr(legacy_nn.intrinsic, name)(nn.Linear(24, 10), activation).eval()
    for part in module.modules():
        part.qconfig = legacy.get_default_qconfig("onednn")
    module.activation_post_process = module.qconfig.activation()
    with torch.no_grad():
        module.activation_post_process(module(X))
    ours = getattr(qnn.intrinsic.quantized, name).from_float(module)
    theirs = getattr(legacy_nn.intrinsic.quantized, name).from_float(module)
    assert (ours.scale, ours.zero_point) == (theirs.scale, theirs.zero_point)
    assert ours._get_name() == theirs._get_name()
    assert torch.equal(ours.weight().int_repr(), theirs.weight().int_repr())

    given = qtensor.quantize_per_tensor(X, 0.05, 64, qtensor.quint8)
    old = torch.quantize_per_tensor(X, 0.05, 64, torch.quint8)
    difference = ours(given).int_repr().int() - theirs(old).int_repr().int()
    assert difference.abs().max() <= 1 and (difference != 0).float().mean() < 0.05


def test_dynamic_linear_relu_per_tensor():
    """At 7 bits, where theirs does not saturate, and per tensor, as theirs is."""
    torch.manual_seed(0)
    module = legacy_nn.intrinsic.LinearReLU(nn.Linear(24, 10), nn.ReLU())
    for part in module.modules():
        part.qconfig = legacy.default_dynamic_qconfig
    ours = qnn.intrinsic.quantized.dynamic.LinearReLU.from_float(module)
    ours.per_row, ours.reduce_range = False, True
    theirs = legacy_nn.intrinsic.quantized.dynamic.LinearReLU.from_float(module)
    assert torch.equal(ours.weight().int_repr(), theirs.weight().int_repr())
    assert ours._get_name() == theirs._get_name()
    # Theirs rounds its zero point another way, so an activation may differ by a step.
    torch.testing.assert_close(ours(X), theirs(X), atol=0.03, rtol=0)
    assert ours(X).min() == 0


@pytest.mark.parametrize("shapes", [((4, 5), (5, 3)), ((2, 3, 4, 5), (2, 3, 5, 6))])
def test_matmul(shapes):
    """Theirs takes equal shapes of the batch only, and computes in float."""
    values = [torch.randn(shape).tanh() for shape in shapes]
    ours = [qtensor.quantize_per_tensor(v, 0.01, 120, qtensor.quint8) for v in values]
    theirs = [torch.quantize_per_tensor(v, 0.01, 120, torch.quint8) for v in values]
    result = ops.matmul(*ours, 0.05, 128).int_repr().int()
    difference = result - torch.ops.quantized.matmul(*theirs, 0.05, 128).int_repr().int()
    assert difference.abs().max() <= 1 and (difference != 0).float().mean() < 0.05
