"""Pooling against loops over windows, with exact integer and rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from qtensor._ops import pool as ops

from .common import check_operator, generators, integers, layouts, on_every_isa

CHANNELS = st.sampled_from([1, 3, 16, 31, 32, 33, 63, 64, 65, 100])
DTYPES = st.sampled_from([torch.uint8, torch.int8])
SIDES = st.integers(1, 9)


@st.composite
def windows(draw, dilated):
    """kernel_size, stride, padding, dilation."""
    pairs = [draw(st.tuples(*[st.integers(1, 4)] * 2)) for _ in range(2)]
    dilation = draw(st.tuples(*[st.integers(1, 3)] * 2)) if dilated else (1, 1)
    most = [(step * (size - 1) + 1) // 2 for size, step in zip(pairs[0], dilation, strict=True)]
    padding = tuple(draw(st.integers(0, limit)) for limit in most)
    return *map(list, pairs), list(padding), list(dilation)


def output_shape(images, kernel_size, stride, padding, dilation, ceil_mode):
    """torch's own rule, asked of torch; None where it has no output."""
    meta = torch.empty(1, 1, *images.shape[2:], device="meta")
    try:
        pooled = F.max_pool2d(meta, kernel_size, stride, padding, dilation, ceil_mode)
    except RuntimeError:
        return None
    return pooled.shape[2:]


def positions(index, size, kernel, stride, padding, dilation):
    taps = (index * stride - padding + i * dilation for i in range(kernel))
    return [tap for tap in taps if 0 <= tap < size]


def per_window(images, shape, rows, columns, reduce):
    """``reduce`` of each window, an array (batch, channels, rows, columns); NCHW."""
    pixels = images.numpy().astype(np.int64)
    output = np.zeros((*images.shape[:2], *shape), np.int64)
    for y in range(shape[0]):
        for x in range(shape[1]):
            window = pixels[:, :, rows(y)][..., columns(x)]
            output[:, :, y, x] = reduce(window, y, x)
    return output


def images_of(rng, layout, batch, channels, height, width, dtype):
    return layout(integers(rng, (batch, channels, height, width), dtype))


@given(
    generators,
    layouts,
    st.integers(0, 2),
    CHANNELS,
    SIDES,
    SIDES,
    DTYPES,
    windows(dilated=True),
    st.booleans(),
)
def test_max_pool2d(rng, layout, batch, channels, height, width, dtype, window, ceil_mode):
    images = images_of(rng, layout, batch, channels, height, width, dtype)
    shape = output_shape(images, *window, ceil_mode)
    assume(shape is not None)
    result = on_every_isa(ops.max_pool, images, *window, ceil_mode)

    axes = list(zip(*window, strict=True))
    smallest = torch.iinfo(dtype).min
    expected = per_window(
        images,
        shape,
        lambda y: positions(y, height, *axes[0]),
        lambda x: positions(x, width, *axes[1]),
        lambda pixels, y, x: pixels.max((2, 3), initial=smallest),
    )
    np.testing.assert_array_equal(result.numpy(), expected)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result, ops.max_pool_reference(images, *window, ceil_mode))


def rounded_means(pixels, zero_point, divisor, dtype):
    info = torch.iinfo(dtype)
    sums = (pixels - zero_point).sum((2, 3))
    # Fraction rounds ties to even, exactly.
    means = [round(Fraction(int(total), divisor)) for total in sums.flat]
    return np.clip(np.array(means, np.int64).reshape(sums.shape) + zero_point, info.min, info.max)


@given(
    generators,
    layouts,
    st.integers(0, 2),
    CHANNELS,
    SIDES,
    SIDES,
    DTYPES,
    windows(dilated=False),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, None, None, 1, 2, 6, -3, 7, 10**6]),
    st.integers(0, 255),
)
def test_avg_pool2d(
    rng,
    layout,
    batch,
    channels,
    height,
    width,
    dtype,
    window,
    ceil_mode,
    count_include_pad,
    divisor_override,
    zero_point,
):
    zero_point += torch.iinfo(dtype).min
    images = images_of(rng, layout, batch, channels, height, width, dtype)
    assume(all(2 * pad <= size for size, pad in zip(window[0], window[2], strict=True)))
    shape = output_shape(images, *window, ceil_mode)
    assume(shape is not None)
    rule = window[:3], ceil_mode, count_include_pad, divisor_override
    args = images, zero_point, *rule[0], *rule[1:]
    result = on_every_isa(ops.avg_pool, *args)

    axes = list(zip(*window, strict=True))

    def padded_size(index, size, kernel, stride, padding, dilation):
        first = index * stride - padding
        return min(first + kernel, size + padding) - first

    def mean(pixels, y, x):
        if divisor_override:
            divisor = divisor_override
        elif count_include_pad:
            divisor = padded_size(y, height, *axes[0]) * padded_size(x, width, *axes[1])
        else:
            divisor = pixels.shape[2] * pixels.shape[3]
        return rounded_means(pixels, zero_point, divisor, dtype)

    expected = per_window(
        images,
        shape,
        lambda y: positions(y, height, *axes[0]),
        lambda x: positions(x, width, *axes[1]),
        mean,
    )
    np.testing.assert_array_equal(result.numpy(), expected)
    assert torch.equal(result, ops.avg_pool_reference(*args))


