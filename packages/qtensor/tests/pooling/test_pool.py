"""Pooling against loops over windows, with exact integer and rational arithmetic."""

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from qtensor._ops import pool as ops

from ..elementwise.common import check_operator, generators, integers, on_every_isa
from .common import any_layouts

CHANNELS = st.sampled_from([1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 100])
DTYPES = st.sampled_from([torch.uint8, torch.int8])


@st.composite
def spatial_sizes(draw):
    """One to three sizes; fewer pixels along each, the more there are."""
    rank = draw(st.integers(1, 3))
    return tuple(draw(st.lists(st.integers(1, (40, 9, 5)[rank - 1]), min_size=rank, max_size=rank)))


@st.composite
def windows(draw, rank, dilated):
    """kernel_size, stride, padding, dilation."""
    values = [draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank)) for _ in range(2)]
    dilation = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    dilation = dilation if dilated else [1] * rank
    most = [(step * (size - 1) + 1) // 2 for size, step in zip(values[0], dilation, strict=True)]
    return *values, [draw(st.integers(0, limit)) for limit in most], dilation


def output_shape(sizes, kernel_size, stride, padding, dilation, ceil_mode):
    """torch's own rule, asked of torch; None where it has no output."""
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(sizes) - 1]
    meta = torch.empty(1, 1, *sizes, device="meta")
    try:
        return pool(meta, kernel_size, stride, padding, dilation, ceil_mode).shape[2:]
    except RuntimeError:
        return None


def positions(index, size, kernel, stride, padding, dilation):
    taps = (index * stride - padding + i * dilation for i in range(kernel))
    return [tap for tap in taps if 0 <= tap < size]


