"""Change of a quantized tensor's parameters."""

from .._arguments import quantized, requantization
from .._ops.requantize import requantize as _requantize
from .._qparams import QParams
from .._qtensor import QTensor, wrapped


def requantize(q: QTensor, output: QParams) -> QTensor:
    """The same values with other parameters, rounded to the nearest integer, ties to even.

    Args:
        q: quint8 or qint8, quantized per tensor.
        output: the new parameters, of quint8 or qint8, per tensor.

    Returns:
        A quantized tensor of the shape of ``q``.

    Raises:
        TypeError: ``q`` or ``output`` is not so.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 128, qtensor.quint8)
        >>> qtensor.ops.requantize(q, qtensor.QParams(0.5, 0, qtensor.qint8)).int_repr()
        tensor([2, 2], dtype=torch.int8)
    """
    x = quantized(q, "requantize", "q")
    data = _requantize(x._data, x._scale, x._zero_point, *requantization(output))
    return wrapped(data, output)
