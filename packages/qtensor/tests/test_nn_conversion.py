"""Modules made from float ones and from reference modules, and the fused float containers."""

from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qtensor
from qtensor import nn as qnn

QConfig = namedtuple("QConfig", "activation weight")


class Observer(nn.Module):
    """The least that an observer is: what it has seen, and parameters made of that."""

    def __init__(self, dtype, qscheme, quant_min, quant_max):
        super().__init__()
        self.dtype, self.qscheme = dtype, qscheme
        self.quant_min, self.quant_max = quant_min, quant_max
        self.ch_axis = 0

    def forward(self, x):
        self.seen = x.detach()
        return x

    def calculate_qparams(self):
        steps = self.quant_max - self.quant_min
        if self.qscheme is qtensor.per_tensor_affine:
            low, high = self.seen.min().clamp(max=0), self.seen.max().clamp(min=0)
            scale = (high - low) / steps
            return scale.reshape(1), (self.quant_min - low / scale).round().long().reshape(1)
        if self.qscheme is qtensor.per_channel_affine_float_qparams:
            low, high = self.seen.amin(1), self.seen.amax(1)
            scale = ((high - low) / steps).clamp(min=1e-6)  # the row of padding is all zeros
            return scale, -low / scale
        scale = self.seen.flatten(1).abs().amax(1) * 2 / steps
        return scale, torch.zeros(len(scale), dtype=torch.int64)


def activations():
    return Observer(qtensor.quint8, qtensor.per_tensor_affine, 0, 127)


def weights():
    return Observer(qtensor.qint8, qtensor.per_channel_symmetric, -128, 127)


def rows():
    return Observer(qtensor.quint8, qtensor.per_channel_affine_float_qparams, 0, 255)


def observed(module, *inputs):
    """``module`` as prepare and calibration leave it."""
    module.qconfig = QConfig(activations, weights)
    module.activation_post_process = activations()
    with torch.no_grad():
        module.activation_post_process(module(*inputs))
    return module.eval()


X = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
ROWS = X.flatten(2)[:, :, :8]


def conv():
    torch.manual_seed(0)
    return nn.Conv2d(4, 6, 3, padding=1, groups=2)


def linear():
    torch.manual_seed(0)
    return nn.Linear(8, 5)


FROM_FLOAT = {
    "Conv2d": (qnn.quantized.Conv2d, conv, (X,)),
    "Linear": (qnn.quantized.Linear, linear, (ROWS,)),
    "ConvReLU2d": (
        qnn.intrinsic.quantized.ConvReLU2d,
        lambda: qnn.intrinsic.ConvReLU2d(conv(), nn.ReLU()),
        (X,),
    ),
    "ConvHardtanh2d": (
        qnn.intrinsic.quantized.ConvHardtanh2d,
        lambda: qnn.intrinsic.ConvHardtanh2d(conv(), nn.ReLU6()),
        (X,),
    ),
    "LinearReLU": (
        qnn.intrinsic.quantized.LinearReLU,
        lambda: qnn.intrinsic.LinearReLU(linear(), nn.ReLU()),
        (ROWS,),
    ),
    "LinearHardtanh": (
        qnn.intrinsic.quantized.LinearHardtanh,
        lambda: qnn.intrinsic.LinearHardtanh(linear(), nn.Hardtanh(-0.2, 0.4)),
        (ROWS,),
    ),
    "LinearLeakyReLU": (
        qnn.intrinsic.quantized.LinearLeakyReLU,
        lambda: qnn.intrinsic.LinearLeakyReLU(linear(), nn.LeakyReLU(0.3)),
        (ROWS,),
    ),
    "LinearTanh": (
        qnn.intrinsic.quantized.LinearTanh,
        lambda: qnn.intrinsic.LinearTanh(linear(), nn.Tanh()),
        (ROWS,),
    ),
    "LinearGELU": (
        qnn.intrinsic.quantized.LinearGELU,
        lambda: qnn.intrinsic.LinearGELU(linear(), nn.GELU("tanh")),
        (ROWS,),
    ),
    "LinearAdd": (
        qnn.intrinsic.quantized.LinearAdd,
        lambda: qnn.intrinsic.LinearAdd(linear(), torch.add),
        (ROWS, ROWS[..., :5] * 2),
    ),
    "LinearAddReLU": (
        qnn.intrinsic.quantized.LinearAddReLU,
        lambda: qnn.intrinsic.LinearAddReLU(linear(), torch.add, F.relu),
        (ROWS, ROWS[..., :5] * 2),
    ),
    "ConvAdd2d": (
        qnn.intrinsic.quantized.ConvAdd2d,
        lambda: qnn.intrinsic.ConvAdd2d(conv(), torch.add),
        (X, X.repeat(1, 2, 1, 1)[:, :6]),
    ),
    "ConvAddReLU2d": (
        qnn.intrinsic.quantized.ConvAddReLU2d,
        lambda: qnn.intrinsic.ConvAddReLU2d(conv(), torch.add, F.relu),
        (X, X.repeat(1, 2, 1, 1)[:, :6]),
    ),
}


