"""Pooling modules for quantized tensors, which reach the kernel past torch's functions.

``torch.nn.functional`` asks several times whether an argument overrides it before it finds out; on
images of 56×56 pixels that takes as long as pooling them. On tensors that are not quantized these
modules do what torch's do.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from ..._arguments import tensor
from ..._pools import pooling
from ..._qtensor import QTensor


class _Pooling(nn.Module):
    """A pooling module of torch, for quantized tensors."""

    _pool: ClassVar[Callable[..., QTensor]]
    _arguments: ClassVar[tuple[str, ...]]  # of the constructor, and attributes

    def __init_subclass__(cls, function: str = "") -> None:
        super().__init_subclass__()
        if function:
            cls._pool = staticmethod(pooling(function))

    def forward(self, input: Tensor) -> Any:
        """Images, with a batch or without; quantized ones keep their parameters."""
        if isinstance(input, QTensor):
            return self._pooled(input)
        return super().forward(tensor(input, type(self).__name__))

    @abstractmethod
    def _pooled(self, input: QTensor) -> QTensor:
        """The attributes are named one by one: to collect them takes half a microsecond."""

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From the float module."""
        made = cls(**{name: getattr(mod, name) for name in cls._arguments})
        return made.train(mod.training)


class _MaxPool(_Pooling):
    _arguments = "kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any
    ceil_mode: bool
    return_indices: bool

    def _pooled(self, input: QTensor) -> QTensor:
        window = self.kernel_size, self.stride, self.padding, self.dilation
        return self._pool(input, *window, self.ceil_mode, self.return_indices)


class _AvgPool(_Pooling):
    _arguments: ClassVar[tuple[str, ...]] = (
        *("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
        "divisor_override",
    )
    kernel_size: Any
    stride: Any
    padding: Any
    ceil_mode: bool
    count_include_pad: bool
    divisor_override: int | None = None  # which AvgPool1d has not

    def _pooled(self, input: QTensor) -> QTensor:
        rule = self.ceil_mode, self.count_include_pad, self.divisor_override
        return self._pool(input, self.kernel_size, self.stride, self.padding, *rule)


class _AdaptiveAvgPool(_Pooling):
    _arguments = ("output_size",)
    output_size: Any

    def _pooled(self, input: QTensor) -> QTensor:
        return self._pool(input, self.output_size)


class MaxPool1d(_MaxPool, nn.MaxPool1d, function="max_pool1d"):
    """:class:`torch.nn.MaxPool1d`, with the same arguments."""


class MaxPool2d(_MaxPool, nn.MaxPool2d, function="max_pool2d"):
    """:class:`torch.nn.MaxPool2d`, with the same arguments.

    Example:
        >>> import torch, qtensor
        >>> x = qtensor.quantize_per_tensor(torch.ones(1, 1, 4, 4), 0.5, 0, qtensor.quint8)
        >>> qtensor.nn.quantized.MaxPool2d(2)(x).dequantize()
        tensor([[[[1., 1.],
                  [1., 1.]]]])
    """


class MaxPool3d(_MaxPool, nn.MaxPool3d, function="max_pool3d"):
    """:class:`torch.nn.MaxPool3d`, with the same arguments."""


class AvgPool1d(_AvgPool, nn.AvgPool1d, function="avg_pool1d"):
    """:class:`torch.nn.AvgPool1d`, with the same arguments."""

    _arguments = _AvgPool._arguments[:-1]


class AvgPool2d(_AvgPool, nn.AvgPool2d, function="avg_pool2d"):
    """:class:`torch.nn.AvgPool2d`, with the same arguments."""


class AvgPool3d(_AvgPool, nn.AvgPool3d, function="avg_pool3d"):
    """:class:`torch.nn.AvgPool3d`, with the same arguments."""


class AdaptiveAvgPool1d(_AdaptiveAvgPool, nn.AdaptiveAvgPool1d, function="adaptive_avg_pool1d"):
    """:class:`torch.nn.AdaptiveAvgPool1d`, with the same arguments."""


class AdaptiveAvgPool2d(_AdaptiveAvgPool, nn.AdaptiveAvgPool2d, function="adaptive_avg_pool2d"):
    """:class:`torch.nn.AdaptiveAvgPool2d`, with the same arguments."""


class AdaptiveAvgPool3d(_AdaptiveAvgPool, nn.AdaptiveAvgPool3d, function="adaptive_avg_pool3d"):
    """:class:`torch.nn.AdaptiveAvgPool3d`, with the same arguments."""
