"""Convolution modules of every number of dimensions, plain and transposed."""

import copy
import itertools
import pickle
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.export import Dim, export

import qtensor
from qtensor import nn as qnn
from qtensor import ops

from .test_nn_modules import assert_rounds, quantized_input, real

QConfig = namedtuple("QConfig", "activation weight")
NAMES = [f"{kind}{axes}d" for kind in ("Conv", "ConvTranspose") for axes in (1, 2, 3)]
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def no_fallback():
    with qtensor.fallback("error"):
        yield


class WeightObserver(nn.Module):
    """Symmetric scales for each channel along ``ch_axis``."""

    dtype, qscheme = qtensor.qint8, qtensor.per_channel_symmetric
    quant_min, quant_max = -127, 127
    ch_axis = 0

    def forward(self, x):
        self.largest = x.detach().movedim(self.ch_axis, 0).flatten(1).abs().amax(1)
        return x

    def calculate_qparams(self):
        return self.largest / 127, torch.zeros(len(self.largest), dtype=torch.int64)


class OutputObserver(nn.Module):
    dtype, qscheme, quant_min, quant_max = qtensor.quint8, qtensor.per_tensor_affine, 0, 255

    def calculate_qparams(self):
        return torch.tensor([0.03]), torch.tensor([110])


def float_layer(name, **geometry):
    torch.manual_seed(0)
    options = {"groups": 2, "stride": 2, "padding": 1} | geometry
    if "Transpose" in name:
        options["output_padding"] = 1
    layer = getattr(nn, name)(4, 6, 3, **options)
    layer.qconfig = QConfig(None, WeightObserver)
    layer.activation_post_process = OutputObserver()
    return layer.eval()


def axes_of(name):
    return int(name[-2])


def image(name, seed=11):
    return quantized_input(2, 4, *[6] * axes_of(name), seed=seed)


def on_quantized_weight(layer, quantized):
    """``layer`` in float64, with the weight and bias of its quantized form."""
    exact = copy.deepcopy(layer).double()
    exact.weight.data = real(weight_along_axis_0(quantized)).movedim(0, quantized._channel_axis)
    return exact


def weight_along_axis_0(quantized):
    """real() takes channels first."""
    weight, axis = quantized.weight(), quantized._channel_axis
    qparams = weight.qparams
    first = weight.int_repr().movedim(axis, 0)
    per_channel = qtensor.QParams(qparams.scale, qparams.zero_point, qtensor.qint8, axis=0)
    return qtensor.QTensor(first, per_channel)


@each
def test_from_float_and_forward(name):
    layer = float_layer(name)
    quantized = getattr(qnn.quantized, name).from_float(layer)
    assert quantized.weight().q_per_channel_axis() == ("Transpose" in name)
    x = image(name)
    with torch.no_grad():
        exact = on_quantized_weight(layer, quantized)(real(x))
    assert_rounds(quantized(x), exact, quantized.output_qparams)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_padding_modes(axes, mode):
    layer = float_layer(f"Conv{axes}d", padding_mode=mode)
    quantized = getattr(qnn.quantized, f"Conv{axes}d").from_float(layer)
    x = image(f"Conv{axes}d")
    with torch.no_grad():
        exact = on_quantized_weight(layer, quantized)(real(x))
    assert_rounds(quantized(x), exact, quantized.output_qparams)
    dynamic = getattr(qnn.quantized.dynamic, f"Conv{axes}d").from_float(layer)
    assert (dynamic(x.dequantize()) - exact).abs().max() < 0.1


