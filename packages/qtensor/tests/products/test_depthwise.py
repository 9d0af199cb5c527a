"""Depthwise convolutions: what is special about them. test_conv.py has them among all others."""

import numpy as np
import pytest
import torch

from qtensor._ops._conv_axes import Geometry
from qtensor._ops.conv import conv2d, conv_int32
from qtensor._packing import AMAX

from .common import activations, on_every_isa, requantized, threads, weights


def windows(input, kernel, geometry, padding):
    """What lies under each tap: ``(taps, N, C, H', W')``, int64."""
    pad_y, pad_x = geometry.padding
    image = np.pad(
        input.numpy().astype(np.int64),
        [(0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)],
        constant_values=padding,
    )
    height, width = geometry.output_shape(input.shape, (input.shape[1], 1, *kernel))[2:]
    taps = []
    for y, x in np.ndindex(*kernel):
        top, left = y * geometry.dilation[0], x * geometry.dilation[1]
        rows = slice(top, top + (height - 1) * geometry.stride[0] + 1, geometry.stride[0])
        columns = slice(left, left + (width - 1) * geometry.stride[1] + 1, geometry.stride[1])
        taps.append(image[:, :, rows, columns])
    return np.stack(taps)


def exact(input, zero_point, weight, zero_points, geometry):
    """The sums in int64, ``(N, O, H', W')``."""
    centred = weight.numpy().astype(np.int64)[:, 0]
    if zero_points is not None:
        centred = centred - zero_points.numpy()[:, None, None]
    under = windows(input, weight.shape[2:], geometry, zero_point) - zero_point
    under = under.repeat(weight.shape[0] // geometry.groups, axis=2)
    return np.einsum("tnchw,ct->nchw", under, centred.reshape(len(centred), -1))


def check(input, zero_point, weight, zero_points, geometry):
    result = on_every_isa(conv_int32, input, zero_point, weight, zero_points, geometry)
    expected = exact(input, zero_point, weight, zero_points, geometry)
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("channels", [2, 16, 31, 32, 33, 48, 64, 70])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 3), (4, 1), (5, 5), (1, 7)])
def test_panels_and_kernels(channels, kernel):
    rng = np.random.default_rng(channels)
    geometry = Geometry((1, 1), tuple(n // 2 for n in kernel), (1, 1), channels)
    input = activations(rng, (2, channels, 7, 9), "random").contiguous(
        memory_format=torch.channels_last
    )
    weight = weights(rng, (channels, 1, *kernel), "random")
    check(input, 31, weight, None, geometry)
    zero_points = torch.from_numpy(rng.integers(-128, 128, channels))
    check(input, 255, weight, zero_points, geometry)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_lines_are_joined_by_stride_and_dilation(stride, dilation, dtype):
    rng = np.random.default_rng(stride)
    geometry = Geometry((stride, stride), (2, 2), (dilation, dilation), 32)
    input = activations(rng, (1, 32, 21, 19), "random", dtype)
    input = input.contiguous(memory_format=torch.channels_last)
    check(input, -3 if dtype == torch.int8 else 3, weights(rng, (32, 1, 3, 3), "random"), None,
          geometry)  # fmt: skip


@pytest.mark.parametrize("amax", AMAX)
@pytest.mark.parametrize("value", [127, -128])
@pytest.mark.parametrize("zero_point", [0, 64, 255])
def test_the_largest_sums(amax, value, zero_point):
    weight = torch.full((40, 1, 5, 5), value, dtype=torch.int8)
    weight[::2] *= torch.tensor([1, -1, 1, -1, 1], dtype=torch.int8)
    input = torch.full((1, 40, 8, 9), amax, dtype=torch.uint8)
    input[:, :, ::3] = 0
    check(input, min(zero_point, amax), weight, None, Geometry((1, 1), (2, 2), (1, 1), 40))


@pytest.mark.parametrize("multiplier", [2, 3, 5, 32, 40])
def test_several_outputs_of_a_channel(multiplier):
    rng = np.random.default_rng(multiplier)
    geometry = Geometry((1, 2), (1, 1), (1, 1), 7)
    input = activations(rng, (2, 7, 6, 9), "random")
    weight = weights(rng, (7 * multiplier, 1, 3, 3), "random")
    for image in (input, input.contiguous(memory_format=torch.channels_last)):
        check(image, 100, weight, torch.arange(len(weight)) % 7, geometry)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("channels", "size"), [(32, 120), (144, 28), (96, 14), (520, 7)])
def test_bands_and_cuts_of_large_images(channels, size, count):
    rng = np.random.default_rng(size)
    weight = weights(rng, (channels, 1, 5, 5), "small")
    input = activations(rng, (1, channels, size, size), "random")
    input = input.contiguous(memory_format=torch.channels_last)
    with threads(count):
        check(input, 12, weight, None, Geometry((1, 1), (2, 2), (1, 1), channels))


@pytest.mark.parametrize("channels", [16, 32, 40])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
@pytest.mark.parametrize("bounds", [(None, None), (0.0, 3.0)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 3)])
def test_requantized_bit_for_bit(channels, dtype, bounds, kernel, stride):
    rng = np.random.default_rng(channels)
    input = activations(rng, (2, channels, 9, 13), "random")
    input = input.contiguous(memory_format=torch.channels_last)
    weight = weights(rng, (channels, 1, kernel, kernel), "small")
    scales = torch.from_numpy(rng.uniform(0.001, 0.01, channels).astype(np.float32))
    bias = torch.from_numpy(rng.normal(0, 1, channels).astype(np.float32))
    pad = kernel // 2
    geometry = Geometry((stride, stride), (pad, pad), (1, 1), channels)
    low, high = (0, 255) if dtype == torch.uint8 else (-128, 127)
    result = on_every_isa(
        conv2d, input, 0.02, 90, weight, scales, None, bias, *geometry[:4], "zeros",
        0.05, 7, low, high, dtype, *bounds,
    )  # fmt: skip
    sums = np.moveaxis(exact(input, 90, weight, None, geometry), 1, -1)
    expected = requantized(sums, 0.02, scales, bias, 0.05, 7, low, high, *bounds)
    np.testing.assert_array_equal(np.moveaxis(result.numpy(), 1, -1), expected)


def test_a_multiplier_too_large_for_the_shortcut():
    rng = np.random.default_rng(0)
    input = activations(rng, (1, 32, 5, 5), "random").contiguous(memory_format=torch.channels_last)
    weight = weights(rng, (32, 1, 3, 3), "random")
    on_every_isa(
        conv2d, input, 1e30, 0, weight, torch.full((32,), 1e5), None, torch.full((32,), 1e38),
        (1, 1), (0, 0), (1, 1), 32, "zeros", 1.0, 0, 0, 255, torch.uint8,
    )  # fmt: skip
