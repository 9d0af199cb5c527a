"""Quantized convolutions with what follows them fused into the kernel's last step."""

from ...._arguments import quantized
from ...._qtensor import QTensor
from ...quantized import Conv1d, Conv2d, Conv3d
from ._activations import Hardtanh


class ConvReLU1d(Conv1d):
    """:class:`qtensor.nn.quantized.Conv1d` followed by ReLU."""

    _name = "QuantizedConvReLU1d"
    activation_min = 0.0


class ConvReLU2d(Conv2d):
    """:class:`qtensor.nn.quantized.Conv2d` followed by ReLU."""

    _name = "QuantizedConvReLU2d"
    activation_min = 0.0


class ConvReLU3d(Conv3d):
    """:class:`qtensor.nn.quantized.Conv3d` followed by ReLU."""

    _name = "QuantizedConvReLU3d"
    activation_min = 0.0


class ConvHardtanh1d(Hardtanh, Conv1d):
    """:class:`qtensor.nn.quantized.Conv1d` followed by Hardtanh, of which ReLU6 is one."""

    _name = "QuantizedConvHardtanh1d"


class ConvHardtanh2d(Hardtanh, Conv2d):
    """:class:`qtensor.nn.quantized.Conv2d` followed by Hardtanh, of which ReLU6 is one."""

    _name = "QuantizedConvHardtanh2d"


class ConvHardtanh3d(Hardtanh, Conv3d):
    """:class:`qtensor.nn.quantized.Conv3d` followed by Hardtanh, of which ReLU6 is one."""

    _name = "QuantizedConvHardtanh3d"


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
