"""Operators that work on integers and keep the parameters: pooling, and what moves values."""

import operator
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from qgraph import BackendPatternConfig

from .. import _calls as calls
from ._rows import sharing


def pooling() -> Iterator[BackendPatternConfig]:
    """Maxima and means of images."""
    yield sharing(nn.MaxPool2d, F.max_pool2d, torch.max_pool2d).set_refusal(calls.max_pool_refusal)
    yield sharing(nn.AvgPool2d, F.avg_pool2d)
    yield sharing(nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d)


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
    yield sharing(nn.Identity)
    yield sharing(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, F.dropout).set_refusal(
        calls.dropout_refusal
    )
    yield sharing(torch.cat, torch.concat, torch.concatenate).set_refusal(calls.cat_refusal)
    yield sharing(torch.stack).set_refusal(calls.cat_refusal)
