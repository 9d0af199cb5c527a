"""Linear layers against int64 sums and the requantization in NumPy."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops.linear import linear, linear_int32, linear_reference
from qtensor._packing import PackedWeights

from .common import (
    CHANNELS,
    DEPTHS,
    ROWS,
    activations,
    check_operator,
    exact_sums,
    generators,
    on_every_isa,
    patterns,
    requantized,
    threads,
    weights,
    zero_points_of,
)

dtypes = st.sampled_from([torch.uint8, torch.int8])
amaxes = st.sampled_from([127, 255])
ACTIVATIONS = [(None, None), (0.0, None), (0.0, 6.0), (-1.0, 1.0), (None, -3.0), (1e9, None)]


def zero_point_in(rng, dtype):
    info = torch.iinfo(dtype)
    return int(rng.integers(info.min, info.max, endpoint=True))


@given(generators, ROWS, CHANNELS, DEPTHS, patterns, patterns, dtypes, amaxes, st.booleans())
def test_sums(rng, rows, channels, depth, of_input, of_weight, dtype, amax, asymmetric):
    highest = amax if dtype is torch.uint8 else 127
    input = activations(rng, (rows, depth), of_input, dtype, highest)
    weight = weights(rng, (channels, depth), of_weight)
    zero_points = zero_points_of(rng, channels, asymmetric)
    zero_point = zero_point_in(rng, dtype)
    result = on_every_isa(linear_int32, input, zero_point, weight, zero_points)
    expected = exact_sums(input, zero_point, weight, zero_points)
    np.testing.assert_array_equal(result.numpy(), expected)


@given(
    generators,
    ROWS,
    CHANNELS,
    DEPTHS,
    dtypes,
    dtypes,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from([1e-6, 0.01, 0.37, 1.0, 1e6]),
)
def test_requantized(
    rng, rows, channels, depth, dtype, output_dtype, asymmetric, per_channel, with_bias,
    activation, output_scale,
):  # fmt: skip
    input = activations(rng, (rows, depth), "random", dtype)
    weight = weights(rng, (channels, depth), "small")
    zero_points = zero_points_of(rng, channels, asymmetric)
    scales = torch.from_numpy(rng.uniform(1e-4, 1e-2, channels if per_channel else 1)).float()
    bias = torch.from_numpy(rng.normal(0, 2, channels)).float() if with_bias else None
    info = torch.iinfo(output_dtype)
    quant_min, quant_max = (info.min, info.max) if rng.random() < 0.5 else (0, 127)
    output_zero_point = int(rng.integers(quant_min, quant_max, endpoint=True))
    output = (output_scale, output_zero_point, quant_min, quant_max)
    zero_point = zero_point_in(rng, dtype)
    operands = (input, 0.02, zero_point, weight, scales, zero_points, bias)

    residual = activations(rng, (rows, channels), "random", output_dtype)
    sums = exact_sums(input, zero_point, weight, zero_points)
    for extra in ((), (residual, 0.05, zero_point_in(rng, output_dtype))):
        args = (*operands, *output, output_dtype, *activation, *extra)
        result = on_every_isa(linear, *args)
        assert result.dtype is output_dtype
        added = (residual.numpy(), *extra[1:]) if extra else ()
        expected = requantized(sums, 0.02, scales, bias, *output, *activation, *added)
        np.testing.assert_array_equal(result.numpy(), expected)
        assert torch.equal(result, linear_reference(*args))


def test_rounding_differs_from_float64_only_near_a_tie():
    rng = np.random.default_rng(0)
    input, weight = activations(rng, (64, 256), "random"), weights(rng, (64, 256), "small")
    scales = torch.from_numpy(rng.uniform(1e-3, 1e-2, 64)).float()
    bias = torch.from_numpy(rng.normal(0, 5, 64)).float()
    result = linear(input, 0.02, 7, weight, scales, None, bias, 0.5, 128, 0, 255, torch.uint8)
    real = exact_sums(input, 7, weight, None) * (scales.numpy().astype(np.float64) * 0.02)
    real = (real + bias.numpy().astype(np.float64)) / 0.5
    inside = (real > -127) & (real < 126)
    assert inside.mean() > 0.5
    off = (result.numpy() != np.rint(real) + 128) & inside
    assert np.abs(real - np.floor(real) - 0.5)[off].max(initial=0) < 2**-12


def test_nan_and_infinity_are_defined():
    input = torch.zeros(1, 4, dtype=torch.uint8)
    weight = torch.zeros(3, 4, dtype=torch.int8)
    bias = torch.tensor([float("nan"), float("inf"), -float("inf")])
    for dtype, lowest, highest in ((torch.uint8, 3, 250), (torch.int8, -100, 100)):
        args = (input, 1.0, 0, weight, torch.ones(3), None, bias, 1.0, 5, lowest, highest, dtype)
        assert on_every_isa(linear, *args).tolist() == [[lowest, highest, lowest]]
        assert linear_reference(*args).tolist() == [[lowest, highest, lowest]]


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("depth", [32768, 32772, 70001])
def test_sums_too_long_for_32_bits(depth, asymmetric):
    input = torch.full((2, depth), 255, dtype=torch.uint8)
    input[1] = torch.randint(0, 256, (depth,))
    weight = torch.full((3, depth), -128, dtype=torch.int8)
    weight[1] = 127
    weight[2] = torch.randint(-128, 128, (depth,))
    zero_points = torch.tensor([127, -128, 5]) if asymmetric else None
    sums = exact_sums(input, 0, weight, zero_points)
    wrapped = on_every_isa(linear_int32, input, 0, weight, zero_points)
    np.testing.assert_array_equal(wrapped.numpy(), sums.astype(np.int32))
    args = (input, 1.0, 0, weight, torch.ones(3), zero_points, None, 5e7, 128, 0, 255, torch.uint8)
    result = on_every_isa(linear, *args)
    expected = requantized(sums, 1.0, torch.ones(3), None, 5e7, 128, 0, 255)
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("shape", [(64,), (0, 64), (2, 3, 64), (2, 0, 64), (5, 64)])
def test_leading_dimensions(shape):
    rng = np.random.default_rng(0)
    input, weight = activations(rng, shape, "random"), weights(rng, (20, 64), "small")
    args = (input, 0.1, 3, weight, torch.full((20,), 0.01), None, None, 0.5, 9, 0, 255, torch.uint8)
    result = linear(*args)
    assert result.shape == (*shape[:-1], 20)
    assert torch.equal(result, linear_reference(*args))
    check_operator(linear, args)


@pytest.mark.parametrize("sizes", [(3, 0, 5), (3, 8, 0), (0, 8, 5), (0, 0, 0)])
def test_zero_sizes(sizes):
    rows, depth, channels = sizes
    input = torch.ones(rows, depth, dtype=torch.uint8)
    weight = torch.ones(channels, depth, dtype=torch.int8)
    bias = torch.full((channels,), 2.0)
    for zero_points in (None, torch.ones(channels, dtype=torch.int64)):
        scales = torch.ones(channels)
        args = (input, 1.0, 1, weight, scales, zero_points, bias, 0.5, 3, 0, 255, torch.uint8)
        assert torch.equal(on_every_isa(linear, *args), torch.full((rows, channels), 7))


def test_strided_arguments():
    rng = np.random.default_rng(0)
    wide = activations(rng, (40, 2, 66), "random")
    input, residual = wide[::2, 1, 1:65], wide[1::2, 0, :60:3]
    weight = weights(rng, (64, 40), "small").t()[::2]
    scales, bias = torch.rand(40)[::2] / 100, torch.randn(40)[::2]
    zero_points = torch.randint(-9, 9, (40,))[::2]
    output = (0.5, 9, 0, 255, torch.uint8, None, None, residual, 0.3, 4)
    args = (input, 0.1, 3, weight, scales, zero_points, bias, *output)
    assert torch.equal(on_every_isa(linear, *args), linear_reference(*args))
    check_operator(linear, args)


@pytest.mark.parametrize("rows", [1, 7, 130])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_threads_do_not_change_results(rows, dtype):
    rng = np.random.default_rng(0)
    input, weight = activations(rng, (rows, 130), "random", dtype), weights(rng, (200, 130), "ends")
    zero_points = zero_points_of(rng, 200, True)
    expected = exact_sums(input, 3, weight, zero_points)
    for count in (1, 2, 5):
        with threads(count):
            result = linear_int32(input, 3, weight, zero_points)
        np.testing.assert_array_equal(result.numpy(), expected)


def test_callers_in_several_threads():
    rng = np.random.default_rng(0)
    weight, cache = weights(rng, (96, 256), "small"), PackedWeights()
    inputs = [activations(rng, (i % 9 + 1, 256), "random", highest=127 + i % 2 * 128)
              for i in range(64)]  # fmt: skip
    with threads(2), ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda x: linear_int32(x, 3, weight, cache=cache), inputs))
    for input, result in zip(inputs, results, strict=True):
        np.testing.assert_array_equal(result.numpy(), exact_sums(input, 3, weight, None))


GOOD = {
    "input": torch.zeros(2, 8, dtype=torch.uint8),
    "input_scale": 0.1,
    "input_zero_point": 3,
    "weight": torch.zeros(5, 8, dtype=torch.int8),
    "weight_scales": torch.ones(5),
    "weight_zero_points": None,
    "bias": None,
    "output_scale": 0.1,
    "output_zero_point": 3,
    "quant_min": 0,
    "quant_max": 255,
    "dtype": torch.uint8,
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": torch.zeros(2, 8)}, TypeError, "uint8 or int8 input, got torch.float32"),
        ({"input": torch.zeros(2, 7, dtype=torch.uint8)}, ValueError, r"\(\.\.\., 8\).*\(2, 7\)"),
        ({"input": torch.zeros((), dtype=torch.uint8)}, ValueError, r"\(\.\.\., 8\)"),
        ({"input_scale": 0.0}, ValueError, "positive, finite input_scale"),
        ({"input_scale": float("nan")}, ValueError, "positive, finite input_scale"),
        ({"input_zero_point": 256}, ValueError, "input_zero_point within 0 … 255, got 256"),
        ({"weight": torch.zeros(5, 8)}, TypeError, "int8 weight of 2 dimensions, got torch.float"),
        ({"weight": torch.zeros(8, dtype=torch.int8)}, TypeError, r"of shape \(8,\)"),
        ({"weight_scales": torch.ones(4)}, ValueError, r"weight_scales of shape \(5,\).*\(4,\)"),
        ({"weight_scales": torch.ones(5).double()}, TypeError, "float32 weight_scales"),
        ({"weight_zero_points": torch.ones(5)}, TypeError, "int64 weight_zero_points"),
        ({"weight_zero_points": torch.ones(1).long()}, ValueError, "weight_zero_points of shape"),
        ({"bias": torch.ones(4)}, ValueError, r"bias of shape \(5,\)"),
        ({"bias": torch.ones(5).half()}, TypeError, "float32 bias"),
        (
            {"bias": torch.ones(5, device="meta")},
            ValueError,
            "one device, got input of torch.uint8 on cpu and bias",
        ),
        ({"output_scale": -1.0}, ValueError, "positive, finite output_scale"),
        ({"output_zero_point": 300}, ValueError, "output_zero_point within 0 … 255"),
        ({"quant_max": 256}, ValueError, "quant_min < quant_max within 0 … 255"),
        ({"dtype": torch.int32}, TypeError, "output dtype of torch.uint8 or torch.int8"),
        ({"residual": torch.zeros(2, 5)}, ValueError, "residual like the output"),
        ({"residual": torch.zeros(5, dtype=torch.uint8)}, ValueError, "residual like the output"),
        (
            {"residual": torch.zeros(2, 5, dtype=torch.uint8), "residual_scale": 0.0},
            ValueError,
            "positive, finite residual_scale",
        ),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        linear(**(GOOD | change))


def test_bad_arguments_are_also_found_on_meta_tensors():
    on_meta = {k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in GOOD.items()}
    assert linear(**on_meta).shape == (2, 5)
    with pytest.raises(ValueError, match="output_zero_point"):
        linear(**(on_meta | {"output_zero_point": -1}))
