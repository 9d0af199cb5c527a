"""Dynamically quantized layers with an activation fused in."""

from ....quantized.dynamic import Linear
from .. import _activations


class LinearReLU(Linear):
    """:class:`qtensor.nn.quantized.dynamic.Linear` followed by ReLU."""

    _name = "DynamicQuantizedLinearReLU"
    activation_min = 0.0


class LinearHardtanh(_activations.Hardtanh, Linear):
    """:class:`qtensor.nn.quantized.dynamic.Linear` followed by Hardtanh, of which ReLU6 is one."""

    _name = "DynamicQuantizedLinearHardtanh"


class LinearLeakyReLU(_activations.LeakyReLU, Linear):
    """:class:`qtensor.nn.quantized.dynamic.Linear` followed by LeakyReLU."""

    _name = "DynamicQuantizedLinearLeakyReLU"


class LinearTanh(Linear):
    """:class:`qtensor.nn.quantized.dynamic.Linear` followed by Tanh."""

    _name = "DynamicQuantizedLinearTanh"
    activation = "tanh"


class LinearGELU(_activations.GELU, Linear):
    """:class:`qtensor.nn.quantized.dynamic.Linear` followed by GELU."""

    _name = "DynamicQuantizedLinearGELU"
