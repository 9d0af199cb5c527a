"""Quantized linear layers with what follows them fused into the kernel's last step."""

from typing import Any, Self

from ...._dtypes import QDType, qint8
from ... import quantized as nnq
from ...quantized._from_float import unfused
from . import _fused


class Linear(nnq.Linear):
    """:class:`qtensor.nn.quantized.Linear`, whose fused forms have always called it ``bias``."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: QDType = qint8
    ) -> None:
        super().__init__(in_features, out_features, bias, dtype)


LinearReLU, LinearHardtanh, LinearTanh, LinearGELU = _fused.fused(
    Linear, (_fused.ReLU, _fused.Hardtanh, _fused.Tanh, _fused.GELU), __package__
)
LinearAdd, LinearAddReLU = _fused.fused(Linear, _fused.ADDITIONS, __package__)


class LinearLeakyReLU(_fused.LeakyReLU, Linear):
    """:class:`qtensor.nn.quantized.Linear` followed by LeakyReLU.

    Args:
        in_features, out_features: the sizes of the last dimension of input and output.
        negative_slope: of the LeakyReLU.
        bias: whether there is a bias.
        dtype: the weight's dtype, ``qtensor.qint8``.
    """

    _name = "QuantizedLinearLeakyReLU"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        negative_slope: float,
        bias: bool = True,
        dtype: QDType = qint8,
    ) -> None:
        super().__init__(in_features, out_features, bias, dtype)
        self.negative_slope = float(negative_slope)

    @classmethod
    def _shaped_like(cls, mod: Any) -> Self:
        inner, leaky_relu = unfused(mod), mod[1]
        sizes = inner.in_features, inner.out_features
        return cls(*sizes, leaky_relu.negative_slope, inner.bias is not None)
