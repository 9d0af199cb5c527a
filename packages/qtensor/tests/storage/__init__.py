"""Tests of how quantized tensors are stored: dtypes, packing, saving, sharing."""
