"""Convolutions of quantized tensors, plain and transposed."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor

from .._arguments import quantized
from .._dtypes import QDType, quint8
from .._ops import conv
from .._qparams import per_tensor_qparams
from .._qtensor import QTensor
from .._sizes import Ints
from . import _geometry
from ._geometry import named
from ._product import product


def _plain(axes: int) -> Callable[..., QTensor]:
    operator = (conv.conv1d, conv.conv2d, conv.conv3d)[axes - 1]

    def function(
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
        activation: str = "",
        negative_slope: float = 0.01,
        residual: QTensor | None = None,
    ) -> QTensor:
        """A quantized convolution; padding stands for 0.

        Args:
            input: shape ``(N, C, S)`` of the spatial axes S, quint8 or qint8; best where a pixel's
                channels lie together, as in ``channels_last`` memory format.
            weight: shape ``(O, C / groups, kernel)``, qint8, per tensor or per channel of axis 0.
            bias: float32, shape ``(O,)``.
            stride, padding, dilation, groups: as in :func:`torch.nn.functional.conv2d`.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
            scale, zero_point, dtype: the output's parameters.
            activation_min, activation_max: bounds on the real output, such as 0 for ReLU.
            activation: a function of it before that: ``"leaky_relu"`` (of ``negative_slope``),
                ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""``, the default, for none.
            residual: added before the activation; of the output's shape and dtype.

        Returns:
            Shape ``(N, O, S')``, channels last in memory.

        Raises:
            TypeError: ``input`` or ``weight`` is not quantized so.
            ValueError: shapes do not fit, or the padding mode is not known.
        """
        geometry = _geometry.plain(axes, stride, padding, dilation, groups, padding_mode)
        finish = (activation_min, activation_max, activation, negative_slope, residual)
        output = per_tensor_qparams(scale, zero_point, dtype)
        return product(operator, input, weight, 0, bias, geometry, output, *finish)

    return named(function, operator.__name__)


def _transposed(axes: int) -> Callable[..., QTensor]:
    operator = (conv.conv_transpose1d, conv.conv_transpose2d, conv.conv_transpose3d)[axes - 1]

    def function(
        input: QTensor,
        weight: QTensor,
        bias: Tensor | None = None,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        dilation: Ints = 1,
        scale: float = 1.0,
        zero_point: int = 0,
        dtype: QDType = quint8,
        activation_min: float | None = None,
        activation_max: float | None = None,
        activation: str = "",
        negative_slope: float = 0.01,
        residual: QTensor | None = None,
    ) -> QTensor:
        """A quantized transposed convolution.

        Args:
            input: shape ``(N, C, S)`` of the spatial axes S, quint8 or qint8.
            weight: shape ``(C, O / groups, kernel)``, qint8, per tensor or per channel of axis 1.
            bias: float32, shape ``(O,)``.
            stride, padding, output_padding, groups, dilation: as in
                :func:`torch.nn.functional.conv_transpose2d`.
            scale, zero_point, dtype: the output's parameters.
            activation_min, activation_max: bounds on the real output, such as 0 for ReLU.
            activation: a function of it before that: ``"leaky_relu"`` (of ``negative_slope``),
                ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""``, the default, for none.
            residual: added before the activation; of the output's shape and dtype.

        Returns:
            Shape ``(N, O, S')``, channels last in memory.

        Raises:
            TypeError: ``input`` or ``weight`` is not quantized so.
            ValueError: shapes do not fit.
        """
        sizes = (stride, padding, output_padding, groups, dilation)
        geometry = _geometry.transposed(axes, *sizes)
        finish = (activation_min, activation_max, activation, negative_slope, residual)
        output = per_tensor_qparams(scale, zero_point, dtype)
        return product(operator, input, weight, 1, bias, geometry, output, *finish)

    return named(function, operator.__name__)


conv1d, conv2d, conv3d = (_plain(axes) for axes in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_transposed(axes) for axes in (1, 2, 3))


def _with_relu(convolve: Callable[..., QTensor]) -> Callable[..., QTensor]:
    @wraps(convolve)
    def function(*args: Any, **kwargs: Any) -> QTensor:
        return convolve(*args, **kwargs, activation_min=0.0)

    function.__doc__ = f":func:`{convolve.__name__}` followed by ReLU."
    return named(function, f"{convolve.__name__}_relu")


conv1d_relu, conv2d_relu, conv3d_relu = map(_with_relu, (conv1d, conv2d, conv3d))


def conv2d_add(qx: QTensor, qaccum: QTensor, *args: Any, **kwargs: Any) -> QTensor:
    """:func:`conv2d` of ``qx`` and the further arguments, plus ``qaccum``."""
    return conv2d(qx, *args, **kwargs, residual=quantized(qaccum, "conv2d_add", "qaccum"))


def conv2d_add_relu(qx: QTensor, qaccum: QTensor, *args: Any, **kwargs: Any) -> QTensor:
    """:func:`conv2d_add` followed by ReLU."""
    residual = quantized(qaccum, "conv2d_add_relu", "qaccum")
    return conv2d_relu(qx, *args, **kwargs, residual=residual)