def even_positions(index, size, count):
    return list(range(index * size // count, -(-(index + 1) * size // count)))


def per_window(images, shape, taps, reduce):
    """``reduce`` of each window, an array (batch, channels, taps), for each output position;
    ``taps`` tells for an axis and the output position on it which inputs the window covers."""
    pixels = images.numpy().astype(np.int64)
    output = np.zeros((*images.shape[:2], *shape), np.int64)
    for index in product(*map(range, shape)):
        window = pixels
        for axis, i in enumerate(index):
            window = window.take(taps(axis, i), axis + 2)
        output[(..., *index)] = reduce(
            window.reshape(*images.shape[:2], prod(window.shape[2:])), index
        )
    return output


def images_of(rng, layout, batch, channels, sizes, dtype):
    return layout(integers(rng, (batch, channels, *sizes), dtype))


def rounded_means(pixels, zero_point, divisor, dtype):
    info = torch.iinfo(dtype)
    sums = (pixels - zero_point).sum(-1)
    # Fraction rounds ties to even, exactly.
    means = [round(Fraction(int(total), divisor)) for total in sums.flat]
    return np.clip(np.array(means, np.int64).reshape(sums.shape) + zero_point, info.min, info.max)


def assert_laid_out_like(images, result):
    """Channels last in memory if those of the input lie side by side, else contiguous."""
    order = result.movedim(1, -1) if images.stride(1) == 1 else result
    assert order.is_contiguous()


@given(st.data(), generators, any_layouts, st.integers(0, 2), CHANNELS, spatial_sizes(), DTYPES)
def test_max_pool(data, rng, layout, batch, channels, sizes, dtype):
    window = data.draw(windows(len(sizes), dilated=True))
    ceil_mode = data.draw(st.booleans())
    images = images_of(rng, layout, batch, channels, sizes, dtype)
    shape = output_shape(sizes, *window, ceil_mode)
    assume(shape is not None)
    result = on_every_isa(ops.max_pool, images, *window, ceil_mode)

    axes = list(zip(sizes, *window, strict=True))
    expected = per_window(
        images,
        shape,
        lambda axis, i: positions(i, *axes[axis]),
        lambda pixels, index: pixels.max(-1, initial=torch.iinfo(dtype).min),
    )
    np.testing.assert_array_equal(result.numpy(), expected)
    assert_laid_out_like(images, result)
    assert torch.equal(result, ops.max_pool_reference(images, *window, ceil_mode))


@given(st.data(), generators, any_layouts, st.integers(0, 2), CHANNELS, spatial_sizes(), DTYPES)
def test_avg_pool(data, rng, layout, batch, channels, sizes, dtype):
    window = data.draw(windows(len(sizes), dilated=False))
    ceil_mode, count_include_pad = data.draw(st.booleans()), data.draw(st.booleans())
    divisor_override = data.draw(st.sampled_from([None, None, None, 1, 2, 6, -3, 7, 10**6]))
    zero_point = data.draw(st.integers(0, 255)) + torch.iinfo(dtype).min
    images = images_of(rng, layout, batch, channels, sizes, dtype)
    shape = output_shape(sizes, *window, ceil_mode)
    assume(shape is not None)
    args = images, zero_point, *window[:3], ceil_mode, count_include_pad, divisor_override
    result = on_every_isa(ops.avg_pool, *args)

    axes = list(zip(sizes, *window, strict=True))

    def padded_size(index, size, kernel, stride, padding, dilation):
        first = index * stride - padding
        return min(first + kernel, size + padding) - first

    def mean(pixels, index):
        divisor = divisor_override or pixels.shape[-1]
        if count_include_pad and not divisor_override:
            divisor = prod(padded_size(i, *axis) for i, axis in zip(index, axes, strict=True))
        return rounded_means(pixels, zero_point, divisor, dtype)

    expected = per_window(images, shape, lambda axis, i: positions(i, *axes[axis]), mean)
    np.testing.assert_array_equal(result.numpy(), expected)
    assert_laid_out_like(images, result)
    assert torch.equal(result, ops.avg_pool_reference(*args))


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("kernel", [(5, 300), (2, 163), (5, 32), (1, 299)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_long_lines_of_few_channels(channels, kernel, dtype):
    images = integers(np.random.default_rng(0), (2, channels, 5, 300), dtype)
    result = on_every_isa(ops.avg_pool, images, 7, kernel, (2, 3), (0, 0), False, True, None)
    pixels = sliding_window_view(images.numpy().astype(np.int64), kernel, (2, 3))[:, :, ::2, ::3]
    expected = rounded_means(pixels.reshape(*pixels.shape[:4], -1), 7, prod(kernel), dtype)
    np.testing.assert_array_equal(result.numpy(), expected)


@given(st.data(), generators, any_layouts, st.integers(0, 2), CHANNELS, spatial_sizes(), DTYPES)
def test_adaptive_pools(data, rng, layout, batch, channels, sizes, dtype):
    zero_point = data.draw(st.integers(0, 255)) + torch.iinfo(dtype).min
    output_size = [data.draw(st.integers(1, size + 2)) for size in sizes]
    images = images_of(rng, layout, batch, channels, sizes, dtype)
    mean = on_every_isa(ops.adaptive_avg_pool, images, output_size, zero_point)
    largest = on_every_isa(ops.adaptive_max_pool, images, output_size)

    def taps(axis, i):
        return even_positions(i, sizes[axis], output_size[axis])

    def rounded_mean(pixels, index):
        return rounded_means(pixels, zero_point, pixels.shape[-1], dtype)

    np.testing.assert_array_equal(mean, per_window(images, output_size, taps, rounded_mean))
    expected = per_window(images, output_size, taps, lambda pixels, index: pixels.max(-1))
    np.testing.assert_array_equal(largest, expected)
    assert torch.equal(mean, ops.adaptive_avg_pool_reference(images, output_size, zero_point))
    assert torch.equal(largest, ops.adaptive_max_pool_reference(images, output_size))


@pytest.mark.parametrize("side", range(1, 17))
def test_every_short_division(side):
    """Windows of 1 to 256 positions, whose sums are divided in 16 bits, and of any value."""
    rng = np.random.default_rng(side)
    for height in range(1, 17):
        images = integers(rng, (1, 64, height, side), torch.uint8)
        images[:, 60:] = torch.tensor([0, 255, 254, 1]).view(4, 1, 1)
        zero_point = int(rng.integers(256))
        result = on_every_isa(ops.adaptive_avg_pool, images, [1, 1], zero_point)
        pixels = images.numpy().astype(np.int64).reshape(1, 64, -1)
        expected = rounded_means(pixels, zero_point, height * side, torch.uint8)
        np.testing.assert_array_equal(result.numpy()[:, :, 0, 0], expected)


@pytest.mark.parametrize("side", [16, 17, 181, 182, 300])  # 182² is beyond the float32 quotients
@pytest.mark.parametrize("value", [0, 255, None])
def test_the_mean_of_large_images(side, value):
    rng = np.random.default_rng(side)
    images = integers(rng, (1, 40, side, side), torch.uint8)
    if value is not None:
        images.fill_(value)
    result = on_every_isa(ops.adaptive_avg_pool, images, [1, 1], 3)
    expected = rounded_means(
        images.numpy().astype(np.int64).reshape(1, 40, -1), 3, side * side, torch.uint8
    )
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


@pytest.mark.parametrize("channels", [1, 5, 12, 20])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 1, 3, 2)])
def test_dilated_windows_that_begin_before_those_at_their_left(channels, order):
    # Of four pixels the first window, which begins in the padding, has the second and fourth, the
    # next one the first and third. No memory is behind the last pixel, for sanitizers.
    dense = integers(np.random.default_rng(0), (1, channels, 4, 4), torch.uint8)
    laid_out = dense.permute(order).clone(memory_format=torch.contiguous_format)
    images = laid_out.permute(*np.argsort(order).tolist())
    result = on_every_isa(ops.max_pool, images, [3, 3], [1, 1], [1, 1], [2, 2], False)
    assert torch.equal(result.double(), F.max_pool2d(dense.double(), 3, 1, 1, 2))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_fakes(memory_format, batch):
    images = torch.zeros(batch, 5, 6, 7, dtype=torch.uint8).contiguous(memory_format=memory_format)
    window = [3, 2], [2, 1], [1, 0]
    check_operator(ops.max_pool, (images, *window, [1, 2], True))
    check_operator(ops.avg_pool, (images, 3, *window, True, False))
    check_operator(ops.adaptive_avg_pool, (images, [2, 3]))
    check_operator(ops.adaptive_max_pool, (images, [2, 3]))
    check_operator(ops.max_pool, (images[..., 0], [2], [2], [0], [1], False))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_images_of_no_channels(rank):
    images = torch.zeros(2, 0, *[4] * rank, dtype=torch.uint8)
    window = [2] * rank, [2] * rank, [0] * rank
    reference = ops.max_pool_reference(images, *window, [1] * rank, False)
    for output in (
        reference,
        on_every_isa(ops.max_pool, images, *window, [1] * rank, False),
        on_every_isa(ops.avg_pool, images, 0, *window, False, True),
        on_every_isa(ops.adaptive_avg_pool, images, [2] * rank),
        on_every_isa(ops.adaptive_max_pool, images, [2] * rank),
    ):
        assert output.shape == (2, 0, *[2] * rank)


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
