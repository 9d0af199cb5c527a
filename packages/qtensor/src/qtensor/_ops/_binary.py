"""What operators on two quantized tensors share: checks, broadcasting, the kernel call.

Parameters are checked, and brought into the kernels' form, when they are first seen; from then on
a dictionary tells that they were. Small tensors would wait longer for the checks than for sums.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from .. import _elementwise
from .._threads import num_threads
from ._checks import BYTES, RANGES, check_integers, check_parameters, check_range
from ._layout import ELEMENT, layout_under
from ._requantize import integer_bounds

Multipliers = Callable[[float, float, float], tuple[float, float]]
"""From the scales of both inputs and the output to the multipliers of ``binary_params`` in C."""


def check(
    a: Tensor,
    a_scale: float,
    a_zero_point: int,
    b: Tensor,
    b_scale: float,
    b_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> None:
    """Raise unless this is what ``add`` and ``mul`` take; shapes apart."""
    check_integers(a, BYTES, "a")
    if b.dtype != a.dtype:
        raise TypeError(f"expected a and b of one dtype, got {a.dtype} and {b.dtype}")
    check_range(quant_min, quant_max, a.dtype)
    check_parameters(a_scale, a_zero_point, *RANGES[a.dtype], "a_")
    check_parameters(b_scale, b_zero_point, *RANGES[a.dtype], "b_")
    check_parameters(output_scale, output_zero_point, quant_min, quant_max, "output_")


def empty_result(a: Tensor, b: Tensor) -> Tensor:
    """An output of the broadcast shape, in the memory format of the operand that has it."""
    shape = _broadcast_shape(a, b)
    for operand in (a, b):
        if operand.shape == shape:
            return torch.empty_like(operand)
    return a.new_empty(shape)


def _broadcast_shape(a: Tensor, b: Tensor) -> tuple[int, ...]:
    """``torch.broadcast_shapes``, which takes as long as multiplying 100 000 values."""
    longer, shorter = (a, b) if a.ndim >= b.ndim else (b, a)
    padded = (1,) * (longer.ndim - shorter.ndim) + tuple(shorter.shape)
    pairs = list(zip(longer.shape, padded, strict=True))
    if any(x != y and x != 1 and y != 1 for x, y in pairs):
        raise ValueError(
            f"expected shapes that broadcast together, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    return tuple(y if x == 1 else x for x, y in pairs)


def binary_fake(
    a: Tensor,
    a_scale: float,
    a_zero_point: int,
    b: Tensor,
    b_scale: float,
    b_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Tensor:
    output = output_scale, output_zero_point, quant_min, quant_max
    check(a, a_scale, a_zero_point, b, b_scale, b_zero_point, *output)
    return empty_result(a, b)


@lru_cache(maxsize=4096)
def _prepared(
    multipliers: Multipliers,
    a_scale: float,
    a_zero_point: int,
    b_scale: float,
    b_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    activation_min: float | None,
    activation_max: float | None,
    dtype: torch.dtype,
) -> _elementwise.BinaryParams:
    probe = torch.empty(0, dtype=dtype, device="cpu")
    output = output_scale, output_zero_point, quant_min, quant_max
    check(probe, a_scale, a_zero_point, probe, b_scale, b_zero_point, *output)
    a_multiplier, b_multiplier = multipliers(a_scale, b_scale, output_scale)
    bounds = integer_bounds(*output, activation_min, activation_max)
    return _elementwise.BinaryParams(
        a_multiplier, a_zero_point, b_multiplier, b_zero_point, output_zero_point, *bounds
    )


def binary_cpu(
    kernel: Callable[..., None],
    multipliers: Multipliers,
    a: Tensor,
    a_scale: float,
    a_zero_point: int,
    b: Tensor,
    b_scale: float,
    b_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Tensor:
    dtype = a.dtype
    if dtype not in BYTES or b.dtype is not dtype:
        output_parameters = output_scale, output_zero_point, quant_min, quant_max
        check(a, a_scale, a_zero_point, b, b_scale, b_zero_point, *output_parameters)
    params = _prepared(
        multipliers,
        a_scale,
        a_zero_point,
        b_scale,
        b_zero_point,
        output_scale,
        output_zero_point,
        quant_min,
        quant_max,
        activation_min,
        activation_max,
        dtype,
    )
    alike = a.shape == b.shape
    output = torch.empty_like(a) if alike else empty_result(a, b)
    strides = output.stride()
    if alike and a.stride() == strides and b.stride() == strides:
        kernel(a, b, output, ELEMENT[dtype], params, num_threads())
        return output
    layouts = layout_under(output, a), layout_under(output, b)
    kernel(a, b, output, ELEMENT[dtype], params, num_threads(), *layouts)
    return output
