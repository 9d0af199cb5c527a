"""Two-dimensional convolution of quantized images, requantized in the same pass."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _kernels
from .._packing import PackedForms, PackedWeights, Run, is_depthwise, shared_cache
from .._threads import num_threads
from ._product import (
    Requantization,
    check_input,
    check_weight,
    proven_amax,
    readable_residual,
    sums_call,
    unsigned,
)
from ._weighted import weighted_operator

_INT32_MAX = 2**31 - 1


def conv2d_reference(
    input: Tensor,
    input_scale: float,
    input_zero_point: int,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
    residual: Tensor | None = None,
    residual_scale: float = 1.0,
    residual_zero_point: int = 0,
    activation: str = "",
    negative_slope: float = 0.01,
) -> Tensor:
    """Convolve, add, bound and requantize.

    Args:
        input: uint8 or int8, ``(N, C, H, W)``, quantized by ``input_scale``,
            ``input_zero_point``. Fastest in the channels-last memory format.
        weight: int8, ``(O, C / groups, kh, kw)``.
        weight_scales: float32, ``(O,)``, or ``(1,)`` for one scale.
        weight_zero_points: int64, ``(O,)``; ``None`` if all are zero.
        bias: float32, ``(O,)``, or ``None``.
        stride, padding, dilation: ``(vertical, horizontal)``. Padding stands for real zeros.
        groups: into which input and output channels are divided.
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
        ``(N, O, H', W')`` in the channels-last memory format. The integer sums are exact;
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
        >>> geometry = (1, 1), (0, 0), (1, 1), 1
        >>> torch.ops.qtensor.conv2d(
        ...     x, 1.0, 0, w, torch.ones(1), None, None, *geometry, 1.0, 0, 0, 255, torch.uint8
        ... )
        tensor([[[[ 8, 12],
                  [20, 24]]]], dtype=torch.uint8)
    """
    finish = Requantization(
        input_scale,
        weight_scales,
        bias,
        output_scale,
        output_zero_point,
        quant_min,
        quant_max,
        dtype,
        activation_min,
        activation_max,
        residual,
        residual_scale,
        residual_zero_point,
        activation,
        negative_slope,
    )
    # float64 holds every sum; rounding removes what an inexact algorithm might leave.
    centred = weight.double()
    if weight_zero_points is not None:
        centred = centred - weight_zero_points.double().view(-1, 1, 1, 1)
    image = input.double() - input_zero_point
    sums = F.conv2d(
        image, centred, None, tuple(stride), tuple(padding), tuple(dilation), groups
    ).round()
    return finish.reference(sums, 1).contiguous(memory_format=torch.channels_last)


def conv2d_shape(
    input: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> tuple[int, int, int, int]:
    """The output's shape; raises ``ValueError`` if there is none."""
    if input.dim() != 4:
        raise TypeError(f"expected an input of shape (N, C, H, W), got {tuple(input.shape)}")
    channels_out, group_channels, *kernel = weight.shape
    batch, channels, *image = input.shape
    if groups < 1 or channels % groups or channels_out % groups:
        raise ValueError(
            f"expected {channels} input and {channels_out} output channels to be divisible by "
            f"groups, got groups={groups}"
        )
    if channels != group_channels * groups:
        raise ValueError(
            f"expected an input of {group_channels * groups} channels for a weight of shape "
            f"{tuple(weight.shape)} and groups={groups}, got {tuple(input.shape)}"
        )
    for name, values, least in (
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if len(values) != 2 or min(values) < least:
            raise ValueError(f"expected two values of {name}, at least {least}, got {values}")
    sizes = [
        (size + 2 * pad - step * (taps - 1) - 1) // by + 1
        for size, taps, by, pad, step in zip(image, kernel, stride, padding, dilation, strict=True)
    ]
    if min(kernel) < 1 or min(sizes) < 1:
        raise ValueError(
            f"expected a kernel of at most the padded image's size, got {tuple(kernel)} with "
            f"dilation {tuple(dilation)} for {tuple(image)} with padding {tuple(padding)}"
        )
    return batch, channels_out, sizes[0], sizes[1]


def check_conv2d(
    input: Tensor,
    input_zero_point: int,
    weight: Tensor,
    weight_zero_points: Tensor | None,
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int],
    finish: Requantization,
) -> tuple[int, ...]:
    """Raise unless everything fits; returns the output's shape."""
    check_input(input, finish.input_scale, input_zero_point)
    check_weight(input, weight, finish.weight_scales, weight_zero_points, finish.bias, 4)
    shape = conv2d_shape(input, weight, *geometry)
    finish.check(shape)
    return shape


