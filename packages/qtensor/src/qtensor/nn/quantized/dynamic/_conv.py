"""Dynamically quantized convolutions of one to three dimensions, plain and transposed."""

from typing import Any

from torch import Tensor

from ...._ops import conv_dynamic as conv
from ...._sizes import Ints
from .._conv import ConvLayer, PlainConv, TransposedConv
from ._base import DynamicLayer


class _DynamicConv(ConvLayer, DynamicLayer):
    """A convolution with int8 weights; activations are quantized on the fly, per image.

    Set ``per_image = False`` for one scale for a batch.
    """

    per_image = True

    def forward(self, input: Tensor, reduce_range: bool | None = None) -> Tensor:
        """Shape ``(N, in_channels, S)`` to ``(N, out_channels, S')``, float32.

        ``reduce_range`` is the layer's own by default.
        """
        return type(self)._operator(
            self._checked(input),
            *self._weight_arguments(),
            *self._geometry(),
            self._quant_max(reduce_range),
            self.per_image,
            *self._finish_arguments(),
            cache=self._packed,
        )

    def extra_repr(self) -> str:
        """Sizes, and the geometry where it is not the default."""
        more = ", reduce_range=True" if self.reduce_range else ""
        return self._describe(more + ("" if self.per_image else ", per_image=False"))


class _Plain(PlainConv, _DynamicConv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints | str = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        reduce_range: bool = True,
    ) -> None:
        geometry = (kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        super().__init__(in_channels, out_channels, *geometry, device, dtype)
        self.reduce_range = reduce_range


class _Transposed(TransposedConv, _DynamicConv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Ints = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        reduce_range: bool = True,
    ) -> None:
        geometry = (kernel_size, stride, padding, output_padding, groups, bias, dilation)
        super().__init__(in_channels, out_channels, *geometry, padding_mode, device, dtype)
        self.reduce_range = reduce_range


class Conv1d(_Plain):
    """A one-dimensional convolution with int8 weights; see :class:`Conv2d`."""

    _name, _axes, _operator = "DynamicQuantizedConv1d", 1, conv.conv1d_dynamic


class Conv2d(_Plain):
    """A convolution with int8 weights; activations are quantized on the fly, per image.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
        padding_mode, device: as in :class:`torch.nn.Conv2d`.
        dtype: ignored; weights are int8.
        reduce_range: quantize activations to 0 … 127, as torch did by default, instead of
            0 … 255: a little less accurate, faster on CPUs without VNNI. Layers made by
            ``from_float`` do what the ``qconfig`` says.

    Attributes:
        per_image: a scale for each image, the default, instead of one for the batch.

    Shape:
        Input ``(N, in_channels, H, W)``, output ``(N, out_channels, H', W')``, both float32.

    Raises:
        TypeError: (forward) the input is not a float32 tensor.
        ValueError: channels are not divisible by groups, or the padding is not known; (forward)
            the input's shape does not fit.

    Example:
        >>> import torch, qtensor
        >>> qtensor.nn.quantized.dynamic.Conv2d(3, 8, 3)(torch.ones(1, 3, 5, 5)).shape
        torch.Size([1, 8, 3, 3])
    """

    _name, _axes, _operator = "DynamicQuantizedConv2d", 2, conv.conv2d_dynamic


class Conv3d(_Plain):
    """A three-dimensional convolution with int8 weights; see :class:`Conv2d`."""

    _name, _axes, _operator = "DynamicQuantizedConv3d", 3, conv.conv3d_dynamic


class ConvTranspose1d(_Transposed):
    """A one-dimensional transposed convolution with int8 weights; see :class:`Conv2d`."""

    _name, _axes, _operator = "DynamicQuantizedConvTranspose1d", 1, conv.conv_transpose1d_dynamic


class ConvTranspose2d(_Transposed):
    """A transposed convolution with int8 weights; see :class:`Conv2d`."""

    _name, _axes, _operator = "DynamicQuantizedConvTranspose2d", 2, conv.conv_transpose2d_dynamic


class ConvTranspose3d(_Transposed):
    """A three-dimensional transposed convolution with int8 weights; see :class:`Conv2d`."""

    _name, _axes, _operator = "DynamicQuantizedConvTranspose3d", 3, conv.conv_transpose3d_dynamic
