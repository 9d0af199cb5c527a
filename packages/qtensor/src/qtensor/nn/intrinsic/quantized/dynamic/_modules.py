"""Dynamically quantized layers with an activation fused in."""

from ....quantized.dynamic import Linear


class LinearReLU(Linear):
    """:class:`qtensor.nn.quantized.dynamic.Linear` followed by ReLU."""

    _name = "DynamicQuantizedLinearReLU"
    activation_min = 0.0
