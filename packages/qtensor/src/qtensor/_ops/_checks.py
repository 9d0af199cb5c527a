"""Checks of what elementwise operators are given, with messages that say what to do."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._qparams import LARGEST_SCALE, SMALLEST_SCALE, check_scale, check_zero_point
from ._channels import channels_along

RANGES = {
    dtype: (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    for dtype in (torch.uint8, torch.int8, torch.int32)
}
"""What the integers of a quantized tensor can hold."""

BYTES = (torch.uint8, torch.int8)
"""What most quantized operators compute on."""

_MOST_ELEMENTS = 2**59


def check_countable(shape: Sequence[int]) -> None:
    """Raise ``ValueError`` if a tensor of this shape has more bytes than an address can tell."""
    # A symbolic size is checked when it has become a number; here it would get an upper bound.
    if all(isinstance(size, int) for size in shape) and math.prod(shape) > _MOST_ELEMENTS:
        raise ValueError(
            f"expected an output of at most {_MOST_ELEMENTS} values, got one of {tuple(shape)}"
        )


def check_float32(input: Tensor, name: str = "input") -> None:
    """Raise ``TypeError`` unless the tensor is float32."""
    if input.dtype is not torch.float32:
        raise TypeError(
            f"expected a float32 {name}, got {input.dtype} of shape {tuple(input.shape)}; "
            "convert it with .float()"
        )


def check_quantizable(input: Tensor) -> None:
    """Raise ``TypeError`` unless the tensor is float32, or of a half type, which is exact in it."""
    if input.dtype != torch.float16 and input.dtype != torch.bfloat16:
        check_float32(input)


def check_integers(
    input: Tensor,
    dtypes: tuple[torch.dtype, ...] = (torch.uint8, torch.int8, torch.int32),
    name: str = "input",
) -> None:
    """Raise ``TypeError`` unless the tensor is of one of the dtypes."""
    if input.dtype not in dtypes:
        expected = " or ".join(map(str, dtypes))
        raise TypeError(
            f"expected {name} of dtype {expected}, got {input.dtype} of shape "
            f"{tuple(input.shape)}; quantize it first"
        )


def check_range(quant_min: int, quant_max: int, dtype: torch.dtype) -> None:
    """Raise unless ``dtype`` is a quantized one that holds ``quant_min`` … ``quant_max``."""
    if dtype not in RANGES:
        expected = ", ".join(map(str, RANGES))
        raise TypeError(f"expected a dtype out of {expected}, got {dtype}")
    lowest, highest = RANGES[dtype]
    if not lowest <= quant_min < quant_max <= highest:
        raise ValueError(
            f"expected quant_min < quant_max within {lowest} … {highest} of {dtype}, "
            f"got {quant_min} … {quant_max}"
        )


def check_parameters(
    scale: float, zero_point: int, quant_min: int, quant_max: int, of: str = ""
) -> None:
    """Raise ``ValueError`` unless scale and zero point can be computed with in float32.

    Args:
        of: whose parameters they are, as the prefix of their names: ``"a_"`` for ``a_scale``.
    """
    check_scale(scale, f"{of}scale")
    if not quant_min <= zero_point <= quant_max:
        check_zero_point(zero_point, quant_min, quant_max, f"{of}zero_point")


def check_bounds(activation_min: float | None, activation_max: float | None) -> None:
    """Raise ``ValueError`` if a bound of an activation is NaN, which bounds nothing."""
    for name, bound in (("activation_min", activation_min), ("activation_max", activation_max)):
        if bound is not None and math.isnan(bound):
            raise ValueError(f"expected {name} to be a number or None, got {bound}")


def check_channels(
    input: Tensor, scales: Tensor, zero_points: Tensor, axis: int, dtype: torch.dtype
) -> None:
    """Raise unless there is one scale and zero point, of a fitting dtype, for each channel."""
    expected = (channels_along(input, axis),)
    for name, tensor in (("scales", scales), ("zero_points", zero_points)):
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"expected {name} of shape {expected}, one for each index of axis {axis} of input "
                f"of shape {tuple(input.shape)}, got shape {tuple(tensor.shape)}"
            )
    check_float32(scales, "scales")
    if zero_points.dtype is torch.float32:
        if dtype is not torch.uint8:
            raise TypeError(f"real (float32) zero_points need torch.uint8 integers, got {dtype}")
    elif zero_points.dtype is not torch.int64:
        raise TypeError(f"expected int64 or float32 zero_points, got {zero_points.dtype}")


def check_channel_values(
    scales: Tensor, zero_points: Tensor, quant_min: int, quant_max: int
) -> None:
    """:func:`check_parameters` of every channel; reads the tensors."""
    check_scales(scales)
    if not zero_points.is_floating_point():
        check_zero_point(zero_points, quant_min, quant_max, "zero_points")
    elif not bool(zero_points.isfinite().all()):
        raise ValueError(f"expected finite zero_points, got {zero_points}")


def check_scales(scales: Tensor, name: str = "scales") -> None:
    """Raise ``ValueError`` unless every scale can be computed with in float32; reads the tensor."""
    sound = (scales >= SMALLEST_SCALE) & (scales <= LARGEST_SCALE)
    if not bool(sound.all()):
        first = int(sound.flatten().logical_not().nonzero()[0])
        raise ValueError(
            f"expected positive, finite {name} within float32's {SMALLEST_SCALE:.3g} … "
            f"{LARGEST_SCALE:.3g}, got {scales.flatten()[first]} at index {first}"
        )
