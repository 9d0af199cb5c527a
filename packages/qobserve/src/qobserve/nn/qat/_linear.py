"""The linear layer for quantization-aware training."""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ._base import QATModule


class Linear(QATModule, nn.Linear):
    """A linear layer that trains with its weight fake-quantized.

    Args:
        in_features, out_features, bias, device, dtype: as in :class:`torch.nn.Linear`.
        qconfig: its ``weight()`` makes the fake-quantize module of the weight.

    Attributes:
        weight_fake_quant: that module.

    Shape:
        Input ``(..., in_features)``, output ``(..., out_features)``.

    Raises:
        ValueError: no ``qconfig``.

    Example:
        >>> import torch
        >>> from qobserve import default_qat_qconfig
        >>> from qobserve.nn import qat
        >>> qat.Linear(4, 2, qconfig=default_qat_qconfig)(torch.ones(3, 4)).shape
        torch.Size([3, 2])
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nn.Linear
    _FLOAT_LAYER = nn.Linear
    _HYPERPARAMETERS = ("in_features", "out_features")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        qconfig: Any = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
        self._fake_quantize_weight(qconfig)

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(..., in_features)`` to ``(..., out_features)``."""
        return F.linear(x, self._quantized_weight(), self.bias)