def prepare_conv2d(
    cache: PackedWeights,
    input: Tensor,
    input_scale: float,
    input_zero_point: int,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *output_arguments: Any,
) -> Run:
    finish = Requantization(input_scale, weight_scales, bias, *output_arguments)
    geometry = (tuple(stride), tuple(padding), tuple(dilation), groups)
    check_conv2d(input, input_zero_point, weight, weight_zero_points, geometry, finish)
    call = _call(input, input_zero_point, weight, weight_zero_points, groups)
    finish.ask(call)
    forms = _forms(cache, weight, weight_zero_points, geometry)
    dtype = finish.dtype

    def run(arguments: tuple[Any, ...]) -> Tensor:
        input, weight, weight_zero_points = arguments[0], arguments[3], arguments[5]
        shape = conv2d_shape(input, weight, *geometry)
        output = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
        residual = readable_residual(arguments[_RESIDUAL], output, torch.channels_last)
        operands = (input, input_zero_point, weight, weight_zero_points)
        _convolve(call, forms, *operands, geometry, output, residual)
        return output

    return run


def conv2d_int32(
    input: Tensor,
    input_zero_point: int,
    weight: Tensor,
    weight_zero_points: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    cache: PackedWeights | None = None,
) -> Tensor:
    """The exact integer sums, modulo 2**32, without scales.

    Args:
        input, …, groups: as for :func:`conv2d`.

    Returns:
        int32, ``(N, O, H', W')``, channels-last: sums of
        ``(input - input_zero_point) * (weight - zero_point)``.
    """
    check_input(input, 1.0, input_zero_point)
    check_weight(input, weight, torch.ones(1), weight_zero_points, None, 4)
    geometry = (stride, padding, dilation, groups)
    shape = conv2d_shape(input, weight, *geometry)
    output = torch.empty(shape, dtype=torch.int32, memory_format=torch.channels_last)
    call = _call(input, input_zero_point, weight, weight_zero_points, groups)
    forms = _forms(cache or shared_cache(weight), weight, weight_zero_points, geometry)
    operands = (input, input_zero_point, weight, weight_zero_points)
    _convolve(call, forms, *operands, geometry, output, None)
    return output


Geometry = tuple[Sequence[int], Sequence[int], Sequence[int], int]


def _call(
    input: Tensor,
    input_zero_point: int,
    weight: Tensor,
    weight_zero_points: Tensor | None,
    groups: int,
) -> _kernels.Product:
    if is_depthwise(weight, groups):
        weight_zero_points = None  # they are part of the packed weights
    return sums_call(input, input_zero_point, weight_zero_points)


def _forms(
    cache: PackedWeights, weight: Tensor, weight_zero_points: Tensor | None, geometry: Geometry
) -> PackedForms:
    _, _, dilation, groups = geometry
    return cache.forms(weight, weight_zero_points, groups, groups == 1 and dilation[1] == 1)


def _convolve(
    call: _kernels.Product,
    forms: PackedForms,
    input: Tensor,
    input_zero_point: int,
    weight: Tensor,
    weight_zero_points: Tensor | None,
    geometry: Geometry,
    output: Tensor,
    residual: Tensor | None,
) -> None:
    if output.numel() == 0:
        return
    stride, padding, dilation, _ = geometry
    kernel = weight.shape[2:]
    batch, channels, height, width = input.shape
    pitch = (width + 2 * padding[1]) * channels
    if (kernel[0] - 1) * dilation[0] * pitch + pitch > _INT32_MAX:
        raise ValueError(
            f"expected the rows under a kernel to have less than 2 GiB, got {tuple(kernel)} on "
            f"{tuple(input.shape)}"
        )
    input = input.contiguous(memory_format=torch.channels_last)
    zero_point = unsigned(input_zero_point, input.dtype)
    call.conv2d(
        forms.get(proven_amax(input, zero_point), weight, weight_zero_points),
        num_threads(),
        output.data_ptr(),
        0 if residual is None else residual.data_ptr(),
        input.data_ptr(),
        input.dtype is torch.int8,
        (batch, height, width, channels),
        output.shape[2:],
        kernel,
        stride,
        padding,
        dilation,
        zero_point,
    )


def conv2d_fake(
    input: Tensor,
    input_scale: float,
    input_zero_point: int,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *output_arguments: Any,
    **named: Any,
) -> Tensor:
    finish = Requantization(input_scale, weight_scales, bias, *output_arguments, **named)
    geometry = (stride, padding, dilation, groups)
    shape = check_conv2d(input, input_zero_point, weight, weight_zero_points, geometry, finish)
    return torch.empty(
        shape, dtype=finish.dtype, device=input.device, memory_format=torch.channels_last
    )


_RESIDUAL = 18  # its position in the schema
conv2d = weighted_operator(
    "conv2d(Tensor input, float input_scale, int input_zero_point, Tensor weight, "
    "Tensor weight_scales, Tensor? weight_zero_points, Tensor? bias, int[2] stride, "
    "int[2] padding, int[2] dilation, int groups, float output_scale, int output_zero_point, "
    "int quant_min, int quant_max, ScalarType dtype, float? activation_min=None, "
    "float? activation_max=None, Tensor? residual=None, float residual_scale=1., "
    "int residual_zero_point=0, str activation='', "
    "float negative_slope=0.01) -> Tensor",
    prepare=prepare_conv2d,
    reference=conv2d_reference,
    fake=conv2d_fake,
)
