"""Markers in a model of where floats become integers and back."""

from qobserve import DeQuantStub, QuantStub, QuantWrapper

__all__ = ["DeQuantStub", "QuantStub", "QuantWrapper"]
