"""Operators on two quantized tensors: their arguments, checks and kernels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _elementwise
from .._calls import Prepared
from ._checks import BYTES, RANGES, check_integers, check_parameters, check_range
from ._layout import ELEMENT, layout_under
from ._registry import operator
from ._requantize import integer_bounds

Multipliers = Callable[[float, float, float], tuple[float, float]]
"""From the scales of both inputs and the output to the multipliers of ``binary_params`` in C."""


class _Arguments(NamedTuple):
    a: Tensor
    a_scale: float
    a_zero_point: int
    b: Tensor
    b_scale: float
    b_zero_point: int
    output_scale: float
    output_zero_point: int
    quant_min: int
    quant_max: int
    activation_min: float | None = None
    activation_max: float | None = None


_SCHEMA = (
    "(Tensor a, float a_scale, int a_zero_point, Tensor b, float b_scale, int b_zero_point, "
    "float output_scale, int output_zero_point, int quant_min, int quant_max, "
    "float? activation_min=None, float? activation_max=None) -> Tensor"
)


def binary_operator(
    name: str, multipliers: Multipliers, reference: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Registers ``add`` or ``mul``; ``reference`` as for :func:`operator`."""

    def kernel(output: Tensor, *arguments: Any) -> _elementwise.Binary:
        given = _Arguments(*arguments)
        a_multiplier, b_multiplier = multipliers(given.a_scale, given.b_scale, given.output_scale)
        return _elementwise.Binary(
            name,
            ELEMENT[output.dtype],
            output.numel(),
            layout_under(output, given.a),
            layout_under(output, given.b),
            a_multiplier,
            given.a_zero_point,
            b_multiplier,
            given.b_zero_point,
            given.output_zero_point,
            *integer_bounds(*given[6:]),
        )

    cpu = Prepared(_fake, kernel)
    return operator(name + _SCHEMA, cpu=cpu, reference=reference, fake=_fake)


def _fake(*arguments: Any) -> Tensor:
    given = _Arguments(*arguments)
    a, b, dtype = given.a, given.b, given.a.dtype
    check_integers(a, BYTES, "a")
    if b.dtype != dtype:
        raise TypeError(
            f"expected a and b of one dtype, got {dtype} and {b.dtype}; requantize one of them"
        )
    check_range(given.quant_min, given.quant_max, dtype)
    check_parameters(given.a_scale, given.a_zero_point, *RANGES[dtype], "a_")
    check_parameters(given.b_scale, given.b_zero_point, *RANGES[dtype], "b_")
    check_parameters(*given[6:10], "output_")
    return _empty_result(a, b)


def _empty_result(a: Tensor, b: Tensor) -> Tensor:
    """An output of the broadcast shape, in the memory format of the operand that has it."""
    try:
        shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]  # torch's
    except RuntimeError:
        raise ValueError(
            f"expected shapes that broadcast together, got {tuple(a.shape)} and {tuple(b.shape)}"
        ) from None
    for operand in (a, b):
        if operand.shape == shape:
            return torch.empty_like(operand)
    return a.new_empty(shape)