@each
def test_from_reference_equals_from_float(name):
    layer = float_layer(name)
    expected = getattr(qnn.quantized, name).from_float(layer)
    weight = expected.weight().qparams
    reference = getattr(qnn.quantized.reference, name).from_float(
        layer,
        {
            "qscheme": weight.qscheme,
            "dtype": weight.dtype,
            "scale": weight.scale,
            "zero_point": weight.zero_point,
            "axis": weight.axis,
        },
    )
    assert repr(reference).startswith(f"Quantized{name}(Reference)(4, 6, kernel_size=")
    x = image(name)
    with torch.no_grad():
        exact = on_quantized_weight(layer, expected)(real(x))
        assert torch.allclose(reference(x.dequantize()), exact.float(), atol=1e-5)
    made = getattr(qnn.quantized, name).from_reference(reference, 0.03, 110)
    assert torch.equal(made(x).int_repr(), expected(x).int_repr())
    made = getattr(qnn.quantized.dynamic, name).from_reference(reference)
    assert torch.equal(made.weight(), expected.weight())


@each
def test_dynamic_is_close_to_float(name):
    layer = float_layer(name)
    dynamic = getattr(qnn.quantized.dynamic, name).from_float(layer)
    x = image(name).dequantize()
    with torch.no_grad():
        expected = layer(x)
    assert (dynamic(x) - expected).norm() < 0.02 * expected.norm()
    with pytest.raises(TypeError, match=f"DynamicQuantized{name} expects a float32 tensor"):
        dynamic(image(name))


@pytest.mark.parametrize("package", ["quantized", "quantized.dynamic"])
@each
def test_state_dict_and_copies(name, package):
    module = qnn.quantized if package == "quantized" else qnn.quantized.dynamic
    layer = getattr(module, name).from_float(float_layer(name))
    x = image(name) if package == "quantized" else image(name).dequantize()
    expected = layer(x)
    geometry = {"groups": 2, "stride": 2, "padding": 1}
    if "Transpose" in name:
        geometry["output_padding"] = 1
    fresh = getattr(module, name)(4, 6, 3, **geometry)
    fresh.load_state_dict(layer.state_dict())
    for other in (fresh, copy.deepcopy(layer)):
        assert torch.equal(other(x), expected)
    assert repr(fresh) == repr(layer)


@each
@pytest.mark.parametrize("strict", [False, True])
def test_export(name, strict):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant = qnn.quantized.Quantize(0.03, 120, qtensor.quint8)
            self.layer = getattr(qnn.quantized, name).from_float(float_layer(name))
            self.dequant = qnn.quantized.DeQuantize()
            dynamic = qnn.quantized.dynamic
            self.again = getattr(dynamic, f"Conv{axes_of(name)}d")(6, 2, 1)

        def forward(self, x):
            return self.again(self.dequant(self.layer(self.quant(x))))

    model, x = Model().eval(), image(name).dequantize()
    batch = {"x": {0: Dim("batch", min=1, max=64)}}
    program = export(model, (x,), dynamic_shapes=batch, strict=strict)
    for batch in (x, torch.cat([x, x])):
        assert torch.equal(program.module()(batch), model(batch))


@each
def test_functions_equal_the_modules(name):
    layer = getattr(qnn.quantized, name).from_float(float_layer(name))
    x, output = image(name), (layer.scale, layer.zero_point)
    function = {"Conv": "conv", "ConvTranspose": "conv_transpose"}[name[:-2]] + name[-2:]
    geometry = (2, 1, 1, 2, 1) if "Transpose" in name else (2, 1, 1, 2, "zeros")
    result = getattr(ops, function)(x, layer.weight(), layer.bias(), *geometry, *output)
    assert torch.equal(result, layer(x))


AFTER = {
    "ReLU": nn.ReLU(),
    "Hardtanh": nn.Hardtanh(-0.2, 0.4),
    "LeakyReLU": nn.LeakyReLU(0.3),
    "Tanh": nn.Tanh(),
    "GELU": nn.GELU("tanh"),
}
after = pytest.mark.parametrize("after", AFTER)


def container(name, after):
    layer = float_layer(name)
    fused = getattr(qnn.intrinsic, f"{name[:-2]}{after}{name[-2:]}")(layer, AFTER[after])
    fused.qconfig, fused.activation_post_process = layer.qconfig, OutputObserver()
    return fused.eval()


