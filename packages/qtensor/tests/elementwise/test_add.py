"""Addition against NumPy in float64, which holds every float32 product and rounds as told."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtensor import _elementwise
from qtensor._ops.add import add, add_reference

from .common import LAYOUTS, check_operator, generators, integers, layouts, on_every_isa, shapes

RANGES = [
    (torch.uint8, 0, 255),
    (torch.int8, -128, 127),
    (torch.uint8, 0, 127),
    (torch.int8, -127, 127),
]
ACTIVATIONS = [(None, None), (0.0, None), (0.0, 6.0), (-1.0, 1.0), (None, -3.0), (1e9, None)]

scales = st.floats(-10, 10).map(lambda exponent: 2.0**exponent)
extreme_scales = st.sampled_from([1.2e-38, 1e-20, 1.0, 1e20, 3.4e38])


def expected_sum(a, a_scale, a_zp, b, b_scale, b_zp, scale, zp, lowest, highest, activation):
    def single(value):
        with np.errstate(over="ignore"):
            return np.float64(np.float32(value))

    with np.errstate(over="ignore", invalid="ignore"):
        products = [
            single((q.numpy().astype(np.int64) - q_zp) * single(q_scale / scale))
            for q, q_scale, q_zp in ((a, a_scale, a_zp), (b, b_scale, b_zp))
        ]
        t = single(products[0] + products[1])
    bounds = [lowest - zp, highest - zp]
    for i, bound in enumerate(activation):
        if bound is not None:
            bounds[i] = single(np.clip(bound / scale, lowest - zp, highest - zp))
    t = np.where(np.isnan(t), bounds[0], t)
    t = np.minimum(np.maximum(t, bounds[0]), bounds[1])
    return np.rint(t) + zp


def draw_zero_point(rng, lowest, highest):
    return int(rng.integers(lowest, highest, endpoint=True))


@given(
    generators,
    shapes(4),
    layouts,
    layouts,
    st.sampled_from(RANGES),
    st.sampled_from(ACTIVATIONS),
    st.one_of(st.tuples(scales, scales, scales), st.tuples(*[extreme_scales] * 3)),
)
def test_add(rng, shape, layout_a, layout_b, integer_range, activation, three_scales):
    dtype, lowest, highest = integer_range
    a, b = layout_a(integers(rng, shape, dtype)), layout_b(integers(rng, shape, dtype))
    info = torch.iinfo(dtype)
    a_zp, b_zp = (draw_zero_point(rng, info.min, info.max) for _ in range(2))
    zp = draw_zero_point(rng, lowest, highest)
    a_scale, b_scale, scale = three_scales
    args = a, a_scale, a_zp, b, b_scale, b_zp, scale, zp, lowest, highest
    result = on_every_isa(add, *args, *activation)
    assert result.dtype is dtype
    np.testing.assert_array_equal(result.numpy(), expected_sum(*args, activation))
    assert torch.equal(result, add_reference(*args, *activation))


# Ratios of scales as models have them, and those whose sums have many ties.
near_scales = st.one_of(
    st.floats(-3, 7).map(lambda exponent: 2.0**exponent), st.integers(-3, 6).map(lambda k: 2.0**k)
)


@settings(max_examples=30)
@given(st.sampled_from(RANGES), st.sampled_from(ACTIVATIONS), near_scales, near_scales, st.data())
def test_every_pair_of_integers(integer_range, activation, a_scale, b_scale, data):
    """So many that it is worth proving that fixed point gives the same, where it does."""
    dtype, lowest, highest = integer_range
    info = torch.iinfo(dtype)
    values = torch.arange(info.min, info.max + 1).to(dtype)
    a, b = values.repeat(256), values.repeat_interleave(256)
    a_zp, b_zp = data.draw(st.tuples(*[st.integers(info.min, info.max)] * 2))
    zp = data.draw(st.integers(lowest, highest))
    args = a, a_scale, a_zp, b, b_scale, b_zp, 1.0, zp, lowest, highest
    result = on_every_isa(add, *args, *activation)
    np.testing.assert_array_equal(result.numpy(), expected_sum(*args, activation))


def binary(a_multiplier, b_multiplier, count=1 << 16, name="add"):
    return _elementwise.Binary(
        name, 0, count, None, None, a_multiplier, 128, b_multiplier, 7, 100, -100.0, 155.0
    )


def test_most_sums_are_taken_in_fixed_point():
    rng = np.random.default_rng(0)
    multipliers = np.exp2(rng.uniform(-3, 2, (100, 2)))
    assert sum(binary(*each).in_fixed_point for each in multipliers) >= 85


@pytest.mark.parametrize(
    "other",
    [
        binary(0.61, 0.82, count=1000),  # the proof takes longer than the sums
        binary(0.61, 0.82, name="mul"),
        binary(0.5, 0.5),  # ties, which floors round up
        binary(0.5, 1e-30),
        binary(61.0, 60.0),  # beyond 16 bits
        binary(3e38, 3e38),
        binary(math.inf, 1.0),
        binary(0.0, 0.0),
    ],
)
def test_other_sums_are_not(other):
    assert not other.in_fixed_point


def test_ties_round_to_even():
    a = torch.arange(0, 64, dtype=torch.uint8)
    zeros = torch.zeros_like(a)
    result = on_every_isa(add, a, 0.5, 0, zeros, 0.5, 0, 1.0, 0, 0, 255)
    assert result.tolist() == [round(i / 2) for i in range(64)]


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((2, 16, 5, 7), (16, 1, 1)), ((16, 1, 1), (2, 16, 5, 7)), ((3, 1), (1, 40)), ((), (40,))],
)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_broadcasting(a_shape, b_shape, layout):
    rng = np.random.default_rng(0)
    a, b = layout(integers(rng, a_shape, torch.uint8)), layout(integers(rng, b_shape, torch.uint8))
    args = a, 0.1, 3, b, 0.2, 100, 0.25, 7, 0, 255
    result = on_every_isa(add, *args)
    assert result.shape == torch.broadcast_shapes(a_shape, b_shape)
    np.testing.assert_array_equal(result.numpy(), expected_sum(*args, (None, None)))
    check_operator(add, args)


def test_the_memory_format_is_kept():
    a = torch.zeros(2, 16, 5, 7, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    for b in (a, a.contiguous()):
        result = add(a, 0.1, 0, b, 0.1, 0, 0.1, 0, 0, 255)
        assert result.is_contiguous(memory_format=torch.channels_last)
        check_operator(add, (a, 0.1, 0, b, 0.1, 0, 0.1, 0, 0, 255, 0.0, 6.0))


def test_many_threads():
    rng = np.random.default_rng(0)
    a, b = (integers(rng, (300_001,), torch.uint8) for _ in range(2))

    def total(_=None):
        return add(a, 0.1, 3, b, 0.2, 100, 0.25, 7, 0, 255)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = total()
        torch.set_num_threads(3)
        with ThreadPoolExecutor(8) as pool:
            assert all(torch.equal(result, expected) for result in pool.map(total, range(40)))
    finally:
        torch.set_num_threads(before)


A = torch.zeros(2, 3, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"a": A.float()}, TypeError, r"a of dtype torch.uint8 or torch.int8, got torch.float32"),
        (
            {"b": A.to(torch.int8)},
            TypeError,
            "a and b of one dtype, got torch.uint8 and torch.int8",
        ),
        ({"b": A[:, :2]}, ValueError, r"broadcast together, got \(2, 3\) and \(2, 2\)"),
        ({"a_scale": 0.0}, ValueError, "positive, finite a_scale"),
        ({"b_scale": math.nan}, ValueError, "positive, finite b_scale"),
        ({"output_scale": math.inf}, ValueError, "positive, finite output_scale"),
        ({"a_zero_point": 256}, ValueError, "a_zero_point within 0 … 255, got 256"),
        ({"output_zero_point": 200}, ValueError, "output_zero_point within 0 … 127, got 200"),
        ({"quant_max": 300}, ValueError, "within 0 … 255 of torch.uint8, got 0 … 300"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {
        "a": A,
        "a_scale": 0.1,
        "a_zero_point": 0,
        "b": A,
        "b_scale": 0.1,
        "b_zero_point": 0,
        "output_scale": 0.1,
        "output_zero_point": 0,
        "quant_min": 0,
        "quant_max": 127,
        **change,
    }
    for call in (add, add.op):
        with pytest.raises(error, match=message):
            call(**arguments)
