"""Pooling modules for quantized tensors, which reach the kernel past torch's functions.

``torch.nn.functional`` asks several times whether an argument overrides it before it finds out; on
images of 56×56 pixels that takes as long as pooling them. On tensors that are not quantized these
modules do what torch's do.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from ..._pools import pooling
from ..._qtensor import QTensor

_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")


class _Pooling(nn.Module):
    """A pooling module of torch, for quantized tensors."""

    _function: ClassVar[str]  # its name in torch.nn.functional
    _arguments: ClassVar[tuple[str, ...]]  # of that function, and attributes of the module
    _pool: ClassVar[Callable[..., QTensor]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._pool = staticmethod(pooling(cls._function))

    def forward(self, input: Tensor) -> Any:
        """Images, with a batch or without; quantized ones keep their parameters."""
        if not isinstance(input, QTensor):
            return super().forward(input)
        attributes = self.__dict__
        return self._pool(input, *[attributes[name] for name in self._arguments])

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From the float module."""
        made = cls(**{name: getattr(mod, name) for name in cls._arguments})
        return made.train(mod.training)


class MaxPool1d(_Pooling, nn.MaxPool1d):
    """:class:`torch.nn.MaxPool1d`, with the same arguments."""

    _function, _arguments = "max_pool1d", _MAX


class MaxPool2d(_Pooling, nn.MaxPool2d):
    """:class:`torch.nn.MaxPool2d`, with the same arguments.

    Example:
        >>> import torch, qtensor
        >>> x = qtensor.quantize_per_tensor(torch.ones(1, 1, 4, 4), 0.5, 0, qtensor.quint8)
        >>> qtensor.nn.quantized.MaxPool2d(2)(x).dequantize()
        tensor([[[[1., 1.],
                  [1., 1.]]]])
    """

    _function, _arguments = "max_pool2d", _MAX


class MaxPool3d(_Pooling, nn.MaxPool3d):
    """:class:`torch.nn.MaxPool3d`, with the same arguments."""

    _function, _arguments = "max_pool3d", _MAX


class AvgPool1d(_Pooling, nn.AvgPool1d):
    """:class:`torch.nn.AvgPool1d`, with the same arguments."""

    _function, _arguments = "avg_pool1d", _AVG


class AvgPool2d(_Pooling, nn.AvgPool2d):
    """:class:`torch.nn.AvgPool2d`, with the same arguments."""

    _function, _arguments = "avg_pool2d", (*_AVG, "divisor_override")


class AvgPool3d(_Pooling, nn.AvgPool3d):
    """:class:`torch.nn.AvgPool3d`, with the same arguments."""

    _function, _arguments = "avg_pool3d", (*_AVG, "divisor_override")


class AdaptiveAvgPool1d(_Pooling, nn.AdaptiveAvgPool1d):
    """:class:`torch.nn.AdaptiveAvgPool1d`, with the same arguments."""

    _function, _arguments = "adaptive_avg_pool1d", ("output_size",)


class AdaptiveAvgPool2d(_Pooling, nn.AdaptiveAvgPool2d):
    """:class:`torch.nn.AdaptiveAvgPool2d`, with the same arguments."""

    _function, _arguments = "adaptive_avg_pool2d", ("output_size",)


class AdaptiveAvgPool3d(_Pooling, nn.AdaptiveAvgPool3d):
    """:class:`torch.nn.AdaptiveAvgPool3d`, with the same arguments."""

    _function, _arguments = "adaptive_avg_pool3d", ("output_size",)
