"""Histograms on a dyadic grid: bin ``k`` is ``[k · 2^e, (k + 1) · 2^e)``.

With widths that are powers of two and edges at their multiples, a coarser grid is had by merging
neighbours: a value in bin ``k`` at exponent ``e`` lies in bin ``k >> 1`` at ``e + 1``, exactly. The
exponent is a function of the range alone and grows with it, so the counts of some values do not
depend on the order they came in, nor on how they were divided among several histograms.
"""

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

# float32 has 24 significant bits: a finer grid could not tell its values apart.
_SIGNIFICANT_BITS = 24
_SMALLEST_EXPONENT = -149
# Values are counted in pieces that stay in the cache, so that the memory used is fixed.
_PIECE = 1 << 16


class DyadicBins(NamedTuple):
    """Consecutive bins of a dyadic grid.

    Attributes:
        exponent: the bins are ``2 ** exponent`` wide.
        first: the index of the first one, which begins at ``first * 2 ** exponent``.
        used: how many they are.
    """

    exponent: int
    first: int
    used: int

    @classmethod
    def covering(cls, lowest: float, highest: float, bins: int) -> Self:
        """The bins that hold ``lowest … highest``: no more than ``bins``, as fine as possible.

        The exponent never falls when the range grows, so that coarsening is always possible.
        """
        largest = max(-lowest, highest)
        exponent = math.frexp(largest)[1] - _SIGNIFICANT_BITS if largest else _SMALLEST_EXPONENT
        exponent = max(exponent, _SMALLEST_EXPONENT)
        while True:
            first = math.floor(math.ldexp(lowest, -exponent))
            used = math.floor(math.ldexp(highest, -exponent)) - first + 1
            if used <= bins:
                return cls(exponent, first, used)
            exponent += 1

    def edges(self) -> Tensor:
        """Where the bins begin, and where the last one ends: float64, shape ``(used + 1,)``."""
        indices = torch.arange(self.first, self.first + self.used + 1, dtype=torch.float64)
        return indices * math.ldexp(1.0, self.exponent)


def count(x: Tensor, bins: DyadicBins, size: int) -> Tensor:
    """How many values of ``x`` lie in each bin.

    Args:
        x: finite values of a float type no wider than float32, of any shape, all within ``bins``.
        bins: the bins.
        size: the length of the result, at least ``bins.used``.

    Returns:
        int64 counts of shape ``(size,)``.
    """
    counts = torch.zeros(size, dtype=torch.int64, device=x.device)
    to_index = math.ldexp(1.0, -bins.exponent)
    for piece in torch.split(_flat(x), _PIECE):
        # In float64 the product with a power of two is exact for every float32.
        index = piece.double().mul_(to_index).floor_().sub_(bins.first).to(torch.int64)
        counts += torch.bincount(index, minlength=size)
    return counts


def coarsen(counts: Tensor, old: DyadicBins, new: DyadicBins) -> Tensor:
    """The counts of ``old`` bins, in ``new`` ones that cover them and are no finer.

    Args:
        counts: int64, of any shape ``(size,)`` with room for both.

    Returns:
        int64, of the same shape.
    """
    index = torch.arange(old.first, old.first + old.used, device=counts.device)
    # Every index is below 2^24, so that a shift of 63 already leaves only its sign.
    index = (index >> min(new.exponent - old.exponent, 63)) - new.first
    return torch.zeros_like(counts).index_add_(0, index, counts[: old.used])


def _flat(x: Tensor) -> Tensor:
    """``x`` in one dimension, in the order of its memory: no copy of a dense tensor."""
    return x.permute(sorted(range(x.ndim), key=x.stride, reverse=True)).reshape(-1)
