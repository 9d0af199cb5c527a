"""Reference convolutions of one to three dimensions, plain and transposed."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch.nn.functional as F
from torch import Tensor, nn

from .._conv import plain_arguments, transposed_arguments
from ._modules import ReferenceModule


class _Conv(ReferenceModule):
    """What all of them share."""

    _arguments: ClassVar[Callable[..., tuple[Any, ...]]]  # of the constructor, from a float one

    @classmethod
    def from_float(cls, float_conv: nn.Module, weight_qparams: dict[str, Any]) -> Self:
        """From a float convolution and how to quantize its weight."""
        weight: Any = float_conv.weight
        arguments = cls._arguments(float_conv)
        made = cls(*arguments, weight.device, weight.dtype, weight_qparams)
        return made._take_parameters(float_conv)

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}(Reference)"


class _PlainConv(_Conv):
    """What the plain ones share."""

    _arguments = staticmethod(plain_arguments)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Any = "zeros",
        device: Any = None,
        dtype: Any = None,
        weight_qparams: dict[str, Any] | None = None,
    ) -> None:
        geometry = (kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        super().__init__(in_channels, out_channels, *geometry, device, dtype)
        self._init_weight_qparams(weight_qparams, device)

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(N, in_channels, S)`` to ``(N, out_channels, S')``, float32."""
        float_layer: Any = super()  # the torch.nn one, which comes next
        result: Tensor = float_layer._conv_forward(x, self.get_weight(), self.bias)
        return result


class _TransposedConv(_Conv):
    """What the transposed ones share."""

    _arguments = staticmethod(transposed_arguments)
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: Any = "zeros",
        device: Any = None,
        dtype: Any = None,
        weight_qparams: dict[str, Any] | None = None,
    ) -> None:
        geometry = (kernel_size, stride, padding, output_padding, groups, bias, dilation)
        super().__init__(in_channels, out_channels, *geometry, padding_mode, device, dtype)
        self._init_weight_qparams(weight_qparams, device)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Shape ``(N, in_channels, S)`` to ``(N, out_channels, S')``, float32."""
        layer: Any = self
        sizes = layer.stride, layer.padding, layer.kernel_size
        axes, dilation = len(layer.stride), layer.dilation
        padding = layer._output_padding(x, output_size, *sizes, axes, dilation)
        geometry = (layer.stride, layer.padding, padding, layer.groups, dilation)
        return type(self)._function(x, self.get_weight(), layer.bias, *geometry)


class Conv1d(_PlainConv, nn.Conv1d):
    """A one-dimensional float convolution on its quantized-dequantized weight.

    Args:
        in_channels … dtype: as in :class:`torch.nn.Conv1d`.
        weight_qparams: how to quantize the weight; see :class:`ReferenceModule`.
    """


class Conv2d(_PlainConv, nn.Conv2d):
    """A two-dimensional float convolution on its quantized-dequantized weight.

    Args:
        in_channels … dtype: as in :class:`torch.nn.Conv2d`.
        weight_qparams: how to quantize the weight; see :class:`ReferenceModule`.
    """


class Conv3d(_PlainConv, nn.Conv3d):
    """A three-dimensional float convolution on its quantized-dequantized weight.

    Args:
        in_channels … dtype: as in :class:`torch.nn.Conv3d`.
        weight_qparams: how to quantize the weight; see :class:`ReferenceModule`.
    """


class ConvTranspose1d(_TransposedConv, nn.ConvTranspose1d):
    """A one-dimensional transposed float convolution on its quantized-dequantized weight.

    Args:
        in_channels … dtype: as in :class:`torch.nn.ConvTranspose1d`.
        weight_qparams: how to quantize the weight; see :class:`ReferenceModule`.
    """

    _function = F.conv_transpose1d


class ConvTranspose2d(_TransposedConv, nn.ConvTranspose2d):
    """A two-dimensional transposed float convolution on its quantized-dequantized weight.

    Args:
        in_channels … dtype: as in :class:`torch.nn.ConvTranspose2d`.
        weight_qparams: how to quantize the weight; see :class:`ReferenceModule`.
    """

    _function = F.conv_transpose2d


class ConvTranspose3d(_TransposedConv, nn.ConvTranspose3d):
    """A three-dimensional transposed float convolution on its quantized-dequantized weight.

    Args:
        in_channels … dtype: as in :class:`torch.nn.ConvTranspose3d`.
        weight_qparams: how to quantize the weight; see :class:`ReferenceModule`.
    """

    _function = F.conv_transpose3d
