"""The steps of an LSTM against NumPy: int64 sums, float32 products, float64 tables."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops.lstm import STAGES, lstm, lstm_reference

from .common import (
    activations,
    check_operator,
    exact_sums,
    generators,
    on_every_isa,
    requantized,
    threads,
    weights,
    zero_points_of,
)

SCALES = {
    "gates": 0.06,
    "input_gate": 1 / 256,
    "forget_gate": 1 / 256,
    "cell_gate": 2 / 256,
    "output_gate": 1 / 256,
    "forgotten": 0.02,
    "added": 0.01,
    "cell": 0.03,
    "tanh": 2 / 256,
    "hidden": 0.008,
}
SIGMOIDS = ("input_gate", "forget_gate", "output_gate")


def arguments(
    rng, steps=3, batch=2, size=5, dtype=torch.uint8, of_state=(0.008, 0.03), highest=None,
    asymmetric=False, with_bias=True,
):  # fmt: skip
    """Arguments of the operator; ``highest`` bounds the integers of the hidden values."""
    info = torch.iinfo(dtype)
    middle = info.min + 128
    zero_points = {name: info.min if name in SIGMOIDS else middle for name in STAGES}
    maxs = dict.fromkeys(STAGES, info.max)
    if highest is not None:
        zero_points["hidden"], maxs["hidden"] = 64, highest
    hidden = activations(rng, (batch, size), "random", dtype, highest)
    return (
        activations(rng, (steps, batch, 4 * size), "random", dtype), 0.05, middle,
        hidden, of_state[0], zero_points["hidden"],
        activations(rng, (batch, size), "random", dtype), of_state[1], middle,
        weights(rng, (4 * size, size), "small"),
        torch.from_numpy(rng.uniform(1e-4, 1e-2, 4 * size)).float(),
        zero_points_of(rng, 4 * size, asymmetric),
        torch.from_numpy(rng.normal(0, 0.3, 4 * size)).float() if with_bias else None,
        [SCALES[name] for name in STAGES],
        [zero_points[name] for name in STAGES],
        [info.min] * len(STAGES),
        [maxs[name] for name in STAGES],
    )  # fmt: skip


def computed(
    input, input_scale, input_zero, hidden, hidden_scale, hidden_zero, cell, cell_scale, cell_zero,
    weight, weight_scales, weight_zeros, bias, *lists,
):  # fmt: skip
    """What the docstring of the operator says, in NumPy."""
    stages = dict(zip(STAGES, zip(*lists, strict=True), strict=True))
    of_hidden, of_cell = (hidden_scale, hidden_zero), (cell_scale, cell_zero)
    hidden, cell = (x.numpy().astype(np.int64) for x in (hidden, cell))

    def rounded(steps, name):
        _, zero, low, high = stages[name]
        return np.clip(np.rint(steps), low - zero, high - zero).astype(np.int64) + zero

    def table(x, of_x, function, name):
        return rounded(function((x - of_x[1]) * of_x[0]) / stages[name][0], name)

    def product(a, of_a, b, of_b, name):
        factor = np.float32(of_a[0] * of_b[0] / stages[name][0])
        return rounded(((a - of_a[1]) * (b - of_b[1])).astype(np.float32) * factor, name)

    def sum_of(a, of_a, b, of_b, name):
        scale = stages[name][0]
        a = (a - of_a[1]).astype(np.float32) * np.float32(of_a[0] / scale)
        b = (b - of_b[1]).astype(np.float32) * np.float32(of_b[0] / scale)
        return rounded(a + b, name)

    outputs = []
    for of_input in input.numpy():
        sums = exact_sums(torch.from_numpy(hidden), of_hidden[1], weight, weight_zeros)
        gates = requantized(
            sums, of_hidden[0], weight_scales, bias, *stages["gates"],
            None, None, of_input, input_scale, input_zero,
        )  # fmt: skip
        parts = np.split(gates, 4, axis=1)
        gate = {
            name: table(part, stages["gates"], np.tanh if name == "cell_gate" else sigmoid, name)
            for part, name in zip(parts, STAGES[1:5], strict=True)
        }
        forgotten = product(gate["forget_gate"], stages["forget_gate"], cell, of_cell, "forgotten")
        of = stages["input_gate"], stages["cell_gate"]
        added = product(gate["input_gate"], of[0], gate["cell_gate"], of[1], "added")
        cell = sum_of(forgotten, stages["forgotten"], added, stages["added"], "cell")
        tanh = table(cell, stages["cell"], np.tanh, "tanh")
        hidden = product(gate["output_gate"], stages["output_gate"], tanh, stages["tanh"], "hidden")
        of_hidden, of_cell = stages["hidden"], stages["cell"]
        outputs.append(hidden)
    return np.stack(outputs), cell


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def joined(*args):
    """Both results as one tensor."""
    outputs, cell = lstm(*args)
    return torch.cat([outputs, cell.unsqueeze(0)])


@given(
    generators,
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 3, 17]),
    st.sampled_from([1, 4, 16, 33]),
    st.sampled_from([torch.uint8, torch.int8]),
    st.sampled_from([(0.008, 0.03), (0.011, 0.03), (0.5, 0.5)]),
    st.booleans(),
    st.booleans(),
)
def test_steps(rng, steps, batch, size, dtype, of_state, asymmetric, with_bias):
    args = arguments(rng, steps, batch, size, dtype, of_state, None, asymmetric, with_bias)
    result = on_every_isa(joined, *args)
    expected = computed(*args)
    np.testing.assert_array_equal(result[:-1].numpy(), expected[0])
    np.testing.assert_array_equal(result[-1].numpy(), expected[1])
    reference = lstm_reference(*args)
    assert torch.equal(torch.cat([reference[0], reference[1].unsqueeze(0)]), result)


@given(generators, st.booleans())
def test_hidden_values_of_seven_bits(rng, beyond):
    """They take the fast schedule from the second step on; the first one looks."""
    args = list(arguments(rng, highest=127))
    if beyond:
        args[3][0, 0] = 200
    np.testing.assert_array_equal(on_every_isa(joined, *args)[:-1].numpy(), computed(*args)[0])


@given(generators, st.integers(1, 4))
def test_a_sequence_in_two_parts(rng, first):
    args = arguments(rng, steps=5)
    outputs, cell = lstm(*args)
    before, state = lstm(args[0][:first], *args[1:])
    hidden = before[-1], *args[4:6]
    after, last = lstm(args[0][first:], *args[1:3], *hidden, state, *args[7:])
    assert torch.equal(torch.cat([before, after]), outputs) and torch.equal(last, cell)


def test_threads_and_layouts():
    args = list(arguments(np.random.default_rng(0), steps=4, batch=40, size=64))
    expected = lstm(*args)
    for position, axes in ((0, (2, 0, 1)), (3, (1, 0)), (6, (1, 0))):
        x = args[position]
        args[position] = x.permute(axes).contiguous().permute(*np.argsort(axes).tolist())
    for count in (1, 2, 3):
        with threads(count):
            for result, wanted in zip(lstm(*args), expected, strict=True):
                assert torch.equal(result, wanted)


def test_no_batch():
    outputs, cell = lstm(*arguments(np.random.default_rng(0), batch=0))
    assert outputs.shape == (3, 0, 5) and cell.shape == (0, 5)


def test_operator():
    check_operator(lstm, arguments(np.random.default_rng(0)))


def test_the_state_is_not_written_to():
    args = arguments(np.random.default_rng(0))
    before = [args[3].clone(), args[6].clone()]
    lstm(*args)
    assert torch.equal(args[3], before[0]) and torch.equal(args[6], before[1])


@pytest.mark.parametrize(
    ("position", "value", "error", "message"),
    [
        (0, torch.zeros(3, 2, 20), TypeError, "uint8"),
        (0, torch.zeros(3, 2, 19, dtype=torch.uint8), ValueError, r"\(T, N, 20\)"),
        (0, torch.zeros(0, 2, 20, dtype=torch.uint8), ValueError, "1 or more"),
        (3, torch.zeros(1, 5, dtype=torch.uint8), ValueError, r"hidden of shape \(2, 5\)"),
        (6, torch.zeros(2, 5, dtype=torch.int8), TypeError, "cell of torch.uint8"),
        (4, 0.0, ValueError, "hidden_scale"),
        (8, 256, ValueError, "cell_zero_point"),
        (9, torch.zeros(20, 4, dtype=torch.int8), ValueError, r"\(4 \* H, H\)"),
        (10, torch.ones(3), ValueError, "weight_scales"),
        (13, [1.0] * 9, ValueError, "scales to hold one number for each of gates"),
        (13, [-1.0] * 10, ValueError, "gates_scale"),
        (15, [255] * 10, ValueError, "quant_min < quant_max"),
    ],
)
@pytest.mark.parametrize("how", ["eager", "fake"])
def test_bad_input(position, value, error, message, how):
    args = list(arguments(np.random.default_rng(0)))
    args[position] = value
    if how == "fake":
        args = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in args]
    with pytest.raises(error, match=message):
        lstm(*args)


def test_bad_input_after_good():
    args = list(arguments(np.random.default_rng(0)))
    lstm(*args)
    with pytest.raises(ValueError, match=r"cell of shape \(2, 5\)"):
        lstm(*args[:6], args[6][:1], *args[7:])
