"""Fake quantization whose scale and zero point are trained."""

from qobserve import _LearnableFakeQuantize

__all__ = ["_LearnableFakeQuantize"]
