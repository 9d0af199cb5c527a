"""The functional namespace and the functional modules beside torch's legacy ones.

Where a float is rounded legacy may go the other way at a tie, so results differ by one step at
most; functions that only move or compare integers give the same ones.
"""

import pytest
import torch
from torch import nn

import qtensor
from qtensor.nn import quantized as modules

legacy = pytest.importorskip("torch.ao.nn.quantized")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the old stack warns about itself
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def pair(*shape, scale=0.04, zero_point=60, low=0, high=127):
    """A tensor of each kind, of 7 bits, beyond which the old products saturate."""
    x = ((torch.randint(low, high + 1, shape) - zero_point) * scale).float()
    ours = qtensor.quantize_per_tensor(x, scale, zero_point, qtensor.quint8)
    return ours, torch.quantize_per_tensor(x, scale, zero_point, torch.quint8)


def weights(*shape):
    values = torch.randn(shape) / 4
    ours = qtensor.quantize_per_tensor(values, 0.01, 0, qtensor.qint8)
    return ours, torch.quantize_per_tensor(values, 0.01, 0, torch.qint8)


def check(ours, theirs, steps):
    assert ours.shape == theirs.shape
    assert ours.q_scale() == pytest.approx(theirs.q_scale(), rel=1e-6)
    assert ours.q_zero_point() == theirs.q_zero_point()
    difference = (ours.int_repr().int() - theirs.int_repr().int()).abs()
    assert difference.max() <= steps and (difference != 0).float().mean() < 0.05


