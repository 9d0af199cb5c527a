"""From float tensors to quantized ones and back."""

from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor

from ._dtypes import QDType, as_qdtype
from ._one_call import Call, one_call
from ._ops import quantize as _ops
from ._ops._checks import check_quantizable
from ._ops.decomposed import choose_qparams
from ._qparams import QParams, per_tensor_qparams
from ._qtensor import QTensor, described

_EPS = torch.finfo(torch.float32).eps


@overload
def quantize_per_tensor(
    input: Tensor,
    scale: float | Tensor,
    zero_point: int | Tensor,
    dtype: QDType,
    quant_min: int | None = None,
    quant_max: int | None = None,
) -> QTensor: ...


@overload
def quantize_per_tensor(
    input: Sequence[Tensor],
    scale: Tensor | Sequence[float],
    zero_point: Tensor | Sequence[int],
    dtype: QDType,
    quant_min: int | None = None,
    quant_max: int | None = None,
) -> list[QTensor]: ...


def quantize_per_tensor(
    input: Any,
    scale: Any,
    zero_point: Any,
    dtype: QDType,
    quant_min: int | None = None,
    quant_max: int | None = None,
) -> Any:
    """Quantizes ``input`` with one scale and zero point.

    Each integer is ``clamp(round(x / scale) + zero_point, quant_min, quant_max)``, rounding half
    to even; NaN becomes ``quant_min``.

    Args:
        input: float32, float16 or bfloat16, any shape and strides; or a list of
            such tensors.
        scale: a positive number, or a tensor of one element; for a list, as many as tensors.
        zero_point: an integer within the range, or a tensor of one; for a list likewise.
        dtype: a quantized dtype, such as ``qtensor.quint8``.
        quant_min, quant_max: the integers in use; the dtype's full range by default.

    Returns:
        A quantized tensor of the shape and memory format of ``input``; for a list, a list.

    Raises:
        TypeError: ``input`` is not a float32 tensor, or ``dtype`` is not quantized.
        ValueError: the scale, zero point or range is not valid (see :class:`qtensor.QParams`).

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.tensor([0.0, 1.0]), 0.1, 10, qtensor.quint8)
        >>> q.int_repr()
        tensor([10, 20], dtype=torch.uint8)
    """
    return _quantized_per_tensor(input, scale, zero_point, dtype, quant_min, quant_max)


def _quantize_per_tensor_call(
    input: Any,
    scale: Any,
    zero_point: Any,
    dtype: QDType,
    quant_min: int | None,
    quant_max: int | None,
) -> Any:
    if isinstance(input, (list, tuple)):
        if not len(input) == len(scale) == len(zero_point):
            raise ValueError(
                f"expected a scale and a zero point for each of {len(input)} tensors, got "
                f"{len(scale)} and {len(zero_point)}"
            )
        return [
            quantize_per_tensor(*each, dtype, quant_min, quant_max)
            for each in zip(input, scale, zero_point, strict=True)
        ]
    return quantize_call(input, per_tensor_qparams(scale, zero_point, dtype, quant_min, quant_max))


_quantized_per_tensor = one_call(_quantize_per_tensor_call)


def quantize_per_tensor_dynamic(
    input: Tensor, dtype: QDType | torch.dtype, reduce_range: bool = False
) -> Tensor:
    """Quantizes ``input`` with the scale and zero point that its own range asks for.

    With ``lo = min(x, 0)`` and ``hi = max(x, 0)`` over the finite values: ``scale = (hi - lo) /
    (quant_max - quant_min)``, at least float32's epsilon, and ``zero_point = quant_min -
    round(lo / scale)``.

    Args:
        input: float32, float16 or bfloat16, any shape.
        dtype: ``qtensor.quint8`` or ``qtensor.qint8``; or ``torch.float16``, which needs no
            parameters.
        reduce_range: use half of the integers (0 … 127, -64 … 63).

    Returns:
        A quantized tensor of the shape and memory format of ``input``; a plain one of float16.

    Raises:
        TypeError: ``input`` or ``dtype`` is not so.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor_dynamic(torch.tensor([0.0, 2.55]), qtensor.quint8)
        >>> q.int_repr()
        tensor([  0, 255], dtype=torch.uint8)
    """
    if dtype == torch.float16:
        check_quantizable(input)
        return input.to(torch.float16)
    qdtype = as_qdtype(dtype)
    if qdtype.bits != 8:
        raise TypeError(f"expected qtensor.quint8 or qtensor.qint8, got {qdtype}")
    bounds = qdtype.quant_min, qdtype.quant_max
    if reduce_range:
        bounds = qdtype.quant_min // 2, qdtype.quant_max // 2
    scale, zero_point = choose_qparams(input, *bounds, _EPS, qdtype.storage)
    return quantize_per_tensor(input, scale, zero_point, qdtype, *bounds)


