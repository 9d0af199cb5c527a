"""Dynamic convolutions against integers made in NumPy and sums in int64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops import conv_dynamic

from .common import check_operator, generators, on_every_isa, threads, weights, zero_points_of
from .test_conv import exact_convolution, geometries, layouts, operator_for
from .test_linear_dynamic import quantized_rows


def dynamic_operator(geometry):
    """The operator of a geometry, and the geometry as its arguments."""
    operator, in_order = operator_for(geometry)
    return getattr(conv_dynamic, f"{operator.__name__}_dynamic"), in_order


def expected_output(input, weight, scales, zero_points, bias, geometry, quant_max, per_image):
    images = input.flatten(1).numpy()
    q, image_scales, image_zero_points = quantized_rows(images, quant_max, per_image)
    centred = torch.from_numpy((q - image_zero_points[:, None]).reshape(input.shape))
    sums = exact_convolution(centred, 0, weight, zero_points, geometry)
    y = np.moveaxis(sums, 1, -1).astype(np.float32) * scales.repeat(geometry.shared_by).numpy()
    y = y * image_scales.reshape(-1, *[1] * (y.ndim - 1)) + bias.numpy()
    return np.moveaxis(y, -1, 1)


@given(generators, geometries(), st.sampled_from([15, 127, 255]), st.booleans(), st.booleans())
def test_conv_dynamic(rng, shapes, quant_max, per_image, asymmetric):
    input_shape, weight_shape, geometry = shapes
    sizes = rng.choice([0.01, 1, 100], size=(input_shape[0], *[1] * (len(input_shape) - 1)))
    input = torch.from_numpy(rng.normal(size=input_shape) * sizes).float()
    weight = weights(rng, weight_shape, "small")
    channels = weight_shape[geometry.channel_axis]
    zero_points = zero_points_of(rng, channels, asymmetric)
    scales = torch.from_numpy(rng.uniform(1e-4, 1e-2, channels)).float()
    bias = torch.from_numpy(rng.normal(size=channels * geometry.shared_by)).float()
    parameters = (weight, scales, zero_points, bias)
    expected = expected_output(input, *parameters, geometry, quant_max, per_image)
    operator, in_order = dynamic_operator(geometry)
    for image in layouts(input):
        arguments = (image, *parameters, *in_order, quant_max, per_image)
        result = on_every_isa(operator, *arguments)
        np.testing.assert_array_equal(result.numpy(), expected)
        assert result.movedim(1, -1).is_contiguous()
    assert torch.equal(result, operator.reference(*arguments))


GEOMETRY = ((1, 1), (1, 1), (1, 1), 1, "zeros")


def test_an_image_that_is_not_finite_spoils_only_itself():
    input = torch.ones(3, 4, 5, 5)
    input[1, 2, 3, 3] = float("nan")
    weight = torch.ones(6, 4, 3, 3, dtype=torch.int8)
    result = on_every_isa(
        conv_dynamic.conv2d_dynamic, input, weight, torch.ones(6), None, None, *GEOMETRY
    )
    assert result[1].isnan().all() and not result[::2].isnan().any()


def test_activations_and_threads():
    rng = np.random.default_rng(0)
    input = torch.from_numpy(rng.normal(size=(2, 32, 60, 60))).float()
    weight = weights(rng, (24, 32, 3, 3), "small")
    operands = (input, weight, torch.full((24,), 0.01), None, torch.randn(24), *GEOMETRY)
    for options in ((0.0, None), (-1.0, 1.0, "gelu"), (None, None, "leaky_relu", 0.2)):
        arguments = (*operands, 255, True, *options)
        expected = conv_dynamic.conv2d_dynamic.reference(*arguments)
        for count in (1, 2, 5):
            with threads(count):
                assert torch.equal(conv_dynamic.conv2d_dynamic(*arguments), expected)


def test_torch_knows_the_operators():
    input = torch.randn(2, 4, 5, 5)
    weight = torch.ones(4, 2, 3, 3, dtype=torch.int8)
    arguments = (input, weight, torch.ones(1), None, None, *GEOMETRY[:3], 2, "reflect")
    check_operator(conv_dynamic.conv2d_dynamic, arguments)
    arguments = (*arguments[:5], (2, 2), (1, 1), (1, 1), 2, (1, 1))
    check_operator(conv_dynamic.conv_transpose2d_dynamic, arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({0: torch.zeros(1, 4, 5, 5).double()}, TypeError, "float32 input, got torch.float64"),
        ({0: torch.zeros(1, 3, 5, 5)}, ValueError, "input of 4 channels"),
        ({2: torch.ones(5)}, ValueError, r"weight_scales of shape \(6,\)"),
        ({10: 0}, ValueError, "quant_max within 1 … 255, got 0"),
    ],
)
def test_bad_arguments(change, error, message):
    good = [torch.zeros(1, 4, 5, 5), torch.zeros(6, 4, 3, 3, dtype=torch.int8), torch.ones(6)]
    good += [None, None, *GEOMETRY, 255]
    for index, value in change.items():
        good[index] = value
    with pytest.raises(error, match=message):
        conv_dynamic.conv2d_dynamic(*good)
