"""What layers with int8 weights and float activations share."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..._qtensor import QTensor
from ._base import WeightModule, unfused


class FloatLayer(WeightModule):
    """A layer with an int8 weight that takes and gives float32.

    Subclasses may fuse an activation: a function, and bounds on the output.
    """

    _name: ClassVar[str]
    activation_min: float | None = None
    activation_max: float | None = None
    activation: str = ""  # as in torch.ops.qtensor.linear_dynamic
    negative_slope: float = 0.01

    def _checked(self, x: Tensor) -> Tensor:
        if isinstance(x, QTensor) or x.dtype != torch.float32:
            given = f"a QTensor of {x.qdtype}" if isinstance(x, QTensor) else f"{x.dtype}"
            raise TypeError(f"{self._name} expects a float32 tensor, got {given}")
        return x

    def _finish_arguments(self) -> tuple[Any, ...]:
        return self.activation_min, self.activation_max, self.activation, self.negative_slope

    @classmethod
    def from_reference(cls, reference: nn.Module) -> Self:
        """From a reference layer (or a fused container of one): has ``get_quantized_weight()``."""
        return cls._made(reference, unfused(reference).get_quantized_weight())

    @classmethod
    def _made(cls, mod: nn.Module, qweight: QTensor) -> Self:
        made = cls._shaped_like(mod)
        made.set_weight_bias(qweight, unfused(mod).bias)
        return made.train(mod.training)

    @classmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        """A new layer with the sizes of ``mod``, a layer or a fused container of one."""
        raise NotImplementedError

    def _get_name(self) -> str:
        return self._name