@each
@after
def test_fused(name, after):
    fused, kind = container(name, after), f"{name[:-2]}{after}{name[-2:]}"
    quantized = getattr(qnn.intrinsic.quantized, kind).from_float(fused)
    assert repr(quantized).startswith(f"Quantized{kind}(4, 6, kernel_size=")
    x = image(name)
    with torch.no_grad():
        exact = AFTER[after](on_quantized_weight(fused[0], quantized)(real(x)))
    assert_rounds(quantized(x), exact, quantized.output_qparams)


@each
@after
def test_fused_dynamic(name, after):
    fused, kind = container(name, after), f"{name[:-2]}{after}{name[-2:]}"
    dynamic = getattr(qnn.intrinsic.quantized.dynamic, kind).from_float(fused)
    assert repr(dynamic).startswith(f"DynamicQuantized{kind}(4, 6, kernel_size=")
    plain = getattr(qnn.quantized.dynamic, name).from_float(fused[0])
    x = image(name).dequantize()
    torch.testing.assert_close(dynamic(x), AFTER[after](plain(x)), rtol=1e-6, atol=1e-6)


@each
@pytest.mark.parametrize("relu", [False, True])
def test_additions(name, relu):
    layer, kind = float_layer(name), f"{name[:-2]}Add{'ReLU' * relu}{name[-2:]}"
    fused = getattr(qnn.intrinsic, kind)(layer, torch.add, *[torch.relu] * relu)
    fused.qconfig, fused.activation_post_process = layer.qconfig, OutputObserver()
    quantized = getattr(qnn.intrinsic.quantized, kind).from_float(fused)
    x = image(name)
    with torch.no_grad():
        exact = on_quantized_weight(layer, quantized)(real(x))
    extra = quantized_input(*exact.shape, seed=5)
    exact = exact + real(extra)
    assert_rounds(quantized(x, extra), exact.relu() if relu else exact, quantized.output_qparams)
    with pytest.raises(TypeError, match=f"Quantized{kind} expects a quantized tensor as extra_in"):
        quantized(x, exact.float())


def test_one_class_under_each_name():
    for package in (qnn.intrinsic, qnn.intrinsic.quantized, qnn.intrinsic.quantized.dynamic):
        for name, value in vars(package).items():
            if isinstance(value, type):
                assert value.__name__ == name and value.__doc__
                assert pickle.loads(pickle.dumps(value)) is value


@pytest.mark.parametrize(("axes", "relu"), list(itertools.product([1, 2, 3], [False, True])))
def test_containers_with_batch_norm_run_their_parts(axes, relu):
    conv, bn = getattr(nn, f"Conv{axes}d")(4, 6, 1), getattr(nn, f"BatchNorm{axes}d")(6).eval()
    kind = getattr(qnn.intrinsic, f"ConvBn{'ReLU' * relu}{axes}d")
    fused = kind(conv, bn, nn.ReLU()) if relu else kind(conv, bn)
    x = torch.randn(2, 4, *[3] * axes)
    assert torch.equal(fused(x), bn(conv(x)).relu() if relu else bn(conv(x)))


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm(axes, relu):
    bn = getattr(nn, f"BatchNorm{axes}d")(4).eval()
    nn.init.normal_(bn.weight), nn.init.normal_(bn.bias), nn.init.normal_(bn.running_mean)
    nn.init.uniform_(bn.running_var, 0.5, 2)
    source = getattr(qnn.intrinsic, f"BNReLU{axes}d")(bn, nn.ReLU()) if relu else bn
    source.activation_post_process = OutputObserver()
    where, name = (qnn.intrinsic.quantized, "BNReLU") if relu else (qnn.quantized, "BatchNorm")
    layer = getattr(where, f"{name}{axes}d").from_float(source)
    assert repr(layer).startswith(f"Quantized{name}{axes}d(4, eps=1e-05, scale=")
    x = quantized_input(2, 4, *[5] * axes)
    with torch.no_grad():
        exact = copy.deepcopy(bn).double()(real(x))
    assert_rounds(layer(x), exact.relu() if relu else exact, layer.output_qparams)
    loaded = type(layer)(4)
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(loaded(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
