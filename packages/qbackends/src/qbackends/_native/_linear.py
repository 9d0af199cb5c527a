"""Linear layers, alone and with what is fused to them; embeddings."""

import operator
from collections.abc import Iterator

import torch.nn.functional as F
from torch import nn

from qgraph import BackendPatternConfig, ObservationType
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq

from .. import _calls as calls
from ._rows import DYNAMIC, EMBEDDING, STATIC, folding

# What may follow a linear layer within one kernel: operators, and the containers for them, in
# float, static and dynamic.
_AFTER = (
    ((nn.ReLU,), nni.LinearReLU, nni.quantized.LinearReLU, nni.quantized.dynamic.LinearReLU),
    (
        (nn.ReLU6,),
        nni.LinearHardtanh,
        nni.quantized.LinearHardtanh,
        nni.quantized.dynamic.LinearHardtanh,
    ),
    (
        (nn.Hardtanh,),
        nni.LinearHardtanh,
        nni.quantized.LinearHardtanh,
        nni.quantized.dynamic.LinearHardtanh,
    ),
    (
        (nn.LeakyReLU,),
        nni.LinearLeakyReLU,
        nni.quantized.LinearLeakyReLU,
        nni.quantized.dynamic.LinearLeakyReLU,
    ),
    ((nn.Tanh,), nni.LinearTanh, nni.quantized.LinearTanh, nni.quantized.dynamic.LinearTanh),
    ((nn.GELU,), nni.LinearGELU, nni.quantized.LinearGELU, nni.quantized.dynamic.LinearGELU),
    ((operator.add,), nni.LinearAdd, nni.quantized.LinearAdd, None),
    ((operator.add, nn.ReLU), nni.LinearAddReLU, nni.quantized.LinearAddReLU, None),
)


def linear() -> Iterator[BackendPatternConfig]:
    """``nn.Linear``; with a batch norm; with what may follow; with both."""
    yield (
        BackendPatternConfig(nn.Linear)
        .set_spellings(F.linear)
        .set_dtype_configs([*STATIC, DYNAMIC])
        .set_module_from_call(calls.linear_from_call)
        .set_reference_quantized_module(nnq.reference.Linear)
        .set_quantized_module(nnq.Linear)
        .set_dynamic_module(nnq.dynamic.Linear)
    )
    yield (
        folding(BackendPatternConfig((nn.Linear, nn.BatchNorm1d)), container=nni.LinearBn1d)
        .set_dtype_configs(STATIC)
        .set_reference_quantized_module(nnq.reference.Linear)
        .set_quantized_module(nnq.Linear)
        # Of more dimensions, the batch norm would scale another one than the layer's outputs.
        .set_input_ranks(2)
    )
    for after, fused, quantized, dynamic in _AFTER:
        row = (
            BackendPatternConfig((nn.Linear, *after))
            .set_fused_module(fused)
            .set_dtype_configs([*STATIC, DYNAMIC] if dynamic else STATIC)
            .set_reference_quantized_module(nnq.reference.Linear)
            .set_quantized_module(quantized)
        )
        yield row if dynamic is None else row.set_dynamic_module(dynamic)
        yield (
            folding(BackendPatternConfig((nn.Linear, nn.BatchNorm1d, *after)), fused)
            .set_dtype_configs(row.dtype_configs)
            .set_input_ranks(2)
        )


def embedding() -> Iterator[BackendPatternConfig]:
    """``nn.Embedding``, whose weight alone is quantized."""
    yield (
        BackendPatternConfig(nn.Embedding)
        .set_spellings(F.embedding)
        .set_observation_type(ObservationType.INPUT_OUTPUT_NOT_OBSERVED)
        .set_dtype_configs([EMBEDDING])
        .set_module_from_call(calls.embedding_from_call)
        .set_refusal(calls.embedding_refusal)
        .set_reference_quantized_module(nnq.reference.Embedding)
        .set_weight_only_module(nnq.Embedding)
    )
