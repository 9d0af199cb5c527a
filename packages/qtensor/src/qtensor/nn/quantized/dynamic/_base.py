"""What dynamically quantized layers share."""

from typing import Any, Self

import torch
from torch import nn

from .._layer import FloatLayer
from .._output import State


class DynamicLayer(FloatLayer):
    """A layer with an int8 weight that quantizes its float input on the fly.

    Whether it reduces the range of its activations is saved with the weight, as ``reduce_range``:
    loaded elsewhere, it computes the same.
    """

    reduce_range: bool

    def _quant_max(self, reduce_range: bool | None = None) -> int:
        reduced = self.reduce_range if reduce_range is None else reduce_range
        return 127 if reduced else 255

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """As :meth:`FloatLayer.from_float`; ``qconfig.activation()`` says, by its ``quant_min`` and
        ``quant_max``, whether to reduce the range."""
        made = super().from_float(mod, use_precomputed_fake_quant)
        made.reduce_range = _reduces_range(getattr(mod, "qconfig", None))
        return made

    @classmethod
    def from_reference(cls, reference: nn.Module, *, reduce_range: bool = False) -> Self:
        """From a reference layer (or a fused container of one): has ``get_quantized_weight()``."""
        made = super().from_reference(reference)
        made.reduce_range = reduce_range
        return made

    def _save_to_state_dict(self, destination: State, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "reduce_range"] = torch.tensor(self.reduce_range)

    def _load_from_state_dict(self, state_dict: State, prefix: str, *rest: Any) -> None:
        state_dict = dict(state_dict)
        self.reduce_range = bool(state_dict.pop(prefix + "reduce_range", self.reduce_range))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _reduces_range(qconfig: Any) -> bool:
    """Whether the activations of ``qconfig`` use at most 7 bits."""
    if qconfig is None or qconfig.activation is None:
        return False
    observer = qconfig.activation()
    low, high = getattr(observer, "quant_min", None), getattr(observer, "quant_max", None)
    return low is not None and high is not None and high - low <= 127
