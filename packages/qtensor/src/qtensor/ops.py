"""Operators on quantized tensors, with the argument order of the ones torch is removing.

Each takes and returns :class:`qtensor.QTensor`; the operators on plain integers below them are
``torch.ops.qtensor.*``. Where several inputs are quantized they have one dtype.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from ._arguments import quantized, requantization, weight_arguments
from ._dtypes import QDType, quint8
from ._ops import add as _add
from ._ops import conv2d as _conv2d
from ._ops import linear as _linear
from ._qparams import QParams
from ._qtensor import QTensor, parameters
from ._quantize import quantize

_Ints = int | Sequence[int]


def add(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """The sum of two quantized tensors.

    Args:
        qa, qb: of one dtype, shapes that broadcast.
        scale, zero_point: the output's parameters; its dtype is that of ``qa``.

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
    a = quantized(qa, "add", "qa")
    return add_to(a, qb, QParams(scale, zero_point, parameters(a).dtype))


def add_relu(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """:func:`add` followed by ReLU, in one pass."""
    a = quantized(qa, "add_relu", "qa")
    return add_to(a, qb, QParams(scale, zero_point, parameters(a).dtype), 0.0)


def add_to(
    qa: QTensor,
    qb: QTensor,
    output: QParams,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> QTensor:
    """:func:`add` with all of the output's parameters, and bounds on its real values.

    Args:
        qa, qb: of the dtype of ``output``, shapes that broadcast.
        output: the output's parameters, per tensor.
        activation_min, activation_max: bounds on the real sum, such as 0 for ReLU.
    """
    a, b = quantized(qa, "add", "qa"), quantized(qb, "add", "qb")
    data = _add.add(
        a._data,
        a._scale,
        a._zero_point,
        b._data,
        b._scale,
        b._zero_point,
        output.scale,
        output.zero_point,
        output.quant_min,
        output.quant_max,
        activation_min,
        activation_max,
    )
    return QTensor(data, output)


def add_scalar(qa: QTensor, b: float) -> QTensor:
    """A number added to a quantized tensor, by moving its zero point.

    The integers stay as they are while the moved zero point fits the dtype; else they are
    quantized anew to parameters that hold the moved range and zero.
    """
    a = parameters(quantized(qa, "add_scalar", "qa"))
    moved = int(a.zero_point) - round(b / float(a.scale))
    if a.quant_min <= moved <= a.quant_max:
        return QTensor(qa.int_repr(), a.replace(zero_point=moved))
    nearest = a.quant_min if moved < a.quant_min else a.quant_max
    furthest = a.quant_max if moved < a.quant_min else a.quant_min
    stretch = (furthest - moved) / (furthest - nearest)
    output = a.replace(scale=float(a.scale) * stretch, zero_point=nearest)
    shifted = (qa.int_repr().to(torch.int32) - moved).to(torch.float32) * float(a.scale)
    return quantize(shifted, output)


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


def matmul(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """The matrix product of two quantized tensors, computed in float on their real values."""
    a, b = quantized(qa, "matmul", "qa"), quantized(qb, "matmul", "qb")
    output = QParams(scale, zero_point, parameters(a).dtype)
    return quantize(a.dequantize() @ b.dequantize(), output)


def cat(
    tensors: Sequence[QTensor],
    dim: int = 0,
    scale: float | None = None,
    zero_point: int | None = None,
) -> QTensor:
    """Joins quantized tensors along ``dim``.

    Args:
        tensors: quantized per tensor, of one dtype; shapes equal but for ``dim``.
        dim: where to join.
        scale, zero_point: the output's parameters, those of the first tensor by default. Inputs
            with other parameters are quantized anew; the others are copied as they are.
    """
    first = parameters(quantized(tensors[0], "cat", "tensors[0]"))
    output = first.replace(
        scale=first.scale if scale is None else scale,
        zero_point=first.zero_point if zero_point is None else zero_point,
    )
    parts = []
    for i, x in enumerate(tensors):
        x = quantized(x, "cat", f"tensors[{i}]")
        same = parameters(x) == output
        parts.append((x if same else quantize(x.dequantize(), output)).int_repr())
    return QTensor(torch.cat(parts, dim), output)


def linear(
    input: QTensor,
    weight: QTensor,
    bias: Tensor | None = None,
    scale: float | None = None,
    zero_point: int | None = None,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> QTensor:
    """A quantized linear layer: ``input @ weight.T + bias``.

    Args:
        input: shape ``(..., in_features)``, quint8 or qint8.
        weight: shape ``(out_features, in_features)``, qint8, per tensor or per channel of axis 0.
        bias: float32, shape ``(out_features,)``.
        scale, zero_point: the output's parameters, those of ``input`` by default.
        activation_min, activation_max: bounds on the real output, such as 0 for ReLU.

    Returns:
        Shape ``(..., out_features)``, of the dtype of ``input``.

    Raises:
        TypeError: ``input`` or ``weight`` is not quantized so.
        ValueError: shapes do not fit.
    """
    x = quantized(input, "linear")
    output = QParams(
        x._scale if scale is None else scale,
        x._zero_point if zero_point is None else zero_point,
        parameters(x).dtype,
    )
    data = _linear.linear(
        x._data,
        x._scale,
        x._zero_point,
        *weight_arguments(weight),
        bias,
        *requantization(output),
        activation_min,
        activation_max,
    )
    return QTensor(data, output)


def conv2d(
    input: QTensor,
    weight: QTensor,
    bias: Tensor | None = None,
    stride: _Ints = 1,
    padding: _Ints = 0,
    dilation: _Ints = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    scale: float = 1.0,
    zero_point: int = 0,
    dtype: QDType = quint8,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> QTensor:
    """A quantized two-dimensional convolution; padding stands for 0.

    Args:
        input: shape ``(N, C, H, W)``, quint8 or qint8, best in ``channels_last`` memory format.
        weight: shape ``(O, C / groups, kh, kw)``, qint8, per tensor or per channel of axis 0.
        bias: float32, shape ``(O,)``.
        stride, padding, dilation, groups: as in :func:`torch.nn.functional.conv2d`.
        padding_mode: ``"zeros"``, the only one here; ``nn.quantized.Conv2d`` knows the others.
        scale, zero_point, dtype: the output's parameters.
        activation_min, activation_max: bounds on the real output, such as 0 for ReLU.

    Returns:
        Shape ``(N, O, H', W')`` in ``channels_last`` memory format.

    Raises:
        TypeError: ``input`` or ``weight`` is not quantized so.
        ValueError: shapes do not fit, or another padding mode.
    """
    if padding_mode != "zeros":
        raise ValueError(f"expected padding_mode 'zeros', got {padding_mode!r}")
    x = quantized(input, "conv2d")
    output = QParams(scale, zero_point, dtype)
    data = _conv2d.conv2d(
        x._data,
        x._scale,
        x._zero_point,
        *weight_arguments(weight),
        bias,
        _pair(stride),
        _pair(padding),
        _pair(dilation),
        groups,
        *requantization(output),
        activation_min,
        activation_max,
    )
    return QTensor(data, output)
