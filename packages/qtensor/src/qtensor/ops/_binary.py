"""What functions of two quantized tensors, or of one and a number, have in common."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .._arguments import operands, output_like
from .._one_call import Call
from .._qparams import QParams
from .._qtensor import QTensor


def binary_call(
    operator: Callable[..., Tensor],
    caller: str,
    qa: QTensor,
    qb: QTensor,
    output: QParams,
    *bounds: float | None,
) -> Call:
    """``operator`` on both, with the output's parameters and bounds on its real values."""
    within = output.quant_min, output.quant_max, *bounds
    arguments = *operands(qa, qb, caller), output.scale, output.zero_point, *within
    return Call(operator, arguments, output)


def finite(number: Any, caller: str) -> float:
    """``number``, a float or a tensor of one element, as a float.

    Raises:
        ValueError: it is NaN or infinite.
    """
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{caller} expects a finite number, got {value}")
    return value


def of_tensors_or_number(
    of_tensors: Callable[..., QTensor],
    of_number: Callable[..., QTensor],
    caller: str,
    qa: Any,
    qb: Any,
    scale: float,
    zero_point: int,
    *bounds: float,
) -> QTensor:
    """``of_tensors`` with an output of the dtype of ``qa``, or ``of_number`` if one is a number."""
    if isinstance(qa, int | float):
        qa, qb = qb, qa
    if isinstance(qb, int | float):
        return of_number(qa, qb)
    return of_tensors(qa, qb, output_like(qa, scale, zero_point, caller, "qa"), *bounds)
