"""Lookup in a quantized embedding table."""

import torch
from torch import Tensor

from .. import _elementwise
from .._threads import num_threads
from ._checks import check_float32, check_integers
from ._registry import operator


def embedding_reference(
    weight: Tensor, scales: Tensor, zero_points: Tensor, indices: Tensor
) -> Tensor:
    """Rows of a quantized embedding table, dequantized.

    Args:
        weight: uint8, shape ``(rows, dimension)``.
        scales: float32, shape ``(rows,)``.
        zero_points: float32, shape ``(rows,)``.
        indices: int64 or int32, any shape.

    Returns:
        float32, shape ``(*indices.shape, dimension)``: of each row named,
        ``(weight - zero_point) * scale``.

    Raises:
        TypeError: a tensor is of another dtype.
        ValueError: ``weight`` is not two-dimensional, or there is not one scale and zero point
            for each row.
        IndexError: an index is not a row's.

    Example:
        >>> import torch, qtensor
        >>> weight = torch.tensor([[0, 2], [4, 6]], dtype=torch.uint8)
        >>> scales, zero_points = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.5])
        >>> torch.ops.qtensor.embedding(weight, scales, zero_points, torch.tensor([1, 0, 1]))
        tensor([[1.2500, 2.2500],
                [0.0000, 2.0000],
                [1.2500, 2.2500]])
    """
    values = weight[indices].contiguous().float()
    return (values - zero_points[indices].unsqueeze(-1)) * scales[indices].unsqueeze(-1)


def check_table(weight: Tensor, scales: Tensor, zero_points: Tensor, indices: Tensor) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless these are a table and indices into one."""
    check_integers(weight, (torch.uint8,), "weight")
    check_float32(scales, "scales")
    check_float32(zero_points, "zero_points")
    if indices.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"expected int64 or int32 indices, got {indices.dtype}")
    if weight.ndim != 2:
        raise ValueError(
            f"expected weight of shape (rows, dimension), got shape {tuple(weight.shape)}"
        )
    for name, tensor in (("scales", scales), ("zero_points", zero_points)):
        if tuple(tensor.shape) != (weight.shape[0],):
            raise ValueError(
                f"expected {name} of shape ({weight.shape[0]},), one for each row of weight of "
                f"shape {tuple(weight.shape)}, got shape {tuple(tensor.shape)}"
            )


def embedding_fake(weight: Tensor, scales: Tensor, zero_points: Tensor, indices: Tensor) -> Tensor:
    check_table(weight, scales, zero_points, indices)
    return scales.new_empty((*indices.shape, weight.shape[1]))


def embedding_cpu(weight: Tensor, scales: Tensor, zero_points: Tensor, indices: Tensor) -> Tensor:
    output = embedding_fake(weight, scales, zero_points, indices)
    rows, dimension = weight.shape
    weight, scales, zero_points = weight.contiguous(), scales.contiguous(), zero_points.contiguous()
    indices = indices.long().contiguous()
    bad = _elementwise.embedding_lookup(
        weight.data_ptr(),
        scales.data_ptr(),
        zero_points.data_ptr(),
        rows,
        dimension,
        indices.data_ptr(),
        indices.numel(),
        output.data_ptr(),
        num_threads(),
    )
    if bad >= 0:
        raise IndexError(
            f"index {indices.flatten()[bad].item()} (position {bad} of indices of shape "
            f"{tuple(indices.shape)}) is out of range for an embedding table of {rows} rows"
        )
    return output


embedding = operator(
    "embedding(Tensor weight, Tensor scales, Tensor zero_points, Tensor indices) -> Tensor",
    cpu=embedding_cpu,
    reference=embedding_reference,
    fake=embedding_fake,
)
