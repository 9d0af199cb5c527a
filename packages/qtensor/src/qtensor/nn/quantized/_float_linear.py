"""What linear layers with int8 weights and float activations share."""

from typing import Self

from torch import nn

from ..._dtypes import QDType, as_qdtype, qint8
from ._base import unfused
from ._float_layer import FloatLayer


class FloatLinear(FloatLayer):
    """A linear layer with an int8 weight that takes and gives float32."""

    def __init__(
        self, in_features: int, out_features: int, bias_: bool = True, dtype: QDType = qint8
    ) -> None:
        super().__init__()
        if as_qdtype(dtype) is not qint8:
            raise ValueError(f"{self._name} has weights of {qint8}, got dtype={dtype}")
        self.in_features = in_features
        self.out_features = out_features
        self._init_weight((out_features, in_features), bias_)

    @classmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        """A new layer with the sizes of ``mod``, a linear layer or a fused container of one."""
        inner = unfused(mod)
        return cls(inner.in_features, inner.out_features, inner.bias is not None)

    def extra_repr(self) -> str:
        """Sizes, dtype and the weight's scheme."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, dtype={qint8}, "
            f"qscheme={self.weight().qscheme()}"
        )