def check_close(quantized, float_module, inputs, steps):
    quantizer = activations()
    quantizer.quant_max = 255
    given = []
    for x in inputs:
        quantizer(x)
        given.append(qtensor.quantize_per_tensor(x, *quantizer.calculate_qparams(), qtensor.quint8))
    result = quantized(*given)
    expected = float_module(*inputs)
    assert result.qparams.quant_max == 127 and result.int_repr().max() <= 127
    assert (result.dequantize() - expected).abs().max() <= steps * result.q_scale()


@pytest.mark.parametrize("name", FROM_FLOAT)
def test_from_float_is_close_to_float(name):
    module, make, inputs = FROM_FLOAT[name]
    float_module = observed(make(), *inputs)
    quantized = module.from_float(float_module)
    assert type(quantized) is module and not quantized.training
    with torch.no_grad():
        check_close(quantized, float_module, inputs, 3)


@pytest.mark.parametrize("name", FROM_FLOAT)
def test_from_reference_equals_from_float(name):
    module, make, inputs = FROM_FLOAT[name]
    float_module = observed(make(), *inputs)
    expected = module.from_float(float_module)
    inner = float_module[0] if isinstance(float_module, nn.Sequential) else float_module
    weight = expected.weight().qparams
    kind = getattr(qnn.quantized.reference, type(inner).__name__)
    reference = kind.from_float(
        inner,
        {
            "qscheme": weight.qscheme,
            "dtype": weight.dtype,
            "scale": weight.scale,
            "zero_point": weight.zero_point,
            "axis": weight.axis,
        },
    )
    assert torch.equal(reference.get_weight(), reference.get_quantized_weight().dequantize())
    if isinstance(float_module, nn.Sequential):
        float_module[0] = reference
        reference = float_module
    made = module.from_reference(reference, output_qparams=expected.output_qparams)
    assert torch.equal(made.weight(), expected.weight())
    assert torch.equal(made.bias(), expected.bias()) and str(made) == str(expected)
    made = module.from_reference(reference, 0.5, 7)
    assert made.output_qparams == qtensor.QParams(0.5, 7, qtensor.quint8)


def test_weight_fake_quant_goes_before_the_qconfig():
    trained = observed(linear(), ROWS)
    trained.weight_fake_quant = Observer(qtensor.qint8, qtensor.per_tensor_affine, -128, 127)
    trained.weight_fake_quant(torch.tensor([-4.0, 4.0]))
    seen = qnn.quantized.Linear.from_float(trained, use_precomputed_fake_quant=True)
    assert seen.weight().q_scale() == pytest.approx(8 / 255)
    anew = qnn.quantized.Linear.from_float(trained)
    assert anew.weight().q_scale() < 8 / 255 / 4


