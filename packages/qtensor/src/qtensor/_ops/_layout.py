"""Memory layouts of what elementwise kernels read and write: dense, the same for all of them."""

import torch
from torch import Tensor

ELEMENT = {torch.uint8: 0, torch.int8: 1, torch.int32: 2}
"""Codes of ``enum element_type`` in csrc/elementwise.h."""


def laid_out_as(tensor: Tensor, output: Tensor) -> Tensor:
    """``tensor`` broadcast to ``output``'s shape, with its strides; itself if it has them already.

    ``output`` comes from ``torch.empty_like``, whose result is dense for any input and has the
    input's own strides exactly if that is dense too. So only strided views, expanded tensors and
    broadcast arguments are copied.
    """
    if tensor.shape == output.shape and tensor.stride() == output.stride():
        return tensor
    return torch.empty_like(output, dtype=tensor.dtype).copy_(tensor)


def outer_channels_inner(output: Tensor, axis: int) -> tuple[int, int, int]:
    """A non-empty dense tensor as three axes in memory order, the middle one being ``axis``."""
    channels = output.shape[axis]
    if channels == 1:
        return 1, 1, output.numel()
    inner = output.stride(axis)  # dense: exactly what lies within one index of this axis
    return output.numel() // (channels * inner), channels, inner
