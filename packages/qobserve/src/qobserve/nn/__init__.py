"""Modules for quantization-aware training, and modules taken apart to be observed."""

from . import intrinsic as intrinsic
from . import qat as qat
from . import quantizable as quantizable
