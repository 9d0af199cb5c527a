"""PReLU: a slope for the negative values, or one for each channel."""

import torch
from torch import Tensor

from .. import _elementwise
from .._threads import num_threads
from ._checks import BYTES, check_float32, check_integers
from ._layout import layout_under, outer_channels_inner
from ._registry import operator
from ._requantize import integer_bounds, round_within
from .requantize import check_requantize, requantize_params


def prelu_reference(
    input: Tensor,
    scale: float,
    zero_point: int,
    weight: Tensor,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """Multiply negative values by a slope.

    Args:
        input: uint8 or int8, any shape; channels are dimension 1.
        scale, zero_point: how ``input`` is quantized.
        weight: float32, shape ``(1,)``, or ``(channels,)``.
        output_scale, output_zero_point: how the result is quantized.
        quant_min, quant_max: the integers the result may use, both included.

    Returns:
        ``(input - zero_point) * (scale / output_scale)`` in float32, times the slope where it is
        negative; bounded, rounded (ties to even), plus ``output_zero_point``. Of the dtype, shape
        and memory format of ``input``.

    Raises:
        TypeError: ``input`` is of another dtype, or ``weight`` is not float32.
        ValueError: ``weight`` has another shape, a scale is not positive and finite, or a zero
            point or the range does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> q = torch.tensor([6, 10, 20], dtype=torch.uint8)
        >>> torch.ops.qtensor.prelu(q, 0.5, 10, torch.tensor([0.5]), 0.5, 10, 0, 255)
        tensor([ 8, 10, 20], dtype=torch.uint8)
    """
    lowest, highest = integer_bounds(
        output_scale, output_zero_point, quant_min, quant_max, None, None
    )
    multiplier = torch.tensor(scale / output_scale, dtype=torch.float32, device="cpu")
    slopes = weight.reshape(-1, *[1] * (input.ndim - 2)) if weight.numel() != 1 else weight
    difference = (input.int() - zero_point).float()
    steps = difference * multiplier
    steps = torch.where(difference < 0, steps * slopes.reshape(slopes.shape or (1,)), steps)
    steps = steps.reshape(input.shape)
    return (round_within(steps, lowest, highest) + output_zero_point).to(input.dtype)


def prelu_fake(
    input: Tensor,
    scale: float,
    zero_point: int,
    weight: Tensor,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    output = output_scale, output_zero_point, quant_min, quant_max
    check_integers(input, BYTES)
    check_requantize(input, scale, zero_point, *output, input.dtype)
    check_float32(weight, "weight")
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.numel() not in (1, channels):
        raise ValueError(
            f"expected a weight of one slope or of {channels}, one for each channel (dimension 1 "
            f"of input of shape {tuple(input.shape)}), got shape {tuple(weight.shape)}"
        )
    return torch.empty_like(input)


def prelu_cpu(
    input: Tensor,
    scale: float,
    zero_point: int,
    weight: Tensor,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    parameters = scale, zero_point, output_scale, output_zero_point, quant_min, quant_max
    output = prelu_fake(input, scale, zero_point, weight, *parameters[2:])
    n = output.numel()
    if n == 0:
        return output
    weight = weight.contiguous()
    _elementwise.prelu(
        input.data_ptr(),
        layout_under(output, input),
        output.data_ptr(),
        outer_channels_inner(output, 1) if weight.numel() > 1 else (1, 1, n),
        requantize_params(input.dtype, *parameters, input.dtype),
        weight.data_ptr(),
        num_threads(),
    )
    return output


prelu = operator(
    "prelu(Tensor input, float scale, int zero_point, Tensor weight, float output_scale, "
    "int output_zero_point, int quant_min, int quant_max) -> Tensor",
    cpu=prelu_cpu,
    reference=prelu_reference,
    fake=prelu_fake,
)
