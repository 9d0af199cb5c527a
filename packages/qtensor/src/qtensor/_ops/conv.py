"""Convolutions of quantized images, plain and transposed, requantized in the same pass."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .._packing import PackedForms, PackedWeights, Run, is_depthwise, shared_cache
from .._threads import num_threads
from ._channels import along
from ._conv_axes import Geometry, channels_last_strides, plan, plans
from ._product import (
    Requantization,
    check_input,
    check_weight,
    readable_residual,
    sums_call,
)
from ._weighted import weighted_operator

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)

_DOCUMENTATION = """Convolve, add, bound and requantize.

With ``S`` for the spatial axes, which are ``L``, ``H, W`` or ``D, H, W``:

Args:
    input: uint8 or int8, ``(N, C, S)``, quantized by ``input_scale``, ``input_zero_point``.
        Fastest where the channels of a pixel lie together, as in channels-last memory formats.
    weight: int8, ``(O, C / groups, kernel)``.
    weight_scales: float32, ``(O,)``, or ``(1,)`` for one scale.
    weight_zero_points: int64, ``(O,)``; ``None`` if all are zero.
    bias: float32, ``(O,)``, or ``None``.
    stride, padding, dilation: a value for each spatial axis.
    groups: into which input and output channels are divided.
    padding_mode: what padding consists of: ``"zeros"`` (real ones), ``"reflect"``,
        ``"replicate"`` or ``"circular"``.
    output_scale, output_zero_point: how the result is quantized.
    quant_min, quant_max: the integers the result may use, both included.
    dtype: of the result, ``torch.uint8`` or ``torch.int8``.
    activation_min, activation_max: bounds of the real result: 0 and ``None`` for a ReLU,
        0 and 6 for a ReLU6; ``None``, the default, for no bound.
    residual: added to the result before it is bounded; of the result's shape and dtype,
        quantized by ``residual_scale``, ``residual_zero_point``.
    activation: a function of the result before it is bounded: ``"leaky_relu"`` (of
        ``negative_slope``), ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""`` for none.

Returns:
    ``(N, O, S')``, channels last in memory. The integer sums are exact;
    ``qtensor._ops._product.Requantization`` says how they are requantized.

Raises:
    TypeError: a dtype, or a number of dimensions, is not as above.
    ValueError: shapes or devices do not fit, channels are not divisible by groups, the
        kernel is larger than the padded image, a scale is not positive and finite, or a
        zero point or the range does not fit its dtype.

Example:
    >>> import torch, qtensor
    >>> x = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3)
    >>> w = torch.ones(1, 1, 2, 2, dtype=torch.int8)
    >>> geometry = (1, 1), (0, 0), (1, 1), 1, "zeros"
    >>> torch.ops.qtensor.conv2d(
    ...     x, 1.0, 0, w, torch.ones(1), None, None, *geometry, 1.0, 0, 0, 255, torch.uint8
    ... )
    tensor([[[[ 8, 12],
              [20, 24]]]], dtype=torch.uint8)
"""

_TRANSPOSED_DOCUMENTATION = """Convolve transposed, add, bound and requantize.

Like the plain convolutions, but for:

Args:
    weight: int8, ``(C, O / groups, kernel)``.
    weight_scales: float32, ``(O / groups,)``, the same for every group; or ``(1,)``.
    weight_zero_points: int64, ``(O / groups,)``; ``None`` if all are zero.
    stride, padding, output_padding, dilation: as in
        :func:`torch.nn.functional.conv_transpose2d`, a value for each spatial axis.

Example:
    >>> import torch, qtensor
    >>> x = torch.tensor([[[1, 2]]], dtype=torch.uint8)
    >>> w = torch.tensor([[[1, 10]]], dtype=torch.int8)
    >>> geometry = (2,), (0,), (1,), 1, (1,)
    >>> torch.ops.qtensor.conv_transpose1d(
    ...     x, 1.0, 0, w, torch.ones(1), None, None, *geometry, 1.0, 0, 0, 255, torch.uint8
    ... )
    tensor([[[ 1, 10,  2, 20,  0]]], dtype=torch.uint8)
