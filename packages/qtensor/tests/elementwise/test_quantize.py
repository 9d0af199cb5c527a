"""Quantize and dequantize against NumPy computations in float64 and int64."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qtensor._ops import quantize as ops

from .common import LAYOUTS, check_operator, generators, integers, layouts, on_every_isa, shapes

DTYPES = [torch.uint8, torch.int8, torch.int32]
FULL = {dtype: (torch.iinfo(dtype).min, torch.iinfo(dtype).max) for dtype in DTYPES}
RANGES = [*((dtype, *FULL[dtype]) for dtype in DTYPES)]
RANGES += [(torch.uint8, 0, 127), (torch.int8, -127, 127), (torch.int32, -5, 1_000_000)]

ranges = st.sampled_from(RANGES)
scales = st.floats(-100, 100).map(lambda exponent: float(np.float32(2.0**exponent)))


def float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def expected_integers(
    x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, lowest: int, highest: int
) -> np.ndarray:
    """A product of two float32 is exact in float64, so rounding it once gives float32's."""
    with np.errstate(over="ignore", invalid="ignore"):
        t = float32(x.astype(np.float64) * float32(1.0 / scale.astype(np.float64)))
    t = np.where(np.isnan(t), -np.inf, t)
    return (np.rint(np.clip(t, lowest - zero_point, highest - zero_point)) + zero_point).astype(
        np.int64
    )


def values_around(
    rng: np.random.Generator, shape: tuple[int, ...], scale: float, spread: float = 300.0
) -> Tensor:
    """Values within and beyond the range, many of them at ties, some of them special."""
    steps = rng.uniform(-spread, spread, shape)
    kind = rng.random(shape)
    steps = np.where(kind < 0.4, np.floor(steps) + 0.5, steps)
    with np.errstate(over="ignore"):
        x = (steps * scale).astype(np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38, 1e-45], np.float32)
    return torch.tensor(np.where(kind > 0.9, rng.choice(special, shape), x))


@given(generators, shapes(4), layouts, ranges, scales, st.floats(0, 1))
def test_quantize_per_tensor(rng, shape, layout, integer_range, scale, position):
    dtype, lowest, highest = integer_range
    zero_point = lowest + round(position * (highest - lowest))
    x = layout(values_around(rng, shape, scale))
    result = on_every_isa(ops.quantize_per_tensor, x, scale, zero_point, lowest, highest, dtype)
    expected = expected_integers(x.numpy(), np.float32(scale), zero_point, lowest, highest)
    assert result.dtype is dtype
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ties_round_to_even(dtype):
    x = torch.arange(-40, 40) * 0.25 + 0.125  # ties are at the odd multiples of 0.125
    result = on_every_isa(ops.quantize_per_tensor, x, 0.25, 50, 0, 127, dtype)
    ties = [round(i + 0.5) + 50 for i in range(-40, 40)]  # Python rounds ties to even
    assert result.tolist() == ties


@pytest.mark.parametrize(("dtype", "lowest", "highest"), RANGES)
def test_special_values(dtype, lowest, highest):
    x = torch.tensor([math.nan, -math.inf, math.inf, -3e38, 3e38, -0.0] * 12)
    zero_point = lowest + 3
    result = on_every_isa(ops.quantize_per_tensor, x, 1e-30, zero_point, lowest, highest, dtype)
    assert result.tolist() == [lowest, lowest, highest, lowest, highest, zero_point] * 12


@given(generators, shapes(4), layouts, st.sampled_from(DTYPES), scales, st.floats(0, 1))
def test_dequantize_per_tensor(rng, shape, layout, dtype, scale, position):
    lowest, highest = FULL[dtype]
    zero_point = lowest + round(position * (highest - lowest))
    q = layout(integers(rng, shape, dtype))
    result = on_every_isa(ops.dequantize_per_tensor, q, scale, zero_point)
    with np.errstate(over="ignore"):
        difference = float32((q.numpy().astype(np.int64) - zero_point).astype(np.float32))
        expected = (difference * scale).astype(np.float32)
    np.testing.assert_array_equal(result.numpy(), expected)


