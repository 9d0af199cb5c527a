"""The native table: what qtensor's kernels compute, one row per operator.

Everything there is to say about an operator stands in its row, and nowhere else. Eager's module
mappings, the graph passes, the support matrix and the other backends all derive from here.
"""

import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from qgraph import BackendConfig, BackendPatternConfig, DTypeConfig, ObservationType
from qobserve.nn import qat as nnqat
from qobserve.nn.intrinsic import qat as nniqat
from qtensor import qint8, quint8
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq

from . import _calls as calls
from ._fusers import folding_batch_norm

ACTIVATIONS = (DTypeConfig(quint8, quint8), DTypeConfig(qint8, qint8))
"""Any 8-bit activations: for operators without weights."""

STATIC = tuple(DTypeConfig(dtype, dtype, qint8, torch.float32) for dtype in (quint8, qint8))
"""8-bit activations and int8 weights."""

DYNAMIC = DTypeConfig(quint8, torch.float32, qint8, torch.float32, is_dynamic=True)
"""Float activations, quantized to 8 bits as they come, and int8 weights."""

EMBEDDING = DTypeConfig(torch.float32, torch.float32, quint8)
"""Float activations and 8-bit weights."""

# What may follow a layer within one kernel: an activation, and the containers for it.
_AFTER_LINEAR = (
    (nn.ReLU, nni.LinearReLU, nni.quantized.LinearReLU, nni.quantized.dynamic.LinearReLU),
    (nn.ReLU6, nni.LinearHardtanh, nni.quantized.LinearHardtanh, None),
    (nn.Hardtanh, nni.LinearHardtanh, nni.quantized.LinearHardtanh, None),
)
_AFTER_CONV2D = (
    ((nn.ReLU,), nni.ConvReLU2d, nni.quantized.ConvReLU2d, nni.ConvBnReLU2d),
    ((nn.ReLU6,), nni.ConvHardtanh2d, nni.quantized.ConvHardtanh2d, None),
    ((nn.Hardtanh,), nni.ConvHardtanh2d, nni.quantized.ConvHardtanh2d, None),
    ((operator.add,), nni.ConvAdd2d, nni.quantized.ConvAdd2d, None),
    ((operator.add, nn.ReLU), nni.ConvAddReLU2d, nni.quantized.ConvAddReLU2d, None),
)


# What stands in for a float module in quantization-aware training. A sequence without one is not
# fused then; its parts are trained, and computed, one by one.
_TRAINED: dict[Any, type[nn.Module]] = {
    nn.Linear: nnqat.Linear,
    nn.Conv1d: nnqat.Conv1d,
    nn.Conv2d: nnqat.Conv2d,
    nn.Conv3d: nnqat.Conv3d,
    nn.Embedding: nnqat.Embedding,
    nn.EmbeddingBag: nnqat.EmbeddingBag,
    nni.LinearReLU: nniqat.LinearReLU,
    nni.LinearBn1d: nniqat.LinearBn1d,
    nni.ConvReLU1d: nniqat.ConvReLU1d,
    nni.ConvReLU2d: nniqat.ConvReLU2d,
    nni.ConvReLU3d: nniqat.ConvReLU3d,
    nni.ConvBn1d: nniqat.ConvBn1d,
    nni.ConvBn2d: nniqat.ConvBn2d,
    nni.ConvBn3d: nniqat.ConvBn3d,
    nni.ConvBnReLU1d: nniqat.ConvBnReLU1d,
    nni.ConvBnReLU2d: nniqat.ConvBnReLU2d,
    nni.ConvBnReLU3d: nniqat.ConvBnReLU3d,
}


def _folding(
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


def _linear() -> Iterator[BackendPatternConfig]:
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
        _folding(BackendPatternConfig((nn.Linear, nn.BatchNorm1d)), container=nni.LinearBn1d)
        .set_dtype_configs(STATIC)
        .set_reference_quantized_module(nnq.reference.Linear)
        .set_quantized_module(nnq.Linear)
        # Of more dimensions, the batch norm would scale another one than the layer's outputs.
        .set_input_ranks(2)
    )
    for activation, fused, quantized, dynamic in _AFTER_LINEAR:
        row = (
            BackendPatternConfig((nn.Linear, activation))
            .set_fused_module(fused)
            .set_dtype_configs([*STATIC, DYNAMIC] if dynamic else STATIC)
            .set_reference_quantized_module(nnq.reference.Linear)
            .set_quantized_module(quantized)
        )
        yield row if dynamic is None else row.set_dynamic_module(dynamic)
        yield (
            _folding(BackendPatternConfig((nn.Linear, nn.BatchNorm1d, activation)), fused)
            .set_dtype_configs(row.dtype_configs)
            .set_input_ranks(2)
        )


