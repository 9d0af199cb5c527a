"""Activations: comparing integers is comparing the values they stand for."""

from typing import Any

import torch
from torch import Tensor

from .._qtensor import QTensor, in_float
from .._quantize import quantize_value
from ._register import stands_for


def _clamp(x: QTensor, low: float | None, high: float | None, inplace: bool) -> Any:
    qparams = x.qparams
    if qparams.axis is not None:
        clamp = Tensor.clamp_ if inplace else Tensor.clamp
        return in_float(clamp, clamp.__name__, (x, low, high), {})
    bounds = [None if bound is None else quantize_value(bound, qparams) for bound in (low, high)]
    if inplace:
        x.int_repr().clamp_(*bounds)
        return x
    return QTensor(x.int_repr().clamp(*bounds), qparams)


@stands_for("relu")
def relu(input: QTensor, inplace: bool = False) -> Any:
    return _clamp(input, 0.0, None, inplace)


@stands_for("relu_")
def relu_(input: QTensor) -> Any:
    return _clamp(input, 0.0, None, True)


@stands_for("relu6")
def relu6(input: QTensor, inplace: bool = False) -> Any:
    return _clamp(input, 0.0, 6.0, inplace)


@stands_for("hardtanh")
def hardtanh(
    input: QTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Any:
    return _clamp(input, min_val, max_val, inplace)


@stands_for("hardtanh_")
def hardtanh_(input: QTensor, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return _clamp(input, min_val, max_val, True)


@stands_for("clamp", "clip")
def clamp(input: QTensor, min: Any = None, max: Any = None) -> Any:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return in_float(torch.clamp, "clamp", (input, min, max), {})
    return _clamp(input, min, max, False)


@stands_for("clamp_", "clip_")
def clamp_(input: QTensor, min: float | None = None, max: float | None = None) -> Any:
    return _clamp(input, min, max, True)
