"""Fused modules for quantization-aware training."""

from . import qat as qat
