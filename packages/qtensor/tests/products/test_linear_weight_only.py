"""Linear layers of float activations and int8 weights against float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops._activation import activated
from qtensor._ops.linear_weight_only import linear_weight_only, linear_weight_only_reference
from qtensor._packing import PackedWeights

from .common import (
    CHANNELS,
    DEPTHS,
    ROWS,
    check_operator,
    generators,
    on_every_isa,
    patterns,
    threads,
    weights,
    zero_points_of,
)


def float64(input, weight, scales, zero_points, bias):
    """The exact result and how far float32 sums may be from it."""
    centred = weight.double()
    if zero_points is not None:
        centred = centred - zero_points.double().unsqueeze(1)
    real = centred * scales.double().unsqueeze(1)
    exact, magnitude = input.double() @ real.t(), input.double().abs() @ real.abs().t()
    tolerance = 2 * input.shape[-1] * 2**-24 * magnitude
    if bias is not None:
        exact, tolerance = exact + bias.double(), tolerance + 2**-23 * bias.double().abs()
    return exact, tolerance + 2**-23 * exact.abs()


@given(generators, ROWS, CHANNELS, DEPTHS, patterns, st.booleans(), st.booleans(), st.booleans())
def test_linear(rng, rows, channels, depth, pattern, asymmetric, with_bias, per_channel):
    input = torch.from_numpy(rng.normal(size=(rows, depth)) * 10.0 ** rng.integers(-3, 4)).float()
    weight = weights(rng, (channels, depth), pattern)
    scales = torch.from_numpy(rng.uniform(1e-4, 1e-2, channels if per_channel else 1)).float()
    bias = torch.from_numpy(rng.normal(size=channels)).float() if with_bias else None
    args = (input, weight, scales, zero_points_of(rng, channels, asymmetric), bias)
    result = on_every_isa(linear_weight_only, *args)
    exact, tolerance = float64(*args)
    assert ((result - exact).abs() <= tolerance).all()
    assert ((linear_weight_only_reference(*args) - exact).abs() <= tolerance).all()


def test_long_rows():
    rng = np.random.default_rng(0)
    args = (torch.randn(3, 70001), weights(rng, (5, 70001), "random"), torch.ones(5), None, None)
    exact, tolerance = float64(*args)
    assert ((on_every_isa(linear_weight_only, *args) - exact).abs() <= tolerance).all()


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("bounds", [(None, None), (-0.5, 1.5)])
def test_activations(activation, bounds):
    rng = np.random.default_rng(0)
    args = (torch.randn(9, 40), weights(rng, (20, 40), "small"), torch.full((20,), 0.01), None)
    expected = activated(linear_weight_only(*args, None), activation, 0.2)
    expected = expected.clamp(*bounds) if bounds[0] else expected
    named = {"activation": activation, "negative_slope": 0.2}
    assert torch.equal(on_every_isa(linear_weight_only, *args, None, *bounds, **named), expected)
    other = linear_weight_only_reference(*args, None, *bounds, **named)
    torch.testing.assert_close(expected, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(64,), (0, 64), (2, 3, 64), (5, 64)])
def test_leading_dimensions(shape):
    args = (torch.randn(shape), torch.ones(3, 64, dtype=torch.int8), torch.ones(1), None, None)
    result = linear_weight_only(*args)
    assert result.shape == (*shape[:-1], 3)
    torch.testing.assert_close(result, args[0].sum(-1, keepdim=True).expand(result.shape))
    check_operator(linear_weight_only, args)


def test_strided_arguments():
    rng = np.random.default_rng(0)
    input = torch.randn(2, 64, 9).transpose(1, 2)[:, ::2]
    weight = weights(rng, (64, 40), "small").t()[::2]
    args = (input, weight, torch.rand(40)[::2], torch.arange(40)[::2], torch.rand(40)[::2])
    expected = linear_weight_only(*(x.contiguous() for x in args))
    assert torch.equal(on_every_isa(linear_weight_only, *args), expected)


@pytest.mark.parametrize("rows", [1, 7, 130])
def test_threads_do_not_change_results(rows):
    weight = weights(np.random.default_rng(0), (1999, 67), "small")
    args = (torch.randn(rows, 67), weight, torch.rand(1999), None, None)
    expected = linear_weight_only(*args)
    for count in (1, 2, 5):
        with threads(count):
            assert torch.equal(linear_weight_only(*args), expected)


def test_changes_are_noticed():
    cache, weight, bias = PackedWeights(), torch.ones(3, 8, dtype=torch.int8), torch.zeros(3)
    x = torch.ones(1, 8)
    for expected, change in ((8, lambda: weight.add_(1)), (16, lambda: bias.add_(1)), (17, None)):
        result = linear_weight_only(x, weight, torch.ones(1), None, bias, cache=cache)
        assert result.tolist() == [[expected] * 3]
        if change:
            change()


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
        ({"input": torch.zeros(2, 8).double()}, TypeError, r"float32 input, got torch\.float64"),
        ({"input": torch.zeros(2, 9)}, ValueError, r"\(\.\.\., 8\).*\(2, 9\)"),
        ({"weight": torch.zeros(5, 8)}, TypeError, "int8 weight of 2 dimensions"),
        ({"weight_scales": torch.ones(6)}, ValueError, r"weight_scales of shape \(5,\)"),
        ({"bias": torch.ones(1)}, ValueError, r"bias of shape \(5,\)"),
        ({"activation": "relu"}, ValueError, "activation out of .*got 'relu'"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        linear_weight_only(**(GOOD | change))
