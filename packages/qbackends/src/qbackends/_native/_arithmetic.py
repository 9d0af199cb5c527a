"""Operators of two operands."""

import operator
from collections.abc import Iterator

import torch

from qgraph import BackendPatternConfig, ObservationType

from .. import _binary as binary
from .. import _calls as calls
from ._rows import ACTIVATIONS

_OWN = ObservationType.OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT


def arithmetic() -> Iterator[BackendPatternConfig]:
    """Sums, products and their like of tensors and numbers; matrix products."""
    for function in binary.BINARIES:
        counts = (1,) if function.of_tensors is None else (1, 2)
        row = (
            BackendPatternConfig(function.pattern)
            .set_spellings(*function.spellings)
            .set_dtype_configs(ACTIVATIONS)
            .set_num_tensor_args_to_observation_type(dict.fromkeys(counts, _OWN))
            .set_refusal(binary.refusal)
            .set_quantized_function(function.quantized)
        )
        if function.fused_function is not None:
            row.set_fused_function(function.fused_function)
        yield row
    yield (
        BackendPatternConfig(torch.matmul)
        .set_spellings(operator.matmul, torch.bmm, "matmul", "bmm")
        .set_dtype_configs(ACTIVATIONS)
        .set_num_tensor_args_to_observation_type({2: _OWN})
        .set_refusal(binary.refusal)
        .set_quantized_function(calls.quantized_matmul)
    )
