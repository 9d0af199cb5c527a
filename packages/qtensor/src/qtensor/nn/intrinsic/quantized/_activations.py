"""What a fused layer has to know of its activation; mixed into static and dynamic ones."""

from typing import Any, Self

from torch import nn


class Hardtanh(nn.Module):
    """Takes the bounds from the fused container's Hardtanh; -1 and 1 by default, as there."""

    activation_min: float | None = -1.0
    activation_max: float | None = 1.0

    @classmethod
    def _shaped_like(cls, mod: Any) -> Self:
        made: Self = super()._shaped_like(mod)  # type: ignore[misc]  # the layer's, mixed in
        made.activation_min, made.activation_max = float(mod[1].min_val), float(mod[1].max_val)
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
