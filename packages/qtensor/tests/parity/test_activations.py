"""Activations, multiplication and joining of quantized tensors beside torch's legacy ones.

Legacy computes in float32, with vectorised approximations of exp and the like and with fused
multiply-adds, so a value near a tie may go the other way: results differ by one step at most, and
seldom. Where legacy is wrong, the test says how.
"""

import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

import qtensor
from qtensor import ops
from qtensor.nn import quantized as modules

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def _legacy() -> Iterator[None]:
    if not hasattr(torch, "quantize_per_tensor"):
        pytest.skip("this torch has no legacy quantization")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def pair(shape=(2, 6, 9, 9), scale=0.04, zero_point=100, dtype="quint8"):
    x = torch.randn(shape) * 50 * scale
    ours = qtensor.quantize_per_tensor(x, scale, zero_point, getattr(qtensor, dtype))
    return ours, torch.quantize_per_tensor(x, scale, zero_point, getattr(torch, dtype))


def check(ours, theirs, share=0.03):
    assert ours.q_scale() == pytest.approx(theirs.q_scale(), rel=1e-6)
    assert ours.q_zero_point() == theirs.q_zero_point()
    difference = (ours.int_repr().int() - theirs.int_repr().int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() <= share


FUNCTIONS = [
    torch.sigmoid,
    torch.tanh,
    F.hardsigmoid,
    F.relu,
    F.relu6,
    F.gelu,
    lambda q: F.leaky_relu(q, 0.1),
    lambda q: F.hardtanh(q, -0.5, 1.5),
    lambda q: torch.clamp(q, -0.5, 1.5),
]


@pytest.mark.parametrize("dtype", ["quint8", "qint8"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_that_know_their_output(function, dtype):
    ours, theirs = pair(zero_point=20, dtype=dtype)
    check(function(ours), function(theirs))


@pytest.mark.parametrize("dtype", ["quint8", "qint8"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sigmoid", (1 / 256, 0)),
        ("hardswish", (0.05, 10)),
        ("elu", (0.05, 30, 1.5)),
        ("celu", (0.05, 30, 1.5)),
        ("threshold", (0.3, 0.1)),
        ("add_scalar", (0.37,)),
        ("add_scalar", (-20.0,)),
        ("add_scalar", (20.0,)),
        ("add_scalar_relu", (0.37,)),
        ("mul_scalar", (0.7,)),
        ("mul_scalar", (-0.7,)),
        ("mul_scalar", (0.0,)),
        ("mul_scalar_relu", (-0.7,)),
    ],
)
def test_operators(name, arguments, dtype):
    ours, theirs = pair(zero_point=20, dtype=dtype)
    legacy = getattr(torch.ops.quantized, name)
    check(getattr(ops, name)(ours, *arguments), legacy(theirs, *arguments))


@pytest.mark.parametrize("name", ["mul", "mul_relu"])
def test_mul(name):
    a, p = pair(scale=0.03)
    b, q = pair(scale=0.05, zero_point=120)
    theirs = getattr(torch.ops.quantized, name)(p, q, 0.1, 70)
    check(getattr(ops, name)(a, b, 0.1, 70), theirs)


@pytest.mark.parametrize("name", ["cat", "cat_relu"])
def test_cat(name):
    a, p = pair(scale=0.03)
    b, q = pair(scale=0.05, zero_point=120)
    theirs = getattr(torch.ops.quantized, name)([p, q], 1, 0.06, 70)
    check(getattr(ops, name)([a, b], 1, 0.06, 70), theirs)


def test_legacy_prelu_is_often_one_too_low():
    ours, theirs = pair()
    slopes, peers = pair((6,), 1 / 256, 0)
    result = ops.prelu(ours, slopes, 0.03, 90)
    legacy = torch.ops.quantized.prelu(theirs, peers, 0.03, 90)
    check(result, legacy, share=0.15)
    exact = F.prelu(ours.dequantize().double(), slopes.dequantize().double()) / 0.03 + 90
    exact = exact.clamp(0, 255)
    assert (result.int_repr() - exact).abs().max() <= 0.5 + 1e-4
    assert (legacy.int_repr() - exact).abs().max() > 0.6


@pytest.mark.parametrize("dim", [1, -1])
def test_softmax(dim):
    ours, theirs = pair()
    legacy = torch.ops.quantized.softmax(theirs, dim, 1 / 256, 0)
    check(ops.softmax(ours, dim, 1 / 256, 0), legacy)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ELU", (0.05, 30, 1.5)),
        ("Hardswish", (0.05, 10)),
        ("LeakyReLU", (0.05, 30, 0.2)),
        ("Sigmoid", (1 / 256, 0)),
        ("Softmax", (1, 1 / 256, 0)),
        ("ReLU6", ()),
    ],
)
def test_modules(name, arguments):
    ours, theirs = pair()
    legacy = getattr(torch.ao.nn.quantized, name)(*arguments)
    made = getattr(modules, name)(*arguments)
    check(made(ours), legacy(theirs))
    for attribute in ("scale", "zero_point", "alpha", "negative_slope", "dim"):
        if hasattr(legacy, attribute):
            expected = float(getattr(legacy, attribute))
            assert getattr(made, attribute) == pytest.approx(expected, rel=1e-6)
