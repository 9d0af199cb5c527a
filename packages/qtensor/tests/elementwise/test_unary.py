"""Tables, PReLU and softmax against their formulas in float64, and every byte there is."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import qtensor
from qtensor._ops.prelu import prelu, prelu_reference
from qtensor._ops.softmax import softmax, softmax_reference
from qtensor._ops.unary import FUNCTIONS, unary, unary_reference

from .common import LAYOUTS, check_operator, generators, integers, layouts, on_every_isa, shapes

BYTES = st.sampled_from([torch.uint8, torch.int8])

FORMULAS = {
    "abs": (abs, ()),
    "add": (lambda x, c: x + c, (0.7,)),
    "add_relu": (lambda x, c: max(x + c, 0), (0.7,)),
    "celu": (lambda x, a: max(x, 0) + min(0, a * math.expm1(x / a)), (1.5,)),
    "cos": (math.cos, ()),
    "div": (lambda x, c: x / c, (-1.7,)),
    "elu": (lambda x, a, s, i: s * (x if x > 0 else a * math.expm1(x * i)), (1.5, 1.1, 0.9)),
    "erf": (math.erf, ()),
    "exp": (math.exp, ()),
    "expm1": (math.expm1, ()),
    "gelu": (lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2, ()),
    "gelu_tanh": (
        lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        (),
    ),
    "hardshrink": (lambda x, c: x if abs(x) > c else 0, (0.3,)),
    "hardsigmoid": (lambda x: min(max(x + 3, 0), 6) / 6, ()),
    "hardswish": (lambda x: x * min(max(x + 3, 0), 6) / 6, ()),
    "leaky_relu": (lambda x, slope: x if x > 0 else slope * x, (0.2,)),
    "log": (lambda x: math.log(x) if x > 0 else -math.inf, ()),
    "log1p": (lambda x: math.log1p(x) if x > -1 else -math.inf, ()),
    "logsigmoid": (lambda x: -math.log1p(math.exp(-x)), ()),
    "mish": (lambda x: x * math.tanh(math.log1p(math.exp(x))), ()),
    "mul": (lambda x, c: x * c, (-1.7,)),
    "mul_relu": (lambda x, c: max(x * c, 0), (-1.7,)),
    "neg": (lambda x: -x, ()),
    "pow": (lambda x, n: x**n, (3.0,)),
    "rdiv": (lambda x, c: c / x if x else math.inf, (0.7,)),
    "reciprocal": (lambda x: 1 / x if x else math.inf, ()),
    "rsqrt": (lambda x: 1 / math.sqrt(x) if x > 0 else math.inf if x == 0 else -math.inf, ()),
    "rsub": (lambda x, c: c - x, (0.7,)),
    "selu": (
        lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
        (),
    ),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), ()),
    "silu": (lambda x: x / (1 + math.exp(-x)), ()),
    "sin": (math.sin, ()),
    "softplus": (lambda x, b, t: x if b * x > t else math.log1p(math.exp(b * x)) / b, (2.0, 8.0)),
    "softshrink": (lambda x, c: math.copysign(max(abs(x) - c, 0), x), (0.3,)),
    "softsign": (lambda x: x / (1 + abs(x)), ()),
    "sqrt": (lambda x: math.sqrt(x) if x >= 0 else -math.inf, ()),  # NaN becomes the lowest
    "square": (lambda x: x * x, ()),
    "sub": (lambda x, c: x - c, (0.7,)),
    "tanh": (math.tanh, ()),
    "tanhshrink": (lambda x: x - math.tanh(x), ()),
    "threshold": (lambda x, t, v: x if x > t else v, (0.1, -0.4)),
}


def full(dtype):
    info = torch.iinfo(dtype)
    return info.min, info.max


def every_byte(dtype):
    return torch.arange(256).to(torch.uint8).view(dtype)


def test_every_function_has_a_formula():
    assert FORMULAS.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtypes", [(torch.uint8, torch.int8), (torch.int8, torch.uint8)])
def test_functions(name, dtypes):
    dtype, output_dtype = dtypes
    formula, arguments = FORMULAS[name]
    q = every_byte(dtype)
    zp, output_zp, scale, output_scale = sum(full(dtype)) // 2, 10, 0.0317, 0.029
    args = q, scale, zp, name, list(arguments), output_scale, output_zp, *full(output_dtype)
    result = on_every_isa(unary, *args, output_dtype)
    assert torch.equal(result, unary_reference(*args, output_dtype))
    exact = [formula((v - zp) * scale, *arguments) / output_scale for v in q.tolist()]
    exact = np.clip(np.array(exact), *(bound - output_zp for bound in full(output_dtype)))
    # within rounding of float64 of a tie, either integer is right
    assert np.abs(result.int().numpy() - output_zp - exact).max() <= 0.5 + 1e-9


@given(generators, shapes(4), layouts, BYTES)
def test_layouts_and_sizes(rng, shape, layout, dtype):
    q = layout(integers(rng, shape, dtype))
    args = q, 0.1, 3, "neg", [], 0.1, sum(full(dtype)) - 3, *full(dtype), dtype
    result = on_every_isa(unary, *args)
    assert torch.equal(result, (sum(full(dtype)) - q.int()).to(dtype))


def test_every_entry_of_a_table_is_found_at_every_place():
    q = every_byte(torch.uint8).repeat(33)  # 33 * 256 is a multiple of neither vector nor tail
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(q)))
    args = q[order][:-5], 1.0, 255, "square", [], 255.5, 0, 0, 255, torch.uint8
    expected = ((255 - args[0].double()) ** 2 / 255.5).round().to(torch.uint8)
    assert torch.equal(on_every_isa(unary, *args), expected)


@given(
    generators, st.sampled_from([0, 1, 3, 32, 70]), st.sampled_from([1, 33, 200]), layouts, BYTES
)
def test_prelu(rng, channels, inner, layout, dtype):
    q = layout(integers(rng, (2, channels, inner, 1), dtype))
    zp, output_zp = (int(integers(rng, (1,), dtype)[0]) for _ in range(2))
    for count in (1, channels):
        slopes = torch.from_numpy(rng.normal(size=count).astype(np.float32))
        slopes[:1] = float(rng.choice([0.25, -3.0, 1e38, -1e38]))
        args = q, 0.1, zp, slopes, 0.03, output_zp, *full(dtype)
        result = on_every_isa(prelu, *args)
        difference = (q.numpy().astype(np.int64) - zp).astype(np.float32)
        with np.errstate(over="ignore"):
            steps = difference * np.float32(0.1 / 0.03)
            negative = steps * slopes.numpy().reshape(-1, 1, 1)
        steps = np.where(difference < 0, negative, steps).astype(np.float64)
        lowest, highest = (bound - output_zp for bound in full(dtype))
        expected = np.rint(np.clip(steps, lowest, highest)) + output_zp
        np.testing.assert_array_equal(result.numpy(), expected)
        assert torch.equal(result, prelu_reference(*args))


@given(generators, shapes(4).filter(len), layouts, BYTES, st.sampled_from([1e-3, 0.1, 5.0]))
def test_softmax(rng, shape, layout, dtype, scale):
    q = layout(integers(rng, shape, dtype))
    dim = int(rng.integers(-len(shape), len(shape)))
    args = q, scale, dim, 1 / 256, full(dtype)[0], *full(dtype)
    result = on_every_isa(softmax, *args)
    x = q.numpy().astype(np.float64) * scale
    if x.size:
        e = np.exp(x - x.max(dim, keepdims=True))
        exact = np.minimum(256 * e / e.sum(dim, keepdims=True), 255) + full(dtype)[0]
        assert np.abs(result.numpy() - exact).max() <= 0.5 + 1e-9
    assert (result.int() - softmax_reference(*args).int()).abs().sum() <= 1  # a tie


def test_registered():
    q = LAYOUTS["channels_last"](torch.zeros(2, 3, 4, 5, dtype=torch.uint8))
    range_ = 0.1, 0, 0, 255
    check_operator(unary, (q, 0.1, 3, "gelu", [], 0.1, 0, -128, 127, torch.int8))
    check_operator(prelu, (q, 0.1, 3, torch.ones(3), *range_))
    check_operator(softmax, (q, 0.1, 1, *range_))


def test_bad_input():
    q = torch.zeros(2, 3, dtype=torch.uint8)
    range_ = 0.1, 0, 0, 255
    for call in (unary, unary.op):
        with pytest.raises(ValueError, match=r"expected a function out of abs, .*, got 'sine'"):
            call(q, 0.1, 3, "sine", [], *range_, torch.uint8)
        with pytest.raises(TypeError, match=r"input of dtype torch.uint8 or torch.int8"):
            call(q.float(), 0.1, 3, "gelu", [], *range_, torch.uint8)
    for call in (prelu, prelu.op):
        with pytest.raises(ValueError, match="one slope or of 3, one for each channel"):
            call(q, 0.1, 3, torch.ones(2), *range_)
        with pytest.raises(TypeError, match="float32 weight"):
            call(q, 0.1, 3, torch.ones(3).double(), *range_)
    for call in (softmax, softmax.op):
        with pytest.raises(ValueError, match="expected dim to be one of"):
            call(q, 0.1, 2, *range_)
    tensor = qtensor.quantize_per_tensor(torch.ones(2), 1000.0, 0, qtensor.quint8)
    with pytest.raises(ValueError, match=r"exp of a quantized tensor .* is not finite"):
        torch.exp(tensor)
