"""Quantize and dequantize, per tensor and per channel.

    q = clamp(round(x / scale) + zero_point, quant_min, quant_max)
    x = (q - zero_point) * scale

precisely: in float32, with the reciprocal of the scale rounded to float32 first; ties round to
even; NaN gives ``quant_min``. Real zero points (those of embedding tables) are added before
rounding instead of after it. Half floats are converted to and from float32 a block at a time, and
strided tensors are read that way, so nothing but the output is allocated. Each ``_fake`` checks
what is given and allocates the output, for the kernels too. Dequantizing takes the range and dtype
of the integers only to have them in the graph.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .. import _elementwise
from .._calls import Prepared
from ._channels import along
from ._checks import (
    RANGES,
    check_channel_values,
    check_channels,
    check_integers,
    check_parameters,
    check_quantizable,
    check_range,
)
from ._layout import ELEMENT, FLOAT, copied_as, layout_under, outer_channels_inner
from ._registry import operator
from ._requantize import round_within

INTEGERS = tuple(RANGES)

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
        input: float32, float16 or bfloat16, any shape.
        scale: the step between two integers, positive.
        zero_point: the integer that stands for 0.
        quant_min, quant_max: the integers to use, both included.
        dtype: ``torch.uint8``, ``torch.int8`` or ``torch.int32``.

    Returns:
        ``clamp(round(input / scale) + zero_point, quant_min, quant_max)``, of ``dtype``, with
        the shape and memory format of ``input``. Ties round to even, NaN gives ``quant_min``.

    Raises:
        TypeError: ``input`` or ``dtype`` is of none of the three.
        ValueError: the scale is not positive and finite, or the zero point or the range does not
            fit ``dtype``.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([-1.0, 0.0, 0.25, 100.0])
        >>> torch.ops.qtensor.quantize_per_tensor(x, 0.5, 10, 0, 127, torch.uint8)
        tensor([  8,  10,  10, 127], dtype=torch.uint8)
    """
    scales, zero_points = torch.tensor(scale, dtype=torch.float32), torch.tensor(zero_point)
    return quantize_with(input, scales, zero_points, quant_min, quant_max, dtype)


