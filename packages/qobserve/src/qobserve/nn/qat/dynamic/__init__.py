"""Modules that train for quantization at run time."""

from ._linear import Linear as Linear
