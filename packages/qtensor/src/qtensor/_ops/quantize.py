"""Quantize and dequantize, per tensor and per channel.

    q = clamp(round(x / scale) + zero_point, quant_min, quant_max)
    x = (q - zero_point) * scale

precisely: in float32, with the reciprocal of the scale rounded to float32 first; ties round to
even; NaN gives ``quant_min``. Real zero points (those of embedding tables) are added before
rounding instead of after it. Each ``_fake`` checks what is given and allocates the output, for the
kernels too.
"""

import torch
from torch import Tensor

from .. import _elementwise
from .._threads import num_threads
from ._checks import (
    RANGES,
    check_channel_values,
    check_channels,
    check_float32,
    check_integers,
    check_parameters,
    check_range,
)
from ._layout import ELEMENT, laid_out_as, outer_channels_inner
from ._registry import operator
from ._requantize import round_within

# ---- per tensor ---------------------------------------------------------------------------------


def quantize_per_tensor_reference(
    input: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    """Quantize a float tensor with one scale and zero point.

    Args:
        input: float32, any shape.
        scale: the step between two integers, positive.
        zero_point: the integer that stands for 0.
        quant_min, quant_max: the integers to use, both included.
        dtype: ``torch.uint8``, ``torch.int8`` or ``torch.int32``.

    Returns:
        ``clamp(round(input / scale) + zero_point, quant_min, quant_max)``, of ``dtype``, with
        the shape and memory format of ``input``. Ties round to even, NaN gives ``quant_min``.

    Raises:
        TypeError: ``input`` is not float32, or ``dtype`` is none of the three.
        ValueError: the scale is not positive and finite, or the zero point or the range does not
            fit ``dtype``.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([-1.0, 0.0, 0.25, 100.0])
        >>> torch.ops.qtensor.quantize_per_tensor(x, 0.5, 10, 0, 127, torch.uint8)
        tensor([  8,  10,  10, 127], dtype=torch.uint8)
    """
    values = input * (1.0 / torch.tensor(scale, dtype=torch.float32))
    if dtype is torch.int32:
        values = values.double()  # float32 cannot hold the bounds
    rounded = round_within(values, quant_min - zero_point, quant_max - zero_point)
    return (rounded + zero_point).to(dtype)


def quantize_per_tensor_fake(
    input: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    check_float32(input)
    check_range(quant_min, quant_max, dtype)
    check_parameters(scale, zero_point, quant_min, quant_max)
    return torch.empty_like(input, dtype=dtype)


def quantize_per_tensor_cpu(
    input: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    output = quantize_per_tensor_fake(input, scale, zero_point, quant_min, quant_max, dtype)
    input = laid_out_as(input, output)
    _elementwise.quantize_per_tensor(
        input.data_ptr(),
        output.data_ptr(),
        ELEMENT[dtype],
        input.numel(),
        scale,
        zero_point,
        quant_min,
        quant_max,
        num_threads(),
    )
    return output


quantize_per_tensor = operator(
    "quantize_per_tensor(Tensor input, float scale, int zero_point, int quant_min, "
    "int quant_max, ScalarType dtype) -> Tensor",
    cpu=quantize_per_tensor_cpu,
    reference=quantize_per_tensor_reference,
    fake=quantize_per_tensor_fake,
)


def dequantize_per_tensor_reference(input: Tensor, scale: float, zero_point: int) -> Tensor:
    """The real values of integers quantized with one scale and zero point.

    Args:
        input: uint8, int8 or int32, any shape.
        scale: the step between two integers, positive.
        zero_point: the integer that stands for 0.

    Returns:
        ``(input - zero_point) * scale``, float32, with the shape and memory format of ``input``.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: the scale is not positive and finite, or the zero point does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> q = torch.tensor([8, 10, 127], dtype=torch.uint8)
        >>> torch.ops.qtensor.dequantize_per_tensor(q, 0.5, 10)
        tensor([-1.0000,  0.0000, 58.5000])
    """
    return (input.long() - zero_point).float() * torch.tensor(scale, dtype=torch.float32)


def dequantize_per_tensor_fake(input: Tensor, scale: float, zero_point: int) -> Tensor:
    check_integers(input)
    check_parameters(scale, zero_point, *RANGES[input.dtype])
    return torch.empty_like(input, dtype=torch.float32)


def dequantize_per_tensor_cpu(input: Tensor, scale: float, zero_point: int) -> Tensor:
    output = dequantize_per_tensor_fake(input, scale, zero_point)
    input = laid_out_as(input, output)
    _elementwise.dequantize_per_tensor(
        input.data_ptr(),
        output.data_ptr(),
        ELEMENT[input.dtype],
        input.numel(),
        scale,
        zero_point,
        num_threads(),
    )
    return output


dequantize_per_tensor = operator(
    "dequantize_per_tensor(Tensor input, float scale, int zero_point) -> Tensor",
    cpu=dequantize_per_tensor_cpu,
    reference=dequantize_per_tensor_reference,
    fake=dequantize_per_tensor_fake,
)


# ---- per channel --------------------------------------------------------------------------------


def quantize_per_channel_reference(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    """Quantize a float tensor with a scale and zero point for each index of one axis.

    Args:
        input: float32, any shape of one dimension or more.
        scales: float32, shape ``(input.shape[axis],)``, positive.
        zero_points: int64 of the same shape; or float32, which is added before rounding instead of
            after it (embedding tables; ``dtype`` is ``torch.uint8`` then).
        axis: the channel axis; a negative one counts from the end.
        quant_min, quant_max: the integers to use, both included.
        dtype: ``torch.uint8``, ``torch.int8`` or ``torch.int32``.

    Returns:
        The integers, of ``dtype``, with the shape and memory format of ``input``. Ties round to
        even, NaN gives ``quant_min``.

    Raises:
        TypeError: a tensor or ``dtype`` is of a dtype not named above.
        ValueError: shapes or the axis do not fit, a scale is not positive and finite, or zero
            points or the range do not fit ``dtype``.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
        >>> scales, zero_points = torch.tensor([0.5, 1.0]), torch.tensor([0, 3])
        >>> torch.ops.qtensor.quantize_per_channel(x, scales, zero_points, 0, 0, 255, torch.uint8)
        tensor([[2, 4],
                [4, 5]], dtype=torch.uint8)
    """
    values = input * _along(axis, input, 1.0 / scales)
    zero_points = _along(axis, input, zero_points)
    if zero_points.is_floating_point():
        return round_within(values + zero_points, quant_min, quant_max).to(dtype)
    if dtype is torch.int32:
        values = values.double()  # float32 cannot hold the bounds
    rounded = round_within(values, quant_min - zero_points, quant_max - zero_points)
    return (rounded + zero_points).to(dtype)


def _along(axis: int, input: Tensor, channel_values: Tensor) -> Tensor:
    shape = [1] * input.ndim
    shape[axis] = -1
    return channel_values.reshape(shape)


def quantize_per_channel_fake(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    check_float32(input)
    check_range(quant_min, quant_max, dtype)
    check_channels(input, scales, zero_points, axis, dtype)
    return torch.empty_like(input, dtype=dtype)


def quantize_per_channel_cpu(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    output = quantize_per_channel_fake(
        input, scales, zero_points, axis, quant_min, quant_max, dtype
    )
    check_channel_values(scales, zero_points, quant_min, quant_max)
    if output.numel() == 0:
        return output
    input = laid_out_as(input, output)
    scales, zero_points = scales.contiguous(), zero_points.contiguous()
    _elementwise.quantize_per_channel(
        input.data_ptr(),
        output.data_ptr(),
        ELEMENT[dtype],
        outer_channels_inner(output, axis),
        scales.data_ptr(),
        *_addresses(zero_points),
        quant_min,
        quant_max,
        num_threads(),
    )
    return output


def _addresses(zero_points: Tensor) -> tuple[int, int]:
    """Of the integer and of the real zero points; 0 for the kind that is not there."""
    address = zero_points.data_ptr()
    return (0, address) if zero_points.is_floating_point() else (address, 0)


quantize_per_channel = operator(
    "quantize_per_channel(Tensor input, Tensor scales, Tensor zero_points, int axis, "
    "int quant_min, int quant_max, ScalarType dtype) -> Tensor",
    cpu=quantize_per_channel_cpu,
    reference=quantize_per_channel_reference,
    fake=quantize_per_channel_fake,
)


def dequantize_per_channel_reference(
    input: Tensor, scales: Tensor, zero_points: Tensor, axis: int
) -> Tensor:
    """The real values of integers quantized with parameters for each index of one axis.

    Args:
        input: uint8, int8 or int32, any shape of one dimension or more.
        scales: float32, shape ``(input.shape[axis],)``, positive.
        zero_points: int64 of the same shape, or float32 for a uint8 ``input``.
        axis: the channel axis; a negative one counts from the end.

    Returns:
        ``(input - zero_point) * scale``, float32, with the shape and memory format of ``input``.

    Raises:
        TypeError: a tensor is of a dtype not named above.
        ValueError: shapes or the axis do not fit, a scale is not positive and finite, or a zero
            point does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> q = torch.tensor([[2, 4], [4, 5]], dtype=torch.uint8)
        >>> scales, zero_points = torch.tensor([0.5, 1.0]), torch.tensor([0, 3])
        >>> torch.ops.qtensor.dequantize_per_channel(q, scales, zero_points, 0)
        tensor([[1., 2.],
                [1., 2.]])
    """
    zero_points = _along(axis, input, zero_points)
    if zero_points.is_floating_point():
        return (input.float() - zero_points) * _along(axis, input, scales)
    return (input.long() - zero_points).float() * _along(axis, input, scales)


def dequantize_per_channel_fake(
    input: Tensor, scales: Tensor, zero_points: Tensor, axis: int
) -> Tensor:
    check_integers(input)
    check_channels(input, scales, zero_points, axis, input.dtype)
    return torch.empty_like(input, dtype=torch.float32)


def dequantize_per_channel_cpu(
    input: Tensor, scales: Tensor, zero_points: Tensor, axis: int
) -> Tensor:
    output = dequantize_per_channel_fake(input, scales, zero_points, axis)
    check_channel_values(scales, zero_points, *RANGES[input.dtype])
    if output.numel() == 0:
        return output
    input = laid_out_as(input, output)
    scales, zero_points = scales.contiguous(), zero_points.contiguous()
    _elementwise.dequantize_per_channel(
        input.data_ptr(),
        output.data_ptr(),
        ELEMENT[input.dtype],
        outer_channels_inner(output, axis),
        scales.data_ptr(),
        *_addresses(zero_points),
        num_threads(),
    )
    return output


dequantize_per_channel = operator(
    "dequantize_per_channel(Tensor input, Tensor scales, Tensor zero_points, int axis) -> Tensor",
    cpu=dequantize_per_channel_cpu,
    reference=dequantize_per_channel_reference,
    fake=dequantize_per_channel_fake,
)
