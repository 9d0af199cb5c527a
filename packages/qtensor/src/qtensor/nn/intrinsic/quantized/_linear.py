"""Quantized linear layers with what follows them fused into the kernel's last step."""

from typing import Self

from torch import nn

from ...._arguments import quantized
from ...._dtypes import QDType, qint8
from ...._qtensor import QTensor
from ...quantized import Linear
from ...quantized._base import unfused
from . import _activations


class LinearReLU(Linear):
    """:class:`qtensor.nn.quantized.Linear` followed by ReLU."""

    _name = "QuantizedLinearReLU"
    activation_min = 0.0


class LinearHardtanh(_activations.Hardtanh, Linear):
    """:class:`qtensor.nn.quantized.Linear` followed by Hardtanh, of which ReLU6 is one."""

    _name = "QuantizedLinearHardtanh"


class LinearLeakyReLU(_activations.LeakyReLU, Linear):
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
    def _shaped_like(cls, mod: nn.Module) -> Self:
        inner, leaky_relu = unfused(mod), mod[1]  # type: ignore[index]  # a fused container
        sizes = inner.in_features, inner.out_features
        return cls(*sizes, leaky_relu.negative_slope, inner.bias is not None)


class LinearTanh(Linear):
    """:class:`qtensor.nn.quantized.Linear` followed by Tanh."""

    _name = "QuantizedLinearTanh"
    activation = "tanh"


class LinearGELU(_activations.GELU, Linear):
    """:class:`qtensor.nn.quantized.Linear` followed by GELU; set ``approximate`` as there."""

    _name = "QuantizedLinearGELU"


class LinearAdd(Linear):
    """:class:`qtensor.nn.quantized.Linear` plus a second input, added before requantization."""

    _name = "QuantizedLinearAdd"

    def forward(self, x: QTensor, extra_input: QTensor) -> QTensor:  # type: ignore[override]
        """``linear(x) + extra_input``; the latter has the output's shape and dtype."""
        residual = quantized(extra_input, self._name, "extra_input")
        return self._multiply(x, residual._data, residual._scale, residual._zero_point)


class LinearAddReLU(LinearAdd):
    """:class:`LinearAdd` followed by ReLU."""

    _name = "QuantizedLinearAddReLU"
    activation_min = 0.0
