"""Activations fused into linear layers: every instruction set, and against float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops._activation import ACTIVATIONS, activated
from qtensor._ops.linear import linear, linear_reference
from qtensor._ops.linear_dynamic import linear_dynamic, linear_dynamic_reference

from .common import CHANNELS, ROWS, activations, check_operator, generators, on_every_isa, weights

SLOPE = 0.1
REAL = {
    "leaky_relu": lambda x: np.where(x > 0, x, x * SLOPE),
    "tanh": np.tanh,
    "gelu": lambda x: 0.5 * x * np.vectorize(math.erfc, [float])(-x / math.sqrt(2)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}
names = st.sampled_from(ACTIVATIONS[1:])


def through_linear(values, activation):
    """The activation of any float32 values, as every instruction set computes it."""
    channels = torch.zeros(len(values), 1, dtype=torch.int8)
    operands = (torch.zeros(1, 1), channels, torch.ones(1), None, torch.from_numpy(values))
    result = on_every_isa(linear_dynamic, *operands, activation=activation, negative_slope=SLOPE)
    return result[0].numpy()


def test_every_activation_is_tested():
    assert set(REAL) == set(ACTIVATIONS[1:])


@pytest.mark.parametrize("activation", REAL)
def test_against_float64(activation):
    rng = np.random.default_rng(0)
    spread = np.concatenate([np.linspace(-12, 12, 20001), rng.normal(size=5000) ** 9])
    values = np.concatenate([spread, 10.0 ** np.arange(-38, 2)]).astype(np.float32)
    values = values[np.abs(values) < 40]
    result = through_linear(values, activation)
    np.testing.assert_array_equal(
        activated(torch.from_numpy(values), activation, SLOPE).numpy(), result
    )
    real = REAL[activation](values.astype(np.float64))
    error = np.abs(result - real)
    if activation in ("tanh", "leaky_relu"):
        assert (error / np.maximum(np.abs(real), 1e-38)).max() < 2e-7
    else:
        assert (error / np.maximum(1, np.abs(values))).max() < 3e-7


@pytest.mark.parametrize("activation", REAL)
def test_extremes(activation):
    big = np.finfo(np.float32).max
    values = np.array([0, -0.0, big, -big, np.inf, -np.inf, 1e-45, -1e-45], dtype=np.float32)
    result = through_linear(values, activation)
    low = {"leaky_relu": np.float32(SLOPE) * -big, "tanh": -1.0}.get(activation, 0.0)
    high = 1.0 if activation == "tanh" else big
    np.testing.assert_allclose(result[:4], [0, 0, high, low], rtol=1e-6)
    np.testing.assert_allclose(result[5], low, rtol=1e-6)
    assert result[4] in (high, np.inf)
    assert np.abs(result[6:]).max() < 1e-44
    assert np.isnan(through_linear(np.full(3, np.nan, np.float32), activation)).all()


@given(generators, ROWS, CHANNELS, names, st.booleans(), st.sampled_from([1e-3, 0.02, 1.0, 1e5]))
def test_requantized(rng, rows, channels, activation, with_residual, output_scale):
    dtype = [torch.uint8, torch.int8][int(rng.integers(2))]
    input = activations(rng, (rows, 40), "random")
    weight = weights(rng, (channels, 40), "small")
    scales = torch.from_numpy(rng.uniform(1e-4, 1e-2, channels)).float()
    bias = torch.from_numpy(rng.normal(0, 2, channels)).float()
    residual = activations(rng, (rows, channels), "random", dtype) if with_residual else None
    lowest, highest = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    output = (output_scale, lowest + 90, lowest, highest)
    args = (input, 0.05, 100, weight, scales, None, bias, *output, dtype, None, 2.0)
    args = (*args, residual, 0.03, 7, activation, SLOPE)
    result = on_every_isa(linear, *args)
    assert torch.equal(result, linear_reference(*args))

    sums = (input.double() - 100) @ weight.double().t()
    real = sums * scales.double() * 0.05 + bias.double()
    if residual is not None:
        real += (residual.double() - 7) * 0.03
    steps = np.minimum(REAL[activation](real.numpy()), 2.0) / output_scale + output[1]
    # Half a step of rounding, and what float32 loses before the activation.
    loss = 1e-5 * (1 + real.abs().amax().item() if real.numel() else 0) / output_scale
    assert np.abs(result.numpy() - steps.clip(lowest, highest)).max(initial=0) <= 0.5 + loss


@given(generators, ROWS, CHANNELS, names, st.booleans())
def test_dynamic(rng, rows, channels, activation, per_row):
    input = torch.from_numpy(rng.normal(size=(rows, 40))).float()
    weight = weights(rng, (channels, 40), "small")
    scales = torch.from_numpy(rng.uniform(1e-4, 1e-2, channels)).float()
    args = (input, weight, scales, None, None, 255, per_row)
    before = linear_dynamic(*args)
    result = on_every_isa(linear_dynamic, *args, -0.5, 2.0, activation, SLOPE)
    assert torch.equal(result, linear_dynamic_reference(*args, -0.5, 2.0, activation, SLOPE))
    assert torch.equal(result, activated(before, activation, SLOPE).clamp(-0.5, 2.0))


def test_sums_too_long_for_32_bits():
    rng = np.random.default_rng(0)
    input, weight = activations(rng, (3, 40000), "random"), weights(rng, (20, 40000), "small")
    for activation in REAL:
        args = (input, 1e-4, 128, weight, torch.full((20,), 1e-2), None, None, 0.01, 128, 0, 255)
        args = (*args, torch.uint8, None, None, None, 1.0, 0, activation)
        assert torch.equal(on_every_isa(linear, *args), linear_reference(*args))


GOOD = (torch.zeros(2, 8), torch.zeros(5, 8, dtype=torch.int8), torch.ones(5), None, None)


def test_registered():
    check_operator(linear_dynamic, (*GOOD, 255, True, None, None, "gelu"))


@pytest.mark.parametrize(
    ("activation", "slope", "message"),
    [("GELU", 0.1, "activation out of .*'gelu_tanh', got 'GELU'"), ("", math.nan, "finite neg")],
)
def test_bad_activations(activation, slope, message):
    with pytest.raises(ValueError, match=message):
        linear_dynamic(*GOOD, activation=activation, negative_slope=slope)
