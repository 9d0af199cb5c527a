"""Multiplication of quantized tensors and numbers."""

import torch

from .._arguments import quantized
from .._one_call import Call, one_call
from .._ops.mul import mul as _mul
from .._qparams import QParams
from .._qtensor import QTensor, parameters
from ._binary import binary_call, finite, of_tensors_or_number
from ._unary import apply


def mul(
    qa: QTensor | float, qb: QTensor | float, scale: float = 1.0, zero_point: int = 0
) -> QTensor:
    """The product of two quantized tensors; with a number, see :func:`mul_scalar`.

    Args:
        qa, qb: of one dtype, shapes that broadcast; either may be a number.
        scale, zero_point: the output's parameters; its dtype is that of ``qa``. The product with a
            number has parameters of its own.

    Returns:
        A quantized tensor of the broadcast shape.

    Raises:
        TypeError: an input is not quantized per tensor, or their dtypes differ.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 0, qtensor.quint8)
        >>> qtensor.ops.mul(q, q, 0.5, 0).dequantize()
        tensor([1., 1.])
    """
    return of_tensors_or_number(mul_to, mul_scalar, "mul", qa, qb, scale, zero_point)


def mul_relu(
    qa: QTensor | float, qb: QTensor | float, scale: float = 1.0, zero_point: int = 0
) -> QTensor:
    """:func:`mul` followed by ReLU, in one pass."""
    given = qa, qb, scale, zero_point
    return of_tensors_or_number(mul_to, mul_scalar_relu, "mul_relu", *given, 0.0)


@one_call
def mul_to(
    qa: QTensor,
    qb: QTensor,
    output: QParams,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Call:
    """:func:`mul` with all of the output's parameters, and bounds on its real values.

    Args:
        qa, qb: of the dtype of ``output``, shapes that broadcast.
        output: the output's parameters, per tensor.
        activation_min, activation_max: bounds on the real product, such as 0 for ReLU.
    """
    return binary_call(_mul, "mul", qa, qb, output, activation_min, activation_max)


def mul_scalar(qa: QTensor, b: float) -> QTensor:
    """A quantized tensor times a number: exact, since mostly the scale changes.

    A negative number mirrors the integers; zero gives integers and zero point 0 with scale 1.

    Args:
        qa: quantized per tensor.
        b: a number, or a tensor of one element.

    Returns:
        A quantized tensor of the shape of ``qa``, whose parameters follow from those of ``qa``.

    Raises:
        TypeError: ``qa`` is not quantized per tensor.
        ValueError: ``b`` is not finite.
    """
    a, b = parameters(quantized(qa, "mul_scalar", "qa")), finite(b, "mul_scalar")
    if b > 0:
        return QTensor(qa.int_repr(), a.replace(scale=float(a.scale) * b))
    if b < 0:
        mirrored = a.replace(zero_point=a.quant_min + a.quant_max - int(a.zero_point))
        negated = apply(qa, "neg", mirrored).int_repr()
        return QTensor(negated, mirrored.replace(scale=float(a.scale) * -b))
    zero = min(max(0, a.quant_min), a.quant_max)
    return QTensor(torch.full_like(qa.int_repr(), zero), a.replace(scale=1.0, zero_point=zero))


def mul_scalar_relu(qa: QTensor, b: float) -> QTensor:
    """:func:`mul_scalar` followed by ReLU."""
    return torch.relu(mul_scalar(qa, b))  # type: ignore[return-value]  # of a QTensor, one
