"""Functions of one quantized value, as tables of 256 bytes; PReLU and softmax."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from .._arguments import output_like, quantized, requantization
from .._compiler import constant_result
from .._one_call import Call, one_call
from .._ops.prelu import prelu as _prelu
from .._ops.softmax import softmax as _softmax
from .._ops.unary import unary, values_of
from .._qparams import QParams
from .._qtensor import QTensor, parameters, wrapped


def apply_call(q: QTensor, function: str, output: QParams, *arguments: float) -> Call:
    """A function of each value of a quantized tensor.

    Args:
        q: quint8 or qint8, quantized per tensor.
        function: its name, such as ``"gelu"`` or ``"silu"``; an error lists all there are.
        output: the result's parameters, of quint8 or qint8, per tensor.
        arguments: what the function takes besides, such as the slope of ``"leaky_relu"``.

    Returns:
        A quantized tensor of the shape of ``q``; each value is the exact one, rounded once.

    Raises:
        TypeError: ``q`` or ``output`` is not so.
        ValueError: there is no such function.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 128, qtensor.quint8)
        >>> qtensor.ops.apply(q, "square", qtensor.QParams(0.5, 0)).dequantize()
        tensor([1., 1.])
    """
    x = quantized(q, function, "q")
    given = x._data, x._scale, x._zero_point
    return Call(unary, (*given, function, arguments, *requantization(output)), output)


apply = one_call(apply_call)


@constant_result
@lru_cache(maxsize=1024)
def fitting_parameters(
    storage: torch.dtype,
    scale: float,
    zero_point: int,
    quant_min: int,
    quant_max: int,
    function: str,
    arguments: tuple[float, ...],
) -> tuple[float, int]:
    """The finest scale, and its zero point, that hold a function of every integer, and zero.

    Args:
        storage: of the integers.
        scale, zero_point, quant_min, quant_max: their parameters; the result has their range.
        function, arguments: as for :func:`apply`.

    Raises:
        ValueError: the function is not finite on these values.
    """
    with _disable_current_modes():  # what torch.export sees of this is the result
        values = values_of(storage, scale, zero_point, function, arguments)
        used = torch.arange(quant_min, quant_max + 1, device="cpu") & 0xFF
        low, high = (float(end) for end in values[used].aminmax())
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / (quant_max - quant_min) or 1.0
    if not high - low < float("inf"):
        raise ValueError(
            f"{function} of a quantized tensor with scale {scale} is not finite; give the output's "
            "parameters with qtensor.ops.apply(q, function, output)"
        )
    return step, min(max(round(quant_min - low / step), quant_min), quant_max)


def fitting(q: QTensor, function: str, *arguments: float) -> QParams:
    """``q.qparams`` with the scale and zero point of :func:`fitting_parameters`."""
    a = parameters(quantized(q, "fitting", "q"))
    if a.dtype.storage.itemsize > 1:
        raise TypeError(f"fitting expects a tensor of integers of a byte, got one of {a.dtype}")
    scale, zero_point = fitting_parameters(
        a.dtype.storage, a.scale, a.zero_point, a.quant_min, a.quant_max, function, arguments
    )
    return a.replace(scale=scale, zero_point=zero_point)


def celu(qx: QTensor, output_scale: float, output_zero_point: int, alpha: float = 1.0) -> QTensor:
    """CELU: ``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``; see :func:`apply`."""
    return apply(qx, "celu", output_like(qx, output_scale, output_zero_point, "celu"), alpha)


def elu(
    qx: QTensor,
    output_scale: float,
    output_zero_point: int,
    alpha: float = 1.0,
    scale: float = 1.0,
    input_scale: float = 1.0,
) -> QTensor:
    """ELU: ``scale * x``, or ``scale * alpha * (exp(input_scale * x) - 1)`` where negative."""
    output = output_like(qx, output_scale, output_zero_point, "elu")
    return apply(qx, "elu", output, alpha, scale, input_scale)


def hardswish(qx: QTensor, output_scale: float, output_zero_point: int) -> QTensor:
    """``x * relu6(x + 3) / 6``; see :func:`apply`."""
    return apply(qx, "hardswish", output_like(qx, output_scale, output_zero_point, "hardswish"))


def leaky_relu(
    qx: QTensor,
    negative_slope: float,
    inplace: bool,
    output_scale: float,
    output_zero_point: int,
) -> QTensor:
    """``x``, or ``negative_slope * x`` where negative; ``inplace`` is ignored, as it always was."""
    output = output_like(qx, output_scale, output_zero_point, "leaky_relu")
    return apply(qx, "leaky_relu", output, negative_slope)


def sigmoid(qx: QTensor, output_scale: float, output_zero_point: int) -> QTensor:
    """``1 / (1 + exp(-x))``; see :func:`apply`."""
    return apply(qx, "sigmoid", output_like(qx, output_scale, output_zero_point, "sigmoid"))


def threshold(qx: QTensor, threshold: float, value: float) -> QTensor:
    """``x`` where it is above the threshold, else ``value``; with the parameters of ``qx``."""
    q = quantized(qx, "threshold", "qx")
    return apply(q, "threshold", parameters(q), threshold, value)


def relu6(qx: QTensor, inplace: bool = False) -> QTensor:
    """Values within 0 and 6; with the parameters of ``qx``."""
    q = quantized(qx, "relu6", "qx")
    return torch.nn.functional.relu6(q, inplace)  # type: ignore[return-value]  # of a QTensor, one


def clamp(qx: QTensor, min: float | None = None, max: float | None = None) -> QTensor:
    """Values within ``min`` and ``max``; with the parameters of ``qx``."""
    return torch.clamp(quantized(qx, "clamp", "qx"), min, max)  # type: ignore[return-value]  # likewise


def prelu(qx: QTensor, weight: Tensor, output_scale: float, output_zero_point: int) -> QTensor:
    """:func:`prelu_to` of ``output_scale`` and ``output_zero_point``, of the input's dtype."""
    return prelu_to(qx, weight, output_like(qx, output_scale, output_zero_point, "prelu"))


