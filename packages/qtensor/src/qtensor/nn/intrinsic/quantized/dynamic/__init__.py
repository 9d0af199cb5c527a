"""Dynamically quantized layers with an activation fused in."""

from ._modules import LinearReLU as LinearReLU