"""


def exact_sums(
    image: Tensor, weight: Tensor, weight_zero_points: Tensor | None, geometry: Geometry
) -> Tensor:
    """The sums of an image (float64) less its zero point: float64, which holds every sum."""
    if weight.numel() == 0:  # of no channels, which torch refuses or miscounts
        return image.new_zeros(geometry.output_shape(image.shape, weight.shape))
    axes = weight.dim() - 2
    centred = weight.double()
    if weight_zero_points is not None:
        centred -= along(geometry.channel_axis, weight_zero_points, weight.dim())
    stride, padding, dilation, groups, output_padding, mode = geometry
    if output_padding is not None:
        order = (stride, padding, output_padding, groups, dilation)
        sums = _TRANSPOSED[axes - 1](image, centred, None, *order)
    else:
        if mode != "zeros":
            sides = [pad for pad in reversed(padding) for _ in range(2)]
            image, padding = F.pad(image, sides, mode), (0,) * axes
        sums = _CONVOLUTIONS[axes - 1](image, centred, None, stride, padding, dilation, groups)
    return sums.round()  # what an inexact algorithm might leave


def channels_last(result: Tensor) -> Tensor:
    """The same, laid out as the operators' results are."""
    strides = channels_last_strides(result.shape)
    output = torch.empty_strided(result.shape, strides, dtype=result.dtype, device=result.device)
    return output.copy_(result)


def check_conv_weight(
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
    axes: int,
) -> None:
    """Raise unless the weight, its parameters and the bias fit each other."""
    parameters = (weight_scales, weight_zero_points, bias)
    layout = (axes + 2, geometry.channel_axis, geometry.shared_by)
    check_weight(input, weight, *parameters, *layout)
    if geometry.groups < 1 or weight.shape[0] % geometry.groups:
        raise ValueError(
            f"expected groups that divide the {weight.shape[0]} channels of a weight of shape "
            f"{tuple(weight.shape)}, got groups={geometry.groups}"
        )


def per_output(channels: Tensor, geometry: Geometry) -> Tensor:
    """What there is for each index of the weight's channel axis, for each output channel."""
    return channels if geometry.shared_by == 1 else channels.repeat(geometry.shared_by)


def known_zero_points(
    weight: Tensor, zero_points: Tensor | None, geometry: Geometry
) -> Tensor | None:
    """What the kernel is to know of the weight's zero points: one for each output channel."""
    if zero_points is None or _depthwise(weight, geometry):
        return None  # or they are part of the packed weights
    return per_output(zero_points, geometry)


def _depthwise(weight: Tensor, geometry: Geometry) -> bool:
    transposed = geometry.output_padding is not None
    group_channels = weight.shape[0] // geometry.groups if transposed else weight.shape[1]
    return is_depthwise(group_channels, geometry.groups)


def packed_forms(
    cache: PackedWeights, weight: Tensor, zero_points: Tensor | None, geometry: Geometry
) -> PackedForms:
    """A weight's packed forms for this geometry."""
    return cache.forms(weight, zero_points, geometry.groups, geometry.joined)


def conv_int32(
    input: Tensor,
    input_zero_point: int,
    weight: Tensor,
    weight_zero_points: Tensor | None,
    geometry: Geometry,
    *,
    cache: PackedWeights | None = None,
) -> Tensor:
    """The exact integer sums, modulo 2**32, without scales.

    Args:
        input, input_zero_point, weight, weight_zero_points: as for the operators.
        geometry: of a plain or a transposed convolution.

    Returns:
        int32, ``(N, O, S')``, channels last: sums of
        ``(input - input_zero_point) * (weight - zero_point)``.
    """
    check_input(input, 1.0, input_zero_point)
    parameters = (input.new_ones(1, dtype=torch.float32), weight_zero_points, None)
    check_conv_weight(input, weight, *parameters, geometry, weight.dim() - 2)
    zero_points = known_zero_points(weight, weight_zero_points, geometry)
    call = sums_call(input, input_zero_point, zero_points)
    forms = packed_forms(cache or shared_cache(weight), weight, weight_zero_points, geometry)
    outputs, phases = plan(input, weight.shape, geometry, torch.int32)
    output = outputs.new()
    weights = (forms, weight, weight_zero_points, _depthwise(weight, geometry))
    call.conv(*weights, phases, num_threads(), output, None, input)
    return output


def plain_geometry(
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    padding_mode: str,
) -> Geometry:
    """From the arguments of a plain convolution, in their order."""
    return Geometry(tuple(stride), tuple(padding), tuple(dilation), groups, None, padding_mode)


