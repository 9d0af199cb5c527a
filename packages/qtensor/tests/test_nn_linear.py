"""Linear layers with a fused activation or addition: what is particular to each."""

import math

import pytest
import torch
from torch import nn

import qtensor
from qtensor import nn as qnn
from qtensor import ops

from .models import filled

fused, quantized, dynamic = qnn.intrinsic, qnn.intrinsic.quantized, qnn.intrinsic.quantized.dynamic
X = torch.randn(7, 24, generator=torch.Generator().manual_seed(0))
Q = qtensor.quantize_per_tensor(X, 0.03, 128, qtensor.quint8)

AFTER = {
    "LinearReLU": nn.ReLU(),
    "LinearHardtanh": nn.Hardtanh(-0.2, 0.4),
    "LinearLeakyReLU": nn.LeakyReLU(0.3),
    "LinearTanh": nn.Tanh(),
    "LinearGELU": nn.GELU("tanh"),
}


def layer_like(kind, container, plain):
    """A quantized layer of this kind, with the weight and bias of ``plain``."""
    made = kind._shaped_like(container)
    made.set_weight_bias(plain.weight(), plain.bias())
    if hasattr(made, "output_qparams"):
        made.output_qparams = plain.output_qparams
    return made


@pytest.mark.parametrize("name", AFTER)
def test_static(name):
    plain = filled(qnn.quantized.Linear(24, 10))
    plain.output_qparams = qtensor.QParams(1e-3, 0, qtensor.qint8)
    container = getattr(fused, name)(nn.Linear(24, 10), AFTER[name])
    layer = layer_like(getattr(quantized, name), container, plain)
    expected = AFTER[name](
        nn.functional.linear(Q.dequantize(), plain.weight().dequantize(), plain.bias())
    )
    layer.scale = float(expected.abs().max() / 127)
    assert (layer(Q).dequantize() - expected).abs().max() <= layer.scale * 0.501


@pytest.mark.parametrize("per_row", [True, False])
@pytest.mark.parametrize("name", AFTER)
def test_dynamic(name, per_row):
    plain = filled(qnn.quantized.dynamic.Linear(24, 10))
    container = getattr(fused, name)(nn.Linear(24, 10), AFTER[name])
    layer = layer_like(getattr(dynamic, name), container, plain)
    plain.per_row = layer.per_row = per_row
    torch.testing.assert_close(layer(X), AFTER[name](plain(X)), rtol=1e-6, atol=1e-6)
    assert layer._get_name() == f"DynamicQuantized{name}"


@pytest.mark.parametrize("name", AFTER)
def test_dynamic_from_reference(name):
    container = getattr(fused, name)(nn.Linear(24, 10), AFTER[name])
    scheme = {"qscheme": qtensor.per_tensor_affine, "dtype": qtensor.qint8,
              "scale": 0.01, "zero_point": 0}  # fmt: skip
    expected = container(X)
    container[0] = qnn.quantized.reference.Linear.from_float(container[0], scheme)
    layer = getattr(dynamic, name).from_reference(container)
    assert (layer(X) - expected).abs().max() < 0.1


@pytest.mark.parametrize(("name", "lowest"), [("LinearAdd", -math.inf), ("LinearAddReLU", 0)])
def test_addition(name, lowest):
    layer = filled(getattr(quantized, name)(24, 10), 0.02, 100)
    plain = nn.functional.linear(Q.dequantize(), layer.weight().dequantize(), layer.bias())
    extra = qtensor.quantize_per_tensor(torch.randn(7, 10), 0.05, 90, qtensor.quint8)
    expected = (plain + extra.dequantize()).clamp(lowest)
    result = layer(Q, extra)
    inside = (result.int_repr() > 0) & (result.int_repr() < 255)
    assert (result.dequantize() - expected)[inside].abs().max() <= 0.0101
    with pytest.raises(TypeError, match=f"Quantized{name} expects a quantized tensor as extra_in"):
        layer(Q, X)


def test_arguments_of_old():
    layer = quantized.LinearLeakyReLU(3, 4, 0.2, False)
    assert layer.negative_slope == 0.2 and layer.bias() is None
    assert str(layer) == (
        "QuantizedLinearLeakyReLU(in_features=3, out_features=4, scale=1.0, zero_point=0, "
        "qscheme=qtensor.per_channel_affine, negative_slope=0.2)"
    )
    assert quantized.LinearTanh(3, 4, True, qtensor.qint8)._get_name() == "QuantizedLinearTanh"
    with pytest.raises(ValueError, match=r"weights of qtensor\.qint8"):
        quantized.LinearTanh(3, 4, True, qtensor.quint8)