def test_dynamic_linear_takes_its_range_from_the_qconfig():
    module = linear()
    module.qconfig = QConfig(activations, weights)
    layer = qnn.quantized.dynamic.Linear.from_float(module)
    assert layer.reduce_range and "reduce_range=True" in repr(layer)
    module.qconfig = QConfig(lambda: Observer(None, None, 0, 255), weights)
    layer = qnn.quantized.dynamic.Linear.from_float(module)
    assert not layer.reduce_range
    assert (layer(ROWS) - module(ROWS)).abs().max() < 0.03
    fused = qnn.intrinsic.LinearReLU(module, nn.ReLU())
    fused.qconfig = module.qconfig
    relu = qnn.intrinsic.quantized.dynamic.LinearReLU.from_float(fused)
    assert torch.equal(relu(ROWS), layer(ROWS).relu())


def test_embedding():
    torch.manual_seed(0)
    table = nn.Embedding(20, 6, padding_idx=0)
    table.qconfig = QConfig(None, rows)
    quantized = qnn.quantized.Embedding.from_float(table)
    indices = torch.tensor([[1, 19, 0]])
    assert (quantized(indices) - table(indices)).abs().max() < 0.02
    weight = quantized.weight().qparams
    reference = qnn.quantized.reference.Embedding.from_float(
        table,
        {
            "qscheme": weight.qscheme,
            "dtype": weight.dtype,
            "scale": weight.scale,
            "zero_point": weight.zero_point,
        },
    )
    assert torch.equal(reference(indices), quantized(indices))
    again = qnn.quantized.Embedding.from_reference(reference)
    assert torch.equal(again(indices), quantized(indices)) and again.padding_idx == 0


def test_reference_state_dict_round_trip():
    weight = torch.nn.Linear(4, 2)
    saved = qnn.quantized.reference.Linear.from_float(
        weight,
        {
            "qscheme": qtensor.per_tensor_affine,
            "dtype": qtensor.qint8,
            "scale": 0.01,
            "zero_point": 0,
        },
    )
    loaded = qnn.quantized.reference.Linear(4, 2)
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(loaded(torch.ones(1, 4)), saved(torch.ones(1, 4)))
    assert repr(saved).startswith("QuantizedLinear(Reference)")


def test_quantize_and_qfunctional_from_float():
    stub = observed(nn.Identity(), X)
    layer = qnn.quantized.Quantize.from_float(stub)
    assert layer.output_qparams.quant_max == 127
    assert (layer(X).dequantize() - X).abs().max() <= layer.scale
    functional = qnn.quantized.FloatFunctional()
    functional.activation_post_process = activations()
    functional.add(X, X)
    quantized = qnn.quantized.QFunctional.from_float(functional)
    assert (quantized.add(layer(X), layer(X)).dequantize() - 2 * X).abs().max() < 2 * layer.scale


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="Linear with a qconfig"):
        qnn.quantized.Linear.from_float(linear())
    module = linear()
    module.qconfig = QConfig(activations, weights)
    with pytest.raises(ValueError, match=r"calibrated Linear.*activation_post_process"):
        qnn.quantized.Linear.from_float(module)


@pytest.mark.parametrize(
    ("fused", "parts"),
    [
        (qnn.intrinsic.ConvReLU2d, (nn.Linear(2, 2), nn.ReLU())),
        (qnn.intrinsic.LinearReLU, (nn.Linear(2, 2), nn.Tanh())),
        (qnn.intrinsic.ConvBn2d, (nn.Conv2d(2, 2, 1), nn.BatchNorm1d(2))),
        (qnn.intrinsic.LinearBn1d, (nn.Linear(2, 2), nn.ReLU())),
        (qnn.intrinsic.ConvAdd2d, (nn.Linear(2, 2), torch.add)),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_fused_containers_check_their_parts(fused, parts):
    with pytest.raises(TypeError, match=rf"{fused.__name__} expects \(.*got \("):
        fused(*parts)


def test_fused_containers_run_their_parts():
    bn = nn.BatchNorm2d(6).eval()
    module = conv()
    fused = qnn.intrinsic.ConvBnReLU2d(module, bn, nn.ReLU())
    assert torch.equal(fused(X), F.relu(bn(module(X))))
