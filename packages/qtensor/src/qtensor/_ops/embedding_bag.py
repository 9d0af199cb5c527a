"""Bags of rows of a quantized embedding table: their sums, means or largest values."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _embedding
from .._threads import num_threads
from ._checks import check_float32
from ._registry import operator
from .embedding import check_table
from .pack_bits import unpack_bits

MODES: tuple[str, ...] = _embedding.MODES
"""What becomes of a bag; the legacy operators gave numbers, in this order."""

_BITS = (8, 4, 2)


def embedding_bag_reference(
    weight: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    indices: Tensor,
    offsets: Tensor,
    dimension: int,
    bits: int = 8,
    mode: str = "sum",
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Reduce bags of rows of a quantized table.

    Args:
        weight: uint8, shape ``(rows, ceil(dimension * bits / 8))``; integers of less than a byte
            packed as :func:`pack_bits` does.
        scales, zero_points: float32, shape ``(rows,)``.
        indices: int64 or int32, shape ``(indices,)``.
        offsets: int64 or int32, not falling, the first 0: where in ``indices`` each bag begins.
        dimension: how many integers a row has.
        bits: of an integer: 8, 4 or 2.
        mode: ``"sum"``, ``"mean"`` or ``"max"``.
        per_sample_weights: float32, shape ``(indices,)``, with ``"sum"`` only.
        include_last_offset: whether the last offset only says where the last bag ends.
        padding_idx: an index to leave out.

    Returns:
        float32, shape ``(bags, dimension)``; zeros for an empty bag. As in torch, NaN is larger
        than any number.

    Raises:
        TypeError, ValueError: dtypes, shapes or options do not fit.
        IndexError: an index is not a row's.

    Example:
        >>> import torch, qtensor
        >>> weight = torch.tensor([[0, 2], [4, 6]], dtype=torch.uint8)
        >>> scales, zero_points = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.5])
        >>> torch.ops.qtensor.embedding_bag(
        ...     weight, scales, zero_points, torch.tensor([1, 0, 1]), torch.tensor([0, 2]), 2)
        tensor([[1.2500, 4.2500],
                [1.2500, 2.2500]])
    """
    rows = weight[indices]
    if bits < 8:
        rows = unpack_bits(rows, bits, (len(indices), dimension), torch.uint8)
    values = (rows.float() - zero_points[indices, None]) * scales[indices, None]
    taken = torch.ones_like(indices, dtype=torch.float32)
    if padding_idx is not None:
        taken = (indices != padding_idx).float()
    starts = offsets[:-1] if include_last_offset else offsets
    end = offsets[-1:] if include_last_offset else offsets.new_full((1,), len(indices))
    bags, position = len(starts), torch.arange(len(indices), device=indices.device)
    if bags == 0:
        return values.new_empty((0, dimension))
    bag = torch.searchsorted(starts.contiguous(), position, right=True) - 1
    bag = bag.clamp(0, bags - 1)
    taken = taken * (position < end).float()
    counts = values.new_zeros(bags).index_add_(0, bag, taken)[:, None]
    if mode == "max":
        values = values.masked_fill(taken[:, None] == 0, -torch.inf)
        where = bag[:, None].expand(-1, dimension)
        largest = values.new_full((bags, dimension), -torch.inf).scatter_reduce(
            0, where, values, "amax"
        )
        return torch.where(counts > 0, largest, 0.0)
    factors = taken if per_sample_weights is None else taken * per_sample_weights
    output = values.new_zeros(bags, dimension).index_add_(0, bag, values * factors[:, None])
    return output / counts.clamp(min=1.0) if mode == "mean" else output


class _Arguments(NamedTuple):
    weight: Tensor
    scales: Tensor
    zero_points: Tensor
    indices: Tensor
    offsets: Tensor
    dimension: int
    bits: int = 8
    mode: str = "sum"
    per_sample_weights: Tensor | None = None
    include_last_offset: bool = False
    padding_idx: int | None = None


def embedding_bag_fake(*arguments: Any) -> Tensor:
    given = _Arguments(*arguments)
    check_table(*given[:4])
    _check_bags(given)
    if given.bits not in _BITS:
        raise ValueError(f"expected integers of {_BITS} bits, got {given.bits}")
    row = (given.dimension * given.bits + 7) // 8
    if given.weight.shape[1] != row:
        raise ValueError(
            f"expected rows of {given.dimension} integers of {given.bits} bits, {row} bytes, got "
            f"weight of shape {tuple(given.weight.shape)}"
        )
    bags = given.offsets.shape[0] - given.include_last_offset
    return given.scales.new_empty((bags, given.dimension))


def _check_bags(given: _Arguments) -> None:
    """Raise ``ValueError`` unless the bags are of these indices, and what becomes of them known."""
    indices, offsets, factors = given.indices, given.offsets, given.per_sample_weights
    if indices.ndim != 1 or offsets.ndim != 1 or offsets.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            "expected indices and integer offsets of one dimension, got shapes "
            f"{tuple(indices.shape)} and {tuple(offsets.shape)}, {offsets.dtype}"
        )
    if given.mode not in MODES:
        raise ValueError(f"expected a mode of {MODES}, got {given.mode!r}")
    if given.include_last_offset and offsets.shape[0] == 0:
        raise ValueError(
            "expected offsets, of which the last says where the last bag ends, got none"
        )
    if factors is None:
        return
    check_float32(factors, "per_sample_weights")
    if given.mode != "sum" or factors.shape != indices.shape:
        raise ValueError(
            "expected per_sample_weights of the shape of indices, and mode 'sum'; got "
            f"{tuple(factors.shape)} for {tuple(indices.shape)}, mode {given.mode!r}"
        )


def embedding_bag_cpu(*arguments: Any) -> Tensor:
    given, output = _Arguments(*arguments), embedding_bag_fake(*arguments)
    weight, scales, zero_points = (tensor.contiguous() for tensor in given[:3])
    indices, offsets = given.indices.long().contiguous(), given.offsets.long().contiguous()
    factors = given.per_sample_weights
    factors = None if factors is None else factors.contiguous()
    status = _embedding.embedding_bag(
        weight.data_ptr(),
        scales.data_ptr(),
        zero_points.data_ptr(),
        weight.shape[0],
        given.dimension,
        given.bits,
        indices.data_ptr(),
        len(indices),
        offsets.data_ptr(),
        len(offsets),
        len(output),
        0 if factors is None else factors.data_ptr(),
        -1 if given.padding_idx is None else given.padding_idx,
        MODES.index(given.mode),
        output.data_ptr(),
        num_threads(),
    )
    if status == _embedding.BAD_OFFSETS:
        raise ValueError(
            f"expected offsets that do not fall, from 0 to {len(indices)} at most, the number of "
            f"indices; got {offsets.tolist()}"
        )
    if status != _embedding.DONE:
        raise IndexError(
            f"index {indices[status].item()} (position {status} of {len(indices)} indices) is out "
            f"of range for an embedding table of {weight.shape[0]} rows"
        )
    return output


embedding_bag = operator(
    "embedding_bag(Tensor weight, Tensor scales, Tensor zero_points, Tensor indices, "
    "Tensor offsets, int dimension, int bits=8, str mode='sum', "
    "Tensor? per_sample_weights=None, bool include_last_offset=False, int? padding_idx=None) "
    "-> Tensor",
    cpu=embedding_bag_cpu,
    reference=embedding_bag_reference,
    fake=embedding_bag_fake,
)
