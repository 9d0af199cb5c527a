"""Addition of quantized tensors and numbers."""

import torch

from .._arguments import quantized
from .._one_call import Call, one_call
from .._ops.add import add as _add
from .._qparams import QParams
from .._qtensor import QTensor, parameters
from ._binary import binary_call, finite, of_tensors_or_number
from ._unary import apply


def add(
    qa: QTensor | float, qb: QTensor | float, scale: float = 1.0, zero_point: int = 0
) -> QTensor:
    """The sum of two quantized tensors; with a number, see :func:`add_scalar`.

    Args:
        qa, qb: of one dtype, shapes that broadcast; either may be a number.
        scale, zero_point: the output's parameters; its dtype is that of ``qa``. The sum with a
            number has parameters of its own.

    Returns:
        A quantized tensor of the broadcast shape.

    Raises:
        TypeError: an input is not quantized per tensor, or their dtypes differ.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 0, qtensor.quint8)
        >>> qtensor.ops.add(q, q, 0.5, 0).dequantize()
        tensor([2., 2.])
    """
    return of_tensors_or_number(add_to, add_scalar, "add", qa, qb, scale, zero_point)


def add_relu(
    qa: QTensor | float, qb: QTensor | float, scale: float = 1.0, zero_point: int = 0
) -> QTensor:
    """:func:`add` followed by ReLU, in one pass."""
    given = qa, qb, scale, zero_point
    return of_tensors_or_number(add_to, add_scalar_relu, "add_relu", *given, 0.0)


@one_call
def add_to(
    qa: QTensor,
    qb: QTensor,
    output: QParams,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Call:
    """:func:`add` with all of the output's parameters, and bounds on its real values.

    Args:
        qa, qb: of the dtype of ``output``, shapes that broadcast.
        output: the output's parameters, per tensor.
        activation_min, activation_max: bounds on the real sum, such as 0 for ReLU.
    """
    return binary_call(_add, "add", qa, qb, output, activation_min, activation_max)


def add_scalar(qa: QTensor, b: float) -> QTensor:
    """A number added to a quantized tensor, by moving its zero point.

    The integers stay as they are while the moved zero point fits the dtype; else they are
    requantized to parameters that hold the moved range and zero.

    Args:
        qa: quantized per tensor.
        b: a number, or a tensor of one element; it is rounded to a multiple of the scale.

    Returns:
        A quantized tensor of the shape of ``qa``, whose parameters follow from those of ``qa``.

    Raises:
        TypeError: ``qa`` is not quantized per tensor.
        ValueError: ``b`` is not finite.
    """
    a, number = parameters(quantized(qa, "add_scalar", "qa")), finite(b, "add_scalar")
    scale = float(a.scale)
    steps = round(number / scale)
    moved = int(a.zero_point) - steps
    if a.quant_min <= moved <= a.quant_max:
        return QTensor(qa.int_repr(), a.replace(zero_point=moved))
    nearest = a.quant_min if moved < a.quant_min else a.quant_max
    furthest = a.quant_max if moved < a.quant_min else a.quant_min
    stretch = (furthest - moved) / (furthest - nearest)
    return apply(qa, "add", a.replace(scale=scale * stretch, zero_point=nearest), steps * scale)


def add_scalar_relu(qa: QTensor, b: float) -> QTensor:
    """:func:`add_scalar` followed by ReLU."""
    return torch.relu(add_scalar(qa, b))  # type: ignore[return-value]  # of a QTensor, one
