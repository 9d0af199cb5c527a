"""Linear layers: on quantized tensors, and with int8 weights on float ones."""

from torch import Tensor

from .._arguments import quantized, weight_arguments
from .._ops import linear as _linear
from .._ops import linear_dynamic as _dynamic
from .._ops import linear_weight_only as _weight_only
from .._qparams import per_tensor_qparams
from .._qtensor import QTensor, parameters
from ._product import product


def linear(
    input: QTensor,
    weight: QTensor,
    bias: Tensor | None = None,
    scale: float | None = None,
    zero_point: int | None = None,
    activation_min: float | None = None,
    activation_max: float | None = None,
    activation: str = "",
    negative_slope: float = 0.01,
    residual: QTensor | None = None,
) -> QTensor:
    """A quantized linear layer: ``activation(input @ weight.T + bias + residual)``.

    Args:
        input: shape ``(..., in_features)``, quint8 or qint8.
        weight: shape ``(out_features, in_features)``, qint8, per tensor or per channel of axis 0.
        bias: float32, shape ``(out_features,)``.
        scale, zero_point: the output's parameters, those of ``input`` by default.
        activation_min, activation_max: bounds on the real output, such as 0 for ReLU.
        activation: a function of it before that: ``"leaky_relu"`` (of ``negative_slope``),
            ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""``, the default, for none.
        residual: added before the activation; of the output's shape and dtype.

    Returns:
        Shape ``(..., out_features)``, of the dtype of ``input``.

    Raises:
        TypeError: ``input``, ``weight`` or ``residual`` is not quantized so.
        ValueError: shapes do not fit, or the activation is unknown.

    Example:
        >>> import torch, qtensor
        >>> x = qtensor.quantize_per_tensor(torch.ones(1, 4), 0.1, 0, qtensor.quint8)
        >>> w = qtensor.quantize_per_tensor(-torch.ones(2, 4), 0.01, 0, qtensor.qint8)
        >>> leaky = {"activation": "leaky_relu", "negative_slope": 0.5}
        >>> qtensor.ops.linear(x, w, None, 0.1, 100, **leaky).dequantize()
        tensor([[-2., -2.]])
    """
    x = quantized(input, "linear")
    output = per_tensor_qparams(
        x._scale if scale is None else scale,
        x._zero_point if zero_point is None else zero_point,
        parameters(x).dtype,
    )
    finish = (activation_min, activation_max, activation, negative_slope, residual)
    return product(_linear.linear, x, weight, 0, bias, (), output, *finish)


def linear_relu(
    input: QTensor, weight: QTensor, bias: Tensor | None, scale: float, zero_point: int
) -> QTensor:
    """:func:`linear` followed by ReLU."""
    return linear(input, weight, bias, scale, zero_point, 0.0)


def linear_leaky_relu(
    input: QTensor,
    weight: QTensor,
    bias: Tensor | None,
    scale: float,
    zero_point: int,
    negative_slope: float,
) -> QTensor:
    """:func:`linear` followed by leaky ReLU."""
    output = (scale, zero_point, None, None)
    return linear(input, weight, bias, *output, "leaky_relu", negative_slope)


def linear_tanh(
    input: QTensor, weight: QTensor, bias: Tensor | None, scale: float, zero_point: int
) -> QTensor:
    """:func:`linear` followed by tanh."""
    return linear(input, weight, bias, scale, zero_point, activation="tanh")


def linear_dynamic(
    input: Tensor,
    weight: QTensor,
    bias: Tensor | None = None,
    reduce_range: bool = False,
    per_row: bool = True,
    activation_min: float | None = None,
    activation_max: float | None = None,
    activation: str = "",
    negative_slope: float = 0.01,
) -> Tensor:
    """A linear layer that quantizes its float activations as it goes.

    Args:
        input: float32, shape ``(..., in_features)``.
        weight: shape ``(out_features, in_features)``, qint8, per tensor or per channel of axis 0.
        bias: float32, shape ``(out_features,)``.
        reduce_range: quantize activations to 0 … 127 instead of 0 … 255.
        per_row: a scale for each row of the input, instead of one for all of it.
        activation_min, activation_max, activation, negative_slope: as in :func:`linear`.

    Returns:
        float32, shape ``(..., out_features)``.

    Raises:
        TypeError: ``weight`` is not quantized so, or ``input`` not float32.
        ValueError: shapes do not fit.
    """
    rounding = (127 if reduce_range else 255, per_row)
    finish = (activation_min, activation_max, activation, negative_slope)
    weights = weight_arguments(weight, "linear_dynamic")
    return _dynamic.linear_dynamic(input, *weights, bias, *rounding, *finish)


def linear_relu_dynamic(
    input: Tensor,
    weight: QTensor,
    bias: Tensor | None = None,
    reduce_range: bool = False,
    per_row: bool = True,
) -> Tensor:
    """:func:`linear_dynamic` followed by ReLU."""
    return linear_dynamic(input, weight, bias, reduce_range, per_row, 0.0)


def linear_weight_only(
    input: Tensor,
    weight: QTensor,
    bias: Tensor | None = None,
    activation_min: float | None = None,
    activation_max: float | None = None,
    activation: str = "",
    negative_slope: float = 0.01,
) -> Tensor:
    """A linear layer of float activations, as they are, and an int8 weight.

    Args:
        input: float32, shape ``(..., in_features)``.
        weight: shape ``(out_features, in_features)``, qint8, per tensor or per channel of axis 0.
        bias: float32, shape ``(out_features,)``.
        activation_min, activation_max, activation, negative_slope: as in :func:`linear`.

    Returns:
        float32, shape ``(..., out_features)``.

    Raises:
        TypeError: ``weight`` is not quantized so, or ``input`` not float32.
        ValueError: shapes do not fit.
    """
    finish = (activation_min, activation_max, activation, negative_slope)
    weights = weight_arguments(weight, "linear_weight_only")
    return _weight_only.linear_weight_only(input, *weights, bias, *finish)