@given(generators, shapes(4), layouts, ranges, st.integers(-4, 3), st.booleans())
def test_per_channel(rng, shape, layout, integer_range, axis, real_zero_points):
    dtype, lowest, highest = integer_range
    axis = axis % len(shape)
    along = [1] * len(shape)
    along[axis] = shape[axis]
    channel_scales = np.exp2(rng.uniform(-60, 60, shape[axis])).astype(np.float32)
    x = layout(values_around(rng, shape, 1.0) * torch.tensor(channel_scales).reshape(along))
    if real_zero_points:
        if dtype is not torch.uint8:
            return
        points = rng.uniform(-300, 300, shape[axis]).astype(np.float32)
    else:
        points = rng.integers(lowest, highest, shape[axis], endpoint=True)
    parameters = torch.tensor(channel_scales), torch.tensor(points), axis - len(shape)

    q = on_every_isa(ops.quantize_per_channel, x, *parameters, lowest, highest, dtype)
    per_element = channel_scales.reshape(along), points.reshape(along)
    if real_zero_points:
        with np.errstate(over="ignore", invalid="ignore"):
            product = float32(x.numpy().astype(np.float64) * float32(1.0 / per_element[0]))
            t = float32(product + per_element[1])
        expected = np.rint(np.clip(np.where(np.isnan(t), -np.inf, t), lowest, highest))
    else:
        expected = expected_integers(x.numpy(), *per_element, lowest, highest)
    np.testing.assert_array_equal(q.numpy(), expected)

    back = on_every_isa(ops.dequantize_per_channel, q, *parameters)
    with np.errstate(over="ignore"):
        difference = (q.numpy().astype(np.float64) - per_element[1]).astype(np.float32)
        np.testing.assert_array_equal(back.numpy(), difference * per_element[0])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_reference_and_fake_agree_with_the_kernels(layout):
    x = layout(values_around(np.random.default_rng(0), (2, 3, 5, 7), 0.1))
    per_channel = torch.rand(3) + 0.01, torch.tensor([0, 7, 100]), 1
    real = per_channel[0], torch.tensor([0.5, 7.25, 100.0]), 1
    cases = [
        (ops.quantize_per_tensor, ops.quantize_per_tensor_reference, (x, 0.1, 9, 0, 127, d))
        for d in DTYPES
    ]
    cases += [
        (ops.quantize_per_channel, ops.quantize_per_channel_reference, (x, *p, 0, 127, d))
        for p in (per_channel, real)
        for d in (DTYPES if p is per_channel else [torch.uint8])
    ]
    for kernel, reference, args in cases:
        q = kernel(*args)
        assert torch.equal(q, reference(*args))
        check_operator(kernel, args)
        back = (q, 0.1, 9) if kernel is ops.quantize_per_tensor else (q, *args[1:4])
        kind = "per_tensor" if kernel is ops.quantize_per_tensor else "per_channel"
        dequantize = getattr(ops, f"dequantize_{kind}")
        assert torch.equal(dequantize(*back), getattr(ops, f"dequantize_{kind}_reference")(*back))
        check_operator(dequantize, back)


@pytest.mark.parametrize("shape", [(2, 16, 6, 5), (1, 16, 1, 1), (3, 1, 4, 4)])
def test_dense_layouts_are_kept(shape):
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.rand(shape).contiguous(memory_format=memory_format)
        q = ops.quantize_per_tensor(x, 0.1, 0, 0, 255, torch.uint8)
        assert q.stride() == x.stride()
        assert ops.dequantize_per_tensor(q, 0.1, 0).stride() == x.stride()


def test_an_expanded_input():
    x = torch.tensor([[0.5], [1.0]]).expand(2, 40)
    q = on_every_isa(ops.quantize_per_tensor, x, 0.5, 0, 0, 255, torch.uint8)
    assert q.tolist() == [[1] * 40, [2] * 40]


def test_more_threads_give_the_same():
    x = torch.randn(700_001)
    single = torch.get_num_threads()
    q = ops.quantize_per_tensor(x, 0.01, 100, 0, 255, torch.uint8)
    back = ops.dequantize_per_tensor(q, 0.01, 100)
    rows = x[:700_000].reshape(1000, 700)
    parameters = torch.rand(700) + 0.01, torch.randint(0, 255, (700,)), 1
    per_channel = ops.quantize_per_channel(rows, *parameters, 0, 255, torch.uint8)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(ops.quantize_per_tensor(x, 0.01, 100, 0, 255, torch.uint8), q)
            assert torch.equal(ops.dequantize_per_tensor(q, 0.01, 100), back)
            assert torch.equal(
                ops.quantize_per_channel(rows, *parameters, 0, 255, torch.uint8), per_channel
            )
    finally:
        torch.set_num_threads(single)


