"""Operators on quantized tensors, with the argument order of the ones torch is removing.

Each takes and returns :class:`qtensor.QTensor`; the operators on plain integers below them are
``torch.ops.qtensor.*``. Where several inputs are quantized they have one dtype.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from ._direct import direct
from ._dtypes import QDType, quint8
from ._ops import add as _add
from ._ops import conv2d as _conv2d
from ._ops import linear as _linear
from ._qparams import QParams
from ._qtensor import QTensor, parameters
from ._quantize import quantize

Ints = int | Sequence[int]


def quantized(x: Any, caller: str, argument: str = "input") -> QTensor:
    """``x``, checked to be what a quantized kernel takes: a QTensor quantized per tensor.

    Raises:
        TypeError: it is not; the message names ``caller`` and ``argument``.
    """
    if not isinstance(x, QTensor):
        kind = f"a {x.dtype} tensor" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise TypeError(
            f"{caller} expects a quantized tensor as {argument}, got {kind}; quantize it with "
            "qtensor.quantize_per_tensor(...), or put a QuantStub or Quantize module before it"
        )
    if x._axis is not None:
        raise TypeError(
            f"{caller} expects {argument} to be quantized per tensor, got one quantized per "
            f"channel along axis {x._axis}"
        )
    return x


def add(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """The sum of two quantized tensors, quantized with ``scale`` and ``zero_point``.

    Args:
        qa, qb: of one dtype, shapes that broadcast.
        scale, zero_point: the output's parameters; its dtype is that of ``qa``.

    Returns:
        A quantized tensor of the broadcast shape.

    Raises:
        TypeError: an input is not quantized per tensor.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 0, qtensor.quint8)
        >>> qtensor.ops.add(q, q, 0.5, 0).dequantize()
        tensor([2., 2.])
    """
    output = QParams(scale, zero_point, parameters(quantized(qa, "add", "qa")).dtype)
    return add_to(qa, qb, output, caller="add")


def add_relu(qa: QTensor, qb: QTensor, scale: float, zero_point: int) -> QTensor:
    """:func:`add` followed by ReLU, in one pass."""
    output = QParams(scale, zero_point, parameters(quantized(qa, "add_relu", "qa")).dtype)
    return add_to(qa, qb, output, 0.0, caller="add_relu")


def add_to(
    qa: QTensor,
    qb: QTensor,
    output: QParams,
    activation_min: float | None = None,
    activation_max: float | None = None,
    *,
    caller: str = "add_to",
) -> QTensor:
    """:func:`add` with the whole of the output's parameters, and bounds on its real values."""
    a, b = quantized(qa, caller, "qa"), quantized(qb, caller, "qb")
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
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
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


def weight_arguments(weight: QTensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """What kernels take for ``weight``: integers, scales, and zero points unless all are zero."""
    if not isinstance(weight, QTensor) or parameters(weight).axis not in (None, 0):
        given = f"axis {weight.q_per_channel_axis()}" if isinstance(weight, QTensor) else "floats"
        raise TypeError(
            f"expected a weight quantized per tensor or per channel along axis 0, got {given}"
        )
    qparams, device = parameters(weight), weight.device
    scales = torch.as_tensor(qparams.scale, dtype=torch.float32, device=device).reshape(-1)
    zeros = torch.as_tensor(qparams.zero_point, dtype=torch.int64, device=device).reshape(-1)
    needless = direct(zeros) and not bool(zeros.any())  # a tracer cannot look at values
    return weight.int_repr(), scales, None if needless else zeros


def requantization(output: QParams) -> tuple[Any, ...]:
    """The arguments by which kernels know their output's parameters."""
    bounds = output.quant_min, output.quant_max
    return output.scale, output.zero_point, *bounds, output.dtype.storage
