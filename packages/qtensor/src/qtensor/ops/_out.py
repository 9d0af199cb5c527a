"""Operators that write into a tensor at hand, with the parameters that it has."""

from collections.abc import Sequence

from .._arguments import quantized
from .._qparams import QParams
from .._qtensor import QTensor, parameters
from ._add import add_to
from ._cat import cat_to
from ._mul import mul_to
from ._unary import apply


def add_out(qa: QTensor, qb: QTensor, out: QTensor) -> QTensor:
    """``qa + qb``, written into ``out``, which is returned.

    Args:
        qa, qb: quantized tensors of the dtype of ``out``, shapes that broadcast.
        out: quantized per tensor, of the result's shape. It keeps its parameters.

    Raises:
        TypeError: one of them is not quantized so.
        ValueError: ``out`` has another shape.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.5, 0, qtensor.quint8)
        >>> out = qtensor.quantize_per_tensor(torch.zeros(2), 0.1, 0, qtensor.quint8)
        >>> qtensor.ops.add_out(q, q, out).int_repr()
        tensor([20, 20], dtype=torch.uint8)
    """
    return _written(out, add_to(qa, qb, _output(out, "add_out")))


def add_relu_out(qa: QTensor, qb: QTensor, out: QTensor) -> QTensor:
    """``relu(qa + qb)``, written as by :func:`add_out`."""
    return _written(out, add_to(qa, qb, _output(out, "add_relu_out"), 0.0))


def add_scalar_out(qa: QTensor, b: float, out: QTensor) -> QTensor:
    """``qa + b`` for a number, written as by :func:`add_out`."""
    return _written(out, apply(qa, "add", _output(out, "add_scalar_out"), float(b)))


def add_scalar_relu_out(qa: QTensor, b: float, out: QTensor) -> QTensor:
    """``relu(qa + b)`` for a number, written as by :func:`add_out`."""
    return _written(out, apply(qa, "add_relu", _output(out, "add_scalar_relu_out"), float(b)))


def mul_out(qa: QTensor, qb: QTensor, out: QTensor) -> QTensor:
    """``qa * qb``, written as by :func:`add_out`."""
    return _written(out, mul_to(qa, qb, _output(out, "mul_out")))


def mul_relu_out(qa: QTensor, qb: QTensor, out: QTensor) -> QTensor:
    """``relu(qa * qb)``, written as by :func:`add_out`."""
    return _written(out, mul_to(qa, qb, _output(out, "mul_relu_out"), 0.0))


def mul_scalar_out(qa: QTensor, b: float, out: QTensor) -> QTensor:
    """``qa * b`` for a number, written as by :func:`add_out`."""
    return _written(out, apply(qa, "mul", _output(out, "mul_scalar_out"), float(b)))


def mul_scalar_relu_out(qa: QTensor, b: float, out: QTensor) -> QTensor:
    """``relu(qa * b)`` for a number, written as by :func:`add_out`."""
    return _written(out, apply(qa, "mul_relu", _output(out, "mul_scalar_relu_out"), float(b)))


def cat_out(qx: Sequence[QTensor], dim: int, out: QTensor) -> QTensor:
    """The tensors joined along ``dim``, written as by :func:`add_out`."""
    return _written(out, cat_to(qx, dim, _output(out, "cat_out")))


def cat_relu_out(qx: Sequence[QTensor], dim: int, out: QTensor) -> QTensor:
    """The tensors joined along ``dim`` and ReLU, written as by :func:`add_out`."""
    return _written(out, cat_to(qx, dim, _output(out, "cat_relu_out"), 0.0))


def _output(out: QTensor, caller: str) -> QParams:
    return parameters(quantized(out, caller, "out"))


def _written(out: QTensor, result: QTensor) -> QTensor:
    if out.shape != result.shape:
        raise ValueError(f"expected out of shape {tuple(result.shape)}, got {tuple(out.shape)}")
    out._writable().copy_(result.int_repr())
    return out
