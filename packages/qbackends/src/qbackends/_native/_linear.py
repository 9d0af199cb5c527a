"""Linear layers, alone and with what is fused to them; embeddings."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import nn

from qgraph import BackendPatternConfig, ObservationType
from qobserve.nn import qat as nnqat
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq

from .. import _calls as calls
from ._rows import TABLES, WEIGHT_ONLY
from ._weighted import Weighted


def linear() -> Iterator[BackendPatternConfig]:
    """``nn.Linear``; with a batch norm; with what may follow; with both."""
    # Of more dimensions, a batch norm would scale another one than the layer's outputs.
    layer = Weighted("Linear{}", nn.BatchNorm1d, {"": nni.LinearBn1d}, normalized_ranks=(2,))
    yield (
        layer.alone()
        .set_spellings(F.linear)
        .set_module_from_call(calls.linear_from_call)
        .add_dtype_config(WEIGHT_ONLY)
        .set_weight_only_module(nnq.weight_only.Linear)
        .set_dynamic_qat_module(nnqat.dynamic.Linear)
    )
    yield from layer.fused()


def embedding() -> Iterator[BackendPatternConfig]:
    """Tables, of which rows or bags of rows are read: the weight alone is quantized."""
    rows = (
        BackendPatternConfig(nn.Embedding)
        .set_spellings(F.embedding)
        .set_module_from_call(calls.embedding_from_call)
        .set_qat_module(nnqat.Embedding)
        .set_refusal(calls.embedding_refusal)
        .set_reference_quantized_module(nnq.reference.Embedding)
        .set_weight_only_module(nnq.Embedding)
    )
    bags = (
        BackendPatternConfig(nn.EmbeddingBag)
        .set_qat_module(nnqat.EmbeddingBag)
        .set_refusal(calls.embedding_refusal)
        .set_reference_quantized_module(nnq.reference.EmbeddingBag)
        .set_weight_only_module(nnq.EmbeddingBag)
    )
    for row in (rows, bags):
        row.set_observation_type(ObservationType.INPUT_OUTPUT_NOT_OBSERVED)
        yield row.set_dtype_configs(TABLES)
