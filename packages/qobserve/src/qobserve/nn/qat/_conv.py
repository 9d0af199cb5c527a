"""Convolutions for quantization-aware training, of one to three dimensions."""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ._base import QATModule

CONV_HYPERPARAMETERS = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)


class _Conv(QATModule, _ConvNd):
    """A convolution that trains with its weight fake-quantized.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
        padding_mode, device, dtype: as in the float convolution.
        qconfig: its ``weight()`` makes the fake-quantize module of the weight.

    Attributes:
        weight_fake_quant: that module.

    Raises:
        ValueError: no ``qconfig``.
    """

    _HYPERPARAMETERS = CONV_HYPERPARAMETERS

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
        padding_mode: str = "zeros",
        qconfig: Any = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self._FLOAT_LAYER.__init__(
            self,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self._fake_quantize_weight(qconfig)

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(N, in_channels, …)`` to ``(N, out_channels, …)``."""
        return self._conv_forward(x, self._quantized_weight(), self.bias)


class Conv1d(_Conv, nn.Conv1d):
    """A one-dimensional convolution that trains with its weight fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nn.Conv1d
    _FLOAT_LAYER = nn.Conv1d


class Conv2d(_Conv, nn.Conv2d):
    """A two-dimensional convolution that trains with its weight fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nn.Conv2d
    _FLOAT_LAYER = nn.Conv2d


class Conv3d(_Conv, nn.Conv3d):
    """A three-dimensional convolution that trains with its weight fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nn.Conv3d
    _FLOAT_LAYER = nn.Conv3d
