"""Matrix products of two quantized tensors."""

from .._arguments import operands, output_like, requantization
from .._ops import matmul as _matmul
from .._qparams import QParams
from .._qtensor import QTensor, wrapped


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
    return matmul_to(qa, qb, output_like(qa, scale, zero_point, "matmul", "qa"))


def matmul_to(qa: QTensor, qb: QTensor, output: QParams) -> QTensor:
    """:func:`matmul` with all parameters of the output."""
    data = _matmul.matmul(*operands(qa, qb, "matmul"), *requantization(output))
    return wrapped(data, output)
