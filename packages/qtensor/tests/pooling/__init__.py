"""Specification tests of pooling, means and interpolation."""
