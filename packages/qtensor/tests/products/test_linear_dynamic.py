"""Dynamic linear layers against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops.linear_dynamic import linear_dynamic, linear_dynamic_reference

from .common import (
    CHANNELS,
    DEPTHS,
    ROWS,
    check_operator,
    exact_sums,
    generators,
    on_every_isa,
    threads,
    weights,
    zero_points_of,
)

TINY = np.finfo(np.float32).tiny


def quantized_rows(values, quant_max, per_row):
    """Integers, scales and zero points of each row, as the reference's docstring tells."""
    low = np.minimum(values.min(1, initial=0), 0).astype(np.float64)
    high = np.maximum(values.max(1, initial=0), 0).astype(np.float64)
    if not per_row:
        low, high = np.full_like(low, low.min(initial=0)), np.full_like(high, high.max(initial=0))
    scale = np.maximum(((high - low) / quant_max).astype(np.float32), TINY)
    zero_point = np.minimum(np.rint(-low / scale.astype(np.float64)), quant_max)
    t = values * (np.float32(1) / scale)[:, None]
    q = np.rint(np.clip(t, -zero_point[:, None], (quant_max - zero_point)[:, None]))
    return (q + zero_point[:, None]).astype(np.int64), scale, zero_point.astype(np.int64)


def expected_output(input, weight, scales, zero_points, bias, quant_max, per_row):
    q, row_scales, row_zero_points = quantized_rows(input.numpy(), quant_max, per_row)
    assert q.min(initial=0) >= 0 and q.max(initial=0) <= quant_max
    centred = torch.from_numpy(q - row_zero_points[:, None])
    y = exact_sums(centred, 0, weight, zero_points).astype(np.float32) * scales.numpy()
    y = y * row_scales[:, None]
    return y if bias is None else y + bias.numpy()


@given(
    generators,
    ROWS,
    CHANNELS,
    DEPTHS,
    st.sampled_from([1, 15, 127, 128, 255]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1e-30, 1.0, 1e30]),
)
def test_linear_dynamic(
    rng, rows, channels, depth, quant_max, per_row, asymmetric, with_bias, size
):  # fmt: skip
    offsets = rng.choice([-5, 0, 0.3, 5], size=(rows, 1))
    input = torch.from_numpy((rng.normal(size=(rows, depth)) + offsets) * size).float()
    weight = weights(rng, (channels, depth), "small")
    zero_points = zero_points_of(rng, channels, asymmetric)
    scales = torch.from_numpy(rng.uniform(1e-4, 1e-2, channels)).float()
    bias = torch.from_numpy(rng.normal(0, size, channels)).float() if with_bias else None
    args = (input, weight, scales, zero_points, bias, quant_max, per_row)
    result = on_every_isa(linear_dynamic, *args)
    np.testing.assert_array_equal(result.numpy(), expected_output(*args))
    assert torch.equal(result, linear_dynamic_reference(*args))


def test_it_is_close_to_float():
    rng = np.random.default_rng(0)
    input = torch.from_numpy(rng.normal(size=(64, 384))).float()
    weight, scales = weights(rng, (96, 384), "small"), torch.full((96,), 0.002)
    exact = input.double() @ (weight.double() * scales.double()[:, None]).t()
    error = (linear_dynamic(input, weight, scales, None, None) - exact).norm() / exact.norm()
    assert error < 0.01


