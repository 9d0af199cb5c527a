"""Operators of two tensors."""

import operator
from collections.abc import Iterator

import torch
from torch import nn

from qgraph import BackendPatternConfig

from .. import _calls as calls
from ._rows import ACTIVATIONS


def arithmetic() -> Iterator[BackendPatternConfig]:
    """Addition, multiplication and matrix products of two quantized tensors."""
    yield (
        BackendPatternConfig(operator.add)
        .set_spellings(torch.add, "add")
        .set_dtype_configs(ACTIVATIONS)
        .set_tensor_inputs(2)
        .set_refusal(calls.two_tensors_refusal)
        .set_quantized_function(calls.quantized_add)
    )
    yield (
        BackendPatternConfig((operator.add, nn.ReLU))
        .set_fused_function(calls.add_relu)
        .set_dtype_configs(ACTIVATIONS)
        .set_tensor_inputs(2)
        .set_quantized_function(calls.quantized_add_relu)
    )
    yield (
        BackendPatternConfig(operator.mul)
        .set_spellings(torch.mul, torch.multiply, "mul", "multiply")
        .set_dtype_configs(ACTIVATIONS)
        .set_tensor_inputs(2)
        .set_refusal(calls.two_tensors_refusal)
        .set_quantized_function(calls.quantized_mul)
    )
    yield (
        BackendPatternConfig((operator.mul, nn.ReLU))
        .set_fused_function(calls.mul_relu)
        .set_dtype_configs(ACTIVATIONS)
        .set_tensor_inputs(2)
        .set_quantized_function(calls.quantized_mul_relu)
    )
    yield (
        BackendPatternConfig(torch.matmul)
        .set_spellings(operator.matmul, torch.bmm, "matmul", "bmm")
        .set_dtype_configs(ACTIVATIONS)
        .set_tensor_inputs(2)
        .set_refusal(calls.two_tensors_refusal)
        .set_quantized_function(calls.quantized_matmul)
    )
