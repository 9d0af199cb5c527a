"""Linear layers of a single row, whose weights have no schedule, against int64 sums."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._kernels import LONGEST_ROW
from qtensor._ops.linear import linear, linear_int32
from qtensor._ops.linear_dynamic import linear_dynamic, linear_dynamic_reference
from qtensor._packing import PackedWeights

from .common import (
    activations,
    exact_sums,
    generators,
    on_every_isa,
    patterns,
    requantized,
    threads,
    weights,
    zero_points_of,
)

# Around a step of 4, a group of 32 and two of them; a panel has 32 channels.
depths = st.sampled_from([1, 3, 4, 5, 31, 32, 33, 63, 64, 65, 200])
channels = st.sampled_from([1, 15, 16, 17, 31, 32, 33, 48, 100])


@given(generators, channels, depths, patterns, patterns, st.sampled_from([15, 127, 128, 255]))
def test_sums(rng, channels, depth, of_input, of_weight, highest):
    input = activations(rng, (1, depth), of_input, highest=highest)
    weight = weights(rng, (channels, depth), of_weight)
    for zero_points in (None, zero_points_of(rng, channels, True)):
        result = on_every_isa(linear_int32, input, 3, weight, zero_points)
        np.testing.assert_array_equal(result.numpy(), exact_sums(input, 3, weight, zero_points))


@pytest.mark.parametrize("activation", [15, 16, 127, 128, 240, 255])
@pytest.mark.parametrize("value", [-128, -127, 127])
@pytest.mark.parametrize("depth", [LONGEST_ROW, LONGEST_ROW + 1])  # the longest, and one too long
def test_no_sum_saturates(activation, value, depth):
    input = torch.full((1, depth), activation, dtype=torch.uint8)
    weight = torch.full((3, depth), value, dtype=torch.int8)
    result = on_every_isa(linear_int32, input, 0, weight)
    assert result.tolist() == [[depth * activation * value] * 3]


@given(generators, st.booleans(), st.booleans(), st.booleans(), st.sampled_from([1, 2]))
def test_output(rng, one_scale, with_bias, with_residual, count):
    """More channels than are finished at once, the last of them not a whole vector."""
    n, k = 32 * 16 * 2 + 21, 40
    input, weight = activations(rng, (1, k), "random"), weights(rng, (n, k), "random")
    scales = torch.from_numpy(rng.uniform(1e-3, 1e-2, 1 if one_scale else n)).float()
    bias = torch.from_numpy(rng.normal(0, 3, n)).float() if with_bias else None
    residual = activations(rng, (1, n), "random") if with_residual else None
    output = (0.3, 100, 0, 250)
    with threads(count):
        result = on_every_isa(
            linear, input, 0.1, 7, weight, scales, None, bias, *output, torch.uint8,
            residual=residual, residual_scale=0.2, residual_zero_point=9,
        )  # fmt: skip
    expected = requantized(
        exact_sums(input, 7, weight, None), 0.1, scales, bias, *output,
        residual=None if residual is None else residual.numpy(),
        residual_scale=0.2, residual_zero_point=9,
    )  # fmt: skip
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("quant_max", [100, 255])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_floats(quant_max, asymmetric):
    rng = np.random.default_rng(0)
    n, k = 100, 77
    input, weight = torch.randn(1, k), weights(rng, (n, k), "random")
    zero_points = zero_points_of(rng, n, asymmetric)
    arguments = input, weight, torch.rand(n) + 0.1, zero_points, torch.randn(n), quant_max
    result = on_every_isa(linear_dynamic, *arguments)
    assert torch.equal(result, linear_dynamic_reference(*arguments))


def test_rows_and_a_row_take_turns():
    """Each has packed weights of its own, from one cache."""
    rng, cache = np.random.default_rng(0), PackedWeights()
    weight = weights(rng, (33, 50), "random")
    for rows in (1, 2, 1, 7, 1):
        input = activations(rng, (rows, 50), "random")
        result = linear_int32(input, 5, weight, None, cache=cache)
        np.testing.assert_array_equal(result.numpy(), exact_sums(input, 5, weight, None))
