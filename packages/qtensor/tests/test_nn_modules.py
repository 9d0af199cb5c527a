"""Quantized modules against float64 computations on the values that their integers stand for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qtensor
from qtensor import nn as qnn
from qtensor import ops

from .models import filled, random_weight


@pytest.fixture(autouse=True)
def no_fallback():
    with qtensor.fallback("error"):
        yield


def quantized_input(*shape, dtype=qtensor.quint8, seed=11):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return qtensor.quantize_per_tensor(x, 0.03, 120 if dtype is qtensor.quint8 else -9, dtype)


def assert_rounds(result, real, output):
    """``result`` is ``real`` (float64) quantized; a tie may go either way in float32."""
    assert result.qparams == output
    low, high = (bound - output.zero_point for bound in (output.quant_min, output.quant_max))
    exact = (real / output.scale).clamp(low, high) + output.zero_point
    assert (result.int_repr().double() - exact).abs().max() <= 0.5 + 1e-3


def real(x):
    integers = x.int_repr().double()
    scale, zero_point = x.qparams.scale, x.qparams.zero_point
    if x.qparams.axis is None:
        return (integers - zero_point) * scale
    shape = [-1] + [1] * (x.dim() - 1)
    return (integers - zero_point.reshape(shape)) * scale.double().reshape(shape)


LINEAR = {
    "plain": (lambda: qnn.quantized.Linear(20, 7), lambda y: y),
    "no bias": (lambda: qnn.quantized.Linear(20, 7, bias_=False), lambda y: y),
    "relu": (lambda: qnn.intrinsic.quantized.LinearReLU(20, 7), F.relu),
    "hardtanh": (lambda: qnn.intrinsic.quantized.LinearHardtanh(20, 7), F.hardtanh),
}


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.qint8], ids=repr)
@pytest.mark.parametrize("shape", [(20,), (3, 20), (2, 3, 20), (0, 20)])
def test_linear(kind, dtype, shape):
    make, activation = LINEAR[kind]
    layer = make()
    bias = None if layer.bias() is None else torch.linspace(-1, 1, 7)
    layer.set_weight_bias(random_weight(7, 20), bias)
    layer.output_qparams = qtensor.QParams(0.02, 60, qtensor.quint8, None, 0, 127)
    x = quantized_input(*shape, dtype=dtype)
    exact = activation(
        F.linear(real(x), real(layer.weight()), None if bias is None else bias.double())
    )
    result = layer(x)
    assert result.shape == (*shape[:-1], 7)
    if result.numel():
        assert_rounds(result, exact, layer.output_qparams)


CONV = {
    "plain": ({"padding": 1}, qnn.quantized.Conv2d, lambda y: y),
    "strided": ({"stride": 2, "padding": (1, 0)}, qnn.quantized.Conv2d, lambda y: y),
    "dilated": ({"dilation": 2, "padding": 2}, qnn.quantized.Conv2d, lambda y: y),
    "grouped": ({"groups": 2}, qnn.quantized.Conv2d, lambda y: y),
    "same": ({"padding": "same"}, qnn.quantized.Conv2d, lambda y: y),
    "valid": ({"padding": "valid"}, qnn.quantized.Conv2d, lambda y: y),
    "reflect": ({"padding": 1, "padding_mode": "reflect"}, qnn.quantized.Conv2d, lambda y: y),
    "circular": ({"padding": 1, "padding_mode": "circular"}, qnn.quantized.Conv2d, lambda y: y),
    "no bias": ({"bias": False}, qnn.quantized.Conv2d, lambda y: y),
    "relu": ({"padding": 1}, qnn.intrinsic.quantized.ConvReLU2d, F.relu),
    "hardtanh": ({}, qnn.intrinsic.quantized.ConvHardtanh2d, F.hardtanh),
}


@pytest.mark.parametrize("kind", CONV)
@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.qint8], ids=repr)
def test_conv2d(kind, dtype):
    geometry, module, activation = CONV[kind]
    layer = module(4, 6, 3, **geometry)
    weight = random_weight(*layer.qweight.shape)
    bias = torch.linspace(-1, 1, 6) if geometry.get("bias", True) else None
    layer.set_weight_bias(weight, bias)
    layer.output_qparams = qtensor.QParams(0.03, 110)
    x = quantized_input(2, 4, 9, 8, dtype=dtype)
    reference = nn.Conv2d(4, 6, 3, **geometry).double()
    reference.weight.data = real(weight)
    if bias is not None:
        reference.bias.data = bias.double()
    with torch.no_grad():
        exact = activation(reference(real(x)))
    result = layer(x)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert_rounds(result, exact, layer.output_qparams)


@pytest.mark.parametrize("relu", [False, True])
def test_conv_add(relu):
    module = qnn.intrinsic.quantized.ConvAddReLU2d if relu else qnn.intrinsic.quantized.ConvAdd2d
    layer = filled(module(4, 6, 3, padding=1), 0.05, 90)
    x, extra = quantized_input(2, 4, 5, 5), quantized_input(2, 6, 5, 5, seed=12)
    exact = F.conv2d(real(x), real(layer.weight()), layer.bias().double(), padding=1) + real(extra)
    assert_rounds(layer(x, extra), exact.relu() if relu else exact, layer.output_qparams)


@pytest.mark.parametrize("relu", [False, True])
def test_dynamic_linear_is_close_to_float(relu):
    module = qnn.intrinsic.quantized.dynamic.LinearReLU if relu else qnn.quantized.dynamic.Linear
    layer = filled(module(64, 9))
    x = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))
    exact = F.linear(x.double(), real(layer.weight()), layer.bias().double())
    exact = exact.relu() if relu else exact
    steps = (x.amax(-1).clamp(min=0) - x.amin(-1).clamp(max=0)) / 255
    allowed = steps.unsqueeze(-1) / 2 * real(layer.weight()).abs().sum(1) + 1e-4
    assert layer(x).dtype is torch.float32
    assert ((layer(x) - exact).abs() <= allowed).all()
    layer.reduce_range = True
    assert ((layer(x) - exact).abs() <= 2.02 * allowed).all()


def test_embedding():
    table = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    low, high = table.amin(1), table.amax(1)
    scales = (high - low) / 255
    weight = qtensor.quantize_per_channel(table, scales, -low / scales, 0, qtensor.quint8)
    layer = qnn.quantized.Embedding(10, 6, _weight=weight)
    indices = torch.tensor([[3, 9], [0, 3]])
    assert torch.equal(layer(indices), weight.dequantize()[indices])
    assert (layer(indices) - table[indices]).abs().max() <= scales.max()
    assert layer.weight().qscheme() is qtensor.per_channel_affine_float_qparams
    with pytest.raises(IndexError, match="10"):
        layer(torch.tensor([10]))


def test_quantize_and_dequantize():
    x = torch.tensor([0.0, 1.0, 99.0])
    scale, zero_point = torch.tensor([0.5]), torch.tensor([3])
    layer = qnn.quantized.Quantize(scale, zero_point, qtensor.qint8, None, 0, 64)
    assert layer(x).int_repr().tolist() == [3, 5, 64]
    assert torch.equal(qnn.quantized.DeQuantize()(layer(x)), layer(x).dequantize())
    assert qnn.quantized.DeQuantize()(x) is x


@pytest.mark.parametrize("name", ["add", "add_relu", "mul", "matmul", "cat"])
def test_functional_modules_agree(name):
    a, b = quantized_input(4, 4), quantized_input(4, 4, seed=12)
    function = qnn.quantized.QFunctional()
    function.output_qparams = qtensor.QParams(0.05, 90)
    arguments = ([a, b],) if name == "cat" else (a, b)
    exact = getattr(qnn.quantized.FloatFunctional(), name)(
        *(([real(a), real(b)],) if name == "cat" else (real(a), real(b)))
    )
    assert_rounds(getattr(function, name)(*arguments), exact, function.output_qparams)
    with pytest.raises(RuntimeError, match="QFunctional is not called itself"):
        function(a)


@pytest.mark.parametrize("number", [0.0, 0.7, -1.5, 20.0, -20.0])
def test_scalars(number):
    a = quantized_input(50)
    added = qnn.quantized.QFunctional().add_scalar(a, number)
    assert (real(added) - (real(a) + number)).abs().max() <= added.q_scale() / 2 + a.q_scale() / 2
    scaled = ops.mul_scalar(a, number)
    assert torch.allclose(real(scaled), real(a) * number)


def test_functional_operators_equal_the_modules():
    layer = filled(qnn.intrinsic.quantized.LinearReLU(8, 3), 0.04, 5)
    x = quantized_input(2, 8)
    by_function = ops.linear(x, layer.weight(), layer.bias(), 0.04, 5, activation_min=0.0)
    assert torch.equal(by_function, layer(x))
    conv = filled(qnn.quantized.Conv2d(4, 6, 3, stride=2, padding=1), 0.04, 5)
    image = quantized_input(1, 4, 6, 6)
    arguments = (2, 1, 1, 1, "zeros", 0.04, 5)
    assert torch.equal(ops.conv2d(image, conv.weight(), conv.bias(), *arguments), conv(image))


# ---- errors


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (qnn.quantized.Linear(4, 2), (3, 4)),
        (qnn.quantized.Conv2d(4, 2, 1), (1, 4, 3, 3)),
        (qnn.intrinsic.quantized.ConvReLU2d(4, 2, 1), (1, 4, 3, 3)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_float_input_is_refused_by_name(layer, shape):
    name = layer._get_name()
    with pytest.raises(TypeError, match=rf"{name} expects a quantized.*torch\.float32"):
        layer(torch.ones(shape))


def test_more_errors_name_the_module():
    with pytest.raises(TypeError, match=r"DynamicQuantizedLinear expects a float32.*quint8"):
        qnn.quantized.dynamic.Linear(4, 2)(quantized_input(3, 4))
    with pytest.raises(TypeError, match=r"DynamicQuantizedLinear expects a float32.*float64"):
        qnn.quantized.dynamic.Linear(4, 2)(torch.ones(3, 4, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"add in QFunctional expects.*qb, got a torch\.float32"):
        qnn.quantized.QFunctional().add(quantized_input(3, 4), torch.ones(3, 4))
    with pytest.raises(ValueError, match=r"qtensor\.add in QFunctional: "):
        qnn.quantized.QFunctional().add(quantized_input(3, 4), quantized_input(3, 5))
    with pytest.raises(TypeError, match=r"QuantizedConvAdd2d expects.*extra_input.*torch\.float32"):
        qnn.intrinsic.quantized.ConvAdd2d(4, 2, 1)(quantized_input(1, 4, 3, 3), torch.ones(1))
    with pytest.raises(TypeError, match=r"QuantizedLinear expects input.*per tensor"):
        qnn.quantized.Linear(4, 2)(random_weight(3, 4))
    with pytest.raises(ValueError, match=r"\(\.\.\., 4\).*\(3, 5\)"):
        qnn.quantized.Linear(4, 2)(quantized_input(3, 5))
    with pytest.raises(ValueError, match="divisible by groups"):
        qnn.quantized.Conv2d(4, 6, 3, groups=4)
    with pytest.raises(ValueError, match="padding_mode"):
        qnn.quantized.Conv2d(4, 6, 3, padding_mode="mirror")
    with pytest.raises(ValueError, match="'same' with an odd kernel"):
        qnn.quantized.Conv2d(4, 6, 2, padding="same")
    with pytest.raises(ValueError, match=r"weight of shape \(2, 4\), got \(3, 4\)"):
        qnn.quantized.Linear(4, 2).set_weight_bias(random_weight(3, 4), None)
    with pytest.raises(ValueError, match="max_norm"):
        qnn.quantized.Embedding(4, 2, max_norm=1.0)
    with pytest.raises(ValueError, match=r"weights of qtensor\.qint8"):
        qnn.quantized.Linear(4, 2, dtype=qtensor.quint8)


def test_wrong_device_is_an_error():
    with pytest.raises(ValueError, match="meta"):
        qnn.quantized.Linear(4, 2).to("meta")(quantized_input(3, 4))


def test_backward_through_a_dynamic_layer_names_the_operator():
    layer = qnn.quantized.dynamic.Linear(4, 2)
    result = layer(torch.ones(3, 4, requires_grad=True))
    with pytest.raises(RuntimeError, match=r"in DynamicQuantizedLinear .* has no gradient"):
        result.sum().backward()


def test_printing():
    conv = qnn.intrinsic.quantized.ConvReLU2d(64, 64, 3, padding=1, bias=False)
    assert repr(conv) == (
        "QuantizedConvReLU2d(64, 64, kernel_size=(3, 3), stride=(1, 1), scale=1.0, zero_point=0, "
        "padding=(1, 1), bias=False)"
    )
    assert repr(qnn.quantized.Linear(3, 2)) == (
        "QuantizedLinear(in_features=3, out_features=2, scale=1.0, zero_point=0, "
        "qscheme=qtensor.per_channel_affine)"
    )
    assert repr(qnn.quantized.dynamic.Linear(3, 2)) == (
        "DynamicQuantizedLinear(in_features=3, out_features=2, dtype=qtensor.qint8, "
        "qscheme=qtensor.per_channel_affine)"
    )
    assert repr(qnn.quantized.Quantize(0.5, 3, qtensor.quint8)) == (
        "Quantize(scale=0.5, zero_point=3, dtype=qtensor.quint8)"
    )
