"""Finds similar images with int8 layers, on ``qtensor`` alone."""

from ._index import Index as Index
from ._layers import quantize_layers as quantize_layers
