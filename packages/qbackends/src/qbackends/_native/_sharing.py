"""Operators that work on integers and keep the parameters: pooling, and what moves values."""

import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from qgraph import BackendPatternConfig
from qtensor.nn import quantized as nnq

from .. import _calls as calls
from ._rows import sharing

_PADS = tuple(
    getattr(nn, f"{mode}Pad{dims}d")
    for mode in ("Zero", "Constant", "Reflection", "Replication", "Circular")
    for dims in (1, 2, 3)
)


def pooling() -> Iterator[BackendPatternConfig]:
    """Maxima and means of images."""
    for dims in (1, 2, 3):
        largest = _pool(f"MaxPool{dims}d", f"max_pool{dims}d", getattr(torch, f"max_pool{dims}d"))
        yield largest.set_refusal(calls.max_pool_refusal)
        yield sharing(
            getattr(nn, f"AdaptiveMaxPool{dims}d"), getattr(F, f"adaptive_max_pool{dims}d")
        ).set_refusal(calls.max_pool_refusal)
        yield _pool(f"AvgPool{dims}d", f"avg_pool{dims}d")
        yield _pool(f"AdaptiveAvgPool{dims}d", f"adaptive_avg_pool{dims}d")
    yield sharing(torch.mean, "mean").set_refusal(calls.mean_refusal)
    yield sharing(
        nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, F.interpolate
    ).set_refusal(calls.interpolate_refusal)


def _pool(name: str, function: str, *spellings: Any) -> BackendPatternConfig:
    """A module that qtensor has too: it reaches the kernel sooner than torch's does."""
    row = sharing(getattr(nn, name), getattr(F, function), *spellings)
    return row.set_quantized_module(getattr(nnq, name))


def moving_values() -> Iterator[BackendPatternConfig]:
    """Operators that only move values about."""
    yield sharing(nn.Flatten, torch.flatten, "flatten")
    yield sharing(nn.Unflatten, torch.unflatten, "unflatten")
    yield sharing(torch.reshape, "reshape", "view")
    yield sharing(torch.permute, "permute")
    yield sharing(torch.transpose, "transpose", torch.swapaxes, "swapaxes", "t", torch.t)
    yield sharing(torch.squeeze, "squeeze")
    yield sharing(torch.unsqueeze, "unsqueeze")
    yield sharing(torch.chunk, "chunk", torch.split, "split", torch.unbind, "unbind")
    yield sharing(operator.getitem)
    yield sharing("contiguous")
    yield sharing("repeat")
    yield sharing("expand")
    yield sharing(nn.PixelShuffle, F.pixel_shuffle, torch.pixel_shuffle)
    yield sharing(nn.PixelUnshuffle, F.pixel_unshuffle, torch.pixel_unshuffle)
    yield sharing(nn.ChannelShuffle, F.channel_shuffle, torch.channel_shuffle)
    yield sharing(*_PADS, F.pad)
    yield sharing(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, F.dropout).set_refusal(
        calls.dropout_refusal
    )
    yield (
        sharing(torch.cat, torch.concat, torch.concatenate)
        .set_refusal(calls.cat_refusal)
        .set_requantizing_function(calls.requantizing_cat)
    )
    yield (
        sharing(torch.stack)
        .set_refusal(calls.cat_refusal)
        .set_requantizing_function(calls.requantizing_stack)
    )