def _conv2d() -> Iterator[BackendPatternConfig]:
    yield (
        BackendPatternConfig(nn.Conv2d)
        .set_spellings(F.conv2d)
        .set_dtype_configs(STATIC)
        .set_module_from_call(calls.conv2d_from_call)
        .set_refusal(calls.conv2d_refusal)
        .set_input_ranks(4)
        .set_reference_quantized_module(nnq.reference.Conv2d)
        .set_quantized_module(nnq.Conv2d)
    )
    yield (
        _folding(BackendPatternConfig((nn.Conv2d, nn.BatchNorm2d)), container=nni.ConvBn2d)
        .set_dtype_configs(STATIC)
        .set_reference_quantized_module(nnq.reference.Conv2d)
        .set_quantized_module(nnq.Conv2d)
    )
    for after, fused, quantized, container in _AFTER_CONV2D:
        yield (
            BackendPatternConfig((nn.Conv2d, *after))
            .set_fused_module(fused)
            .set_dtype_configs(STATIC)
            .set_input_ranks(4)
            .set_reference_quantized_module(nnq.reference.Conv2d)
            .set_quantized_module(quantized)
        )
        yield (
            _folding(BackendPatternConfig((nn.Conv2d, nn.BatchNorm2d, *after)), fused, container)
            .set_dtype_configs(STATIC)
            .set_reference_quantized_module(nnq.reference.Conv2d)
            .set_quantized_module(quantized)
        )


def _embedding() -> BackendPatternConfig:
    return (
        BackendPatternConfig(nn.Embedding)
        .set_spellings(F.embedding)
        .set_observation_type(ObservationType.INPUT_OUTPUT_NOT_OBSERVED)
        .set_dtype_configs([EMBEDDING])
        .set_module_from_call(calls.embedding_from_call)
        .set_refusal(calls.embedding_refusal)
        .set_reference_quantized_module(nnq.reference.Embedding)
        .set_weight_only_module(nnq.Embedding)
    )


def _add() -> Iterator[BackendPatternConfig]:
    yield (
        BackendPatternConfig(operator.add)
        .set_spellings(torch.add, "add")
        .set_dtype_configs(ACTIVATIONS)
        .set_tensor_inputs(2)
        .set_refusal(calls.add_refusal)
        .set_quantized_function(calls.quantized_add)
    )
    yield (
        BackendPatternConfig((operator.add, nn.ReLU))
        .set_fused_function(calls.add_relu)
        .set_dtype_configs(ACTIVATIONS)
        .set_tensor_inputs(2)
        .set_quantized_function(calls.quantized_add_relu)
    )


def _sharing(pattern: Any, *spellings: Any) -> BackendPatternConfig:
    """An operator that works on integers and keeps its input's parameters."""
    return (
        BackendPatternConfig(pattern)
        .set_spellings(*spellings)
        .set_observation_type(ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT)
        .set_dtype_configs(ACTIVATIONS)
    )


def _activations() -> Iterator[BackendPatternConfig]:
    yield _sharing(nn.ReLU, F.relu, torch.relu, "relu").set_module_from_call(calls.relu_from_call)
    yield _sharing(nn.ReLU6, F.relu6).set_module_from_call(calls.relu6_from_call)
    yield _sharing(nn.Hardtanh, F.hardtanh).set_module_from_call(calls.hardtanh_from_call)


def _pooling() -> Iterator[BackendPatternConfig]:
    yield _sharing(nn.MaxPool2d, F.max_pool2d, torch.max_pool2d).set_refusal(
        calls.max_pool2d_refusal
    )
    yield _sharing(nn.AvgPool2d, F.avg_pool2d)
    yield _sharing(nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d)


def _moving_values() -> Iterator[BackendPatternConfig]:
    """Operators that only move values about."""
    yield _sharing(nn.Flatten, torch.flatten, "flatten")
    yield _sharing(nn.Unflatten, torch.unflatten, "unflatten")
    yield _sharing(torch.reshape, "reshape", "view")
    yield _sharing(torch.permute, "permute")
    yield _sharing(torch.transpose, "transpose", torch.swapaxes, "swapaxes", "t", torch.t)
    yield _sharing(torch.squeeze, "squeeze")
    yield _sharing(torch.unsqueeze, "unsqueeze")
    yield _sharing(torch.chunk, "chunk", torch.split, "split", torch.unbind, "unbind")
    yield _sharing(operator.getitem)
    yield _sharing("contiguous")
    yield _sharing("repeat")
    yield _sharing("expand")
    yield _sharing(nn.Identity)
    yield _sharing(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, F.dropout).set_refusal(
        calls.dropout_refusal
    )
    yield _sharing(torch.cat, torch.concat, torch.concatenate).set_refusal(calls.cat_refusal)
    yield _sharing(torch.stack).set_refusal(calls.cat_refusal)


def get_native_backend_config() -> BackendConfig:
    """Everything that qtensor's kernels compute, with 8-bit activations of either sign.

    Returns:
        a new config on each call, so that changing it changes nothing else.

    Example:
        >>> from torch import nn
        >>> rows = {row.pattern: row for row in get_native_backend_config().configs}
        >>> rows[nn.Linear].quantized_module.__name__
        'Linear'
    """
    rows = [
        *_linear(),
        *_conv2d(),
        _embedding(),
        *_add(),
        *_activations(),
        *_pooling(),
        *_moving_values(),
    ]
    for row in rows:
        trained = _TRAINED.get(row.fused_module or row.pattern)
        if trained is not None:
            row.set_qat_module(trained)
    return BackendConfig("native").set_backend_pattern_configs(rows)
