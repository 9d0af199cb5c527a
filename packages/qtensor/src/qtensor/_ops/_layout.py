"""Memory layouts of what elementwise kernels read, in the order of the output, and write."""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor

ELEMENT = {torch.uint8: 0, torch.int8: 1, torch.int32: 2}
"""Codes of ``enum element_type`` in csrc/elementwise.h."""

FLOAT = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
"""Codes of ``enum float_type`` in csrc/blocks.h."""


_BLOCK = 1 << 18  # values, whose copy leaves room in an L2 cache


def blocks_of_rows(input: Tensor, rows: int) -> Iterable[tuple[Tensor, int]]:
    """The rows of the last dimension, for kernels that read them one after the other: as they are,
    or where they do not lie so, some of them at a time; and how many they are."""
    if input.is_contiguous() or input.dim() < 2 or input.numel() <= _BLOCK:
        return ((input.contiguous(), rows),)
    each = rows // len(input)
    size = input[0].numel()
    if size > _BLOCK:
        return chain.from_iterable(blocks_of_rows(part, each) for part in input)
    parts = torch.split(input, _BLOCK // size)
    return ((part.contiguous(), each * len(part)) for part in parts)


def copied_as(wanted: Tensor, tensor: Tensor) -> Tensor | None:
    """``Kernel.copied`` for a tensor that is read with the strides and dtype of ``wanted``."""
    if tensor.dtype == wanted.dtype and tensor.stride() == wanted.stride():
        return None
    return torch.empty_like(wanted, device="meta")


def outer_channels_inner(output: Tensor, axis: int) -> tuple[int, int, int]:
    """A non-empty dense tensor as three axes in memory order, the middle one being ``axis``."""
    channels = output.shape[axis]
    if channels == 1:
        return 1, 1, output.numel()
    inner = output.stride(axis)  # dense: exactly what lies within one index of this axis
    return output.numel() // (channels * inner), channels, inner


def layout_under(output: Tensor, tensor: Tensor) -> tuple[list[int], list[int]] | None:
    """How ``tensor``, broadcast to the dense ``output``, lies in the order of its memory.

    Returns:
        Sizes and strides of the dimensions, outermost first, neighbours merged where they can be;
        ``None`` if the tensor lies as the output does.
    """
    if tensor.shape == output.shape and tensor.stride() == output.stride():
        return None
    strides = tensor.expand(output.shape).stride()
    sizes_merged: list[int] = []
    strides_merged: list[int] = []
    for _, size, stride in sorted(
        zip(output.stride(), output.shape, strides, strict=True), reverse=True
    ):
        if size == 1:
            continue
        if strides_merged and strides_merged[-1] == size * stride:
            sizes_merged[-1] *= size
            strides_merged[-1] = stride
        else:
            sizes_merged.append(size)
            strides_merged.append(stride)
    dense = strides_merged in ([], [1])
    return None if dense or output.numel() == 0 else (sizes_merged, strides_merged)
