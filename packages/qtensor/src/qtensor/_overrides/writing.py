"""Writing into a quantized tensor: always with the parameters of the tensor written to."""

from typing import Any

import torch
from torch import Tensor

from .._qtensor import QTensor
from .._quantize import quantize
from ._register import stands_for


@stands_for("copy_")
def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Any:
    if not isinstance(input, QTensor):
        return input.copy_(src.dequantize(), non_blocking)
    input._writable().copy_(_quantized_like(src, input).int_repr(), non_blocking)
    return input


@stands_for("__setitem__")
def _setitem(input: Tensor, index: Any, value: Any) -> None:
    if isinstance(input, QTensor):
        input._writable()[index] = _quantized_like(value, input).int_repr()
    else:
        input[index] = value.dequantize()


@stands_for("fill_")
def fill_(input: QTensor, value: float) -> Any:
    return copy_(input, torch.full_like(input.int_repr(), value, dtype=torch.float32))


@stands_for("zero_")
def zero_(input: QTensor) -> Any:
    return fill_(input, 0.0)


def _quantized_like(value: Any, target: QTensor) -> QTensor:
    if target.qparams.axis is not None and not (
        isinstance(value, Tensor) and value.shape == target.shape
    ):
        raise NotImplementedError("writing part of a tensor quantized per channel")
    if isinstance(value, QTensor):
        if value.qparams == target.qparams:
            return value
        value = value.dequantize()
    return quantize(torch.as_tensor(value, dtype=torch.float32), target.qparams)
