"""Specification tests of the elementwise, pooling and embedding operators."""