def prelu_to(qx: QTensor, weight: Tensor, output: QParams) -> QTensor:
    """``x``, or a slope times ``x`` where negative.

    Args:
        qx: quint8 or qint8, quantized per tensor; channels are dimension 1.
        weight: the slopes, a QTensor or float tensor of shape ``(1,)`` or ``(channels,)``.
        output: the output's parameters, of the dtype of ``qx``.

    Returns:
        A quantized tensor of the shape of ``qx``.

    Raises:
        TypeError, ValueError: ``qx``, ``weight`` or ``output`` is not so.
    """
    q = quantized(qx, "prelu", "qx")
    slopes = weight.dequantize() if isinstance(weight, QTensor) else weight
    _check_dtype("prelu", q, output)
    bounds = output.quant_min, output.quant_max
    data = _prelu(
        q._data, q._scale, q._zero_point, slopes, output.scale, output.zero_point, *bounds
    )
    return wrapped(data, output)


def softmax(qx: QTensor, dim: int, output_scale: float, output_zero_point: int) -> QTensor:
    """:func:`softmax_to` of ``output_scale`` and ``output_zero_point``, of the input's dtype."""
    return softmax_to(qx, dim, output_like(qx, output_scale, output_zero_point, "softmax"))


def softmax_to(qx: QTensor, dim: int, output: QParams) -> QTensor:
    """``exp(x)`` over its sum along ``dim``.

    Args:
        qx: quint8 or qint8, quantized per tensor.
        dim: along which the results sum to 1.
        output: the output's parameters, of the dtype of ``qx``.

    Returns:
        A quantized tensor of the shape of ``qx``.

    Raises:
        TypeError: ``qx`` or ``output`` is not so.
        ValueError: ``dim`` is none of its dimensions.
    """
    q = quantized(qx, "softmax", "qx")
    _check_dtype("softmax", q, output)
    bounds = output.quant_min, output.quant_max
    data = _softmax(q._data, q._scale, dim, output.scale, output.zero_point, *bounds)
    return wrapped(data, output)


def _check_dtype(caller: str, q: QTensor, output: QParams) -> None:
    given = parameters(q).dtype
    if output.dtype != given:
        raise TypeError(
            f"{caller} of {given} gives {given}, not {output.dtype}; requantize the result"
        )
