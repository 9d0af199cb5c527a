"""Requantize with parameters of each channel's own, on one side or both, and to or from int32."""

import torch
from torch import Tensor

from .. import _requantize
from .._threads import num_threads
from ._checks import RANGES, check_channel_values, check_integers, check_range
from ._layout import ELEMENT, laid_out_as, outer_channels_inner
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
    if not -input.ndim <= axis < max(input.ndim, 1):
        raise ValueError(
            f"expected an axis of input, which has shape {tuple(input.shape)}, got {axis}"
        )
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


def _check_values(scales: Tensor, zero_points: Tensor, lowest: int, highest: int) -> None:
    """As ``check_channel_values``, in fewer operators where all is well."""
    if scales.numel() and zero_points.numel():
        smallest, largest = torch.aminmax(scales)  # NaN where there is one
        first, last = torch.aminmax(zero_points)
        fits = float(smallest) > 1e-37 and float(largest) < 1e38
        if fits and lowest <= int(first) and int(last) <= highest:
            return
    check_channel_values(scales, zero_points, lowest, highest)


def requantize_per_channel_cpu(
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
    given, wanted = (scales, zero_points), (output_scales, output_zero_points)
    output = requantize_per_channel_fake(input, *given, *wanted, axis, quant_min, quant_max, dtype)
    _check_values(scales, zero_points, *RANGES[input.dtype])
    _check_values(output_scales, output_zero_points, quant_min, quant_max)
    if output.numel() == 0:
        return output
    input = laid_out_as(input, output)
    real = _real(input.dtype, dtype)
    parameters = (scales.double() / output_scales.double(), zero_points, output_zero_points)
    several = max(map(len, parameters)) > 1
    shape = outer_channels_inner(output, axis) if several else (1, 1, output.numel())
    ratios, zeros, output_zeros = (
        parameter.to(real).expand(shape[1]).contiguous() for parameter in parameters
    )
    _requantize.requantize(
        input.data_ptr(),
        output.data_ptr(),
        shape,
        ratios.data_ptr(),
        zeros.data_ptr(),
        output_zeros.data_ptr(),
        quant_min,
        quant_max,
        ELEMENT[input.dtype],
        ELEMENT[dtype],
        num_threads(),
    )
    return output


requantize_per_channel = operator(
    "requantize_per_channel(Tensor input, Tensor scales, Tensor zero_points, "
    "Tensor output_scales, Tensor output_zero_points, int axis, int quant_min, int quant_max, "
    "ScalarType dtype) -> Tensor",
    cpu=requantize_per_channel_cpu,
    reference=requantize_per_channel_reference,
    fake=requantize_per_channel_fake,
)
