"""Quantized convolutions of one to three dimensions, plain and transposed."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from ..._kernels import PADDING_MODES
from ..._ops import conv
from ..._qtensor import QTensor
from ..._sizes import Ints, each
from ._from_float import unfused
from ._layer import QuantizedLayer
from ._weight import WeightModule


def plain_arguments(conv: Any) -> tuple[Any, ...]:
    """What :class:`torch.nn.Conv2d` and its like were made with, but for device and dtype."""
    sizes = conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding
    return *sizes, conv.dilation, conv.groups, conv.bias is not None, conv.padding_mode


def transposed_arguments(conv: Any) -> tuple[Any, ...]:
    """:func:`plain_arguments` of :class:`torch.nn.ConvTranspose2d`, in its order."""
    *sizes, dilation, groups, bias, mode = plain_arguments(conv)
    return *sizes, conv.output_padding, groups, bias, dilation, mode


class ConvLayer(WeightModule):
    """The sizes and the geometry of a convolution, whatever it computes on.

    Every subclass sets the number of spatial axes, and comes in through :class:`PlainConv` or
    :class:`TransposedConv`, which have torch's constructor arguments.
    """

    _name: ClassVar[str]
    _axes: ClassVar[int]
    _operator: ClassVar[Callable[..., Tensor]]
    transposed: ClassVar[bool] = False
    output_padding: tuple[int, ...]

    def _init_conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints,
        padding: Ints | str,
        dilation: Ints,
        groups: int,
        padding_mode: str,
    ) -> None:
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{self._name}: expected in_channels and out_channels divisible by groups, got "
                f"{in_channels}, {out_channels} and groups={groups}"
            )
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"{self._name}: expected padding_mode to be one of "
                f"{', '.join(PADDING_MODES)}, got {padding_mode!r}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = self._each(kernel_size)
        self.stride = self._each(stride)
        self.dilation = self._each(dilation)
        self.padding = self._padding(padding)
        self.output_padding = self._each(0)
        self.groups = groups
        self.padding_mode = padding_mode

    def _each(self, value: Ints) -> tuple[int, ...]:
        """One value for each axis."""
        return each(value, self._axes)

    def _padding(self, padding: Ints | str) -> tuple[int, ...]:
        if not isinstance(padding, str):
            return self._each(padding)
        if padding == "valid":
            return self._each(0)
        both = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        if padding != "same" or any(total % 2 for total in both):
            raise ValueError(
                f"{self._name}: expected numbers, 'valid', or 'same' with an odd kernel, got "
                f"padding={padding!r} for kernel_size={self.kernel_size}"
            )
        return tuple(total // 2 for total in both)

    @abstractmethod
    def _geometry(self) -> tuple[Any, ...]:
        """The arguments of the operator that tell it."""

    def _describe(self, more: str) -> str:
        """Sizes, ``more``, and the geometry where it is not the default."""
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}{more}",
        ]
        defaults = {
            "padding": self._each(0),
            "dilation": self._each(1),
            "output_padding": self._each(0),
            "groups": 1,
            "padding_mode": "zeros",
        }
        for name, default in defaults.items():
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        if self.float_bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class PlainConv(ConvLayer):
    """A convolution with the constructor arguments of :class:`torch.nn.Conv2d`."""

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
    ) -> None:
        super().__init__()
        sizes = (in_channels, out_channels, kernel_size)
        self._init_conv(*sizes, stride, padding, dilation, groups, padding_mode)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._init_weight(shape, bias, device)

    def _geometry(self) -> tuple[Any, ...]:
        return self.stride, self.padding, self.dilation, self.groups, self.padding_mode

    @classmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        return cls(*plain_arguments(unfused(mod)))


class TransposedConv(ConvLayer):
    """A convolution with the constructor arguments of :class:`torch.nn.ConvTranspose2d`."""

    _channel_axis = 1
    transposed = True

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
    ) -> None:
        super().__init__()
        sizes = (in_channels, out_channels, kernel_size)
        self._init_conv(*sizes, stride, padding, dilation, groups, padding_mode)
        if padding_mode != "zeros":
            raise ValueError(f"{self._name}: expected padding_mode 'zeros', got {padding_mode!r}")
        self.output_padding = self._each(output_padding)
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self._init_weight(shape, bias, device, out_channels)

    def _geometry(self) -> tuple[Any, ...]:
        return self.stride, self.padding, self.output_padding, self.groups, self.dilation

    @classmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        return cls(*transposed_arguments(unfused(mod)))


class _QuantizedConv(ConvLayer, QuantizedLayer):
    """A convolution on integers: int8 weights, 8-bit activations, exact sums."""

    def forward(self, input: QTensor) -> QTensor:
        """Shape ``(N, in_channels, S)`` to ``(N, out_channels, S')``, of the spatial axes S."""
        return self._compute(input, None, 1.0, 0)

    def extra_repr(self) -> str:
        """Sizes, geometry where it is not the default, and output parameters."""
        return self._describe(f", {super().extra_repr()}")


class Conv1d(PlainConv, _QuantizedConv):
    """A one-dimensional convolution on integers; all as in :class:`Conv2d` but for the shapes.

    Shape:
        Input ``(N, in_channels, L)``, output ``(N, out_channels, L')``, channels last in memory.
    """

    _name, _axes, _operator = "QuantizedConv1d", 1, conv.conv1d


class Conv2d(PlainConv, _QuantizedConv):
    """A convolution on integers: int8 weights, 8-bit activations, exact sums.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
        padding_mode, device: as in :class:`torch.nn.Conv2d`. Padding with ``"zeros"`` pads with
            the input's zero point.
        dtype: ignored; weights are int8.

    Shape:
        Input ``(N, in_channels, H, W)``, output ``(N, out_channels, H', W')`` in
        ``channels_last`` memory format, both quantized per tensor.

    Raises:
        TypeError: (forward) the input is not quantized per tensor.
        ValueError: channels are not divisible by groups, or the padding is not known; (forward)
            the input's shape does not fit.

    Example:
        >>> import torch, qtensor
        >>> layer = qtensor.nn.quantized.Conv2d(3, 8, 3, padding=1)
        >>> x = qtensor.quantize_per_tensor(torch.ones(1, 3, 5, 5), 0.1, 0, qtensor.quint8)
        >>> layer(x).shape
        torch.Size([1, 8, 5, 5])
    """

    _name, _axes, _operator = "QuantizedConv2d", 2, conv.conv2d


class Conv3d(PlainConv, _QuantizedConv):
    """A three-dimensional convolution on integers; all as in :class:`Conv2d` but for the shapes.

    Shape:
        Input ``(N, in_channels, D, H, W)``, output ``(N, out_channels, D', H', W')`` in
        ``channels_last_3d`` memory format.
    """

    _name, _axes, _operator = "QuantizedConv3d", 3, conv.conv3d


class ConvTranspose1d(TransposedConv, _QuantizedConv):
    """A one-dimensional transposed convolution on integers; see :class:`ConvTranspose2d`."""

    _name, _axes, _operator = "QuantizedConvTranspose1d", 1, conv.conv_transpose1d


class ConvTranspose2d(TransposedConv, _QuantizedConv):
    """A transposed convolution on integers: int8 weights, 8-bit activations, exact sums.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, output_padding, groups, bias,
        dilation, device: as in :class:`torch.nn.ConvTranspose2d`.
        padding_mode: ``"zeros"``.
        dtype: ignored; weights are int8.

    Its weight has the shape ``(in_channels, out_channels / groups, kh, kw)``; per channel it is
    quantized along axis 1, so that groups share their channels' parameters.

    Shape:
        Input ``(N, in_channels, H, W)``, output ``(N, out_channels, H', W')`` in
        ``channels_last`` memory format, both quantized per tensor.

    Raises:
        TypeError: (forward) the input is not quantized per tensor.
        ValueError: channels are not divisible by groups, or the padding is not of zeros; (forward)
            the input's shape does not fit.

    Example:
        >>> import torch, qtensor
        >>> layer = qtensor.nn.quantized.ConvTranspose2d(3, 8, 2, stride=2)
        >>> x = qtensor.quantize_per_tensor(torch.ones(1, 3, 5, 5), 0.1, 0, qtensor.quint8)
        >>> layer(x).shape
        torch.Size([1, 8, 10, 10])
    """

    _name, _axes, _operator = "QuantizedConvTranspose2d", 2, conv.conv_transpose2d


class ConvTranspose3d(TransposedConv, _QuantizedConv):
    """A three-dimensional transposed convolution on integers; see :class:`ConvTranspose2d`."""

    _name, _axes, _operator = "QuantizedConvTranspose3d", 3, conv.conv_transpose3d