@pytest.mark.parametrize("bounds", [(0.0, None), (0.0, 6.0), (None, -1.0), (-1.0, 1.0)])
def test_activations(bounds):
    rng = np.random.default_rng(0)
    input = torch.from_numpy(rng.normal(size=(9, 40))).float()
    args = (input, weights(rng, (20, 40), "small"), torch.full((20,), 0.01), None, None)
    expected = linear_dynamic(*args).clamp(*bounds)
    assert torch.equal(on_every_isa(linear_dynamic, *args, 255, True, *bounds), expected)
    assert torch.equal(linear_dynamic_reference(*args, 255, True, *bounds), expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", [0, 7, 8, 63, 66])
def test_a_row_that_is_not_finite_gives_nan(bad, at):
    input = torch.randn(5, 67)
    input[2, at] = bad
    args = (input, torch.ones(20, 67, dtype=torch.int8), torch.ones(20), None, torch.ones(20))
    for bounds in ((None, None), (0.0, 6.0)):
        for call in (linear_dynamic, linear_dynamic_reference):
            result = call(*args, 255, True, *bounds)
            assert result[2].isnan().all()
            assert result[[0, 1, 3, 4]].isfinite().all()
            assert call(*args, 255, False, *bounds).isnan().all()
    on_every_isa(linear_dynamic, *args)


def test_extreme_rows():
    high = torch.finfo(torch.float32).max / 2
    input = torch.zeros(5, 8)
    input[1, :2] = torch.tensor([high, -high])
    input[2, 0] = 1e-45  # a denormal number
    input[3] = 7.0
    input[4] = -7.0
    weight = torch.eye(8, dtype=torch.int8)[:2]
    result = on_every_isa(linear_dynamic, input, weight, torch.ones(2), None, None)
    assert torch.equal(result, linear_dynamic_reference(input, weight, torch.ones(2), None, None))
    assert result.isfinite().all()
    assert torch.equal(result[0], torch.zeros(2))
    assert torch.allclose(result[1], torch.tensor([high, -high]), rtol=0.01)
    assert torch.allclose(result[3:], input[3:, :2])


@pytest.mark.parametrize("shape", [(64,), (0, 64), (2, 3, 64), (5, 64)])
def test_leading_dimensions(shape):
    args = (torch.randn(shape), torch.ones(3, 64, dtype=torch.int8), torch.ones(1), None, None)
    result = linear_dynamic(*args)
    assert result.shape == (*shape[:-1], 3)
    assert torch.equal(result, linear_dynamic_reference(*args))
    check_operator(linear_dynamic, args)


def test_strided_arguments():
    rng = np.random.default_rng(0)
    input = torch.randn(2, 64, 9).transpose(1, 2)[:, ::2]
    weight = weights(rng, (64, 40), "small").t()[::2]
    args = (input, weight, torch.rand(40)[::2], torch.arange(40)[::2], torch.rand(40)[::2])
    assert torch.equal(on_every_isa(linear_dynamic, *args), linear_dynamic_reference(*args))


@pytest.mark.parametrize("rows", [1, 7, 130])
def test_threads_do_not_change_results(rows):
    args = (torch.randn(rows, 67), weights(np.random.default_rng(0), (99, 67), "small"))
    args = (*args, torch.rand(99), None, None)
    expected = linear_dynamic(*args)
    for count in (1, 2, 5):
        with threads(count):
            assert torch.equal(linear_dynamic(*args), expected)


GOOD = {
    "input": torch.zeros(2, 8),
    "weight": torch.zeros(5, 8, dtype=torch.int8),
    "weight_scales": torch.ones(5),
    "weight_zero_points": None,
    "bias": None,
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": torch.zeros(2, 8).double()}, TypeError, "float32 input, got torch.float64"),
        ({"input": torch.zeros(2, 9)}, ValueError, r"\(\.\.\., 8\).*\(2, 9\)"),
        ({"weight": torch.zeros(5, 8)}, TypeError, "int8 weight of 2 dimensions"),
        ({"weight_scales": torch.ones(6)}, ValueError, r"weight_scales of shape \(5,\)"),
        ({"bias": torch.ones(1)}, ValueError, r"bias of shape \(5,\)"),
        ({"quant_max": 256}, ValueError, "quant_max within 1 … 255, got 256"),
        ({"quant_max": 0}, ValueError, "quant_max within 1 … 255, got 0"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        linear_dynamic(**(GOOD | change))
