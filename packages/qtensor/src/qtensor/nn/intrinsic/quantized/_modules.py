"""Quantized layers with what follows them fused into the kernel's last step."""

from typing import Any, Self

from torch import nn

from ...._arguments import quantized
from ...._qtensor import QTensor
from ...quantized import Conv2d, Linear


class ConvReLU2d(Conv2d):
    """:class:`qtensor.nn.quantized.Conv2d` followed by ReLU."""

    _name = "QuantizedConvReLU2d"
    activation_min = 0.0


class LinearReLU(Linear):
    """:class:`qtensor.nn.quantized.Linear` followed by ReLU."""

    _name = "QuantizedLinearReLU"
    activation_min = 0.0


class _Hardtanh(nn.Module):
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


class ConvHardtanh2d(_Hardtanh, Conv2d):
    """:class:`qtensor.nn.quantized.Conv2d` followed by Hardtanh, of which ReLU6 is one."""

    _name = "QuantizedConvHardtanh2d"


class LinearHardtanh(_Hardtanh, Linear):
    """:class:`qtensor.nn.quantized.Linear` followed by Hardtanh, of which ReLU6 is one."""

    _name = "QuantizedLinearHardtanh"


class ConvAdd2d(Conv2d):
    """:class:`qtensor.nn.quantized.Conv2d` plus a second input, added before requantization."""

    _name = "QuantizedConvAdd2d"

    def forward(self, x: QTensor, extra_input: QTensor) -> QTensor:  # type: ignore[override]
        """``conv(x) + extra_input``; the latter has the output's shape and dtype."""
        residual = quantized(extra_input, self._name, "extra_input")
        return self._convolve(x, residual._data, residual._scale, residual._zero_point)


class ConvAddReLU2d(ConvAdd2d):
    """:class:`ConvAdd2d` followed by ReLU."""

    _name = "QuantizedConvAddReLU2d"
    activation_min = 0.0
