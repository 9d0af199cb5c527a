"""Products of two quantized tensors against int64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor import QParams, QTensor, ops, qint8, quantize_per_tensor, quint8
from qtensor._ops.matmul import (
    matmul,
    matmul_int32,
    matmul_int32_reference,
    matmul_reference,
)
from qtensor.nn.quantized import QFunctional

from .common import (
    CHANNELS,
    DEPTHS,
    ROWS,
    activations,
    check_operator,
    generators,
    on_every_isa,
    patterns,
    requantized,
    threads,
)

DTYPES = st.sampled_from([torch.uint8, torch.int8])
ONE = torch.ones(1)


def expected_bytes(a, a_scale, a_zero_point, b, b_scale, b_zero_point, *output):
    sums = np.matmul(
        a.numpy().astype(np.int64) - a_zero_point, b.numpy().astype(np.int64) - b_zero_point
    )
    return requantized(sums, a_scale * b_scale, ONE, None, *output)


def zero_point_in(rng, dtype):
    info = torch.iinfo(dtype)
    return int(rng.integers(info.min, info.max, endpoint=True))


@given(generators, ROWS, DEPTHS, CHANNELS, patterns, patterns, DTYPES, DTYPES, st.booleans())
def test_matrices(rng, rows, depth, columns, of_a, of_b, a_dtype, b_dtype, transposed):
    a = activations(rng, (rows, depth), of_a, a_dtype)
    b = activations(rng, (columns, depth), of_b, b_dtype).t()
    b = b if transposed else b.contiguous()
    parameters = (a, 0.03, zero_point_in(rng, a_dtype), b, 0.02, zero_point_in(rng, b_dtype))
    scale = float(np.sqrt(depth) * 0.05 + 1e-3)
    output = (scale, 100, 0, 255)
    result = on_every_isa(matmul, *parameters, *output, torch.uint8)
    np.testing.assert_array_equal(result.numpy(), expected_bytes(*parameters, *output))
    assert torch.equal(result, matmul_reference(*parameters, *output, torch.uint8))


SHAPES = [
    ((5,), (5,)),
    ((5,), (5, 3)),
    ((4, 5), (5,)),
    ((2, 4, 5), (5, 3)),
    ((4, 5), (2, 5, 3)),
    ((2, 4, 5), (2, 5, 3)),
    ((2, 1, 4, 5), (3, 5, 3)),
    ((3, 4, 5), (2, 1, 5, 3)),
    ((2, 3, 4, 5), (1, 3, 5, 17)),
    ((7, 2, 4, 5), (7, 2, 5, 3)),
    ((0, 5), (5, 3)),
    ((4, 0), (0, 3)),
    ((0, 4, 5), (1, 5, 3)),
    ((5,), (6, 5, 3)),
    ((6, 4, 5), (5,)),
]


@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES, ids=str)
def test_shapes(a_shape, b_shape):
    rng = np.random.default_rng(0)
    a = activations(rng, a_shape, "random")
    b = activations(rng, b_shape, "random", torch.int8)
    parameters = (a, 0.1, 9, b, 0.1, -7)
    args = (*parameters, 2.0, -3, -128, 127, torch.int8)
    result = on_every_isa(matmul, *args)
    assert result.shape == torch.matmul(a.float(), b.float()).shape
    np.testing.assert_array_equal(result.numpy(), expected_bytes(*parameters, 2.0, -3, -128, 127))
    assert torch.equal(result, matmul_reference(*args))
    check_operator(matmul, args)


def test_strided_matrices():
    rng = np.random.default_rng(0)
    heads = activations(rng, (2, 9, 3, 8), "random").permute(0, 2, 1, 3)
    for b in (heads.transpose(-1, -2), heads.flip(2).transpose(-1, -2)[:, :1]):
        args = (heads, 0.1, 128, b, 0.1, 120, 5.0, 128, 0, 255, torch.uint8)
        assert torch.equal(on_every_isa(matmul, *args), matmul_reference(*args))


@pytest.mark.parametrize("depth", [32768, 32772, 70001])
@pytest.mark.parametrize("zero_point", [0, 128, 255])
def test_sums_too_long_for_32_bits(depth, zero_point):
    a = torch.full((2, depth), 255, dtype=torch.uint8)
    b = torch.full((depth, 3), 255, dtype=torch.uint8)
    b[:, 1] = 0
    a[1] = torch.randint(0, 256, (depth,))
    parameters = (a, 1.0, 0, b, 1.0, zero_point)
    output = (5e7, 128, 0, 255)
    result = on_every_isa(matmul, *parameters, *output, torch.uint8)
    np.testing.assert_array_equal(result.numpy(), expected_bytes(*parameters, *output))


@pytest.mark.parametrize("batch", [1, 5])
def test_threads_do_not_change_results(batch):
    rng = np.random.default_rng(0)
    a, b = (activations(rng, (batch, 70, 70), "random") for _ in range(2))
    args = (a, 0.1, 9, b, 0.1, 7, 90.0, 3, 0, 255, torch.uint8)
    expected = matmul_reference(*args)
    for count in (1, 2, 5):
        with threads(count):
            assert torch.equal(matmul(*args), expected)


def test_bounds():
    a = torch.arange(12, dtype=torch.uint8).view(3, 4)
    args = (a, 0.1, 5, a.t(), 0.1, 5, 0.01, 100, 0, 255, torch.uint8, -0.1, 0.2)
    result = on_every_isa(matmul, *args)
    assert result.min() == 90 and result.max() == 120


def test_functions():
    x, y = torch.randn(2, 3, 4, 5).tanh(), torch.randn(3, 5, 6).tanh()
    a = quantize_per_tensor(x, 0.02, 120, quint8)
    b = quantize_per_tensor(y, 0.02, -3, qint8)
    result = ops.matmul(a, b, 0.05, 128)
    assert isinstance(result, QTensor) and result.qparams == QParams(0.05, 128, quint8)
    real = a.dequantize() @ b.dequantize()
    assert (result.dequantize() - real).abs().max() <= 0.0251
    functional = QFunctional()
    functional.scale, functional.zero_point = 0.05, 128
    assert torch.equal(functional.matmul(a, b).int_repr(), result.int_repr())
    with pytest.raises(TypeError, match="matmul expects a quantized tensor as qb"):
        ops.matmul(a, y, 0.05, 128)


def test_functional_keeps_to_its_range():
    functional = QFunctional()
    functional.output_qparams = QParams(1e-3, 60, quint8, None, 0, 127)
    a = quantize_per_tensor(torch.randn(3, 4), 0.02, 120, quint8)
    result = functional.matmul(a, a.t())
    assert result.int_repr().max() == 127 and result.qparams == functional.output_qparams


GOOD = {
    "a": torch.zeros(2, 3, dtype=torch.uint8), "a_scale": 0.1, "a_zero_point": 0,
    "b": torch.zeros(3, 4, dtype=torch.int8), "b_scale": 0.1, "b_zero_point": 0,
    "output_scale": 0.1, "output_zero_point": 0, "quant_min": 0, "quant_max": 255,
    "dtype": torch.uint8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"a": torch.zeros(2, 3)}, TypeError, "uint8 or int8 a, got torch.float32"),
        ({"b": torch.zeros(3, 4)}, TypeError, "uint8 or int8 b, got torch.float32"),
        ({"a_scale": 0.0}, ValueError, "positive, finite a_scale"),
        ({"b_zero_point": 200}, ValueError, "b_zero_point within -128 … 127"),
        ({"a": GOOD["a"].t()}, ValueError, r"got \(3, 2\) and \(3, 4\)"),
        ({"a": GOOD["a"][0, 0]}, ValueError, r"got \(\) and \(3, 4\)"),
        (
            {"a": GOOD["a"].expand(2, 2, 3), "b": GOOD["b"].expand(3, 3, 4)},
            ValueError,
            r"broadcast, got \(2, 2, 3\) and \(3, 3, 4\)",
        ),
        ({"b": GOOD["b"].to("meta")}, ValueError, "one device, got a of torch.uint8 on cpu and b"),
        ({"quant_max": 256}, ValueError, "quant_min < quant_max"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        matmul(**(GOOD | change))


# ---- sums without scales


@given(generators, ROWS, DEPTHS, CHANNELS, patterns, DTYPES, DTYPES, st.booleans())
def test_int32(rng, rows, depth, columns, pattern, a_dtype, b_dtype, transposed):
    a = activations(rng, (2, rows, depth), pattern, a_dtype)
    b = activations(rng, (2, columns, depth), pattern, b_dtype).mT
    b = b if transposed else b.contiguous()
    zero_points = zero_point_in(rng, a_dtype), zero_point_in(rng, b_dtype)
    result = on_every_isa(matmul_int32, a, zero_points[0], b, zero_points[1])
    a_exact, b_exact = (
        x.numpy().astype(np.int64) - zero for x, zero in zip((a, b), zero_points, strict=True)
    )
    assert result.dtype is torch.int32
    np.testing.assert_array_equal(result.numpy(), a_exact @ b_exact)
    assert torch.equal(result, matmul_int32_reference(a, zero_points[0], b, zero_points[1]))


def test_int32_of_vectors_and_of_batches_that_broadcast():
    a = torch.randint(0, 256, (3, 1, 4, 5)).to(torch.uint8)
    for b in (torch.randint(0, 256, shape).to(torch.uint8) for shape in ((2, 5, 6), (5, 6), (5,))):
        result = matmul_int32(a, 3, b, 7)
        assert torch.equal(result, torch.matmul(a.int() - 3, b.int() - 7))
        check_operator(matmul_int32, (a, 3, b, 7))
    with threads(2):
        assert torch.equal(matmul_int32(a, 3, b, 7), result)


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2, dtype=torch.uint8), TypeError, "uint8 or int8 a"),
        (torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(3, 2), TypeError, "uint8 or int8 b"),
        (
            torch.zeros(2, 3, dtype=torch.uint8),
            torch.zeros(2, 3, dtype=torch.uint8),
            ValueError,
            r"\(\.\.\., K, N\)",
        ),
    ],
)
def test_int32_of_bad_input(a, b, error, message):
    with pytest.raises(error, match=message):
        matmul_int32(a, 0, b, 0)
    with pytest.raises(error, match=message):
        matmul_int32(a.to("meta"), 0, b.to("meta"), 0)
