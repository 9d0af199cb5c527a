"""Multiplication of quantized tensors and numbers."""

import torch

from .._arguments import quantized
from .._qparams import QParams
from .._qtensor import QTensor, parameters
from .._quantize import quantize


def mul(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """The product of two quantized tensors, computed in float on their real values."""
    a, b = quantized(qa, "mul", "qa"), quantized(qb, "mul", "qb")
    output = QParams(scale, zero_point, parameters(a).dtype)
    return quantize(a.dequantize() * b.dequantize(), output)


def mul_scalar(qa: QTensor, b: float) -> QTensor:
    """A quantized tensor times a number: exact, since only the parameters change."""
    a = parameters(quantized(qa, "mul_scalar", "qa"))
    if b > 0:
        return QTensor(qa.int_repr(), a.replace(scale=float(a.scale) * b))
    ends = a.quant_min + a.quant_max  # mirrors the range onto itself
    if b < 0:
        mirrored = (ends - qa.int_repr().to(torch.int32)).to(a.dtype.storage)
        zero_point = ends - int(a.zero_point)
        return QTensor(mirrored, a.replace(scale=float(a.scale) * -b, zero_point=zero_point))
    return QTensor(torch.full_like(qa.int_repr(), int(a.zero_point)), a)
