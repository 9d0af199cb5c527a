"""Convolution of quantized tensors."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.modules.utils import _pair

from .._arguments import quantized, requantization, weight_arguments
from .._dtypes import QDType, quint8
from .._ops import conv as _conv
from .._qparams import QParams
from .._qtensor import QTensor

_Ints = int | Sequence[int]


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
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        scale, zero_point, dtype: the output's parameters.
        activation_min, activation_max: bounds on the real output, such as 0 for ReLU.

    Returns:
        Shape ``(N, O, H', W')`` in ``channels_last`` memory format.

    Raises:
        TypeError: ``input`` or ``weight`` is not quantized so.
        ValueError: shapes do not fit, or another padding mode.
    """
    x = quantized(input, "conv2d")
    output = QParams(scale, zero_point, dtype)
    data = _conv.conv2d(
        x._data,
        x._scale,
        x._zero_point,
        *weight_arguments(weight),
        bias,
        _pair(stride),
        _pair(padding),
        _pair(dilation),
        groups,
        padding_mode,
        *requantization(output),
        activation_min,
        activation_max,
    )
    return QTensor(data, output)
