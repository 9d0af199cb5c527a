"""The quantized two-dimensional convolution."""

from collections.abc import Sequence
from typing import Any, Self

from torch import nn
from torch.nn.modules.utils import _pair

from ..._arguments import quantized, requantization
from ..._ops.conv import conv2d
from ..._qparams import QParams
from ..._qtensor import QTensor
from ._base import QuantizedLayer, unfused

Ints = int | Sequence[int]
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Conv2d(QuantizedLayer):
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

    _name = "QuantizedConv2d"

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
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{self._name}: expected in_channels and out_channels divisible by groups, got "
                f"{in_channels}, {out_channels} and groups={groups}"
            )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"{self._name}: expected padding_mode to be one of "
                f"{', '.join(_PADDING_MODES)}, got {padding_mode!r}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.dilation = _pair(dilation)
        self.padding = self._padding(padding)
        self.groups = groups
        self.padding_mode = padding_mode
        self.output_qparams = QParams(1.0, 0)
        self._init_weight((out_channels, in_channels // groups, *self.kernel_size), bias, device)

    def _padding(self, padding: Ints | str) -> Any:
        if not isinstance(padding, str):
            return _pair(padding)
        if padding == "valid":
            return (0, 0)
        both = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        if padding != "same" or any(total % 2 for total in both):
            raise ValueError(
                f"{self._name}: expected numbers, 'valid', or 'same' with an odd kernel, got "
                f"padding={padding!r} for kernel_size={self.kernel_size}"
            )
        return tuple(total // 2 for total in both)

    def forward(self, x: QTensor) -> QTensor:
        """Shape ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``."""
        return self._convolve(x)

    def _convolve(self, x: QTensor, *residual: Any) -> QTensor:
        x, output = quantized(x, self._name), self.output_qparams
        result = conv2d(
            x._data,
            x._scale,
            x._zero_point,
            *self._weight_arguments(),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.padding_mode,
            *requantization(output),
            self.activation_min,
            self.activation_max,
            *residual,
            cache=self._packed,
        )
        return QTensor(result, output)

    @classmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        inner = unfused(mod)
        return cls(
            inner.in_channels,
            inner.out_channels,
            inner.kernel_size,
            inner.stride,
            inner.padding,
            inner.dilation,
            inner.groups,
            inner.bias is not None,
            inner.padding_mode,
        )

    def extra_repr(self) -> str:
        """Sizes, geometry where it is not the default, and output parameters."""
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}, {super().extra_repr()}",
        ]
        defaults = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        if self.float_bias is None:
            parts.append("bias=False")
        return ", ".join(parts)
