"""Matrix products of two quantized tensors."""

from .._arguments import quantized, requantization
from .._ops import matmul as _matmul
from .._qparams import QParams
from .._qtensor import QTensor, parameters, wrapped


def matmul(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """The matrix product of two quantized tensors, computed on their integers.

    Args:
        qa: quint8 or qint8, ``(..., M, K)`` or ``(K,)``.
        qb: quint8 or qint8, ``(..., K, N)`` or ``(K,)``; leading dimensions are broadcast.
        scale, zero_point: the output's parameters.

    Returns:
        ``(..., M, N)``, of the dtype of ``qa``.

    Raises:
        TypeError: an argument is not quantized so.
        ValueError: shapes do not fit.

    Example:
        >>> import torch, qtensor
        >>> a = qtensor.quantize_per_tensor(torch.eye(2), 0.5, 0, qtensor.quint8)
        >>> qtensor.ops.matmul(a, a, 0.25, 0).dequantize()
        tensor([[1., 0.],
                [0., 1.]])
    """
    a = quantized(qa, "matmul", "qa")
    return matmul_to(a, qb, QParams(scale, zero_point, parameters(a).dtype))


def matmul_to(qa: QTensor, qb: QTensor, output: QParams) -> QTensor:
    """:func:`matmul` with all parameters of the output."""
    a, b = quantized(qa, "matmul", "qa"), quantized(qb, "matmul", "qb")
    data = _matmul.matmul(
        a._data, a._scale, a._zero_point, b._data, b._scale, b._zero_point, *requantization(output)
    )
    return wrapped(data, output)
