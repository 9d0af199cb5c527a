"""How FX graph mode traces a model."""

from qgraph import QuantizationTracer

__all__ = ["QuantizationTracer"]
