"""nn.quantized.functional: every name works on quantized tensors, close to float, and checks."""

import pytest
import torch
import torch.nn.functional as F

import qtensor
import qtensor.nn.quantized.functional as qF

IMAGE = (2, 5, 6, 7)


@pytest.fixture(autouse=True)
def no_fallback():
    with qtensor.fallback("error"):
        yield


def quantized(*shape, dtype=qtensor.quint8):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))
    return qtensor.quantize_per_tensor(x, 0.03, 100 if dtype == qtensor.quint8 else 3, dtype)


# Ours, the float function, the shape of the input. All keep the input's parameters.
KEEPING = {
    "avg_pool2d": (lambda f, x: f.avg_pool2d(x, 3, 2, 1, True, False), IMAGE),
    "avg_pool3d": (lambda f, x: f.avg_pool3d(x, 2, divisor_override=5), (1, 3, 4, 5, 6)),
    "adaptive_avg_pool2d": (lambda f, x: f.adaptive_avg_pool2d(x, (3, None)), IMAGE),
    "adaptive_avg_pool3d": (lambda f, x: f.adaptive_avg_pool3d(x, 2), (1, 3, 4, 5, 6)),
    "max_pool1d": (lambda f, x: f.max_pool1d(x, 3, 2, 1), (2, 5, 9)),
    "max_pool2d": (lambda f, x: f.max_pool2d(x, 3, 1, 1, 2), IMAGE),
    "interpolate": (lambda f, x: f.interpolate(x, (9, 4)), IMAGE),
    "bilinear": (lambda f, x: f.interpolate(x, None, 2.0, "bilinear", False), IMAGE),
    "upsample": (lambda f, x: f.upsample(x, None, 2), IMAGE),
    "upsample_nearest": (lambda f, x: f.upsample_nearest(x, scale_factor=2), IMAGE),
    "upsample_bilinear": (lambda f, x: f.upsample_bilinear(x, (3, 9)), IMAGE),
    "hardtanh": (lambda f, x: f.hardtanh(x, -0.5, 0.75), IMAGE),
    "leaky_relu": (lambda f, x: f.leaky_relu(x, 0.2), IMAGE),
    "threshold": (lambda f, x: f.threshold(x, 0.3, -0.6), IMAGE),
}


@pytest.mark.filterwarnings("ignore:.*upsample")  # torch asks for interpolate instead
@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.qint8], ids=repr)
@pytest.mark.parametrize("name", KEEPING)
def test_functions_that_keep_the_parameters(name, dtype):
    call, shape = KEEPING[name]
    q = quantized(*shape, dtype=dtype)
    result, expected = call(qF, q), call(F, q.dequantize())
    assert result.qparams == q.qparams and result.shape == expected.shape
    assert (result.dequantize() - expected).abs().max() <= 0.0151


RESCALING = {
    "celu": (lambda x: qF.celu(x, 0.02, 50, 0.5), lambda x: F.celu(x, 0.5)),
    "elu": (lambda x: qF.elu(x, 0.02, 50, 0.5), lambda x: F.elu(x, 0.5)),
    "hardswish": (lambda x: qF.hardswish(x, 0.02, 50), F.hardswish),
    "leaky_relu": (
        lambda x: qF.leaky_relu(x, 0.2, False, 0.02, 50),
        lambda x: F.leaky_relu(x, 0.2),
    ),
    "clamp": (lambda x: qF.clamp(x, -0.3, 0.3), lambda x: x.clamp(-0.3, 0.3)),
    "hardsigmoid": (qF.hardsigmoid, F.hardsigmoid),
}


@pytest.mark.parametrize("name", RESCALING)
def test_activations(name):
    ours, theirs = RESCALING[name]
    q = quantized(4, 9)
    result = ours(q)
    expected = theirs(q.dequantize()).clamp(max=(255 - result.q_zero_point()) * result.q_scale())
    assert (result.dequantize() - expected).abs().max() <= result.q_scale() / 2 + 1e-6


def test_linear_and_convolution():
    weight = qtensor.quantize_per_tensor(torch.randn(4, 5, 3, 3), 0.02, 0, qtensor.qint8)
    image, bias = quantized(*IMAGE), torch.randn(4)
    result = qF.conv2d(image, weight, bias, padding=1, scale=0.1, zero_point=100)
    expected = F.conv2d(image.dequantize(), weight.dequantize(), bias, padding=1)
    assert (result.dequantize() - expected.clamp(-10, 15.5)).abs().max() <= 0.0501
    rows = quantized(3, 45)
    result = qF.linear(rows, weight.reshape(4, 45), bias, 0.1, 100)
    expected = F.linear(rows.dequantize(), weight.reshape(4, 45).dequantize(), bias)
    assert (result.dequantize() - expected.clamp(-10, 15.5)).abs().max() <= 0.0501


@pytest.mark.parametrize("dims", [1, 3])
def test_convolution_of_other_ranks(dims):
    shape = (4, 5, 3, 2, 3)[: dims + 2]
    weight = qtensor.quantize_per_tensor(torch.randn(shape), 0.02, 0, qtensor.qint8)
    image = quantized(*(2, 5, 6, 7, 8)[: dims + 2])
    conv, float_conv = getattr(qF, f"conv{dims}d"), getattr(F, f"conv{dims}d")
    result = conv(image, weight, None, scale=0.1, zero_point=100)
    expected = float_conv(image.dequantize(), weight.dequantize())
    assert (result.dequantize() - expected.clamp(-10, 15.5)).abs().max() <= 0.0501


def test_misuse():
    q = quantized(*IMAGE)
    with pytest.raises(TypeError, match=r"max_pool2d expects a quantized tensor.*torch\.float32"):
        qF.max_pool2d(q.dequantize(), 2)
    with pytest.raises(NotImplementedError, match="no indices"):
        qF.max_pool2d(q, 2, return_indices=True)
    with pytest.raises(ValueError, match="in place"):
        qF.leaky_relu(q, 0.1, True, 0.1, 0)
    with pytest.raises(ValueError, match="both or neither"):
        qF.leaky_relu(q, 0.1, scale=0.1)


def test_dropout_is_the_identity():
    q = quantized(3)
    dropout = qtensor.nn.quantized.Dropout.from_float(torch.nn.Dropout(0.3))
    assert dropout.train()(q) is q and repr(dropout) == "QuantizedDropout(p=0.3, inplace=False)"
    assert qtensor.ops.dropout(q, 0.03, 100).qparams == q.qparams
