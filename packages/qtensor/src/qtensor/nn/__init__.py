"""Quantized modules, under the names they have always had."""

from . import intrinsic as intrinsic
from . import quantized as quantized
