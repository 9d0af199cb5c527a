"""Modules with int8 weights that take and give float tensors."""

from ._linear import Linear as Linear
