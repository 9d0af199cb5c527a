"""What layers with int8 weights and float activations share."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from ..._qtensor import QTensor, described
from ._base import WeightedLayer, unfused


class FloatLayer(WeightedLayer):
    """A layer with an int8 weight that takes and gives float32."""

    def _checked(self, x: Tensor) -> Tensor:
        if isinstance(x, QTensor) or getattr(x, "dtype", None) != torch.float32:
            raise TypeError(f"{self._name} expects a float32 tensor, got {described(x)}")
        return x

    def _finish_arguments(self) -> tuple[Any, ...]:
        return self.activation_min, self.activation_max, self.activation, self.negative_slope

    @classmethod
    def from_reference(cls, reference: nn.Module) -> Self:
        """From a reference layer (or a fused container of one): has ``get_quantized_weight()``."""
        return cls._weighted(reference, unfused(reference).get_quantized_weight())
