"""Softmax along one dimension."""

import struct
from functools import lru_cache

import torch
from torch import Tensor

from .. import _elementwise
from .._threads import num_threads
from ._checks import BYTES, check_integers
from ._layout import ELEMENT, outer_channels_inner
from ._registry import operator
from ._requantize import integer_bounds, round_within
from .requantize import check_requantize


def softmax_reference(
    input: Tensor,
    scale: float,
    dim: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """Softmax of a quantized tensor.

    Args:
        input: uint8 or int8, any shape of one dimension or more.
        scale: of ``input``; its zero point does not matter, for softmax sees differences only.
        dim: along which the results sum to 1; a negative one counts from the end.
        output_scale, output_zero_point: how the result is quantized.
        quant_min, quant_max: the integers the result may use, both included.

    Returns:
        ``exp(x - max(x))`` over its sum, quantized, all in float64. How the sum is ordered depends
        on the device; a result within 1e-12 of a tie may be rounded either way. Of the dtype,
        shape and memory format of ``input``.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``dim`` is none of ``input``'s, a scale is not positive and finite, or the zero
            point or range does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> q = torch.tensor([10, 10, 10, 10], dtype=torch.uint8)
        >>> torch.ops.qtensor.softmax(q, 0.5, 0, 1 / 256, 0, 0, 255)
        tensor([64, 64, 64, 64], dtype=torch.uint8)
    """
    lowest, highest = integer_bounds(
        output_scale, output_zero_point, quant_min, quant_max, None, None
    )
    steps = torch.softmax(input.double() * scale, dim) / output_scale
    result = round_within(steps, lowest, highest) + output_zero_point
    return torch.empty_like(input).copy_(result)  # torch's softmax gives a layout of its own


def softmax_fake(
    input: Tensor,
    scale: float,
    dim: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    output = output_scale, output_zero_point, quant_min, quant_max
    check_integers(input, BYTES)
    check_requantize(input, scale, 0, *output, input.dtype)
    if not -input.ndim <= dim < input.ndim:
        raise ValueError(
            f"expected dim to be one of input, which has shape {tuple(input.shape)}, got {dim}"
        )
    return torch.empty_like(input)


@lru_cache(maxsize=256)
def _exponentials(scale: float) -> bytes:
    """``exp(-scale * i)`` for each difference i of two bytes, as doubles."""
    steps = torch.arange(256, dtype=torch.float64, device="cpu")
    return struct.pack("256d", *torch.exp(-scale * steps).tolist())


def softmax_cpu(
    input: Tensor,
    scale: float,
    dim: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    parameters = output_scale, output_zero_point, quant_min, quant_max
    output = softmax_fake(input, scale, dim, *parameters)
    if output.numel() == 0:
        return output
    if input.stride() != output.stride():
        input = output.copy_(input)  # a line is read before it is written
    one = output.shape[dim] == 1
    _elementwise.softmax(
        input.data_ptr(),
        output.data_ptr(),
        ELEMENT[input.dtype],
        (output.numel(), 1, 1) if one else outer_channels_inner(output, dim),
        _exponentials(scale),
        1.0 / output_scale,
        output_zero_point,
        *integer_bounds(*parameters, None, None),
        num_threads(),
    )
    return output


softmax = operator(
    "softmax(Tensor input, float scale, int dim, float output_scale, int output_zero_point, "
    "int quant_min, int quant_max) -> Tensor",
    cpu=softmax_cpu,
    reference=softmax_reference,
    fake=softmax_fake,
)
