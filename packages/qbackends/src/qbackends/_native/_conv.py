"""Convolutions of one to three dimensions, plain and transposed; batch norms."""

from collections.abc import Iterator
from functools import partial

import torch.nn.functional as F
from torch import nn

from qgraph import BackendPatternConfig
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq

from .. import _calls as calls
from ._rows import ACTIVATIONS
from ._weighted import Weighted


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


def _plain(dims: int) -> Iterator[BackendPatternConfig]:
    layer = Weighted(
        f"Conv{{}}{dims}d",
        getattr(nn, f"BatchNorm{dims}d"),
        {after: getattr(nni, f"ConvBn{after}{dims}d") for after in ("", "ReLU")},
        ranks=(dims + 2,),
        refuse=calls.conv_refusal,
    )
    yield (
        layer.alone()
        .set_spellings(getattr(F, f"conv{dims}d"))
        .set_module_from_call(partial(calls.conv_from_call, getattr(nn, f"Conv{dims}d")))
    )
    yield from layer.fused()


def _transposed(dims: int) -> Iterator[BackendPatternConfig]:
    layer = Weighted(
        f"ConvTranspose{{}}{dims}d",
        getattr(nn, f"BatchNorm{dims}d"),
        {},
        ranks=(dims + 2,),
        weight_axis=1,
    )
    from_call = partial(calls.conv_transpose_from_call, getattr(nn, f"ConvTranspose{dims}d"))
    yield (
        layer.alone()
        .set_spellings(getattr(F, f"conv_transpose{dims}d"))
        .set_module_from_call(from_call)
        .set_refusal(calls.conv_transpose_refusal)
    )
    yield from layer.fused()