@given(
    generators,
    layouts,
    st.integers(0, 2),
    CHANNELS,
    SIDES,
    SIDES,
    DTYPES,
    st.tuples(st.integers(1, 11), st.integers(1, 11)),
    st.integers(0, 255),
)
def test_adaptive_avg_pool2d(
    rng, layout, batch, channels, height, width, dtype, output_size, zero_point
):
    zero_point += torch.iinfo(dtype).min
    images = images_of(rng, layout, batch, channels, height, width, dtype)
    args = images, list(output_size), zero_point
    result = on_every_isa(ops.adaptive_avg_pool, *args)

    def span(index, size, count):
        return list(range(index * size // count, -(-(index + 1) * size // count)))

    expected = per_window(
        images,
        output_size,
        lambda y: span(y, height, output_size[0]),
        lambda x: span(x, width, output_size[1]),
        lambda pixels, y, x: rounded_means(
            pixels, zero_point, pixels.shape[2] * pixels.shape[3], dtype
        ),
    )
    np.testing.assert_array_equal(result.numpy(), expected)
    assert torch.equal(result, ops.adaptive_avg_pool_reference(*args))


@pytest.mark.parametrize("side", [16, 17, 181, 182, 300])  # 182² is beyond the float32 quotients
@pytest.mark.parametrize("value", [0, 255, None])
def test_the_mean_of_large_images(side, value):
    rng = np.random.default_rng(side)
    images = integers(rng, (1, 40, side, side), torch.uint8)
    if value is not None:
        images.fill_(value)
    result = on_every_isa(ops.adaptive_avg_pool, images, [1, 1], 3)
    expected = rounded_means(images.numpy().astype(np.int64), 3, side * side, torch.uint8)
    np.testing.assert_array_equal(result.numpy()[:, :, 0, 0], expected)


@pytest.mark.parametrize("divisor", [2, 4, 6, 10, 12, 82, 1000])
def test_ties_round_to_even(divisor):
    """Every sum from 0 to 255, divided: each quotient that is a tie among them."""
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 256, 1, 1)
    result = on_every_isa(ops.avg_pool, images, 0, [1, 1], [1, 1], [0, 0], False, True, divisor)
    assert result.flatten().tolist() == [round(Fraction(i, divisor)) for i in range(256)]


def test_more_threads_give_the_same():
    images = integers(np.random.default_rng(0), (2, 64, 40, 40), torch.int8)
    window = [3, 3], [2, 2], [1, 1]
    calls = [
        lambda: ops.max_pool(images, *window, [1, 1], False),
        lambda: ops.avg_pool(images, 5, *window, False, True),
        lambda: ops.adaptive_avg_pool(images, [5, 5]),
    ]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = [call() for call in calls]
        torch.set_num_threads(4)
        assert all(torch.equal(call(), e) for call, e in zip(calls, expected, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_fakes(memory_format, batch):
    images = torch.zeros(batch, 5, 6, 7, dtype=torch.uint8).contiguous(memory_format=memory_format)
    window = [3, 2], [2, 1], [1, 0]
    check_operator(ops.max_pool, (images, *window, [1, 2], True))
    check_operator(ops.avg_pool, (images, 3, *window, True, False))
    check_operator(ops.adaptive_avg_pool, (images, [2, 3]))


IMAGES = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": IMAGES.float()}, TypeError, "torch.uint8 or torch.int8, got torch.float32"),
        ({"input": IMAGES[0, 0]}, ValueError, "one to three spatial dimensions, got .4, 4."),
        ({"input": IMAGES[:, :, :0]}, ValueError, "hold at least one window"),
        ({"input": IMAGES[:, :, :1]}, ValueError, "got 1 for kernel size 2"),
        ({"kernel_size": [0, 2]}, ValueError, "at least 1 .* got kernel size 0"),
        ({"kernel_size": [2, 2, 2]}, ValueError, r"2 integers.* got \[2, 2, 2\]"),
        ({"stride": [2]}, ValueError, r"2 integers.* got \[2, 2\], \[2\], "),
        ({"stride": [1, 0]}, ValueError, "at least 1 .* stride 0"),
        ({"padding": [-1, 0]}, ValueError, "from 0 to half the window, .* padding -1"),
        ({"padding": [2, 0]}, ValueError, "from 0 to half the window, .* padding 2"),
    ],
)
def test_bad_windows(change, error, message):
    arguments = {
        "input": IMAGES,
        "kernel_size": [2, 2],
        "stride": [2, 2],
        "padding": [0, 0],
        "ceil_mode": False,
        **change,
    }
    with pytest.raises(error, match=message):
        ops.max_pool(**arguments, dilation=[1, 1])
    with pytest.raises(error, match=message):
        ops.avg_pool(**arguments, zero_point=0, count_include_pad=True)


def test_bad_input():
    with pytest.raises(ValueError, match=r"dilation of at least 1 .* dilation 0"):
        ops.max_pool(IMAGES, [2, 2], [1, 1], [0, 0], [0, 1], False)
    with pytest.raises(ValueError, match="divisor_override other than 0"):
        ops.avg_pool(IMAGES, 0, [2, 2], [1, 1], [0, 0], False, True, 0)
    with pytest.raises(ValueError, match="zero_point within 0 … 255, got 256"):
        ops.avg_pool(IMAGES, 256, [2, 2], [1, 1], [0, 0], False, True)
    with pytest.raises(ValueError, match="output_size to be 2 positive integers"):
        ops.adaptive_avg_pool(IMAGES, [0, 1])
    with pytest.raises(ValueError, match="spatial dimensions of at least 1"):
        ops.adaptive_avg_pool(IMAGES[..., :0], [1, 1])
    with pytest.raises(TypeError, match=r"got torch.int32"):
        ops.adaptive_avg_pool(IMAGES.int(), [1, 1])
