"""``qtensor.ops`` under their old names: numbers for tensors, fused, dynamic, and with ``out``."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qtensor
from qtensor import nn as qnn
from qtensor import ops
from qtensor._arguments import weight_arguments

from .models import filled

X = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
Q = qtensor.quantize_per_tensor(X, 0.03, 120, qtensor.quint8)
OTHER = qtensor.quantize_per_tensor(X.flip(0), 0.05, 90, qtensor.quint8)


@pytest.fixture(autouse=True)
def no_fallback():
    with qtensor.fallback("error"):
        yield


@pytest.mark.parametrize("number", [2, -0.5])
def test_numbers_in_place_of_tensors(number):
    for function, scalar in (
        (ops.add, ops.add_scalar),
        (ops.add_relu, ops.add_scalar_relu),
        (ops.mul, ops.mul_scalar),
        (ops.mul_relu, ops.mul_scalar_relu),
    ):
        expected = scalar(Q, number)
        assert torch.equal(function(Q, number), expected)
        assert torch.equal(function(number, Q), expected)


OUTS = {
    "add_out": ((Q, OTHER), lambda: X + X.flip(0)),
    "add_relu_out": ((Q, OTHER), lambda: F.relu(X + X.flip(0))),
    "add_scalar_out": ((Q, 0.5), lambda: X + 0.5),
    "add_scalar_relu_out": ((Q, 0.5), lambda: F.relu(X + 0.5)),
    "cat_out": (([Q, OTHER], 1), lambda: torch.cat([X, X.flip(0)], 1)),
    "cat_relu_out": (([Q, OTHER], 1), lambda: torch.cat([X, X.flip(0)], 1).relu()),
    "mul_out": ((Q, OTHER), lambda: X * X.flip(0)),
    "mul_relu_out": ((Q, OTHER), lambda: F.relu(X * X.flip(0))),
    "mul_scalar_out": ((Q, -2), lambda: X * -2),
    "mul_scalar_relu_out": ((Q, -2), lambda: F.relu(X * -2)),
}


@pytest.mark.parametrize("name", OUTS)
def test_out(name):
    operands, expected = OUTS[name]
    expected = expected()
    scale = float(expected.abs().max()) / 100
    out = qtensor.quantize_per_tensor(torch.zeros(expected.shape), scale, 120, qtensor.quint8)
    integers = out.int_repr()
    assert getattr(ops, name)(*operands, out) is out
    assert out.int_repr().data_ptr() == integers.data_ptr() and out.q_scale() == scale
    assert (out.dequantize() - expected).abs().max() <= scale / 2 + 0.25
    with pytest.raises(ValueError, match="expected out of shape"):
        getattr(ops, name)(*operands, out[:, :1])
    with pytest.raises(TypeError, match="expects a quantized tensor as out"):
        getattr(ops, name)(*operands, expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutions_with_relu(axes):
    x = qtensor.quantize_per_tensor(torch.randn(2, 4, *[5] * axes), 0.03, 120, qtensor.quint8)
    layer = filled(getattr(qnn.intrinsic.quantized, f"ConvReLU{axes}d")(4, 6, 3), 0.02, 3)
    arguments = layer.weight(), layer.bias()
    output = {"scale": layer.scale, "zero_point": layer.zero_point}
    result = getattr(ops, f"conv{axes}d_relu")(x, *arguments, **output)
    assert torch.equal(result, layer(x))


@pytest.mark.parametrize("relu", [False, True])
def test_convolution_with_a_residual(relu):
    kind = qnn.intrinsic.quantized.ConvAddReLU2d if relu else qnn.intrinsic.quantized.ConvAdd2d
    layer = filled(kind(4, 4, 3, padding=1), 0.02, 3)
    function = ops.conv2d_add_relu if relu else ops.conv2d_add
    output = {"padding": 1, "scale": layer.scale, "zero_point": layer.zero_point}
    result = function(Q, OTHER, layer.weight(), layer.bias(), **output)
    assert torch.equal(result, layer(Q, OTHER))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("reduce_range", [False, True])
def test_dynamic_convolutions(axes, transposed, reduce_range):
    kind = getattr(qnn.quantized.dynamic, f"Conv{'Transpose' * transposed}{axes}d")
    layer = kind(4, 6, 3, stride=2, padding=1, groups=2)
    weight = torch.randn(layer.qweight.shape)
    layer.set_weight_bias(
        qtensor.quantize_per_tensor(weight, 0.02, 3, qtensor.qint8), torch.randn(6)
    )
    layer.reduce_range = reduce_range
    function = getattr(ops, f"conv{'_transpose' * transposed}{axes}d_dynamic")
    x = torch.randn(2, 4, *[5] * axes)
    options = {"stride": 2, "padding": 1, "groups": 2, "reduce_range": reduce_range}
    assert torch.equal(function(x, layer.weight(), layer.bias(), **options), layer(x))


ACTIVATED = {
    "ReLU": {"activation_min": 0.0},
    "Hardtanh": {"activation_min": -1.0, "activation_max": 1.0},
    "LeakyReLU": {"activation": "leaky_relu", "negative_slope": 0.01},
    "Tanh": {"activation": "tanh"},
    "GELU": {"activation": "gelu"},
}


@pytest.mark.parametrize("after", ACTIVATED)
@pytest.mark.parametrize("transposed", [False, True])
def test_dynamic_convolutions_with_an_activation(transposed, after):
    name = "ConvTranspose" if transposed else "Conv"
    layer = getattr(qnn.intrinsic.quantized.dynamic, f"{name}{after}1d")(4, 6, 3)
    weight = torch.randn(layer.qweight.shape)
    weight = qtensor.quantize_per_tensor(weight, 0.02, 3, qtensor.qint8)
    layer.set_weight_bias(weight, torch.randn(6))
    function = ops.conv_transpose1d_dynamic if transposed else ops.conv1d_dynamic
    x, options = torch.randn(2, 4, 5), ACTIVATED[after] | {"reduce_range": layer.reduce_range}
    result = function(x, weight, layer.bias(), **options)
    assert torch.equal(result, layer(x))


@pytest.mark.parametrize("after", ACTIVATED)
def test_linear_layers_on_floats_with_an_activation(after):
    layer = filled(getattr(qnn.intrinsic.quantized.dynamic, f"Linear{after}")(6, 3))
    weight = layer.weight(), layer.bias()
    assert torch.equal(ops.linear_dynamic(X, *weight, **ACTIVATED[after]), layer(X))
    plain = ops.linear_weight_only(X, *weight)
    expected = {
        "ReLU": plain.relu(),
        "Hardtanh": plain.clamp(-1, 1),
        "LeakyReLU": F.leaky_relu(plain),
        "Tanh": plain.tanh(),
        "GELU": F.gelu(plain),
    }[after]
    result = ops.linear_weight_only(X, *weight, **ACTIVATED[after])
    assert torch.allclose(result, expected, atol=1e-5)


def test_dynamic_linear_with_relu():
    layer = filled(qnn.intrinsic.quantized.dynamic.LinearReLU(6, 3))
    assert torch.equal(ops.linear_relu_dynamic(X, layer.weight(), layer.bias()), layer(X))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_batch_norm(axes):
    x = torch.randn(2, 3, *[4] * axes)
    q = qtensor.quantize_per_tensor(x, 0.03, 120, qtensor.quint8)
    norm = getattr(nn, f"BatchNorm{axes}d")(3).eval()
    for parameter in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(parameter)
    statistics = norm.weight.detach(), norm.bias.detach(), norm.running_mean, norm.running_var
    expected = norm(q.dequantize()).detach()
    output = float(expected.abs().max() / 100), 120
    names = {f"batch_norm{axes}d": expected, "batch_norm": expected}
    names["batch_norm_relu"] = expected.relu()
    for name, wanted in names.items():
        result = getattr(ops, name)(q, *statistics, norm.eps, *output).dequantize()
        assert (result - wanted).abs().max() <= output[0] * 0.5001
    mean, var = statistics[2:]
    relu = getattr(ops, f"batch_norm{axes}d_relu")(
        q, None, None, mean, var=var, eps=1e-5, output_scale=output[0], output_zero_point=120
    )
    assert relu.dequantize().min() >= 0
    with pytest.raises(TypeError, match=f"batch_norm{axes}d expects {axes + 2} dimensions"):
        getattr(ops, f"batch_norm{axes}d")(q[0], *statistics, norm.eps, *output)
    with pytest.raises(TypeError, match="one to three spatial axes"):
        ops.batch_norm(q.flatten(), *statistics, norm.eps, *output)


@pytest.mark.parametrize("transposed", [False, True])
def test_one_zero_point_for_a_weight(transposed):
    kind = qnn.quantized.ConvTranspose2d if transposed else qnn.quantized.Conv2d
    layer = kind(4, 6, 3, groups=2)
    weight = qtensor.quantize_per_tensor(torch.randn(layer.qweight.shape), 1 / 64, 3, qtensor.qint8)
    layer.set_weight_bias(weight, None)
    layer.scale, layer.zero_point = 0.1, 120
    assert torch.equal(layer.weight(), weight)
    fresh = kind(4, 6, 3, groups=2, bias=False)
    fresh.load_state_dict(layer.state_dict())
    convolve = F.conv_transpose2d if transposed else F.conv2d
    expected = convolve(Q.dequantize(), weight.dequantize(), groups=2)
    for result in (layer(Q), fresh(Q)):
        assert (result.dequantize() - expected.clamp(-12, 13.5)).abs().max() <= 0.0501


def test_a_weight_gives_kernels_the_same_tensors_in_every_call():
    for weight in (
        qtensor.quantize_per_tensor(torch.ones(3, 4), 0.1, 5, qtensor.qint8),
        qtensor.quantize_per_channel(
            torch.ones(3, 4), torch.full((3,), 0.1), torch.tensor([0, 1, 2]), 0, qtensor.qint8
        ),
    ):
        first, second = (weight_arguments(weight, "linear") for _ in range(2))
        assert all(a is b for a, b in zip(first, second, strict=True))
        layer, other = qnn.quantized.Linear(4, 3), qnn.quantized.Linear(4, 3)
        before = weight.dequantize()
        layer.set_weight_bias(weight, None)
        other.set_weight_bias(weight, None)
        layer.weight_scales.fill_(7)
        layer.weight_zero_points.fill_(7)
        assert torch.equal(other.weight().dequantize(), weight.dequantize())
        assert torch.equal(weight.dequantize(), before)


def test_a_weight_with_real_zero_points_is_refused():
    parameters = torch.full((3,), 0.1), torch.full((3,), 0.5), 0, qtensor.quint8
    weight = qtensor.quantize_per_channel(torch.ones(3, 4), *parameters)
    x = qtensor.quantize_per_tensor(torch.ones(1, 4), 0.1, 0, qtensor.quint8)
    with pytest.raises(TypeError, match="linear expects a weight with whole zero points"):
        qtensor.ops.linear(x, weight)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu", "conv_transpose2d"])
@pytest.mark.parametrize("padding", [1.5, "same", [None, 0]])
def test_errors_of_functions_made_for_a_number_of_axes_have_their_name(name, padding):
    weight = qtensor.quantize_per_tensor(torch.ones(4, 4, 3, 3), 0.1, 0, qtensor.qint8)
    with pytest.raises(TypeError, match=rf"in ops\.{name}: expected whole numbers as padding"):
        getattr(ops, name)(Q, weight, padding=padding)
