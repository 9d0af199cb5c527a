"""Activations: clamps, which share parameters, and functions with parameters of their own."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from qgraph import BackendPatternConfig
from qtensor.nn import quantized as nnq

from .. import _calls as calls
from .._elementwise import FUNCTIONS, Elementwise, Function
from ._rows import ACTIVATIONS, sharing


def activations() -> Iterator[BackendPatternConfig]:
    """The rows of all activations."""
    yield sharing(nn.ReLU, F.relu, torch.relu, "relu").set_module_from_call(calls.relu_from_call)
    yield sharing(nn.Hardtanh, F.hardtanh).set_module_from_call(calls.hardtanh_from_call)
    yield (
        sharing(nn.ReLU6, F.relu6)
        .set_module_from_call(calls.relu6_from_call)
        .set_fused_as(nn.Hardtanh)
    )
    clamps: dict[tuple[Any, ...], Callable[..., nn.Module]] = {
        (torch.clamp, torch.clip, "clamp", "clip"): calls.clamp_from_call,
        (torch.clamp_min, "clamp_min"): calls.clamp_min_from_call,
        (torch.clamp_max, "clamp_max"): calls.clamp_max_from_call,
    }
    for spellings, from_call in clamps.items():
        yield (
            sharing(*spellings)
            .set_refusal(calls.clamp_refusal)
            .set_module_from_call(from_call)
            .set_fused_as(nn.Hardtanh)
        )
    yield sharing(nn.Threshold, F.threshold)
    yield from map(_elementwise, FUNCTIONS)
    yield (
        BackendPatternConfig(nn.PReLU)
        .set_spellings(F.prelu, torch.prelu, "prelu")
        .set_module_from_call(calls.prelu_from_call)
        .set_dtype_configs(ACTIVATIONS)
        .set_quantized_module(nnq.PReLU)
    )
    # The range is legacy's too. Over very many classes without a favourite it is coarse: attention
    # to 128 keys lost 5 % to it where an observer lost 2, to 512 keys 19 % where that lost 1.
    yield (
        BackendPatternConfig(nn.Softmax)
        .set_spellings(F.softmax, torch.softmax, "softmax")
        .set_dtype_configs(ACTIVATIONS)
        .set_refusal(calls.softmax_refusal)
        .set_quantized_module(nnq.Softmax)
        .set_quantized_function(calls.quantized_softmax)
        .set_fixed_range(0.0, 1.0)
    )


def _elementwise(function: Function) -> BackendPatternConfig:
    row = (
        BackendPatternConfig(function.kind)
        .set_spellings(*function.spellings)
        .set_dtype_configs(ACTIVATIONS)
        .set_refusal(function.refusal)
        .set_quantized_function(function.quantized)
    )
    if function.has_module:
        row.set_module_from_call(function.from_call)
        row.set_quantized_module(function.quantized_module or Elementwise)
    if function.fixed is not None:
        row.set_fixed_range(*function.fixed)
    return row
