"""Tests of quantizing and dequantizing in the forms that functions and exported graphs have."""
