"""Fused linear layers for quantization-aware training."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_linear_bn_weights

from qtensor.nn import intrinsic as nni

from ...qat import Linear
from ...qat._base import ThenReLU
from ._batch_norm import WithBatchNorm


class LinearReLU(ThenReLU, Linear):
    """A linear layer and a ReLU that train with the weight fake-quantized.

    Args:
        in_features, out_features, bias: as in :class:`torch.nn.Linear`.
        qconfig: its ``weight()`` makes the fake-quantize module of the weight.

    Raises:
        ValueError: no ``qconfig``.
    """

    _FLOAT_MODULE = _FLOAT_FUSED = nni.LinearReLU

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, qconfig: Any = None
    ) -> None:
        super().__init__(in_features, out_features, bias, qconfig)


class LinearBn1d(WithBatchNorm, nn.Linear):
    """A linear layer and a batch norm that train with the folded weight fake-quantized.

    Args:
        in_features, out_features, bias: as in :class:`torch.nn.Linear`.
        eps, momentum: as in :class:`torch.nn.BatchNorm1d`.
        freeze_bn: begin with the batch norm frozen.
        qconfig: its ``weight()`` makes the fake-quantize module of the weight.

    Shape:
        Input ``(N, in_features)``, output ``(N, out_features)``.

    Raises:
        ValueError: no ``qconfig``.
    """

    _FLOAT_MODULE = nni.LinearBn1d
    _FLOAT_LAYER = nn.Linear
    _HYPERPARAMETERS = Linear._HYPERPARAMETERS
    _BATCH_NORM = nn.BatchNorm1d
    _fold = staticmethod(fuse_linear_bn_weights)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        eps: float = 1e-05,
        momentum: float | None = 0.1,
        freeze_bn: bool = False,
        qconfig: Any = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias)
        self._add_batch_norm(eps, momentum, freeze_bn, qconfig)

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight)
