"""The schedules that the packer makes: which kinds of step it emits, and that none saturates."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops.linear import linear_int32
from qtensor._packing import AMAX, schedule_stats

from .common import (
    DEPTHS,
    PATTERNS,
    activations,
    exact_sums,
    generators,
    on_every_isa,
    patterns,
    weights,
    worst_rows,
)


def repeated(*step, channels=16, steps=8):
    """A weight whose channels are all the same step of 4, over and over."""
    return torch.tensor(step, dtype=torch.int8).repeat(channels, steps)


def two_kinds_of_channel(first, second, steps=8):
    """Channels that alternate between two steps of 4."""
    return torch.tensor([first, second], dtype=torch.int8).repeat(8, steps)


def half_and_half(first, second):
    """Steps that alternate between two."""
    return torch.tensor([*first, *second], dtype=torch.int8).repeat(16, 4)


# What each case is, the weight, amax, and the expected (quads, pairs, single, wide) of its 8 steps.
KINDS = [
    ("small weights go in fours", repeated(1, 1, 1, 1), 255, (8, 0, 0, 0)),
    ("4 times 64 is the most in fours at 127", repeated(32, 32, -32, -32), 127, (8, 0, 0, 0)),
    ("one more is too much", repeated(33, 32, -32, -32), 127, (0, 8, 0, 0)),
    ("64 + 64 is the most that a pair holds at 127", repeated(64, 65, 64, 65), 127, (0, 8, 0, 0)),
    ("one more takes a centre", repeated(65, 65, 65, 65), 127, (0, 8, 0, 0)),
    ("at 127 any two steps do with one", repeated(127, 127, -128, -128), 127, (0, 8, 0, 0)),
    ("large and small go together", half_and_half([127] * 4, [2] * 4), 127, (0, 8, 0, 0)),
    ("64 + 64 is the most for one step at 255", repeated(64, 64, -64, -64), 255, (0, 8, 0, 0)),
    ("also downwards", repeated(-64, -64, -64, -64), 255, (0, 8, 0, 0)),
    ("one more needs another order", repeated(65, 65, -64, -64), 255, (0, 0, 8, 0)),
    ("or a complement", repeated(65, 65, 65, 65), 255, (0, 0, 8, 0)),
    ("in another order there may be pairs", repeated(127, 127, 0, 0), 255, (0, 8, 0, 0)),
    ("257 in all is the most for a centre", half_and_half([127, -1, 64, 64], [64, -65, 64, 64]),
     255, (0, 8, 0, 0)),
    ("another one is too much", half_and_half([127, -1, 65, -64], [64, -65, -64, 65]), 255,
     (0, 0, 8, 0)),
    ("opposite signs do not add up", repeated(127, -127, -127, 127), 255, (0, 0, 8, 0)),
    ("a lane of equal signs is divided", repeated(127, 127, -127, -127), 255, (0, 0, 8, 0)),
    ("in the only order that all channels allow",
     two_kinds_of_channel([100, 100, -100, -100], [100, -100, 100, -100]), 255, (0, 0, 8, 0)),
    ("complements make signs opposite", repeated(127, 127, 127, 127), 255, (0, 0, 8, 0)),
    ("of the first lane only", two_kinds_of_channel([100, 100, 100, -100], [-100, -100, 100, -100]),
     255, (0, 0, 8, 0)),
    ("of the second lane only", two_kinds_of_channel([100, -100, 100, 100], [1, 1, -100, -100]),
     255, (0, 0, 8, 0)),
    ("in all channels, or it is wide",
     two_kinds_of_channel([100, 100, 100, 100], [100, -100, -100, -100]), 255, (0, 0, 0, 8)),
    ("-128 has no opposite", repeated(-128, -128, -128, -128), 255, (0, 0, 0, 8)),
    ("but may have a neighbour's", repeated(-128, -127, -128, -127), 255, (0, 0, 8, 0)),
    ("one channel is enough", torch.cat([repeated(1, 1, 1, 1, channels=14),
                                         repeated(127, 127, 127, 127, channels=1),
                                         repeated(127, -127, -127, -127, channels=1)]), 255,
     (0, 0, 0, 8)),
]  # fmt: skip


@pytest.mark.parametrize(("weight", "amax", "expected"), [k[1:] for k in KINDS],
                         ids=[k[0] for k in KINDS])  # fmt: skip
def test_kinds_are_emitted_and_exact(weight, amax, expected):
    stats = schedule_stats(weight, amax)
    print(stats)
    assert stats == expected
    input = torch.cat([worst_rows(weight, amax), torch.full((1, 32), amax, dtype=torch.uint8)])
    result = on_every_isa(linear_int32, input, 0, weight)
    np.testing.assert_array_equal(result.numpy(), exact_sums(input, 0, weight, None))


def test_a_schedule_of_all_kinds():
    steps = ([1] * 4, [2] * 4, [127, -127, 127, -127], [127, 127, -127, -127], [-128] * 4)
    weight = torch.tensor(steps, dtype=torch.int8).flatten().repeat(40, 5)
    stats = schedule_stats(weight, 255)
    print(stats)
    assert min(stats) > 0
    input = worst_rows(weight, 255)
    result = on_every_isa(linear_int32, input, 0, weight)
    np.testing.assert_array_equal(result.numpy(), exact_sums(input, 0, weight, None))


@given(generators, st.sampled_from([1, 16, 20]), DEPTHS, patterns, st.sampled_from(AMAX))
def test_worst_activations_do_not_saturate(rng, channels, depth, pattern, amax):
    weight = weights(rng, (channels, depth), pattern)
    assert sum(schedule_stats(weight, amax)) == -(-channels // 16) * -(-depth // 4)
    input = worst_rows(weight, amax)
    result = on_every_isa(linear_int32, input, 0, weight)
    np.testing.assert_array_equal(result.numpy(), exact_sums(input, 0, weight, None))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_byte_above_the_range_is_enough_to_be_careful(pattern):
    rng = np.random.default_rng(0)
    weight = weights(rng, (48, 256), pattern)
    input = activations(rng, (9, 256), "highest", highest=127)
    input[4, 100] = 255
    result = on_every_isa(linear_int32, input, 0, weight)
    np.testing.assert_array_equal(result.numpy(), exact_sums(input, 0, weight, None))


@pytest.mark.parametrize("amax", AMAX)
def test_normal_weights_mostly_avoid_wide_steps(amax):
    """The shares that make the kernels fast; README.md gives them for real models."""
    weight = torch.from_numpy(np.random.default_rng(0).normal(0, 37, (256, 1024)))
    stats = schedule_stats(weight.round().clamp(-127, 127).to(torch.int8), amax)
    print(f"amax {amax}: {stats}")
    total = sum(stats)
    if amax == 127:
        assert stats.wide == 0 and stats.quads + stats.pairs > 0.99 * total
        assert stats.quads > 0.5 * total
    else:
        assert stats.wide < 0.15 * total and stats.pairs > 0.5 * total


def test_stats_print_as_shares():
    assert str(schedule_stats(repeated(1, 1, 1, 1), 127)) == ("T=4 100%, T=2 0%, T=1 0%, wide 0%")
    assert str(schedule_stats(torch.empty(0, 4, dtype=torch.int8), 127)) == (
        "T=4 0%, T=2 0%, T=1 0%, wide 0%"
    )
