"""Settings of the backends."""

from . import quantized as quantized
