"""Specification tests of linear and convolution, and of what they are made of."""
