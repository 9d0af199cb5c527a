"""Convolutions that quantize their float activations as they go, plain and transposed."""

from collections.abc import Callable

from torch import Tensor

from .._arguments import weight_arguments
from .._ops import conv_dynamic as conv
from .._qtensor import QTensor
from .._sizes import Ints
from . import _geometry
from ._geometry import named


def _plain(axes: int) -> Callable[..., Tensor]:
    operator = (conv.conv1d_dynamic, conv.conv2d_dynamic, conv.conv3d_dynamic)[axes - 1]

    def function(
        input: Tensor,
        weight: QTensor,
        bias: Tensor | None = None,
        stride: Ints = 1,
        padding: Ints = 0,
        dilation: Ints = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        reduce_range: bool = False,
        per_image: bool = True,
        activation_min: float | None = None,
        activation_max: float | None = None,
        activation: str = "",
        negative_slope: float = 0.01,
    ) -> Tensor:
        """A convolution that quantizes its float activations as it goes.

        Args:
            input: float32, shape ``(N, C, S)`` of the spatial axes S.
            weight: shape ``(O, C / groups, kernel)``, qint8, per tensor or per channel of axis 0.
            bias: float32, shape ``(O,)``.
            stride, padding, dilation, groups: as in :func:`torch.nn.functional.conv2d`.
            padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
            reduce_range: quantize activations to 0 … 127 instead of 0 … 255.
            per_image: a scale for each image, instead of one for the batch.
            activation_min, activation_max: bounds on the output, such as 0 for ReLU.
            activation: a function of it before that: ``"leaky_relu"`` (of ``negative_slope``),
                ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""``, the default, for none.

        Returns:
            float32, shape ``(N, O, S')``, channels last in memory.

        Raises:
            TypeError: ``weight`` is not quantized so, or ``input`` not float32.
            ValueError: shapes do not fit, or the padding mode is not known.
        """
        geometry = _geometry.plain(axes, stride, padding, dilation, groups, padding_mode)
        rounding = (127 if reduce_range else 255, per_image)
        finish = (activation_min, activation_max, activation, negative_slope)
        weights = weight_arguments(weight, operator.__name__, 0)
        return operator(input, *weights, bias, *geometry, *rounding, *finish)

    return named(function, operator.__name__)


def _transposed(axes: int) -> Callable[..., Tensor]:
    operator = (
        conv.conv_transpose1d_dynamic,
        conv.conv_transpose2d_dynamic,
        conv.conv_transpose3d_dynamic,
    )[axes - 1]

    def function(
        input: Tensor,
        weight: QTensor,
        bias: Tensor | None = None,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        dilation: Ints = 1,
        reduce_range: bool = False,
        per_image: bool = True,
        activation_min: float | None = None,
        activation_max: float | None = None,
        activation: str = "",
        negative_slope: float = 0.01,
    ) -> Tensor:
        """A transposed convolution that quantizes its float activations as it goes.

        Args:
            input: float32, shape ``(N, C, S)`` of the spatial axes S.
            weight: shape ``(C, O / groups, kernel)``, qint8, per tensor or per channel of axis 1.
            bias: float32, shape ``(O,)``.
            stride, padding, output_padding, groups, dilation: as in
                :func:`torch.nn.functional.conv_transpose2d`.
            reduce_range: quantize activations to 0 … 127 instead of 0 … 255.
            per_image: a scale for each image, instead of one for the batch.
            activation_min, activation_max: bounds on the output, such as 0 for ReLU.
            activation: a function of it before that: ``"leaky_relu"`` (of ``negative_slope``),
                ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""``, the default, for none.

        Returns:
            float32, shape ``(N, O, S')``, channels last in memory.

        Raises:
            TypeError: ``weight`` is not quantized so, or ``input`` not float32.
            ValueError: shapes do not fit.
        """
        sizes = (stride, padding, output_padding, groups, dilation)
        geometry = _geometry.transposed(axes, *sizes)
        rounding = (127 if reduce_range else 255, per_image)
        finish = (activation_min, activation_max, activation, negative_slope)
        weights = weight_arguments(weight, operator.__name__, 1)
        return operator(input, *weights, bias, *geometry, *rounding, *finish)

    return named(function, operator.__name__)


conv1d_dynamic, conv2d_dynamic, conv3d_dynamic = map(_plain, (1, 2, 3))
conv_transpose1d_dynamic, conv_transpose2d_dynamic, conv_transpose3d_dynamic = map(
    _transposed, (1, 2, 3)
)