OUTPUT = {"scale": 0.05, "zero_point": 40}
FUNCTIONS = {
    "adaptive_avg_pool2d": (4, (3,), {}, 1),
    "adaptive_avg_pool3d": (5, (2,), {}, 1),
    "avg_pool2d": (4, (3, 2, 1), {}, 1),
    "avg_pool3d": (5, (2,), {}, 1),
    "celu": (4, (0.05, 40), {"alpha": 1.5}, 1),
    "clamp": (4, (-0.5, 1.0), {}, 0),
    "elu": (4, (0.05, 40), {"alpha": 1.5}, 1),
    "hardsigmoid": (4, (), {}, 1),
    "hardswish": (4, (0.05, 40), {}, 1),
    "hardtanh": (4, (-0.5, 1.5), {}, 0),
    "interpolate": (4, (), {"scale_factor": 2}, 0),
    "leaky_relu": (4, (0.1,), OUTPUT, 1),
    "max_pool1d": (3, (3, 2, 1), {}, 0),
    "max_pool2d": (4, (3, 2, 1), {}, 0),
    "threshold": (4, (0.3, 0.04), {}, 0),
    "upsample": (4, (), {"size": (9, 11)}, 0),
    "upsample_bilinear": (4, (), {"size": (13, 13)}, 1),
    "upsample_nearest": (5, (), {"scale_factor": 2}, 0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    dims, args, kwargs, steps = FUNCTIONS[name]
    ours, theirs = pair(2, 4, *[7] * (dims - 2))
    result = getattr(modules.functional, name)(ours, *args, **kwargs)
    check(result, getattr(legacy.functional, name)(theirs, *args, **kwargs), steps)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutions(axes):
    ours, theirs = pair(2, 4, *[7] * axes)
    (weight, old), bias = weights(6, 2, *[3] * axes), torch.randn(6)
    options = {"stride": 2, "padding": 1, "groups": 2, **OUTPUT}
    result = getattr(modules.functional, f"conv{axes}d")(ours, weight, bias, **options)
    check(result, getattr(legacy.functional, f"conv{axes}d")(theirs, old, bias, **options), 1)


def test_linear():
    (ours, theirs), (weight, old), bias = pair(5, 24), weights(6, 24), torch.randn(6)
    result = modules.functional.linear(ours, weight, bias, **OUTPUT)
    check(result, legacy.functional.linear(theirs, old, bias, **OUTPUT), 1)


@pytest.mark.parametrize("name", ["add", "add_relu", "mul", "matmul"])
def test_functional_modules_of_two_tensors(name):
    (a, p), (b, q) = pair(3, 9, 9), pair(3, 9, 9, scale=0.03, zero_point=70)
    ours, theirs = modules.QFunctional(), legacy.QFunctional()
    for functional in (ours, theirs):
        functional.scale, functional.zero_point = 0.1, 50
    check(getattr(ours, name)(a, b), getattr(theirs, name)(p, q), 1)
    check(ours.cat([a, b], 1), theirs.cat([p, q], 1), 1)
    for number in (0.5, -0.7):
        check(ours.add_scalar(a, number), theirs.add_scalar(p, number), 0)
        check(ours.mul_scalar(a, number), theirs.mul_scalar(p, number), 0)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("name", ["FloatFunctional", "FXFloatFunctional"])
def test_functional_modules_in_float(name):
    ours, theirs = getattr(modules, name)(), getattr(legacy, name)()
    x, y = torch.randn(3, 4, 4), torch.randn(3, 4, 4)
    for method in ("add", "mul", "add_relu", "matmul"):
        assert torch.equal(getattr(ours, method)(x, y), getattr(theirs, method)(x, y))
    for method in ("add_scalar", "mul_scalar"):
        assert torch.equal(getattr(ours, method)(x, 0.7), getattr(theirs, method)(x, 0.7))
    assert torch.equal(ours.cat([x, y], 1), theirs.cat([x, y], 1))


MOVED = {
    "constant_pad": lambda x: nn.functional.pad(x, (1, 2, 0, 1), value=0.4),
    "reflection_pad": lambda x: nn.functional.pad(x, (1, 2, 2, 1), mode="reflect"),
    "zero_pad": nn.ZeroPad2d(1),
    "pixel_shuffle": nn.PixelShuffle(2),
    "pixel_unshuffle": nn.PixelUnshuffle(2),
    "channel_shuffle": nn.ChannelShuffle(2),
    "stack": lambda x: torch.stack([x, x], 1),
    "cat": lambda x: torch.cat([x, x], 1),
    "dropout": lambda x: nn.functional.dropout(x, 0.5, False),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "flatten": lambda x: torch.flatten(x, 1),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "slice": lambda x: x[:, 1:, ::2],
    "squeeze": lambda x: x[:1].squeeze(0).unsqueeze(1),
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "relu6": nn.ReLU6(),
    "threshold": nn.Threshold(0.3, 0.04),
}


@pytest.mark.parametrize("name", MOVED)
def test_what_only_moves_or_compares_integers(name):
    ours, theirs = pair(2, 8, 6, 6)
    check(MOVED[name](ours), MOVED[name](theirs), 0)


@pytest.mark.parametrize("name", ["conv2d_add", "conv2d_add_relu"])
def test_convolutions_that_add(name):
    """Theirs are in one engine only."""
    if "onednn" not in torch.backends.quantized.supported_engines:
        pytest.skip("needs the onednn engine")
    (a, p), (b, q) = pair(2, 4, 7, 7), pair(2, 4, 7, 7, scale=0.03, zero_point=70)
    (weight, old), bias = weights(4, 4, 3, 3), torch.randn(4)
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "onednn"
    try:
        geometry = [1, 1], [1, 1], [1, 1], 1
        packed = torch.ops.quantized.conv2d_prepack(old, bias, *geometry)
        theirs = getattr(torch.ops.quantized, name)(p, q, packed, 0.05, 40)
    finally:
        torch.backends.quantized.engine = engine
    check(getattr(qtensor.ops, name)(a, b, weight, bias, padding=1, **OUTPUT), theirs, 1)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_dynamic_convolutions_are_closer_to_float(transposed, axes):
    """Theirs round the result to the input's parameters, and lose what is beyond its range."""
    name = f"conv{'_transpose' * transposed}{axes}d"
    (weight, old), bias = weights(4, 4, *[3] * axes), torch.randn(4)
    x = torch.randn(2, 4, *[6] * axes)
    sizes = [2] * axes, [1] * axes, *([[0] * axes] if transposed else [])
    packed = getattr(torch.ops.quantized, f"{name}_prepack")(old, bias, *sizes, [1] * axes, 1)
    theirs = getattr(torch.ops.quantized, f"{name}_dynamic")(x, packed, True)
    options = {"stride": 2, "padding": 1, "reduce_range": True, "per_image": False}
    ours = getattr(qtensor.ops, f"{name}_dynamic")(x, weight, bias, **options)
    expected = getattr(nn.functional, name)(x, weight.dequantize(), bias, stride=2, padding=1)
    assert (ours - expected).norm() < (theirs - expected).norm() / 2
    assert (ours - expected).norm() < 0.03 * expected.norm()


THROUGH_FLOAT = {
    "silu": (lambda q, o: qtensor.ops.apply(q, "silu", o), nn.functional.silu),
    "mish": (lambda q, o: qtensor.ops.apply(q, "mish", o), nn.functional.mish),
    "selu": (lambda q, o: qtensor.ops.apply(q, "selu", o), nn.functional.selu),
    "requantize": (qtensor.requantize, lambda x: x),
}


@pytest.mark.parametrize("name", THROUGH_FLOAT)
def test_what_legacy_computes_by_way_of_float(name):
    ours, theirs = pair(2, 4, 7, 7)
    function, in_float = THROUGH_FLOAT[name]
    result = function(ours, qtensor.QParams(0.05, 40, qtensor.quint8))
    detour = in_float(theirs.dequantize())
    check(result, torch.quantize_per_tensor(detour, 0.05, 40, torch.quint8), 1)


@pytest.mark.parametrize("axis", [0, 1])
def test_requantizing_channels_beside_legacys_way_through_float(axis):
    ours, theirs = pair(4, 4, 7, 7)
    scales, zeros = torch.rand(4) / 20 + 0.02, torch.randint(0, 60, (4,))
    result = qtensor.requantize(ours, qtensor.QParams(scales, zeros, qtensor.quint8, axis=axis))
    detour = torch.quantize_per_channel(theirs.dequantize(), scales, zeros, axis, torch.quint8)
    difference = (result.int_repr().int() - detour.int_repr().int()).abs()
    assert difference.max() <= 1 and (difference != 0).float().mean() < 0.05
