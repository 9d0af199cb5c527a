"""Convolutions of one to three dimensions, plain and transposed; batch norms."""

import operator
from collections.abc import Iterator
from typing import Any

import torch.nn.functional as F
from torch import nn

from qgraph import BackendPatternConfig
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq

from .. import _calls as calls
from ._rows import ACTIVATIONS, DYNAMIC, STATIC, folding

Fused = tuple[tuple[Any, ...], type[nn.Module], type[nn.Module], type[nn.Module] | None]


def convolutions() -> Iterator[BackendPatternConfig]:
    """The rows of every dimension."""
    for dims in (1, 2, 3):
        yield from _plain(dims)
        yield from _transposed(dims)


def batch_norms() -> Iterator[BackendPatternConfig]:
    """Batch norms that no layer before them takes in."""
    for dims in (2, 3):
        batch_norm = getattr(nn, f"BatchNorm{dims}d")
        yield (
            BackendPatternConfig(batch_norm)
            .set_dtype_configs(ACTIVATIONS)
            .set_refusal(calls.batch_norm_refusal)
            .set_quantized_module(getattr(nnq, f"BatchNorm{dims}d"))
        )
        yield (
            BackendPatternConfig((batch_norm, nn.ReLU))
            .set_dtype_configs(ACTIVATIONS)
            .set_fused_module(getattr(nni, f"BNReLU{dims}d"))
            .set_quantized_module(getattr(nni.quantized, f"BNReLU{dims}d"))
        )


def _after(dims: int) -> Iterator[Fused]:
    """What may follow within one kernel: operators; the containers for them, in float and
    quantized; and in training, with a batch norm between."""
    named = f"{dims}d"
    relu = getattr(nni, f"ConvReLU{named}"), getattr(nni.quantized, f"ConvReLU{named}")
    yield (nn.ReLU,), *relu, getattr(nni, f"ConvBnReLU{named}")
    hardtanh = getattr(nni, f"ConvHardtanh{named}"), getattr(nni.quantized, f"ConvHardtanh{named}")
    yield (nn.ReLU6,), *hardtanh, None
    yield (nn.Hardtanh,), *hardtanh, None
    if dims == 2:
        yield (operator.add,), nni.ConvAdd2d, nni.quantized.ConvAdd2d, None
        yield (operator.add, nn.ReLU), nni.ConvAddReLU2d, nni.quantized.ConvAddReLU2d, None


def _plain(dims: int) -> Iterator[BackendPatternConfig]:
    conv, batch_norm = getattr(nn, f"Conv{dims}d"), getattr(nn, f"BatchNorm{dims}d")
    reference, quantized = getattr(nnq.reference, f"Conv{dims}d"), getattr(nnq, f"Conv{dims}d")
    dynamic = getattr(nnq.dynamic, f"Conv{dims}d")
    yield (
        BackendPatternConfig(conv)
        .set_spellings(getattr(F, f"conv{dims}d"))
        .set_dtype_configs([*STATIC, DYNAMIC])
        .set_module_from_call(calls.conv_from_call(conv))
        .set_refusal(calls.conv_refusal)
        .set_input_ranks(dims + 2)
        .set_reference_quantized_module(reference)
        .set_quantized_module(quantized)
        .set_dynamic_module(dynamic)
    )
    container = getattr(nni, f"ConvBn{dims}d")
    yield (
        folding(BackendPatternConfig((conv, batch_norm)), container=container)
        .set_dtype_configs([*STATIC, DYNAMIC])
        .set_reference_quantized_module(reference)
        .set_quantized_module(quantized)
        .set_dynamic_module(dynamic)
    )
    for after, fused, fused_quantized, container in _after(dims):
        yield (
            BackendPatternConfig((conv, *after))
            .set_fused_module(fused)
            .set_dtype_configs(STATIC)
            .set_refusal(calls.conv_refusal)
            .set_input_ranks(dims + 2)
            .set_reference_quantized_module(reference)
            .set_quantized_module(fused_quantized)
        )
        yield (
            folding(BackendPatternConfig((conv, batch_norm, *after)), fused, container)
            .set_dtype_configs(STATIC)
            .set_reference_quantized_module(reference)
            .set_quantized_module(fused_quantized)
        )


def _transposed(dims: int) -> Iterator[BackendPatternConfig]:
    name = f"ConvTranspose{dims}d"
    conv = getattr(nn, name)
    yield (
        BackendPatternConfig(conv)
        .set_spellings(getattr(F, f"conv_transpose{dims}d"))
        .set_dtype_configs([*STATIC, DYNAMIC])
        .set_module_from_call(calls.conv_transpose_from_call(conv))
        .set_refusal(calls.conv_transpose_refusal)
        .set_input_ranks(dims + 2)
        .set_weight_axis(1)
        .set_reference_quantized_module(getattr(nnq.reference, name))
        .set_quantized_module(getattr(nnq, name))
        .set_dynamic_module(getattr(nnq.dynamic, name))
    )
    yield (
        folding(BackendPatternConfig((conv, getattr(nn, f"BatchNorm{dims}d"))))
        .set_dtype_configs([*STATIC, DYNAMIC])
        .set_refusal(calls.conv_transpose_refusal)
    )
