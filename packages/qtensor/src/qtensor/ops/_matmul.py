"""Matrix products of two quantized tensors."""

from .._arguments import quantized
from .._qparams import QParams
from .._qtensor import QTensor, parameters
from .._quantize import quantize


def matmul(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """The matrix product of two quantized tensors, computed in float on their real values."""
    a, b = quantized(qa, "matmul", "qa"), quantized(qb, "matmul", "qb")
    output = QParams(scale, zero_point, parameters(a).dtype)
    return quantize(a.dequantize() @ b.dequantize(), output)
