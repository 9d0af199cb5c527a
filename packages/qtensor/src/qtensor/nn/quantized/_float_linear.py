"""What linear layers with int8 weights and float activations share."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..._dtypes import QDType, as_qdtype, qint8
from ..._qtensor import QTensor
from ._base import WeightModule, unfused


class FloatLinear(WeightModule):
    """A linear layer with an int8 weight that takes and gives float32."""

    _name: ClassVar[str]
    activation_min: float | None = None
    activation_max: float | None = None
    activation: str = ""  # as in torch.ops.qtensor.linear_dynamic
    negative_slope: float = 0.01

    def __init__(
        self, in_features: int, out_features: int, bias_: bool = True, dtype: QDType = qint8
    ) -> None:
        super().__init__()
        if as_qdtype(dtype) is not qint8:
            raise ValueError(f"{self._name} has weights of {qint8}, got dtype={dtype}")
        self.in_features = in_features
        self.out_features = out_features
        self._init_weight((out_features, in_features), bias_)

    def _checked(self, x: Tensor) -> Tensor:
        if isinstance(x, QTensor) or x.dtype != torch.float32:
            given = f"a QTensor of {x.qdtype}" if isinstance(x, QTensor) else f"{x.dtype}"
            raise TypeError(f"{self._name} expects a float32 tensor, got {given}")
        return x

    def _finish_arguments(self) -> tuple[Any, ...]:
        return self.activation_min, self.activation_max, self.activation, self.negative_slope

    @classmethod
    def from_reference(cls, ref_qlinear: nn.Module) -> Self:
        """From a reference layer (or a fused container of one): has ``get_quantized_weight()``."""
        return cls._made(ref_qlinear, unfused(ref_qlinear).get_quantized_weight())

    @classmethod
    def _made(cls, mod: nn.Module, qweight: QTensor) -> Self:
        made = cls._shaped_like(mod)
        made.set_weight_bias(qweight, unfused(mod).bias)
        return made.train(mod.training)

    @classmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        """A new layer with the sizes of ``mod``, a linear layer or a fused container of one."""
        inner = unfused(mod)
        return cls(inner.in_features, inner.out_features, inner.bias is not None)

    def _get_name(self) -> str:
        return self._name

    def extra_repr(self) -> str:
        """Sizes, dtype and the weight's scheme."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, dtype={qint8}, "
            f"qscheme={self.weight().qscheme()}"
        )
