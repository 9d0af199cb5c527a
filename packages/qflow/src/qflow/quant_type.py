"""The ways an operator can be quantized."""

from qgraph import QuantType

__all__ = ["QuantType"]
