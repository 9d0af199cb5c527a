"""Specification tests of fake quantization."""
