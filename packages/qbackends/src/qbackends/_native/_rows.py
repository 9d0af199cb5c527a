"""What the families of rows share: combinations of dtypes, and kinds of rows."""

from typing import Any

import torch
from torch import nn

from qgraph import BackendPatternConfig, DTypeConfig, ObservationType
from qtensor import qint8, quint4x2, quint8

from .. import _calls as calls
from .._fusers import folding_batch_norm

ACTIVATIONS = (DTypeConfig(quint8, quint8), DTypeConfig(qint8, qint8))
"""Any 8-bit activations: for operators without weights."""

STATIC = tuple(DTypeConfig(dtype, dtype, qint8, torch.float32) for dtype in (quint8, qint8))
"""8-bit activations and int8 weights."""

DYNAMIC = DTypeConfig(quint8, torch.float32, qint8, torch.float32, is_dynamic=True)
"""Float activations, quantized to 8 bits as they come, and int8 weights."""

WEIGHT_ONLY = DTypeConfig(torch.float32, torch.float32, qint8, torch.float32)
"""Float activations, which stay as they are, and int8 weights."""

TABLES = [DTypeConfig(torch.float32, torch.float32, dtype) for dtype in (quint8, quint4x2)]
"""Float activations, and tables of 8 or 4 bits."""


def folding(
    row: BackendPatternConfig,
    folded: type[nn.Module] | None = None,
    container: type[nn.Module] | None = None,
) -> BackendPatternConfig:
    """A sequence with a batch norm, which is folded; in training it stays, in a container.

    Args:
        row: with the pattern.
        folded: what the layer, with the batch norm folded in, and the rest become.
        container: what all of them become in quantization-aware training, if they are fused then.
    """
    row.set_fuser_method(folding_batch_norm(folded, container))
    if container is not None:
        row.set_fused_module(container).set_refusal(calls.unfolded_refusal)
    return row


def sharing(pattern: Any, *spellings: Any) -> BackendPatternConfig:
    """An operator that works on integers and keeps its input's parameters."""
    return (
        BackendPatternConfig(pattern)
        .set_spellings(*spellings)
        .set_observation_type(ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT)
        .set_dtype_configs(ACTIVATIONS)
    )
