"""What is fused to a quantized layer, static or dynamic: classes to be mixed in.

Each is named after what follows, and fused layers are made of one of them and a layer.
"""

import math
from collections.abc import Iterator
from typing import Any, Self, TypeVar

from torch import nn

from ...._arguments import quantized
from ...._qtensor import QTensor
from .._fused import fused_name

Layer = TypeVar("Layer", bound=nn.Module)


class ReLU(nn.Module):
    """Nothing below zero."""

    activation_min = 0.0


class Hardtanh(nn.Module):
    """Takes the bounds from the fused container's Hardtanh; -1 and 1 by default, as there."""

    activation_min: float | None = -1.0
    activation_max: float | None = 1.0

    @classmethod
    def _shaped_like(cls, mod: Any) -> Self:
        made: Self = super()._shaped_like(mod)  # type: ignore[misc]  # the layer's, mixed in
        bounds = float(mod[1].min_val), float(mod[1].max_val)
        made.activation_min, made.activation_max = (b if math.isfinite(b) else None for b in bounds)
        return made

    def extra_repr(self) -> str:
        """The layer's, and the bounds."""
        bounds = f"min_val={self.activation_min}, max_val={self.activation_max}"
        return f"{super().extra_repr()}, {bounds}"


class LeakyReLU(nn.Module):
    """Takes the slope from the fused container's LeakyReLU."""

    activation = "leaky_relu"
    negative_slope: float = 0.01

    @classmethod
    def _shaped_like(cls, mod: Any) -> Self:
        made: Self = super()._shaped_like(mod)  # type: ignore[misc]  # the layer's, mixed in
        made.negative_slope = float(mod[1].negative_slope)
        return made

    def extra_repr(self) -> str:
        """The layer's, and the slope."""
        return f"{super().extra_repr()}, negative_slope={self.negative_slope}"


class Tanh(nn.Module):
    """Values within -1 and 1."""

    activation = "tanh"


class GELU(nn.Module):
    """Takes the approximation from the fused container's GELU."""

    activation = "gelu"

    @property
    def approximate(self) -> str:
        """``"none"`` or ``"tanh"``, as in :class:`torch.nn.GELU`."""
        return "tanh" if self.activation == "gelu_tanh" else "none"

    @approximate.setter
    def approximate(self, approximate: str) -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"expected approximate to be 'none' or 'tanh', got {approximate!r}")
        self.activation = "gelu_tanh" if approximate == "tanh" else "gelu"

    @classmethod
    def _shaped_like(cls, mod: Any) -> Self:
        made: Self = super()._shaped_like(mod)  # type: ignore[misc]  # the layer's, mixed in
        made.approximate = mod[1].approximate
        return made

    def extra_repr(self) -> str:
        """The layer's, and the approximation."""
        return f"{super().extra_repr()}, approximate={self.approximate!r}"


class Add(nn.Module):
    """Takes a second input, which is added before requantization."""

    def forward(self, input: QTensor, extra_input: QTensor) -> QTensor:
        """``layer(input) + extra_input``; the latter has the output's shape and dtype."""
        layer: Any = self
        residual = quantized(extra_input, layer._name, "extra_input")
        added = residual._data, residual._scale, residual._zero_point
        result: QTensor = layer._compute(input, *added)
        return result


class AddReLU(Add):
    """:class:`Add`, and nothing below zero."""

    activation_min = 0.0


ACTIVATIONS: tuple[type[nn.Module], ...] = (ReLU, Hardtanh, LeakyReLU, Tanh, GELU)
ADDITIONS: tuple[type[nn.Module], ...] = (Add, AddReLU)


def fused(
    layer: type[Layer], after: tuple[type[nn.Module], ...], package: str | None
) -> Iterator[type[Layer]]:
    """``layer`` with each of ``after`` fused to it, as classes of the module ``package``."""
    plain: Any = layer
    prefix = plain._name.removesuffix(layer.__name__)
    for kind in after:
        name = fused_name(layer.__name__, kind.__name__)
        doc = f"{plain._name} with {kind.__name__} fused to it: its arguments and attributes."
        members = {"__doc__": doc, "__module__": package, "_name": prefix + name}
        made: Any = type(name, (kind, layer), members)
        yield made
