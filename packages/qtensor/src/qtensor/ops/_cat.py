"""Joining quantized tensors."""

from collections.abc import Sequence

import torch

from .._arguments import quantized
from .._qtensor import QTensor, parameters
from .._quantize import quantize


def cat(
    tensors: Sequence[QTensor],
    dim: int = 0,
    scale: float | None = None,
    zero_point: int | None = None,
) -> QTensor:
    """Joins quantized tensors along ``dim``.

    Args:
        tensors: quantized per tensor, of one dtype; shapes equal but for ``dim``.
        dim: where to join.
        scale, zero_point: the output's parameters, those of the first tensor by default. Inputs
            with other parameters are quantized anew; the others are copied as they are.
    """
    first = parameters(quantized(tensors[0], "cat", "tensors[0]"))
    output = first.replace(
        scale=first.scale if scale is None else scale,
        zero_point=first.zero_point if zero_point is None else zero_point,
    )
    parts = []
    for i, x in enumerate(tensors):
        x = quantized(x, "cat", f"tensors[{i}]")
        same = parameters(x) == output
        parts.append((x if same else quantize(x.dequantize(), output)).int_repr())
    return QTensor(torch.cat(parts, dim), output)
