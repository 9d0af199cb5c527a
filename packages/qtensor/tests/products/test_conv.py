"""Convolutions against sums over taps in int64, and the requantization in NumPy."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops import conv
from qtensor._ops._conv_axes import Geometry
from qtensor._ops.conv import conv2d, conv_int32

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

NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def exact_convolution(input, zero_point, weight, zero_points, geometry):
    """``(N, O, S')`` in int64, one tap after the other."""
    image = input.numpy().astype(np.int64) - zero_point
    centred = weight.numpy().astype(np.int64)
    if zero_points is not None:
        channels = [1] * weight.ndim
        channels[0 if geometry.output_padding is None else 1] = -1
        centred = centred - zero_points.numpy().reshape(channels)
    groups, kernel = geometry.groups, weight.shape[2:]
    centred = centred.reshape(groups, -1, *centred.shape[1:])
    function = plain if geometry.output_padding is None else transposed
    result = function(image, centred, kernel, geometry)  # channels as (groups, of a group)
    return result.reshape(len(image), result.shape[1] * result.shape[2], *result.shape[3:])


def in_groups(image, groups):
    return image.reshape(len(image), groups, image.shape[1] // groups, *image.shape[2:])


def plain(image, weight, kernel, geometry):
    pads = [(0, 0), (0, 0), *((pad, pad) for pad in geometry.padding)]
    image = np.pad(image, pads, NUMPY_MODES[geometry.padding_mode])
    sizes = [
        (size - by * (taps - 1) - 1) // step + 1
        for size, taps, by, step in zip(
            image.shape[2:], kernel, geometry.dilation, geometry.stride, strict=True
        )
    ]
    image = in_groups(image, geometry.groups)
    result = np.zeros((len(image), geometry.groups, weight.shape[1], *sizes), np.int64)
    for tap in itertools.product(*map(range, kernel)):
        window = tuple(
            slice(i * by, i * by + (n - 1) * step + 1, step)
            for i, by, n, step in zip(tap, geometry.dilation, sizes, geometry.stride, strict=True)
        )
        taken = image[:, :, :, *window]
        result += np.einsum("ngc...,goc->ngo...", taken, weight[:, :, :, *tap])
    return result


def transposed(image, weight, kernel, geometry):
    image = in_groups(image, geometry.groups)
    everywhere = [
        (size - 1) * step + by * (taps - 1) + 1 + extra
        for size, step, by, taps, extra in zip(
            image.shape[3:], geometry.stride, geometry.dilation, kernel, geometry.output_padding,
            strict=True,
        )
    ]  # fmt: skip
    result = np.zeros((len(image), geometry.groups, weight.shape[2], *everywhere), np.int64)
    for tap in itertools.product(*map(range, kernel)):
        window = tuple(
            slice(i * by, i * by + (n - 1) * step + 1, step)
            for i, by, n, step in zip(
                tap, geometry.dilation, image.shape[3:], geometry.stride, strict=True
            )
        )
        spread = np.einsum("ngc...,gco->ngo...", image, weight[:, :, :, *tap])
        result[:, :, :, *window] += spread
    inside = (
        slice(pad, size - pad) for pad, size in zip(geometry.padding, everywhere, strict=True)
    )
    return result[:, :, :, *inside]


@st.composite
def geometries(draw):
    """Shapes of input and weight, and a geometry; every kind of kernel occurs."""
    axes, is_transposed = draw(st.integers(1, 3)), draw(st.booleans())
    kind = draw(st.sampled_from(["dense", "grouped", "depthwise", "pointwise"]))
    if kind == "depthwise":
        groups = channels = draw(st.sampled_from([2, 15, 16, 32, 40]))
        out_channels = groups * draw(st.sampled_from([1, 1, 2, 3]))
    else:
        groups = draw(st.sampled_from([2, 3])) if kind == "grouped" else 1
        channels = groups * draw(st.sampled_from([1, 3, 4, 8, 20]))
        out_channels = groups * draw(st.sampled_from([1, 5, 16, 18]))

    def each(lowest, highest):
        return draw(st.tuples(*[st.integers(lowest, highest)] * axes))

    kernel = each(1, 1) if kind == "pointwise" else each(1, 4 if axes == 3 else 5)
    stride, dilation, padding = each(1, 3), each(1, 3), each(0, 3)
    extra = tuple(
        draw(st.integers(0, max(step, by) - 1)) for step, by in zip(stride, dilation, strict=True)
    )
    reach = [by * (taps - 1) + 1 for taps, by in zip(kernel, dilation, strict=True)]
    if is_transposed:  # at least one output
        padding = tuple(min(pad, (n - 1) // 2) for pad, n in zip(padding, reach, strict=True))
        geometry = Geometry(stride, padding, dilation, groups, extra)
        least = [1] * axes
    else:
        mode = draw(st.sampled_from(list(NUMPY_MODES)))
        geometry = Geometry(stride, padding, dilation, groups, None, mode)
        least = [
            max(n - 2 * pad, 1 if mode == "zeros" else pad + 1)
            for n, pad in zip(reach, padding, strict=True)
        ]
    image = [n + draw(st.integers(0, 5)) for n in least]
    input_shape = (draw(st.integers(0, 2)), channels, *image)
    sides = (channels, out_channels) if is_transposed else (out_channels, channels)
    weight_shape = (sides[0], sides[1] // groups, *kernel)
    return input_shape, weight_shape, geometry


def layouts(input):
    """The same values: as they are, channels last, and as parts of larger tensors."""
    yield input
    last = input.movedim(1, -1).contiguous()
    yield last.movedim(-1, 1)
    yield torch.cat([last, last], -1)[..., last.shape[-1] :].movedim(-1, 1)
    yield torch.cat([input, input], -1)[..., : input.shape[-1]]


dtypes = st.sampled_from([torch.uint8, torch.int8])


@pytest.mark.parametrize("stride", [2, 3, 5])
def test_a_transposed_kernel_shorter_than_its_stride(stride):
    """Outputs between those that it reaches are 0, also where one phase has a single output."""
    rng = np.random.default_rng(0)
    geometry = Geometry((1, stride, 1), (0, 0, 0), (1, 1, 1), 1, (0, 0, 0))
    input = activations(rng, (1, 1, 1, 2, 1), "random", torch.uint8, None)
    weight = weights(rng, (1, 1, 2, 1, 1), "random")
    expected = exact_convolution(input, 7, weight, None, geometry)
    result = on_every_isa(conv_int32, input, 7, weight, None, geometry)
    np.testing.assert_array_equal(result.numpy(), expected)


@given(generators, geometries(), patterns, patterns, dtypes, st.booleans(), st.booleans())
def test_sums(rng, shapes, of_input, of_weight, dtype, seven_bits, asymmetric):
    input_shape, weight_shape, geometry = shapes
    input = activations(rng, input_shape, of_input, dtype, 127 if seven_bits else None)
    weight = weights(rng, weight_shape, of_weight)
    zero_points = zero_points_of(rng, weight_shape[geometry.channel_axis], asymmetric)
    zero_point = int(rng.integers(0, 128))
    expected = exact_convolution(input, zero_point, weight, zero_points, geometry)
    for image in layouts(input):
        result = on_every_isa(conv_int32, image, zero_point, weight, zero_points, geometry)
        np.testing.assert_array_equal(result.numpy(), expected)
        assert result.movedim(1, -1).is_contiguous()


def operator_for(geometry):
    """The operator of a geometry, and the geometry as its arguments."""
    stride, padding, dilation, groups, extra, mode = geometry
    if extra is None:
        operator = (conv.conv1d, conv.conv2d, conv.conv3d)[len(stride) - 1]
        return operator, (stride, padding, dilation, groups, mode)
    operator = (conv.conv_transpose1d, conv.conv_transpose2d, conv.conv_transpose3d)
    return operator[len(stride) - 1], (stride, padding, extra, groups, dilation)


@given(generators, geometries(), dtypes, dtypes, st.booleans(), st.booleans(), st.booleans())
def test_requantized(rng, shapes, dtype, output_dtype, asymmetric, with_residual, one_scale):
    input_shape, weight_shape, geometry = shapes
    channels = weight_shape[geometry.channel_axis]
    shared_by = geometry.shared_by
    input, weight = (
        activations(rng, input_shape, "random", dtype),
        weights(rng, weight_shape, "small"),
    )
    zero_points = zero_points_of(rng, channels, asymmetric)
    scales = torch.from_numpy(rng.uniform(1e-4, 1e-2, 1 if one_scale else channels)).float()
    bias = torch.from_numpy(rng.normal(0, 2, channels * shared_by)).float()
    info = torch.iinfo(output_dtype)
    output = (0.05, 10, info.min, info.max)
    operands = (input, 0.02, 5, weight, scales, zero_points, bias)
    sums = exact_convolution(input, 5, weight, zero_points, geometry)
    extra, added = (), ()
    if with_residual:
        residual = activations(rng, sums.shape, "random", output_dtype)
        extra, added = (residual, 0.03, 7), (np.moveaxis(residual.numpy(), 1, -1), 0.03, 7)
    operator, in_order = operator_for(geometry)
    args = (*operands, *in_order, *output, output_dtype, 0.0, 6.0, *extra)
    result = on_every_isa(operator, *args)
    of_outputs = scales if one_scale else scales.repeat(shared_by)
    by_pixel = requantized(
        np.moveaxis(sums, 1, -1), 0.02, of_outputs, bias, *output, 0.0, 6.0, *added
    )
    np.testing.assert_array_equal(np.moveaxis(result.numpy(), 1, -1), by_pixel)
    assert torch.equal(result, operator.reference(*args))


# Large enough for several boxes, some of them a part of a line.
LARGE = [
    ((2, 8, 300, 40), (20, 8, 3, 3), Geometry((1, 1), (1, 1), (1, 1))),
    ((1, 3, 224, 224), (16, 3, 7, 7), Geometry((2, 2), (3, 3), (1, 1))),
    ((1, 40, 90, 90), (40, 1, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 40)),
    ((1, 64, 100, 100), (16, 64, 1, 1), Geometry((1, 1), (0, 0), (1, 1))),
    ((1, 64, 100, 100), (16, 64, 1, 1), Geometry((2, 2), (0, 0), (1, 1))),
    ((1, 64, 60, 60), (16, 64, 3, 3), Geometry((1, 1), (0, 0), (1, 1))),
    ((1, 2048, 5, 200), (3, 2048, 1, 3), Geometry((1, 1), (0, 1), (1, 1))),
    ((3, 16, 6, 6), (128, 8, 3, 3), Geometry((1, 1), (1, 1), (2, 1), 2)),
    ((1, 1, 60000), (4, 1, 9), Geometry((1,), (4,), (1,))),
    ((2, 32, 9000), (8, 32, 5), Geometry((2,), (2,), (1,), 1, None, "reflect")),
    ((1, 16, 20, 30, 30), (8, 16, 3, 3, 3), Geometry((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    ((1, 40, 9, 40, 40), (40, 1, 3, 3, 3), Geometry((1, 2, 1), (1, 0, 1), (1, 1, 1), 40)),
    ((1, 32, 90, 70), (32, 16, 4, 4), Geometry((2, 2), (1, 1), (1, 1), 1, (0, 0))),
    ((1, 32, 20, 30, 30), (32, 8, 3, 3, 3), Geometry((2, 2, 1), (1, 1, 1), (1, 1, 1), 1, (1, 0, 0))),  # noqa: E501
    ((1, 32, 20, 30, 30), (32, 8, 1, 3, 3), Geometry((1, 1, 1), (0, 1, 1), (1, 1, 1), 1, (0, 0, 0))),  # noqa: E501
    ((1, 64, 30000), (64, 1, 8), Geometry((4,), (2,), (1,), 64, (0,))),
]  # fmt: skip


@pytest.mark.parametrize(("input_shape", "weight_shape", "geometry"), LARGE)
def test_several_boxes_and_threads(input_shape, weight_shape, geometry):
    rng = np.random.default_rng(0)
    weight = weights(rng, weight_shape, "small")
    zero_points = zero_points_of(rng, weight_shape[geometry.channel_axis], True)
    for dtype in (torch.uint8, torch.int8):
        input = activations(rng, input_shape, "random", dtype)
        expected = exact_convolution(input, 3, weight, zero_points, geometry)
        for count, image in zip((1, 2, 5), layouts(input), strict=False):
            with threads(count):
                result = conv_int32(image, 3, weight, zero_points, geometry)
            np.testing.assert_array_equal(result.numpy(), expected)


def test_the_padding_counts_for_the_largest_byte():
    """A zero point above 127 is read wherever there is padding."""
    input = torch.zeros(1, 16, 4, 4, dtype=torch.uint8)
    weight = torch.full((16, 16, 3, 3), 127, dtype=torch.int8)
    geometry = Geometry((1, 1), (1, 1), (1, 1))
    for zero_point in (0, 127, 255):
        result = on_every_isa(conv_int32, input, zero_point, weight, None, geometry)
        expected = exact_convolution(input, zero_point, weight, None, geometry)
        np.testing.assert_array_equal(result.numpy(), expected)


def test_sums_too_long_for_32_bits():
    input = torch.full((1, 4000, 3, 3), 255, dtype=torch.uint8)
    weight = torch.full((2, 4000, 3, 3), -128, dtype=torch.int8)
    zero_points = torch.tensor([127, 3])
    geometry = Geometry((1, 1), (1, 1), (1, 1))
    sums = exact_convolution(input, 0, weight, zero_points, geometry)
    result = on_every_isa(conv_int32, input, 0, weight, zero_points, geometry)
    np.testing.assert_array_equal(result.numpy(), sums.astype(np.int32))
    output = (1e7, 255, 0, 255)
    args = (
        input,
        1.0,
        0,
        weight,
        torch.ones(2),
        zero_points,
        None,
        *operator_for(geometry)[1],
        *output,
    )
    expected = requantized(sums.transpose(0, 2, 3, 1), 1.0, torch.ones(2), None, *output)
    result = on_every_isa(conv2d, *args, torch.uint8)
    np.testing.assert_array_equal(result.numpy().transpose(0, 2, 3, 1), expected)


def test_strided_arguments():
    rng = np.random.default_rng(0)
    input = activations(rng, (4, 6, 20, 11), "random")[::2, :, ::2, 1:]
    weight = weights(rng, (3, 3, 6, 20), "small").permute(3, 2, 0, 1)[::2]
    residual = activations(rng, (10, 2, 10, 10), "random").transpose(0, 1)
    scales, bias = torch.rand(20)[::2] / 100, torch.randn(20)[::2]
    geometry = ((1, 1), (1, 1), (1, 1), 1, "zeros")
    output = (0.5, 9, 0, 255, torch.uint8, None, None, residual, 0.3, 4)
    args = (input, 0.1, 3, weight, scales, torch.arange(20)[::2], bias, *geometry, *output)
    assert torch.equal(on_every_isa(conv2d, *args), conv2d.reference(*args))
    check_operator(conv2d, args)


@pytest.mark.parametrize(("outputs", "inputs"), [(4, 0), (0, 4), (0, 0)])
def test_no_channels(outputs, inputs):
    """Of no inputs every sum is 0, which leaves the bias."""
    image = torch.zeros(2, inputs, 5, 5, dtype=torch.uint8)
    weight = torch.zeros(outputs, inputs, 3, 3, dtype=torch.int8)
    geometry = [1, 1], [1, 1], [1, 1], 1, "zeros"
    arguments = (image, 0.1, 3, weight, torch.ones(1), None, torch.full((outputs,), 3.0), *geometry)
    for function in (conv2d, conv2d.reference):
        result = function(*arguments, 0.5, 4, 0, 255, torch.uint8)
        assert torch.equal(result, torch.full((2, outputs, 5, 5), 10, dtype=torch.uint8))


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_zero_batch(groups):
    input = torch.zeros(0, 6, 5, 5, dtype=torch.uint8)
    weight = torch.ones(6, 6 // groups, 3, 3, dtype=torch.int8)
    geometry = ((1, 1), (0, 0), (1, 1), groups, "zeros")
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
    "padding_mode": "zeros",
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
        ({"groups": 4}, ValueError, "groups that divide the .* channels .* got groups=4"),
        ({"groups": 0}, ValueError, "groups that divide the .* channels .* got groups=0"),
        ({"groups": 1}, ValueError, "input of 2 channels"),
        ({"stride": (1, 0)}, ValueError, "two values of stride, at least 1"),
        ({"padding": (-1, 0)}, ValueError, "two values of padding, at least 0"),
        ({"dilation": (0, 1)}, ValueError, "two values of dilation, at least 1"),
        ({"dilation": (4, 4)}, ValueError, "at most the padded image's size"),
        ({"padding_mode": "mirror"}, ValueError, "padding_mode 'zeros' or 'reflect'.*got 'mirror'"),
        ({"padding_mode": "reflect", "padding": (5, 0)}, ValueError, "that 'reflect' can take"),
        ({"padding_mode": "circular", "padding": (0, 6)}, ValueError, "that 'circular' can take"),
        ({"weight_scales": torch.ones(5)}, ValueError, r"weight_scales of shape \(6,\)"),
        ({"bias": torch.ones(5)}, ValueError, r"bias of shape \(6,\)"),
        ({"output_scale": float("inf")}, ValueError, "positive, finite output_scale"),
        ({"residual": torch.zeros(1, 6, 4, 5, dtype=torch.uint8)}, ValueError, "like the output"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        conv2d(**(GOOD | change))


TRANSPOSED = {
    "input": torch.zeros(1, 4, 5, dtype=torch.uint8),
    "weight": torch.zeros(4, 3, 3, dtype=torch.int8),
    "weight_scales": torch.ones(3),
    "stride": (2,),
    "padding": (1,),
    "output_padding": (1,),
    "dilation": (1,),
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": torch.zeros(4, 5, dtype=torch.uint8)}, TypeError, r"shape \(N, C, L\)"),
        ({"output_padding": (2,)}, ValueError, "output_padding to be smaller than stride"),
        ({"output_padding": (-1,)}, ValueError, "one value of output_padding, at least 0"),
        ({"padding": (20,)}, ValueError, "at most the padded image's size"),
        ({"weight_scales": torch.ones(6)}, ValueError, r"weight_scales of shape \(3,\)"),
        ({"weight_zero_points": torch.ones(6).long()}, ValueError, r"of shape \(3,\)"),
        ({"bias": torch.ones(3)}, ValueError, r"bias of shape \(6,\)"),
        ({"groups": 3}, ValueError, "groups that divide the .* channels"),
        ({"weight": torch.zeros(6, 3, 3, dtype=torch.int8)}, ValueError, "input of 6 channels"),
    ],
)
def test_bad_arguments_of_transposed(change, error, message):
    good = {name: value for name, value in GOOD.items() if name != "padding_mode"} | TRANSPOSED
    with pytest.raises(error, match=message):
        conv.conv_transpose1d(**(good | change))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_torch_knows_the_operators(axes, is_transposed):
    one, two = (1,) * axes, (2,) * axes
    geometry = Geometry(two, one, one, 2, one if is_transposed else None)
    input = torch.zeros(2, 4, *[5] * axes, dtype=torch.uint8)
    weight = torch.ones(4, 2, *[3] * axes, dtype=torch.int8)
    operator, in_order = operator_for(geometry)
    args = (input, 0.1, 3, weight, torch.ones(1), None, None, *in_order, 0.1, 3, 0, 255)
    check_operator(operator, (*args, torch.uint8))