def test_callers_in_several_threads():
    inputs = [torch.randn(50_000 + i) for i in range(8)]

    def quantize(x: Tensor) -> Tensor:
        return ops.quantize_per_tensor(x, 0.02, 100, 0, 255, torch.uint8)

    expected = [quantize(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for result, wanted in zip(pool.map(quantize, inputs), expected, strict=True):
                assert torch.equal(result, wanted)


X = torch.zeros(2, 3)
GOOD = {"input": X, "scale": 0.1, "zero_point": 3, "quant_min": 0, "quant_max": 127}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": X.double()}, TypeError, r"float32 input, got torch.float64 of shape \(2, 3\)"),
        ({"input": X.int()}, TypeError, "float32 input, got torch.int32"),
        ({"dtype": torch.float32}, TypeError, "a dtype out of torch.uint8.*got torch.float32"),
        ({"scale": 0.0}, ValueError, "positive, finite scale.*got 0.0"),
        ({"scale": -1.0}, ValueError, "got -1.0"),
        ({"scale": math.nan}, ValueError, "got nan"),
        ({"scale": math.inf}, ValueError, "got inf"),
        ({"scale": 1e-40}, ValueError, "got 1e-40"),
        ({"zero_point": 128}, ValueError, "zero_point within 0 … 127, got 128"),
        ({"zero_point": -1}, ValueError, "zero_point within 0 … 127, got -1"),
        ({"quant_max": 256}, ValueError, "within 0 … 255 of torch.uint8, got 0 … 256"),
        ({"quant_min": 127}, ValueError, "quant_min < quant_max"),
    ],
)
def test_bad_input_per_tensor(change, error, message):
    arguments = {**GOOD, "dtype": torch.uint8, **change}
    for call in (ops.quantize_per_tensor, ops.quantize_per_tensor.op):
        with pytest.raises(error, match=message):
            call(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"axis": 2}, ValueError, r"an axis of input, which has shape \(2, 3\), got 2"),
        ({"scales": torch.ones(2)}, ValueError, r"scales of shape \(3,\).*got shape \(2,\)"),
        ({"scales": torch.ones(3, 1)}, ValueError, r"got shape \(3, 1\)"),
        ({"scales": torch.ones(3).double()}, TypeError, "float32 scales"),
        ({"scales": torch.tensor([1.0, 0.0, 1.0])}, ValueError, "positive, finite scales"),
        ({"scales": torch.tensor([1.0, math.nan, 1.0])}, ValueError, "positive, finite scales"),
        ({"zero_points": torch.tensor([0, 200, 0])}, ValueError, "zero_points within 0 … 127"),
        ({"zero_points": torch.zeros(3).int()}, TypeError, "int64 or float32 zero_points"),
        ({"zero_points": torch.zeros(3) + math.nan}, ValueError, "finite zero_points"),
        (
            {"zero_points": torch.zeros(3), "dtype": torch.int8},
            TypeError,
            "real .* zero_points need torch.uint8 integers, got torch.int8",
        ),
    ],
)
def test_bad_input_per_channel(change, error, message):
    arguments = {
        "input": X,
        "scales": torch.ones(3),
        "zero_points": torch.zeros(3, dtype=torch.int64),
        "axis": 1,
        "quant_min": 0,
        "quant_max": 127,
        "dtype": torch.uint8,
        **change,
    }
    with pytest.raises(error, match=message):
        ops.quantize_per_channel(**arguments)


def test_bad_input_to_dequantize():
    with pytest.raises(TypeError, match=r"input of dtype torch.uint8 or .*, got torch.float32"):
        ops.dequantize_per_tensor(X, 0.1, 0)
    with pytest.raises(ValueError, match="zero_point within -128 … 127, got 128"):
        ops.dequantize_per_tensor(X.to(torch.int8), 0.1, 128)
    with pytest.raises(ValueError, match=r"scales of shape \(2,\)"):
        ops.dequantize_per_channel(X.to(torch.int8), torch.ones(3), torch.zeros(3).long(), 0)
