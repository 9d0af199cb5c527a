"""Lookups in quantized embedding tables, and bags of them, with the legacy argument order."""

import torch
from torch import Tensor

from .._arguments import tensor
from .._dtypes import QDType, quint4x2, quint8
from .._ops.embedding import embedding
from .._ops.embedding_bag import MODES, embedding_bag
from .._qtensor import QTensor, described

_CALLER = "an embedding"  # in errors

Table = tuple[Tensor, Tensor, Tensor]
"""Integers, packed if they are of less than a byte, scales and zero points of rows."""


def embedding_byte(weight: QTensor, indices: Tensor, pruned_weights: bool = False) -> Tensor:
    """Rows of an 8-bit table, dequantized.

    Args:
        weight: quint8, shape ``(rows, dimension)``, per channel along axis 0.
        indices: int64 or int32, any shape.
        pruned_weights: must be false; tables here have all their rows.

    Returns:
        float32, shape ``(*indices.shape, dimension)``.

    Raises:
        TypeError: ``weight`` is not quantized so.
        ValueError: pruned weights.
        IndexError: an index is not a row's.

    Example:
        >>> import torch, qtensor
        >>> table = qtensor.quantize_per_channel(
        ...     torch.eye(2), torch.ones(2), torch.zeros(2), 0, qtensor.quint8)
        >>> qtensor.ops.embedding_byte(table, torch.tensor([1]))
        tensor([[0., 1.]])
    """
    return _rows(weight, quint8, indices, pruned_weights)


def embedding_4bit(weight: QTensor, indices: Tensor, pruned_weights: bool = False) -> Tensor:
    """:func:`embedding_byte` of a table of ``quint4x2``."""
    return _rows(weight, quint4x2, indices, pruned_weights)


def embedding_bag_byte(
    weight: QTensor,
    indices: Tensor,
    offsets: Tensor | None = None,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    pruned_weights: bool = False,
    per_sample_weights: Tensor | None = None,
    compressed_indices_mapping: Tensor | None = None,
    include_last_offset: bool = False,
) -> Tensor:
    """Sums, means or largest values of bags of rows of an 8-bit table.

    Args:
        weight: quint8, shape ``(rows, dimension)``, per channel along axis 0.
        indices: int64 or int32, shape ``(indices,)``, or ``(bags, length)`` without ``offsets``.
        offsets: where in ``indices`` each bag begins.
        scale_grad_by_freq: not used.
        mode: 0 for the sum, 1 for the mean, 2 for the largest values.
        pruned_weights, compressed_indices_mapping: must be false and ``None``; tables here have
            all their rows.
        per_sample_weights: float32, of the shape of ``indices``; only for sums.
        include_last_offset: whether the last offset only says where the last bag ends.

    Returns:
        float32, shape ``(bags, dimension)``.

    Raises:
        TypeError: ``weight`` is not quantized so.
        ValueError: pruned weights, another mode, or shapes that do not fit.
        IndexError: an index is not a row's.
    """
    return _bags(
        weight,
        quint8,
        indices,
        offsets,
        mode,
        pruned_weights or compressed_indices_mapping is not None,
        per_sample_weights,
        include_last_offset,
    )


def embedding_bag_4bit(
    weight: QTensor,
    indices: Tensor,
    offsets: Tensor | None = None,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    pruned_weights: bool = False,
    per_sample_weights: Tensor | None = None,
    compressed_indices_mapping: Tensor | None = None,
    include_last_offset: bool = False,
) -> Tensor:
    """:func:`embedding_bag_byte` of a table of ``quint4x2``."""
    return _bags(
        weight,
        quint4x2,
        indices,
        offsets,
        mode,
        pruned_weights or compressed_indices_mapping is not None,
        per_sample_weights,
        include_last_offset,
    )


def _rows(weight: QTensor, dtype: QDType, indices: Tensor, pruned: bool) -> Tensor:
    table = _table(weight, dtype, pruned)
    return looked_up(table, tensor(indices, _CALLER, "indices"), weight.shape[1], dtype.bits)


def _bags(
    weight: QTensor,
    dtype: QDType,
    indices: Tensor,
    offsets: Tensor | None,
    mode: int,
    pruned: bool,
    per_sample_weights: Tensor | None,
    include_last_offset: bool,
) -> Tensor:
    table = _table(weight, dtype, pruned)
    if mode not in range(len(MODES)):
        raise ValueError(f"{_CALLER} expects mode 0 (sum), 1 (mean) or 2 (max), got {mode}")
    bags = flat_bags(_CALLER, indices, offsets, per_sample_weights, include_last_offset)
    indices, offsets, *options = bags
    return embedding_bag(
        *table, indices, offsets, weight.shape[1], dtype.bits, MODES[mode], *options
    )


def _table(weight: QTensor, dtype: QDType, pruned: bool) -> Table:
    if not isinstance(weight, QTensor) or weight.qdtype is not dtype or weight.qparams.axis != 0:
        given = weight.qparams if isinstance(weight, QTensor) else described(weight)
        raise TypeError(f"{_CALLER} expects a table of {dtype} quantized along axis 0, got {given}")
    if pruned:
        raise ValueError(f"{_CALLER} expects a table with all its rows, got pruned weights")
    scales, zero_points = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    return weight._stored(), scales.float(), zero_points.float()


# ---- what the modules do too


def looked_up(table: Table, indices: Tensor, dimension: int, bits: int) -> Tensor:
    """The rows of ``dimension`` values that the indices name: ``(*indices.shape, dimension)``."""
    if bits == 8:
        return embedding(*table, indices)
    each = torch.arange(indices.numel(), device=indices.device)  # a bag of its own
    rows = embedding_bag(*table, indices.reshape(-1), each, dimension, bits)
    return rows.reshape(*indices.shape, dimension)


def flat_bags(
    caller: str,
    indices: Tensor,
    offsets: Tensor | None,
    per_sample_weights: Tensor | None,
    include_last_offset: bool,
) -> tuple[Tensor, Tensor, Tensor | None, bool]:
    """The last four as the operator takes them; of indices in two dimensions each row is a bag.

    Raises:
        TypeError: ``indices`` are no tensor.
        ValueError: the offsets are missing, or not wanted.
    """
    indices = tensor(indices, caller, "indices")
    if indices.dim() != 2:
        if offsets is None:
            raise ValueError(f"{caller} expects offsets with indices of one dimension")
        return indices, offsets, per_sample_weights, include_last_offset
    if offsets is not None:
        raise ValueError(f"{caller} expects no offsets with indices of two dimensions")
    bags, length = indices.shape
    starts = torch.arange(bags, device=indices.device) * length
    weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    return indices.reshape(-1), starts, weights, False
