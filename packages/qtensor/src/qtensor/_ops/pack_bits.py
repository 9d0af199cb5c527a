"""Integers of less than a byte, packed: several to a byte, the first in the lowest bits.

Rows (the last dimension) are packed one by one and end with a whole byte, so that a row of a
table can be read by itself.
"""

import torch
from torch import Tensor


def pack_bits(integers: Tensor, bits: int) -> Tensor:
    """Packs integers of ``bits`` bits.

    Args:
        integers: uint8 or int8 of shape ``(..., columns)``, each within ``bits`` bits.
        bits: 2 or 4.

    Returns:
        uint8 of shape ``(..., ceil(columns * bits / 8))``; a scalar has one column.

    Example:
        >>> import torch
        >>> pack_bits(torch.tensor([1, 2, 3], dtype=torch.uint8), 4)
        tensor([33,  3], dtype=torch.uint8)
    """
    per_byte = 8 // bits
    rows = integers if integers.ndim else integers.reshape(1)
    rows = rows.to(torch.uint8) & ((1 << bits) - 1)
    rows = torch.nn.functional.pad(rows, (0, -rows.shape[-1] % per_byte))
    packed = rows[..., ::per_byte]
    for position in range(1, per_byte):
        packed = packed | (rows[..., position::per_byte] << (position * bits))
    return packed.contiguous()


def unpack_bits(packed: Tensor, bits: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """The inverse of :func:`pack_bits`.

    Args:
        packed: uint8, as packed.
        bits: 2 or 4.
        shape: of the integers.
        dtype: ``torch.uint8``; or ``torch.int8`` for integers with a sign.

    Returns:
        integers of ``shape`` and ``dtype``.

    Example:
        >>> import torch
        >>> unpack_bits(torch.tensor([33, 3], dtype=torch.uint8), 4, (3,), torch.uint8)
        tensor([1, 2, 3], dtype=torch.uint8)
    """
    mask, columns = (1 << bits) - 1, shape[-1] if shape else 1
    parts = [(packed >> shift) & mask for shift in range(0, 8, bits)]
    rows = torch.stack(parts, dim=-1).flatten(-2)[..., :columns]
    if dtype == torch.int8:
        sign = 1 << (bits - 1)
        rows = (rows ^ sign).to(torch.int8) - sign
    return rows.reshape(shape)
