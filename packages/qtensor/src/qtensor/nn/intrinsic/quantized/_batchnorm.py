"""Quantized batch norms with a ReLU fused in."""

from ...quantized import BatchNorm2d, BatchNorm3d


class BNReLU2d(BatchNorm2d):
    """:class:`qtensor.nn.quantized.BatchNorm2d` followed by ReLU."""

    _name = "QuantizedBNReLU2d"
    activation_min = 0.0


class BNReLU3d(BatchNorm3d):
    """:class:`qtensor.nn.quantized.BatchNorm3d` followed by ReLU."""

    _name = "QuantizedBNReLU3d"
    activation_min = 0.0