def quantize_with(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    quant_min: int | Tensor,
    quant_max: int | Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """The formula, with parameters of any shape that broadcasts to ``input``."""
    values = input.float() * (1.0 / scales)
    if zero_points.is_floating_point():
        return round_within(values + zero_points, quant_min, quant_max).to(dtype)
    if dtype == torch.int32:
        values = values.double()  # float32 cannot hold the bounds
    rounded = round_within(values, quant_min - zero_points, quant_max - zero_points)
    return (rounded + zero_points).to(dtype)


def quantize_per_tensor_fake(
    input: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    check_quantizable(input)
    check_range(quant_min, quant_max, dtype)
    check_parameters(scale, zero_point, quant_min, quant_max)
    return torch.empty_like(input, dtype=dtype)


def _quantize_kernel(
    output: Tensor,
    input: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> _elementwise.Quantize:
    types, lies = (FLOAT[input.dtype], ELEMENT[dtype]), layout_under(output, input)
    bounds = quant_min, quant_max
    return _elementwise.Quantize(*types, output.numel(), lies, scale, zero_point, *bounds)


quantize_per_tensor_cpu = Prepared(quantize_per_tensor_fake, _quantize_kernel)

quantize_per_tensor = operator(
    "quantize_per_tensor(Tensor input, float scale, int zero_point, int quant_min, "
    "int quant_max, ScalarType dtype) -> Tensor",
    cpu=quantize_per_tensor_cpu,
    reference=quantize_per_tensor_reference,
    fake=quantize_per_tensor_fake,
)


def dequantize_per_tensor_reference(
    input: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int | None = None,
    quant_max: int | None = None,
    dtype: torch.dtype | None = None,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """The real values of integers quantized with one scale and zero point.

    Args:
        input: uint8, int8 or int32, any shape.
        scale: the step between two integers, positive.
        zero_point: the integer that stands for 0.
        quant_min, quant_max: which integers occur; no effect.
        dtype: the dtype of ``input``; no other effect.
        out_dtype: what to round the result to, ``torch.float32`` by default.

    Returns:
        ``(input - zero_point) * scale``, float32 or ``out_dtype``, with the shape and memory
        format of ``input``.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: the scale is not positive and finite, or the zero point does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> q = torch.tensor([8, 10, 127], dtype=torch.uint8)
        >>> torch.ops.qtensor.dequantize_per_tensor(q, 0.5, 10)
        tensor([-1.0000,  0.0000, 58.5000])
    """
    scales, zero_points = torch.tensor(scale, dtype=torch.float32), torch.tensor(zero_point)
    return dequantize_with(input, scales, zero_points, out_dtype)


def dequantize_with(
    input: Tensor, scales: Tensor, zero_points: Tensor, out_dtype: torch.dtype | None
) -> Tensor:
    """The formula, with parameters of any shape that broadcasts to ``input``."""
    real = zero_points.is_floating_point()
    integers = input.float() if real else input.long()
    return ((integers - zero_points).float() * scales).to(out_dtype or torch.float32)


def dequantize_per_tensor_fake(
    input: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int | None = None,
    quant_max: int | None = None,
    dtype: torch.dtype | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    check_integers(input, INTEGERS if dtype is None else (dtype,))
    check_parameters(scale, zero_point, *RANGES[input.dtype])
    return torch.empty_like(input, dtype=out_dtype or torch.float32)


def _dequantize_kernel(
    output: Tensor, input: Tensor, scale: float, zero_point: int, *recorded: object
) -> _elementwise.Dequantize:
    types, lies = (FLOAT[output.dtype], ELEMENT[input.dtype]), layout_under(output, input)
    return _elementwise.Dequantize(*types, output.numel(), lies, scale, zero_point)


_dequantized = Prepared(dequantize_per_tensor_fake, _dequantize_kernel)


def written_as(out_dtype: torch.dtype | None) -> torch.dtype | None:
    """What the kernels write for it, which is then to be converted if it is something else."""
    return out_dtype if out_dtype in FLOAT else None


def dequantize_per_tensor_cpu(
    input: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int | None = None,
    quant_max: int | None = None,
    dtype: torch.dtype | None = None,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    arguments = input, scale, zero_point, quant_min, quant_max, dtype
    if out_dtype is None:
        return _dequantized(*arguments)
    return _dequantized(*arguments, written_as(out_dtype)).to(out_dtype)


_RECORDED = "int? quant_min=None, int? quant_max=None, ScalarType? dtype=None"

dequantize_per_tensor = operator(
    f"dequantize_per_tensor(Tensor input, float scale, int zero_point, {_RECORDED}, *, "
    "ScalarType? out_dtype=None) -> Tensor",
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
        input: float32, float16 or bfloat16, of one dimension or more.
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
    scales, zero_points = (along(axis, values, input.ndim) for values in (scales, zero_points))
    return quantize_with(input, scales, zero_points, quant_min, quant_max, dtype)


def quantize_per_channel_fake(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    check_quantizable(input)
    check_range(quant_min, quant_max, dtype)
    check_channels(input, scales, zero_points, axis, dtype)
    return torch.empty_like(input, dtype=dtype)


def _quantize_per_channel_kernel(
    output: Tensor,
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> _elementwise.QuantizePerChannel:
    return quantize_channels(
        output, input, scales, zero_points, _channels_of(output, axis), quant_min, quant_max
    )


def quantize_channels(
    output: Tensor,
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    shape: tuple[int, int, int],
    quant_min: int,
    quant_max: int,
) -> _elementwise.QuantizePerChannel:
    """The kernel for an output that is (outer, channels, inner) in memory."""
    types, lies = (FLOAT[input.dtype], ELEMENT[output.dtype]), layout_under(output, input)
    bounds = quant_min, quant_max
    made = _elementwise.QuantizePerChannel(*types, shape, lies, zero_points, *bounds)
    made.copied = None, *_dense(scales, zero_points)
    made.refuse = _refusing(*bounds)
    return made


def _channels_of(output: Tensor, axis: int) -> tuple[int, int, int]:
    return outer_channels_inner(output, axis) if output.numel() else (0, 1, 1)


def _dense(*channel_values: Tensor | None) -> list[Tensor | None]:
    """``Kernel.copied`` for the values of channels."""
    return [copied_as(x.contiguous(), x) for x in channel_values if x is not None]


def _refusing(lowest: int, highest: int) -> Callable[..., None]:
    """``Kernel.refuse``: raises for values of scales or zero points that the kernel found."""

    def refuse(input: Tensor, scales: Tensor, zero_points: Tensor | None = None) -> None:
        check_channel_values(scales, _zeros_unless_given(zero_points, scales), lowest, highest)

    return refuse


quantize_per_channel_cpu = Prepared(quantize_per_channel_fake, _quantize_per_channel_kernel)

quantize_per_channel = operator(
    "quantize_per_channel(Tensor input, Tensor scales, Tensor zero_points, int axis, "
    "int quant_min, int quant_max, ScalarType dtype) -> Tensor",
    cpu=quantize_per_channel_cpu,
    reference=quantize_per_channel_reference,
    fake=quantize_per_channel_fake,
)


def dequantize_per_channel_reference(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    axis: int,
    quant_min: int | None = None,
    quant_max: int | None = None,
    dtype: torch.dtype | None = None,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """The real values of integers quantized with parameters for each index of one axis.

    Args:
        input: uint8, int8 or int32, any shape of one dimension or more.
        scales: float32, shape ``(input.shape[axis],)``, positive.
        zero_points: int64 of the same shape, or float32 for a uint8 ``input``; ``None``: all 0.
        axis: the channel axis; a negative one counts from the end.
        quant_min, quant_max: which integers occur; no effect.
        dtype: the dtype of ``input``; no other effect.
        out_dtype: what to round the result to, ``torch.float32`` by default.

    Returns:
        ``(input - zero_point) * scale``, float32 or ``out_dtype``, with the shape and memory
        format of ``input``.

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
    zero_points = _zeros_unless_given(zero_points, scales)
    scales, zero_points = (along(axis, values, input.ndim) for values in (scales, zero_points))
    return dequantize_with(input, scales, zero_points, out_dtype)


def _zeros_unless_given(zero_points: Tensor | None, scales: Tensor) -> Tensor:
    return torch.zeros_like(scales, dtype=torch.int64) if zero_points is None else zero_points


def dequantize_per_channel_fake(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    axis: int,
    quant_min: int | None = None,
    quant_max: int | None = None,
    dtype: torch.dtype | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    check_integers(input, INTEGERS if dtype is None else (dtype,))
    zero_points = _zeros_unless_given(zero_points, scales)
    check_channels(input, scales, zero_points, axis, input.dtype)
    return torch.empty_like(input, dtype=out_dtype or torch.float32)


def _dequantize_per_channel_kernel(
    output: Tensor,
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    axis: int,
    *recorded: object,
) -> _elementwise.DequantizePerChannel:
    return dequantize_channels(output, input, scales, zero_points, _channels_of(output, axis))


def dequantize_channels(
    output: Tensor,
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    shape: tuple[int, int, int],
) -> _elementwise.DequantizePerChannel:
    """The kernel for an output that is (outer, channels, inner) in memory."""
    types, lies = (FLOAT[output.dtype], ELEMENT[input.dtype]), layout_under(output, input)
    bounds = RANGES[input.dtype]
    made = _elementwise.DequantizePerChannel(*types, shape, lies, zero_points, *bounds)
    made.copied = None, *_dense(scales, zero_points)
    made.refuse = _refusing(*bounds)
    return made


_dequantized_per_channel = Prepared(dequantize_per_channel_fake, _dequantize_per_channel_kernel)


def dequantize_per_channel_cpu(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    axis: int,
    quant_min: int | None = None,
    quant_max: int | None = None,
    dtype: torch.dtype | None = None,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    recorded = quant_min, quant_max, dtype, written_as(out_dtype)
    output = _dequantized_per_channel(input, scales, zero_points, axis, *recorded)
    return output if out_dtype is None else output.to(out_dtype)


dequantize_per_channel = operator(
    "dequantize_per_channel(Tensor input, Tensor scales, Tensor? zero_points, int axis, "
    f"{_RECORDED}, *, ScalarType? out_dtype=None) -> Tensor",
    cpu=dequantize_per_channel_cpu,
    reference=dequantize_per_channel_reference,
    fake=dequantize_per_channel_fake,
)
