"""Activation modules, functions of torch on quantized tensors, and what parameters they give."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qtensor
from qtensor import QParams, ops
from qtensor.nn import quantized as modules


class Observer(nn.Module):
    """Calibrated: quint8 of scale 0.02 and zero point 40, of half the range."""

    dtype, qscheme, quant_min, quant_max = qtensor.quint8, qtensor.per_tensor_affine, 0, 127

    def forward(self, x):
        return x

    def calculate_qparams(self):
        return torch.tensor([0.02]), torch.tensor([40])


@pytest.fixture(params=[qtensor.quint8, qtensor.qint8], ids=str)
def q(request):
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    return qtensor.quantize_per_tensor(x, 0.03, 17, request.param)


@pytest.mark.parametrize(
    ("float_module", "name", "text"),
    [
        (nn.ELU(0.5), "ELU", "QuantizedELU(alpha=0.5, scale="),
        (nn.Hardswish(), "Hardswish", "QuantizedHardswish(scale="),
        (nn.LeakyReLU(0.2), "LeakyReLU", "QuantizedLeakyReLU(negative_slope=0.2, scale="),
        (nn.Sigmoid(), "Sigmoid", "QuantizedSigmoid(scale="),
        (nn.Softmax(1), "Softmax", "QuantizedSoftmax(dim=1, scale="),
        (nn.PReLU(3), "PReLU", "QuantizedPReLU(scale="),
    ],
)
def test_modules(float_module, name, text):
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    q = qtensor.quantize_per_tensor(x, 0.03, 17, qtensor.quint8)
    float_module.activation_post_process = Observer()
    made = getattr(modules, name).from_float(float_module)
    assert repr(made).startswith(text)
    result = made(q)
    expected = made.output_qparams
    assert result.qparams == expected and expected.quant_max == 127
    low, high = ((bound - 40) * expected.scale for bound in (0, 127))
    exact = float_module(q.dequantize()).detach().clamp(low, high)
    assert (result.dequantize() - exact).abs().max() <= expected.scale * 0.5001

    assert torch.equal(made(x), float_module(x))  # on the other side of an eager model's stubs
    alike = [
        type(made).from_reference(float_module, output_qparams=expected),
        copy.deepcopy(made),
        torch.load(_saved(made), weights_only=False),
        type(made).from_reference(float_module, 0.5, 3),
    ]
    alike[-1].load_state_dict(made.state_dict())
    for other in alike:
        assert torch.equal(other(q).int_repr(), result.int_repr())


def _saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return file


def test_a_slope_for_each_channel_is_checked():
    prelu = modules.PReLU(0.1, 0, 3)
    prelu.set_weight(torch.tensor([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        prelu.set_weight(torch.ones(2))


@pytest.mark.parametrize(
    "function",
    [F.gelu, F.leaky_relu, lambda x: F.threshold(x, 0.1, 0.2), F.relu, F.softshrink],
)
def test_functions_that_keep_parameters(q, function):
    result = function(q)
    assert result.qparams == q.qparams
    error = (result.dequantize() - function(q.dequantize())).abs()
    assert error.max() <= q.q_scale() * 0.5001


FITTED = [
    *(F.silu, F.elu, F.mish, F.softsign, F.tanhshrink, F.logsigmoid),
    *(torch.cos, torch.erf, torch.exp, torch.expm1, torch.neg, torch.sin, torch.square),
]


@pytest.mark.parametrize("function", FITTED)
def test_other_functions_get_the_finest_scale_that_holds_them(q, function):
    result = function(q)
    every = torch.arange(q.qparams.quant_min, q.qparams.quant_max + 1)
    values = function((every - 17) * torch.tensor(0.03, dtype=torch.float64))
    low, high = (min(values.min().item(), 0), max(values.max().item(), 0))
    assert result.q_scale() == pytest.approx((high - low) / 255)
    error = (result.dequantize() - function(q.dequantize())).abs()
    assert error.max() <= result.q_scale() * 1.001  # the zero point is rounded too


@pytest.mark.parametrize("function", [F.silu, F.elu, F.leaky_relu, F.hardswish])
def test_in_place(q, function):
    target, expected = q.clone(), function(q.dequantize())
    assert function(target, inplace=True) is target
    assert target.qparams == q.qparams
    assert (target.dequantize() - expected).abs().max() <= q.q_scale() * 0.5001


def test_graphs_hold_operators_only(q):
    class Model(nn.Module):
        def forward(self, x):
            a = qtensor.quantize_per_tensor(x, 0.05, 10, qtensor.quint8)
            b = ops.cat([F.silu(a), ops.add_scalar(a, 0.5)], 1, 0.05, 10)
            return ops.mul(b, ops.softmax(b, 1, 1 / 256, 0), 0.01, 3).dequantize()

    x, model = q.dequantize(), Model()
    for strict in (False, True):
        program = torch.export.export(model, (x,), strict=strict)
        assert torch.equal(program.module()(x), model(x))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), model(x))


def test_requantize_moves_between_dtypes(q):
    for dtype in (qtensor.quint8, qtensor.qint8):
        moved = ops.requantize(q, QParams(0.06, 3, dtype))
        low, high = ((bound - 3) * 0.06 for bound in (dtype.quant_min, dtype.quant_max))
        assert moved.qdtype == dtype
        error = (moved.dequantize() - q.dequantize().clamp(low, high)).abs()
        assert error.max() <= 0.0301


@pytest.mark.parametrize("number", [0.3, -0.3, 100.0, -100.0])
def test_numbers(q, number):
    added = ops.add_scalar(q, number)
    assert (added.dequantize() - (q.dequantize() + number)).abs().max() <= added.q_scale() * 0.75
    scaled = ops.mul_scalar(q, number)
    torch.testing.assert_close(scaled.dequantize(), q.dequantize() * number)
    assert ops.add_scalar_relu(q, number).dequantize().min() >= 0
    assert ops.mul_scalar_relu(q, number).dequantize().min() >= 0


def test_stack(q):
    other = ops.requantize(q, QParams(0.05, 9, q.qdtype))
    result = ops.stack([q, other], 1)
    assert result.qparams == q.qparams and result.shape == (2, 2, 3, 4, 5)
    assert torch.equal(result[:, 0].int_repr(), q.int_repr())


def test_errors_name_the_operator(q):
    for call in (
        lambda x: ops.mul(x, q, 0.1, 0),
        lambda x: ops.cat([x], 0),
        lambda x: ops.elu(x, 0.1, 0),
        lambda x: ops.prelu(x, torch.ones(1), 0.1, 0),
        lambda x: ops.add_scalar(x, 1.0),
    ):
        with pytest.raises(TypeError, match=r"(mul|cat|elu|prelu|add_scalar) expects a quantized"):
            call(torch.ones(2))
    with pytest.raises(TypeError, match=r"softmax of qtensor.* gives"):
        wrong = qtensor.qint8 if q.qdtype == qtensor.quint8 else qtensor.quint8
        ops.softmax_to(q, 0, QParams(0.1, 0, wrong))


OF_NUMBERS = [
    lambda *numbers: modules.Hardswish(*numbers),
    lambda *numbers: modules.ELU(*numbers),
    lambda *numbers: modules.Sigmoid(*numbers),
    lambda *numbers: modules.Softmax(1, *numbers),
    lambda *numbers: modules.PReLU(*numbers),
    lambda *numbers: modules.Hardswish.from_reference(nn.Hardswish(), *numbers),
    lambda *numbers: modules.BatchNorm2d.from_reference(nn.BatchNorm2d(3), *numbers),
]


@pytest.mark.parametrize("make", OF_NUMBERS)
def test_a_scale_and_a_zero_point_hold_in_the_dtype_of_the_input(make, q):
    module = make(0.05, 10)
    state = {**module.state_dict(), "zero_point": torch.tensor(10)}  # int64, as legacy saves it
    loaded = make(1.0, 0)
    loaded.load_state_dict(state)
    for same in (module, copy.deepcopy(module), loaded):
        assert same(q).qparams == QParams(0.05, 10, q.qdtype)
    of_other_dtype = {qtensor.quint8: -3, qtensor.qint8: 200}[q.qdtype]
    module.zero_point = of_other_dtype
    with pytest.raises(ValueError, match=f"zero_point within .* got {of_other_dtype}"):
        module(q)
    if not isinstance(module, (modules.PReLU, modules.Softmax)):  # they keep their input's dtype
        module.output_qparams = QParams(0.05, 10, qtensor.quint8)
        assert module(q).qdtype is qtensor.quint8


def test_functions_of_modules_keep_the_dtype_of_their_input(q):
    plus = modules.QFunctional()
    plus.scale, plus.zero_point = 0.05, 10
    results = plus.add(q, q), plus.mul(q, q), plus.cat([q, q]), plus.matmul(q, q.mT)
    assert all(result.qparams == QParams(0.05, 10, q.qdtype) for result in results)
