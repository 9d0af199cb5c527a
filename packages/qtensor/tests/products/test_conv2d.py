"""Convolution against sums over explicit windows in int64, and the requantization in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops.conv2d import conv2d, conv2d_int32, conv2d_reference
from qtensor._packing import schedule_stats

from .common import (
    activations,
    check_operator,
    generators,
    on_every_isa,
    patterns,
    requantized,
    threads,
    weights,
    zero_points_of,
)


def exact_convolution(input, zero_point, weight, zero_points, stride, padding, dilation, groups):
    """``(N, O, H', W')`` in int64, one tap after the other."""
    centred = weight.numpy().astype(np.int64)
    if zero_points is not None:
        centred = centred - zero_points.numpy()[:, None, None, None]
    image = input.numpy().astype(np.int64) - zero_point
    pads = [(0, 0), (0, 0), *((pad, pad) for pad in padding)]
    image = np.pad(image, pads)
    sizes = [
        (size - by * (taps - 1) - 1) // step + 1
        for size, taps, by, step in zip(
            image.shape[2:], weight.shape[2:], dilation, stride, strict=True
        )
    ]
    out_channels, group_channels = weight.shape[:2]
    batch = input.shape[0]
    result = np.zeros((batch, groups, out_channels // groups, *sizes), np.int64)
    image = image.reshape(batch, groups, group_channels, *image.shape[2:])
    centred = centred.reshape(groups, -1, *centred.shape[1:])
    for y in range(weight.shape[2]):
        for x in range(weight.shape[3]):
            rows = slice(y * dilation[0], y * dilation[0] + (sizes[0] - 1) * stride[0] + 1,
                         stride[0])  # fmt: skip
            columns = slice(x * dilation[1], x * dilation[1] + (sizes[1] - 1) * stride[1] + 1,
                            stride[1])  # fmt: skip
            window = image[:, :, :, rows, columns]
            result += np.einsum("ngchw,goc->ngohw", window, centred[..., y, x])
    return result.reshape(batch, out_channels, *sizes)


@st.composite
def geometries(draw):
    """Shapes of input and weight, and the rest of the geometry; every kind of kernel occurs."""
    kind = draw(st.sampled_from(["dense", "grouped", "depthwise", "pointwise"]))
    if kind == "depthwise":
        groups = draw(st.sampled_from([2, 15, 16, 17, 40]))
        channels = out_channels = groups
    else:
        groups = draw(st.sampled_from([2, 3])) if kind == "grouped" else 1
        channels = groups * draw(st.sampled_from([1, 3, 4, 8, 20]))
        out_channels = groups * draw(st.sampled_from([1, 5, 16, 18]))
    sizes = st.just((1, 1)) if kind == "pointwise" else st.tuples(*[st.integers(1, 5)] * 2)
    kernel = draw(sizes)
    dilation = draw(st.tuples(*[st.integers(1, 3)] * 2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 2))
    stride = draw(st.tuples(*[st.integers(1, 3)] * 2))
    image = [
        max(by * (taps - 1) + 1 - 2 * pad, 1) + draw(st.integers(0, 6))
        for taps, by, pad in zip(kernel, dilation, padding, strict=True)
    ]
    input_shape = (draw(st.integers(0, 2)), channels, *image)
    weight_shape = (out_channels, channels // groups, *kernel)
    return input_shape, weight_shape, (stride, padding, dilation, groups)


dtypes = st.sampled_from([torch.uint8, torch.int8])


@given(generators, geometries(), patterns, patterns, dtypes, st.booleans(), st.booleans())
def test_sums(rng, geometry, of_input, of_weight, dtype, seven_bits, asymmetric):
    input_shape, weight_shape, geometry = geometry
    input = activations(rng, input_shape, of_input, dtype, 127 if seven_bits else None)
    weight = weights(rng, weight_shape, of_weight)
    zero_points = zero_points_of(rng, weight_shape[0], asymmetric)
    zero_point = int(rng.integers(0, 128))
    expected = exact_convolution(input, zero_point, weight, zero_points, *geometry)
    for image in (input, input.contiguous(memory_format=torch.channels_last)):
        result = on_every_isa(conv2d_int32, image, zero_point, weight, zero_points, *geometry)
        np.testing.assert_array_equal(result.numpy(), expected)
        assert result.is_contiguous(memory_format=torch.channels_last)


@given(generators, geometries(), dtypes, dtypes, st.booleans(), st.booleans())
def test_requantized(rng, geometry, dtype, output_dtype, asymmetric, with_residual):
    input_shape, weight_shape, geometry = geometry
    channels = weight_shape[0]
    input, weight = (
        activations(rng, input_shape, "random", dtype),
        weights(rng, weight_shape, "small"),
    )
    zero_points = zero_points_of(rng, channels, asymmetric)
    scales = torch.from_numpy(rng.uniform(1e-4, 1e-2, channels)).float()
    bias = torch.from_numpy(rng.normal(0, 2, channels)).float()
    info = torch.iinfo(output_dtype)
    output = (0.05, 10, info.min, info.max)
    operands = (input, 0.02, 5, weight, scales, zero_points, bias)
    sums = exact_convolution(input, 5, weight, zero_points, *geometry)
    extra, added = (), ()
    if with_residual:
        residual = activations(rng, sums.shape, "random", output_dtype)
        extra, added = (residual, 0.03, 7), (residual.numpy().transpose(0, 2, 3, 1), 0.03, 7)
    args = (*operands, *geometry, *output, output_dtype, 0.0, 6.0, *extra)
    result = on_every_isa(conv2d, *args)
    by_pixel = requantized(
        sums.transpose(0, 2, 3, 1), 0.02, scales, bias, *output, 0.0, 6.0, *added
    )
    np.testing.assert_array_equal(result.numpy().transpose(0, 2, 3, 1), by_pixel)
    assert torch.equal(result, conv2d_reference(*args))


def depthwise_weight(*taps, channels=40):
    return torch.tensor(taps, dtype=torch.int8).repeat(channels, 1).view(channels, 1, 1, -1)


@pytest.mark.parametrize(
    ("weight", "amax", "expected"),  # (pairs, single, wide) of the 3 panels' 2 steps
    [
        (depthwise_weight(1, 1, 1, 1), 255, (6, 0, 0)),
        (depthwise_weight(64, 65, 65, 64), 127, (6, 0, 0)),
        (depthwise_weight(65, 65, 65, 65), 127, (0, 6, 0)),
        (depthwise_weight(127, 127, -128, -128), 127, (6, 0, 0)),
        (depthwise_weight(127, 127, 127, 127), 127, (0, 6, 0)),
        (depthwise_weight(127, -127, 127, -127), 255, (0, 6, 0)),
        (depthwise_weight(127, 127, 127, 127), 255, (0, 0, 6)),
        (depthwise_weight(127, 2, 2), 127, (6, 0, 0)),
    ],
)
def test_depthwise_kinds_are_emitted_and_exact(weight, amax, expected):
    stats = schedule_stats(weight, amax, groups=40)
    print(stats)
    assert stats == expected
    highest = torch.full((1, 40, 5, 9), amax, dtype=torch.uint8)
    geometry = ((1, 1), (0, 0), (1, 1), 40)
    for input in (highest, highest * (torch.arange(9) % 2).to(torch.uint8)):
        result = on_every_isa(conv2d_int32, input, 0, weight, None, *geometry)
        np.testing.assert_array_equal(
            result.numpy(), exact_convolution(input, 0, weight, None, *geometry)
        )


# Large enough for several strips, and with images of which a strip is one row.
LARGE = [
    ((2, 8, 300, 40), (20, 8, 3, 3), ((1, 1), (1, 1), (1, 1), 1)),
    ((1, 3, 224, 224), (16, 3, 7, 7), ((2, 2), (3, 3), (1, 1), 1)),
    ((1, 40, 90, 90), (40, 1, 3, 3), ((1, 1), (1, 1), (1, 1), 40)),
    ((1, 64, 100, 100), (16, 64, 1, 1), ((1, 1), (0, 0), (1, 1), 1)),
    ((1, 64, 100, 100), (16, 64, 1, 1), ((2, 2), (0, 0), (1, 1), 1)),
    ((1, 2048, 5, 200), (3, 2048, 1, 3), ((1, 1), (0, 1), (1, 1), 1)),
    ((3, 16, 6, 6), (128, 8, 3, 3), ((1, 1), (1, 1), (2, 1), 2)),
]


@pytest.mark.parametrize(("input_shape", "weight_shape", "geometry"), LARGE)
def test_several_strips_and_threads(input_shape, weight_shape, geometry):
    rng = np.random.default_rng(0)
    weight = weights(rng, weight_shape, "small")
    zero_points = zero_points_of(rng, weight_shape[0], True)
    for dtype in (torch.uint8, torch.int8):
        input = activations(rng, input_shape, "random", dtype)
        expected = exact_convolution(input, 3, weight, zero_points, *geometry)
        for count in (1, 2, 5):
            with threads(count):
                result = conv2d_int32(input, 3, weight, zero_points, *geometry)
            np.testing.assert_array_equal(result.numpy(), expected)


def test_the_padding_counts_for_the_largest_byte():
    """A zero point above 127 is read wherever there is padding."""
    input = torch.zeros(1, 16, 4, 4, dtype=torch.uint8)
    weight = torch.full((16, 16, 3, 3), 127, dtype=torch.int8)
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    for zero_point in (0, 127, 255):
        result = on_every_isa(conv2d_int32, input, zero_point, weight, None, *geometry)
        expected = exact_convolution(input, zero_point, weight, None, *geometry)
        np.testing.assert_array_equal(result.numpy(), expected)


def test_sums_too_long_for_32_bits():
    input = torch.full((1, 4000, 3, 3), 255, dtype=torch.uint8)
    weight = torch.full((2, 4000, 3, 3), -128, dtype=torch.int8)
    zero_points = torch.tensor([127, 3])
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    sums = exact_convolution(input, 0, weight, zero_points, *geometry)
    result = on_every_isa(conv2d_int32, input, 0, weight, zero_points, *geometry)
    np.testing.assert_array_equal(result.numpy(), sums.astype(np.int32))
    output = (1e7, 255, 0, 255)
    args = (input, 1.0, 0, weight, torch.ones(2), zero_points, None, *geometry, *output)
    expected = requantized(sums.transpose(0, 2, 3, 1), 1.0, torch.ones(2), None, *output)
    result = on_every_isa(conv2d, *args, torch.uint8)
    np.testing.assert_array_equal(result.numpy().transpose(0, 2, 3, 1), expected)


def test_strided_arguments():
    rng = np.random.default_rng(0)
    input = activations(rng, (4, 6, 20, 11), "random")[::2, :, ::2, 1:]
    weight = weights(rng, (3, 3, 6, 20), "small").permute(3, 2, 0, 1)[::2]
    residual = activations(rng, (10, 2, 10, 10), "random").transpose(0, 1)
    scales, bias = torch.rand(20)[::2] / 100, torch.randn(20)[::2]
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    output = (0.5, 9, 0, 255, torch.uint8, None, None, residual, 0.3, 4)
    args = (input, 0.1, 3, weight, scales, torch.arange(20)[::2], bias, *geometry, *output)
    assert torch.equal(on_every_isa(conv2d, *args), conv2d_reference(*args))
    check_operator(conv2d, args)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_zero_batch(groups):
    input = torch.zeros(0, 6, 5, 5, dtype=torch.uint8)
    weight = torch.ones(6, 6 // groups, 3, 3, dtype=torch.int8)
    geometry = ((1, 1), (0, 0), (1, 1), groups)
    args = (input, 0.1, 3, weight, torch.ones(6), None, None, *geometry, 0.1, 3, 0, 255)
    assert conv2d(*args, torch.uint8).shape == (0, 6, 3, 3)
    check_operator(conv2d, (*args, torch.uint8))


GOOD = {
    "input": torch.zeros(1, 4, 5, 5, dtype=torch.uint8),
    "input_scale": 0.1,
    "input_zero_point": 3,
    "weight": torch.zeros(6, 2, 3, 3, dtype=torch.int8),
    "weight_scales": torch.ones(6),
    "weight_zero_points": None,
    "bias": None,
    "stride": (1, 1),
    "padding": (1, 1),
    "dilation": (1, 1),
    "groups": 2,
    "output_scale": 0.1,
    "output_zero_point": 3,
    "quant_min": 0,
    "quant_max": 255,
    "dtype": torch.uint8,
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": torch.zeros(1, 4, 5, 5)}, TypeError, "uint8 or int8 input, got torch.float32"),
        ({"input": torch.zeros(4, 5, 5, dtype=torch.uint8)}, TypeError, r"\(N, C, H, W\)"),
        ({"weight": torch.zeros(6, 2, 3, dtype=torch.int8)}, TypeError, "of 4 dimensions"),
        ({"groups": 4}, ValueError, "divisible by groups, got groups=4"),
        ({"groups": 0}, ValueError, "divisible by groups, got groups=0"),
        ({"groups": 1}, ValueError, "input of 2 channels"),
        ({"stride": (1, 0)}, ValueError, "two values of stride, at least 1"),
        ({"padding": (-1, 0)}, ValueError, "two values of padding, at least 0"),
        ({"dilation": (0, 1)}, ValueError, "two values of dilation, at least 1"),
        ({"dilation": (4, 4)}, ValueError, "at most the padded image's size"),
        ({"weight_scales": torch.ones(5)}, ValueError, r"weight_scales of shape \(6,\)"),
        ({"bias": torch.ones(5)}, ValueError, r"bias of shape \(6,\)"),
        ({"output_scale": float("inf")}, ValueError, "positive, finite output_scale"),
        ({"residual": torch.zeros(1, 6, 4, 5, dtype=torch.uint8)}, ValueError, "like the output"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        conv2d(**(GOOD | change))
