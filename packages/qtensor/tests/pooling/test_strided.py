"""Images that lie in memory in all the ways that views of others do, wider than any block."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from qtensor._ops import interpolate, mean, pool

from ..elementwise.common import integers, on_every_isa

BATCH, CHANNELS, HEIGHT, WIDTH = SHAPE = 2, 40, 9, 70
LAST = BATCH, 2 * HEIGHT, 2 * WIDTH, CHANNELS + 3  # the shape of larger images, channels last

# Each a shape, and the view of a tensor of that shape.
VIEWS = {
    "planes": (SHAPE, lambda x: x),
    "channels of planes": ((BATCH, CHANNELS + 3, HEIGHT, WIDTH), lambda x: x[:, 2:-1]),
    "every second column": ((BATCH, CHANNELS, HEIGHT, 2 * WIDTH), lambda x: x[..., ::2]),
    "every second row": ((BATCH, CHANNELS, 2 * HEIGHT, WIDTH), lambda x: x[:, :, 1::2]),
    "columns of wider ones": ((BATCH, CHANNELS, HEIGHT, WIDTH + 5), lambda x: x[..., 3:-2]),
    "one channel": (SHAPE, lambda x: x[:, :1]),
    "an expanded channel": ((BATCH, 1, HEIGHT, WIDTH), lambda x: x.expand(SHAPE)),
    "an expanded column": ((BATCH, CHANNELS, HEIGHT, 1), lambda x: x.expand(SHAPE)),
    "an expanded batch": ((CHANNELS, HEIGHT, WIDTH), lambda x: x.expand(SHAPE)),
    "transposed": ((BATCH, CHANNELS, WIDTH, HEIGHT), lambda x: x.mT),
    "batch last": ((CHANNELS, HEIGHT, WIDTH, BATCH), lambda x: x.permute(3, 0, 1, 2)),
    "channels last": ((BATCH, HEIGHT, WIDTH, CHANNELS), lambda x: x.permute(0, 3, 1, 2)),
    "a window, channels last": (
        LAST,
        lambda x: x.permute(0, 3, 1, 2)[:, :-3, 2 : 2 + HEIGHT, 5 : 5 + WIDTH],
    ),
    "every second pixel, channels last": (
        LAST,
        lambda x: x.permute(0, 3, 1, 2)[:, 3:, ::2, 1::2],
    ),
    "three channels last": (LAST, lambda x: x.permute(0, 3, 1, 2)[:, :3, :HEIGHT, :WIDTH]),
    "no channels": (SHAPE, lambda x: x[:, :0]),
    "no images": (SHAPE, lambda x: x[:0]),
    "small planes": ((BATCH, CHANNELS, 5, 7), lambda x: x),
    "few columns": ((BATCH, CHANNELS, HEIGHT, 4), lambda x: x),
}
pytestmark = [
    pytest.mark.parametrize("name", VIEWS),
    pytest.mark.parametrize("dtype", [torch.uint8, torch.int8]),
]
WINDOWS = [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (3, 3, 1, 1), (2, 1, 0, 3)]


@pytest.fixture
def images(name, dtype):
    shape, view = VIEWS[name]
    return view(integers(np.random.default_rng(0), shape, dtype))


def _same(result, expected, images):
    """The values expected, in the layout of the input."""
    np.testing.assert_array_equal(result.numpy(), expected)
    order = result.movedim(1, -1) if images.stride(1) == 1 else result
    assert order.is_contiguous()


def _windows(pixels, kernel, stride, dilation):
    """Views of the last two dimensions, in two more, from an array that is padded already."""
    reach = dilation * (kernel - 1) + 1
    view = np.lib.stride_tricks.sliding_window_view(pixels, (reach, reach), (2, 3))
    return view[:, :, ::stride, ::stride, ::dilation, ::dilation]


def _padded(images, padding, value):
    pixels = images.numpy().astype(np.int64)
    return np.pad(pixels, [(0, 0)] * 2 + [(padding, padding)] * 2, constant_values=value)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), WINDOWS)
def test_max_pool(images, kernel, stride, padding, dilation):
    window = [[value] * 2 for value in (kernel, stride, padding, dilation)]
    result = on_every_isa(pool.max_pool, images, *window, False)
    lowest = torch.iinfo(images.dtype).min
    taps = _windows(_padded(images, padding, lowest), kernel, stride, dilation)
    _same(result, taps.max((4, 5), initial=lowest), images)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [w[:3] for w in WINDOWS[:4]])
def test_avg_pool(images, kernel, stride, padding):
    window = [[value] * 2 for value in (kernel, stride, padding)]
    result = on_every_isa(pool.avg_pool, images, 7, *window, False, True)
    taps = _windows(_padded(images, padding, 7), kernel, stride, 1) - 7
    # Ties are quotients by 4, which float64 has exactly.
    _same(result, np.rint(taps.sum((4, 5)) / kernel**2) + 7, images)


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (9, 1), (20, 90)])
def test_adaptive_pools(images, size):
    rows, columns = (
        [slice(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        for n, count in zip(images.shape[2:], size, strict=True)
    )
    pixels = images.numpy().astype(np.int64)
    sums, largest = (np.zeros((*images.shape[:2], *size)) for _ in range(2))
    for y, of_rows in enumerate(rows):
        for x, of_columns in enumerate(columns):
            taps = pixels[:, :, of_rows, of_columns]
            sums[:, :, y, x] = np.rint((taps - 7).mean((2, 3))) + 7
            largest[:, :, y, x] = taps.max((2, 3))
    _same(on_every_isa(pool.adaptive_avg_pool, images, list(size), 7), sums, images)
    _same(on_every_isa(pool.adaptive_max_pool, images, list(size)), largest, images)


@pytest.mark.parametrize("dim", [[0], [1], [2], [3], [2, 3], [0, 2], [1, 3], [0, 1, 2, 3]])
def test_mean(images, dim):
    info = torch.iinfo(images.dtype)
    rule = 0.1, 7, 0.1, 7, info.min, info.max
    if any(images.shape[i] == 0 for i in dim):
        with pytest.raises(ValueError, match="the mean of nothing"):
            mean.mean(images, dim, False, *rule)
        return
    result = on_every_isa(mean.mean, images, dim, False, *rule)
    sums = (images.numpy().astype(np.int64) - 7).sum(tuple(dim))
    count = prod(images.shape[i] for i in dim)
    expected = [round(Fraction(int(total), count)) + 7 for total in np.ravel(sums)]
    assert result.flatten().tolist() == expected
    assert result.is_contiguous() and result.shape == sums.shape


@pytest.mark.parametrize("size", [(18, 140), (18, 30), (4, 33), (2, 2), (9, 71)])
def test_interpolate(images, size):
    rows, columns = (
        (np.arange(count, dtype=np.float32) * np.float32(n / count)).astype(int)
        for n, count in zip(images.shape[2:], size, strict=True)
    )
    nearest = images.numpy()[:, :, rows][..., columns]
    _same(
        on_every_isa(interpolate.interpolate_nearest, images, [*size], None, False), nearest, images
    )

    linear = on_every_isa(interpolate.interpolate_linear, images, 7, [*size], None, False)
    _same(linear, linear.numpy(), images)
    if images.numel():
        real = F.interpolate(images.double(), size, mode="bilinear", align_corners=False)
        assert (linear.double() - real).abs().max() <= 0.5 + 2**-12