def transposed_geometry(
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Geometry:
    """From the arguments of a transposed convolution, in their order."""
    extra = tuple(output_padding)
    return Geometry(tuple(stride), tuple(padding), tuple(dilation), groups, extra)


def geometry_schema(axes: int, transposed: bool) -> str:
    """The five arguments of either, as part of an operator's schema."""
    sizes = f"int[{axes}] stride, int[{axes}] padding, int[{axes}] "
    if transposed:
        return f"{sizes} output_padding, int groups, int[{axes}] dilation"
    return f"{sizes} dilation, int groups, str padding_mode"


_GEOMETRY = slice(7, 12)  # its position in the operators' schemas
_RESIDUAL = 19  # likewise


class _Call(NamedTuple):
    """The arguments of an operator, checked; and the output's shape for this input."""

    input: Tensor
    input_zero_point: int
    weight: Tensor
    weight_zero_points: Tensor | None
    geometry: Geometry
    finish: Requantization
    shape: tuple[int, ...]


def _define(axes: int, transposed: bool) -> Callable[..., Tensor]:
    read_geometry = transposed_geometry if transposed else plain_geometry

    def read(*arguments: Any) -> _Call:
        input, input_scale, input_zero_point, weight, scales, zero_points, bias = arguments[:7]
        geometry = read_geometry(*arguments[_GEOMETRY])
        check_input(input, input_scale, input_zero_point)
        check_conv_weight(input, weight, scales, zero_points, bias, geometry, axes)
        if len(scales) > 1:
            scales = per_output(scales, geometry)
        finish = Requantization(input_scale, scales, bias, *arguments[_GEOMETRY.stop :])
        shape = geometry.output_shape(input.shape, weight.shape)
        finish.check(shape)
        return _Call(input, input_zero_point, weight, zero_points, geometry, finish, shape)

    def prepare(cache: PackedWeights, *arguments: Any) -> Run:
        input, input_zero_point, weight, zero_points, geometry, finish, _ = read(*arguments)
        known = known_zero_points(weight, zero_points, geometry)
        call = sums_call(input, input_zero_point, known)
        finish.configure(call)
        forms = packed_forms(cache, weight, zero_points, geometry)
        depthwise = _depthwise(weight, geometry)
        planned = plans(weight.shape, geometry, finish.dtype)

        def run(arguments: tuple[Any, ...]) -> Tensor:
            input, weight, zero_points = arguments[0], arguments[3], arguments[5]
            outputs, phases = planned.of(input)
            output = outputs.new()
            operands = output, readable_residual(arguments[_RESIDUAL], output), input
            call.conv(forms, weight, zero_points, depthwise, phases, num_threads(), *operands)
            return output

        return run

    def reference(*arguments: Any) -> Tensor:
        input, zero_point, weight, weight_zero_points, geometry, finish, _ = read(*arguments)
        image = input.double() - zero_point
        return channels_last(
            finish.reference(exact_sums(image, weight, weight_zero_points, geometry), 1)
        )

    def fake(*arguments: Any) -> Tensor:
        input, *_, finish, shape = read(*arguments)
        strides = channels_last_strides(shape)
        return torch.empty_strided(shape, strides, dtype=finish.dtype, device=input.device)

    reference.__doc__ = _TRANSPOSED_DOCUMENTATION if transposed else _DOCUMENTATION
    name = f"conv{'_transpose' * transposed}{axes}d"
    return weighted_operator(
        f"{name}(Tensor input, float input_scale, int input_zero_point, Tensor weight, "
        "Tensor weight_scales, Tensor? weight_zero_points, Tensor? bias, "
        f"{geometry_schema(axes, transposed)}, float output_scale, int output_zero_point, "
        "int quant_min, int quant_max, ScalarType dtype, float? activation_min=None, "
        "float? activation_max=None, Tensor? residual=None, float residual_scale=1., "
        "int residual_zero_point=0, str activation='', float negative_slope=0.01) -> Tensor",
        prepare=prepare,
        reference=reference,
        fake=fake,
    )


conv1d, conv2d, conv3d = (_define(axes, transposed=False) for axes in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (
    _define(axes, transposed=True) for axes in (1, 2, 3)
)