def quantize_per_channel(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    axis: int,
    dtype: QDType,
    quant_min: int | None = None,
    quant_max: int | None = None,
) -> QTensor:
    """Quantizes ``input`` with a scale and zero point for each channel along ``axis``.

    Args:
        input: float32, any shape.
        scales: float, shape ``(channels,)``, positive.
        zero_points: integers, shape ``(channels,)``; or float32 for embedding tables, where an
            integer is ``round(x / scale + zero_point)``.
        axis: the channel axis of ``input``.
        dtype: the quantized dtype.
        quant_min, quant_max: the integers in use; the dtype's full range by default.

    Returns:
        A quantized tensor of the shape of ``input``.

    Raises:
        TypeError: ``input`` is not a float32 tensor, or ``dtype`` is not quantized.
        ValueError: the parameters do not fit together or do not fit ``input``.

    Example:
        >>> import torch, qtensor
        >>> scales, zeros = torch.tensor([0.1, 1.0]), torch.tensor([0, 0])
        >>> w = qtensor.quantize_per_channel(torch.ones(2, 1), scales, zeros, 0, qtensor.qint8)
        >>> w.int_repr()
        tensor([[10],
                [ 1]], dtype=torch.int8)
    """
    floats = zero_points.is_floating_point()
    qparams = QParams(
        scales.to(torch.float32),
        zero_points.to(torch.float32 if floats else torch.int64),
        dtype,
        axis % input.dim() if input.dim() else axis,
        quant_min,  # type: ignore[arg-type]  # None means the dtype's
        quant_max,  # type: ignore[arg-type]  # likewise
    )
    return quantize(input, qparams)


def quantize_call(input: Tensor, qparams: QParams) -> Call | QTensor:
    """Quantizes ``input`` (float32) as ``qparams`` say."""
    if isinstance(input, QTensor):
        raise TypeError(
            f"expected a float32 tensor, got {described(input)}: it is quantized already; "
            "dequantize() it first to quantize it differently"
        )
    bounds = qparams.quant_min, qparams.quant_max, qparams.dtype.storage
    scale, zero_point = qparams.scale, qparams.zero_point
    if qparams.axis is None:
        call = Call(_ops.quantize_per_tensor, (input, scale, zero_point, *bounds), qparams)
    else:
        arguments = input, scale, zero_point, qparams.axis, *bounds
        call = Call(_ops.quantize_per_channel, arguments, qparams)
    packed = qparams.dtype.bits < 8
    return QTensor(call.operator(*call.arguments), qparams) if packed else call


quantize = one_call(quantize_call)


def quantize_value(value: float, qparams: QParams) -> int:
    """The integer that stands for ``value`` under per-tensor ``qparams``.

    Raises:
        ValueError: ``value`` is NaN.
    """
    if value != value:
        raise ValueError("expected a number to write or compare with, got NaN: no integer is that")
    zero_point = int(qparams.zero_point)
    low, high = qparams.quant_min - zero_point, qparams.quant_max - zero_point
    return round(min(max(value / float(qparams.scale), low), high)) + zero_point


def dequantize(input: Any) -> Any:
    """The real values of a quantized tensor; of every one in a list or tuple of them.

    A float tensor is what it stands for; it is converted to float32.

    Raises:
        TypeError: ``input`` is neither.

    Example:
        >>> import torch, qtensor
        >>> qtensor.dequantize(qtensor.quantize_per_tensor(torch.ones(2), 0.5, 0, qtensor.quint8))
        tensor([1., 1.])
    """
    if isinstance(input, (list, tuple)):
        return type(input)(dequantize(x) for x in input)
    if isinstance(input, QTensor):
        return input.dequantize()
    if not isinstance(input, Tensor) or not input.is_floating_point():
        raise TypeError(f"dequantize expects a quantized or float tensor, got {described(input)}")
    return input.to(torch.float32)  # torch's own dequantize() is one of the parts that go
