"""Quantized tensors, their operators, and exact int8 CPU kernels."""
