"""Modules for quantization-aware training."""

from . import intrinsic as intrinsic
from . import qat as qat
