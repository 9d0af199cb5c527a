"""Requantize with parameters of each channel's own, on one side or both, and to or from int32."""

import torch
from torch import Tensor

from .. import _requantize
from .._calls import Prepared
from ._channels import check_axis
from ._checks import RANGES, check_channel_values, check_integers, check_range
from ._layout import ELEMENT, copied_as, layout_under, outer_channels_inner
from ._registry import operator
from ._requantize import round_within


def requantize_per_channel_reference(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    output_scales: Tensor,
    output_zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    """Change the parameters of a quantized tensor, channel by channel.

    Args:
        input: uint8, int8 or int32, any shape.
        scales, zero_points: how ``input`` is quantized: float and int64, of shape ``(C,)``, one
            for each index of ``axis``, or ``(1,)`` for all of it.
        output_scales, output_zero_points: how the result is, likewise.
        axis: the channel axis of ``input``.
        quant_min, quant_max: the integers the result may use, both included.
        dtype: of the result, ``torch.uint8``, ``torch.int8`` or ``torch.int32``.

    Returns:
        ``(input - zero_point) * (scale / output_scale)``, rounded (ties to even), plus
        ``output_zero_point``. The ratio and the product are rounded to float32 between bytes, as
        in ``requantize``, and to float64 where int32 is involved. With the shape and memory
        format of ``input``.

    Raises:
        TypeError: the dtypes are not as above.
        ValueError: shapes do not fit, a scale is not positive and finite, or a zero point or the
            range does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> q = torch.tensor([[10, 20], [10, 20]], dtype=torch.uint8)
        >>> zeros = torch.tensor([0, 0])
        >>> torch.ops.qtensor.requantize_per_channel(
        ...     q, torch.tensor([0.5, 1.0]), zeros, torch.tensor([1.0]), zeros[:1], 0,
        ...     -128, 127, torch.int8
        ... )
        tensor([[ 5, 10],
                [10, 20]], dtype=torch.int8)
    """
    output = requantize_per_channel_fake(
        input,
        scales,
        zero_points,
        output_scales,
        output_zero_points,
        axis,
        quant_min,
        quant_max,
        dtype,
    )
    channels = [1] * input.ndim
    if input.ndim:
        channels[axis] = -1
    real = _real(input.dtype, dtype)
    ratios = (scales.double() / output_scales.double()).to(real).view(channels)
    zeros = output_zero_points.double().view(channels)
    steps = (input.double() - zero_points.double().view(channels)).to(real) * ratios
    rounded = round_within(steps.double(), quant_min - zeros, quant_max - zeros) + zeros
    return output.copy_(rounded)


def _real(*dtypes: torch.dtype) -> torch.dtype:
    """Of products between integers of these dtypes."""
    return torch.float64 if torch.int32 in dtypes else torch.float32


def requantize_per_channel_fake(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    output_scales: Tensor,
    output_zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    check_integers(input)
    check_range(quant_min, quant_max, dtype)
    if input.ndim or axis:  # a scalar is the one channel that it has, along axis 0
        check_axis(input, axis)
    channels = input.shape[axis] if input.ndim else 1
    for name, tensor in (
        ("scales", scales),
        ("zero_points", zero_points),
        ("output_scales", output_scales),
        ("output_zero_points", output_zero_points),
    ):
        if tensor.shape not in ((1,), (channels,)):
            raise ValueError(
                f"expected {name} of shape (1,) or ({channels},), one for each index of axis "
                f"{axis} of input of shape {tuple(input.shape)}, got shape {tuple(tensor.shape)}"
            )
        if tensor.dtype.is_floating_point != name.endswith("scales"):
            expected = "floating-point" if name.endswith("scales") else "integer"
            raise TypeError(f"expected {expected} {name}, got {tensor.dtype}")
    return torch.empty_like(input, dtype=dtype)


def _kernel(
    output: Tensor,
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    output_scales: Tensor,
    output_zero_points: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> _requantize.RequantizePerChannel:
    given, wanted = (scales, zero_points), (output_scales, output_zero_points)
    shape = 1, 1, output.numel()
    if any(len(values) > 1 for values in (*given, *wanted)) and output.numel():
        shape = outer_channels_inner(output, axis)
    range_, bounds = RANGES[input.dtype], (quant_min, quant_max)
    elements = ELEMENT[input.dtype], ELEMENT[dtype]
    lies = layout_under(output, input)
    made = _requantize.RequantizePerChannel(shape, lies, *elements, *range_, *bounds)
    made.copied = None, *(_copied_values(each) for each in (*given, *wanted))

    def refuse(input: Tensor, s: Tensor, z: Tensor, output_s: Tensor, output_z: Tensor) -> None:
        check_channel_values(s, z, *range_)
        check_channel_values(output_s, output_z, *bounds)

    made.refuse = refuse
    return made


def _copied_values(values: Tensor) -> Tensor | None:
    """``Kernel.copied`` for scales, which may be of both float types, or zero points."""
    dtype = torch.float64 if values.is_floating_point() else torch.int64
    wanted = values.dtype if values.dtype in (torch.float32, dtype) else dtype
    return copied_as(values.contiguous().to(wanted), values)


requantize_per_channel = operator(
    "requantize_per_channel(Tensor input, Tensor scales, Tensor zero_points, "
    "Tensor output_scales, Tensor output_zero_points, int axis, int quant_min, int quant_max, "
    "ScalarType dtype) -> Tensor",
    cpu=Prepared(requantize_per_channel_fake, _kernel),
    reference=requantize_per_channel_reference,
    fake=requantize_per_channel_fake,
)
