"""Linear layers on quantized tensors."""

from torch import Tensor

from .._arguments import quantized, requantization, weight_arguments
from .._ops import linear as _linear
from .._qparams import QParams
from .._qtensor import QTensor, parameters


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