def test_approximation_of_gelu():
    layer = quantized.LinearGELU(3, 4)
    assert layer.approximate == "none"
    layer.approximate = "tanh"
    assert layer.activation == "gelu_tanh" and "approximate='tanh'" in str(layer)
    with pytest.raises(ValueError, match="'none' or 'tanh', got 'erf'"):
        layer.approximate = "erf"


@pytest.mark.parametrize("name", [*AFTER, "LinearAdd", "LinearAddReLU", "LinearBn1d"])
def test_containers_take_what_they_are_named_after(name):
    with pytest.raises(TypeError, match=rf"{name} expects \(Linear"):
        second = () if name in AFTER else (torch.add,)
        third = (torch.relu,) if name == "LinearAddReLU" else ()
        getattr(fused, name)(nn.Conv1d(1, 1, 1), *(second or (nn.Conv1d(1, 1, 1),)), *third)


@pytest.mark.parametrize("name", ["LinearLeakyReLU", "LinearGELU", "LinearAddReLU"])
@pytest.mark.parametrize("strict", [True, False])
def test_export(name, strict):
    layer = filled(getattr(quantized, name)(24, 10, *([0.1] if "Leaky" in name else [])))
    extra = (torch.randn(7, 10),) if "Add" in name else ()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant, self.layer = qnn.quantized.Quantize(0.03, 100, qtensor.quint8), layer

        def forward(self, *inputs):
            return self.layer(*map(self.quant, inputs)).dequantize()

    model = Model()
    program = torch.export.export(model, (X, *extra), strict=strict)
    assert "qtensor.linear.default" in str(program.graph)
    assert torch.equal(program.module()(X, *extra), model(X, *extra))


def test_weight_only():
    layer = filled(qnn.quantized.weight_only.Linear(24, 10))
    expected = nn.functional.linear(X, layer.weight().dequantize(), layer.bias())
    torch.testing.assert_close(layer(X), expected, rtol=1e-5, atol=1e-5)
    assert str(layer) == (
        "WeightOnlyQuantizedLinear(in_features=24, out_features=10, dtype=qtensor.qint8, "
        "qscheme=qtensor.per_channel_affine)"
    )
    twin = qnn.quantized.weight_only.Linear(24, 10)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin(X), layer(X))
    with pytest.raises(TypeError, match="WeightOnlyQuantizedLinear expects a float32 tensor"):
        layer(Q)
    program = torch.export.export(layer, (X,), strict=True)
    assert "qtensor.linear_weight_only" in str(program.graph)
    assert torch.equal(program.module()(X), layer(X))


@pytest.mark.parametrize("kind", [qnn.quantized.weight_only.Linear, qnn.quantized.dynamic.Linear])
def test_float_layers_from_reference(kind):
    module = nn.Linear(24, 10)
    scheme = {"qscheme": qtensor.per_tensor_affine, "dtype": qtensor.qint8,
              "scale": 0.01, "zero_point": 0}  # fmt: skip
    reference = qnn.quantized.reference.Linear.from_float(module, scheme)
    layer = kind.from_reference(reference)
    assert torch.equal(layer.weight(), reference.get_quantized_weight())
    torch.testing.assert_close(layer(X), reference(X), atol=0.05, rtol=0)


def test_functions():
    layer = filled(qnn.quantized.Linear(24, 10), 0.02, 100)
    arguments = (Q, layer.weight(), layer.bias(), layer.scale, layer.zero_point)
    fused_layers = {
        ops.linear: qnn.quantized.Linear(24, 10),
        ops.linear_relu: quantized.LinearReLU(24, 10),
        ops.linear_tanh: quantized.LinearTanh(24, 10),
        ops.linear_leaky_relu: quantized.LinearLeakyReLU(24, 10, 0.3),
    }
    for function, module in fused_layers.items():
        module.load_state_dict(layer.state_dict())
        slope = (0.3,) if function is ops.linear_leaky_relu else ()
        result = function(*arguments, *slope)
        assert torch.equal(result.int_repr(), module(Q).int_repr())
    added = quantized.LinearAdd(24, 10)
    added.load_state_dict(layer.state_dict())
    extra = qtensor.quantize_per_tensor(torch.randn(7, 10), 0.05, 90, qtensor.quint8)
    result = ops.linear(*arguments, residual=extra)
    assert torch.equal(result.int_repr(), added(Q, extra).int_repr())
    for function, kind in (
        (ops.linear_dynamic, qnn.quantized.dynamic.Linear),
        (ops.linear_weight_only, qnn.quantized.weight_only.Linear),
    ):
        module = filled(kind(24, 10))
        assert torch.equal(function(X, module.weight(), module.bias()), module(X))
