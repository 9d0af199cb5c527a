"""Embedding bags beside torch: ``python benchmarks/embedding.py``.

Two peers: the legacy operators, on rows that carry their own scale and offset, and the float table.
A table that no cache holds, of which the indices name any row, is the usual case; a small one shows
the kernels alone.
"""

import torch
import torch.nn.functional as F
from _peer import thread_counts
from torch import Tensor

from qtensor import quantize_per_channel, quint2x4, quint4x2, quint8
from qtensor._ops.embedding_bag import embedding_bag
from quintet_testing.bench import Call, Table, compare, threads

BAGS = 512
LENGTHS = (1, 20)
DIMENSIONS = (16, 128)
ROWS = (1_000, 500_000)
_DTYPES = {8: quint8, 4: quint4x2, 2: quint2x4}


def calls(bits: int, rows: int, dimension: int, length: int) -> dict[str, Call]:
    """What is compared: sums of bags of ``length`` rows."""
    table = torch.randn(rows, dimension)
    indices = torch.randint(rows, (BAGS * length,))
    offsets = torch.arange(BAGS) * length
    packed = getattr(torch.ops.quantized, f"embedding_bag_{_names(bits)}_prepack")(table)
    legacy = getattr(torch.ops.quantized, f"embedding_bag_{_names(bits)}_rowwise_offsets")
    scales, zero_points = _parameters(table, bits)
    ours = quantize_per_channel(table, scales, zero_points, 0, _DTYPES[bits])
    arguments = ours._stored(), scales, zero_points
    return {
        "ours": lambda: embedding_bag(*arguments, indices, offsets, dimension, bits),
        "torch": lambda: legacy(packed, indices, offsets),
        "float": lambda: F.embedding_bag(indices, table, offsets, mode="sum"),
    }


def _names(bits: int) -> str:
    return "byte" if bits == 8 else f"{bits}bit"


def _parameters(table: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    low, high = table.amin(1), table.amax(1)
    scales = (high - low) / (2**bits - 1)
    return scales, -low / scales


def main() -> None:
    table = Table(f"{BAGS} bags of rows, summed", peer="torch")
    for count in thread_counts(__doc__):
        with threads(count), torch.no_grad():
            for rows in ROWS:
                for bits in _DTYPES:
                    for dimension in DIMENSIONS:
                        for length in LENGTHS:
                            case = f"{bits} bits, {rows}x{dimension}, {length} a bag"
                            table.add(case, compare(calls(bits, rows, dimension, length)))
    table.print()


if __name__ == "__main__":
    main()
