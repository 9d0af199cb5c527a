"""Comparison with numbers and with tensors of the same parameters: integers are ordered as the
values they stand for. Others are compared in float."""

import math
import struct
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .._compiler import constant_result
from .._qtensor import QTensor, in_float, parameters
from ._register import stands_for

_NAMES = {
    "eq": "eq __eq__",
    "ne": "ne __ne__ not_equal",
    "lt": "lt __lt__ less",
    "le": "le __le__ less_equal",
    "gt": "gt __gt__ greater",
    "ge": "ge __ge__ greater_equal",
}


def _bytes(x: Any) -> bool:
    return isinstance(x, QTensor) and x._axis is None and parameters(x).dtype.storage.itemsize == 1


@constant_result
@lru_cache(maxsize=1024)
def _around(
    scale: float, zero_point: int, lowest: int, highest: int, number: float
) -> tuple[int, int]:
    """How many integers stand for less than the number, and how many for no more than it.

    The number is taken in float32, as torch does where it compares one with a float32 tensor.
    """
    number = _single(number)
    step = _single(scale)
    values = [_single((i - zero_point) * step) for i in range(lowest, highest + 1)]
    return bisect_left(values, number), bisect_right(values, number)


def _single(value: float) -> float:
    """Rounded to float32. A product of a float32 and a small integer is exact before that."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _with_number(name: str, input: QTensor, number: float) -> Tensor:
    """Compares with the integers between which the number lies."""
    qparams, integers = parameters(input), input.int_repr()
    lowest, highest = qparams.dtype.quant_min, qparams.dtype.quant_max
    if math.isnan(number):
        return torch.full_like(integers, name == "ne", dtype=torch.bool)
    scale, zero_point = float(qparams.scale), int(qparams.zero_point)
    below, upto = _around(scale, zero_point, lowest, highest, number)
    count = highest - lowest + 1
    first, last = {
        "lt": (0, below),
        "le": (0, upto),
        "gt": (upto, count),
        "ge": (below, count),
    }.get(name, (below, upto))
    if first >= last:
        within = torch.zeros_like(integers, dtype=torch.bool)
    else:
        within = (integers >= lowest + first) & (integers <= lowest + last - 1)
    return ~within if name == "ne" else within


def _register(name: str, spellings: str) -> None:
    function = getattr(torch, name)

    @stands_for(*spellings.split())
    def compare(input: Any, other: Any, **kwargs: Any) -> Any:
        if not kwargs and _bytes(input):
            if isinstance(other, (bool, int, float)):
                return _with_number(name, input, float(other))
            if _bytes(other) and parameters(input) == parameters(other):
                return function(input.int_repr(), other.int_repr())
        return in_float(function, name, (input, other), kwargs)


for _name, _spellings in _NAMES.items():
    _register(_name, _spellings)


@stands_for("is_same_size")
def _is_same_size(input: Tensor, other: Tensor) -> bool:
    return input.shape == other.shape
