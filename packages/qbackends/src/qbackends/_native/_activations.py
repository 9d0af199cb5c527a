"""Activations: clamps, which share parameters, and functions with parameters of their own."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from qgraph import BackendPatternConfig

from .. import _calls as calls
from ._rows import sharing


def activations() -> Iterator[BackendPatternConfig]:
    """The rows of all activations."""
    yield sharing(nn.ReLU, F.relu, torch.relu, "relu").set_module_from_call(calls.relu_from_call)
    yield sharing(nn.ReLU6, F.relu6).set_module_from_call(calls.relu6_from_call)
    yield sharing(nn.Hardtanh, F.hardtanh).set_module_from_call(calls.hardtanh_from_call)
