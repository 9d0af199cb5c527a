"""Dropout in quantized models, where nothing is dropped."""

from typing import Self

from torch import Tensor, nn


class Dropout(nn.Dropout):
    """The identity: a quantized model is not trained.

    Args:
        p, inplace: as in :class:`torch.nn.Dropout`, and without effect.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.5, 0, qtensor.quint8)
        >>> qtensor.nn.quantized.Dropout(0.5)(q) is q
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any tensor, which is returned."""
        return input

    def _get_name(self) -> str:
        return "QuantizedDropout"

    @classmethod
    def from_float(cls, mod: nn.Dropout, use_precomputed_fake_quant: bool = False) -> Self:
        """From the float module."""
        return cls(mod.p, mod.inplace)

    @classmethod
    def from_reference(cls, mod: nn.Dropout, scale: float, zero_point: int) -> Self:
        """From the float module; the parameters are not needed."""
        return cls(mod.p, mod.inplace)
