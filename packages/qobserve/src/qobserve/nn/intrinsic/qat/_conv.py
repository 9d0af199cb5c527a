"""Fused convolutions for quantization-aware training, of one to three dimensions."""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

from qtensor.nn import intrinsic as nni

from ...qat import Conv1d, Conv2d, Conv3d
from ...qat._base import ThenReLU
from ...qat._conv import CONV_HYPERPARAMETERS, _Conv
from ._batch_norm import WithBatchNorm


class _ConvReLU(ThenReLU, _Conv):
    """A convolution and a ReLU that train with the weight fake-quantized.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
        padding_mode: as in the float convolution.
        qconfig: its ``weight()`` makes the fake-quantize module of the weight.

    Raises:
        ValueError: no ``qconfig``.
    """

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
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            qconfig,
        )


class _ConvBn(WithBatchNorm, _ConvNd):
    """A convolution and a batch norm that train with the folded weight fake-quantized.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
        padding_mode: as in the float convolution; by default there is no bias.
        eps, momentum: as in the batch norm.
        freeze_bn: begin with the batch norm frozen.
        qconfig: its ``weight()`` makes the fake-quantize module of the weight.

    Raises:
        ValueError: no ``qconfig``.
    """

    _HYPERPARAMETERS = CONV_HYPERPARAMETERS
    _fold = staticmethod(fuse_conv_bn_weights)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool | None = None,
        padding_mode: str = "zeros",
        eps: float = 1e-05,
        momentum: float | None = 0.1,
        freeze_bn: bool = False,
        qconfig: Any = None,
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
            bool(bias),
            padding_mode,
        )
        self._add_batch_norm(eps, momentum, freeze_bn, qconfig)

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._conv_forward(x, weight, None)


class ConvReLU1d(_ConvReLU, Conv1d):
    """A one-dimensional convolution and a ReLU; the weight trains fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE = _FLOAT_FUSED = nni.ConvReLU1d


class ConvReLU2d(_ConvReLU, Conv2d):
    """A two-dimensional convolution and a ReLU; the weight trains fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE = _FLOAT_FUSED = nni.ConvReLU2d


class ConvReLU3d(_ConvReLU, Conv3d):
    """A three-dimensional convolution and a ReLU; the weight trains fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE = _FLOAT_FUSED = nni.ConvReLU3d


class ConvBn1d(_ConvBn, nn.Conv1d):
    """A one-dimensional convolution and a batch norm; the folded weight trains fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nni.ConvBn1d
    _FLOAT_LAYER = nn.Conv1d
    _BATCH_NORM = nn.BatchNorm1d


class ConvBn2d(_ConvBn, nn.Conv2d):
    """A two-dimensional convolution and a batch norm; the folded weight trains fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nni.ConvBn2d
    _FLOAT_LAYER = nn.Conv2d
    _BATCH_NORM = nn.BatchNorm2d


class ConvBn3d(_ConvBn, nn.Conv3d):
    """A three-dimensional convolution and a batch norm; the folded weight trains fake-quantized.

    Arguments and errors are those of the base class.
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nni.ConvBn3d
    _FLOAT_LAYER = nn.Conv3d
    _BATCH_NORM = nn.BatchNorm3d


class ConvBnReLU1d(ThenReLU, ConvBn1d):
    """:class:`ConvBn1d` and a ReLU."""

    _FLOAT_MODULE = nni.ConvBnReLU1d
    _FLOAT_FUSED = nni.ConvReLU1d


class ConvBnReLU2d(ThenReLU, ConvBn2d):
    """:class:`ConvBn2d` and a ReLU."""

    _FLOAT_MODULE = nni.ConvBnReLU2d
    _FLOAT_FUSED = nni.ConvReLU2d


class ConvBnReLU3d(ThenReLU, ConvBn3d):
    """:class:`ConvBn3d` and a ReLU."""

    _FLOAT_MODULE = nni.ConvBnReLU3d
    _FLOAT_FUSED = nni.ConvReLU3d
