"""Histograms on a dyadic grid: bin ``k`` is ``[k · 2^e, (k + 1) · 2^e)``.

With widths that are powers of two and edges at their multiples, a coarser grid is had by merging
neighbours: a value in bin ``k`` at exponent ``e`` lies in bin ``k >> 1`` at ``e + 1``, exactly. The
exponent is a function of the range alone and grows with it, so the counts of some values do not
depend on the order they came in, nor on how they were divided among several histograms.
"""

import math
from functools import lru_cache
from typing import NamedTuple, Self

import torch
from torch import Tensor

# float32 has 24 significant bits: a finer grid could not tell its values apart.
_SIGNIFICANT_BITS = 24
_SMALLEST_EXPONENT = -149


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
    @lru_cache(maxsize=4096)  # batch after batch has the same range, in each of many observers
    def covering(cls, lowest: float, highest: float, bins: int) -> Self:
        """The bins that hold ``lowest … highest``: no more than ``bins``, as fine as possible.

        The exponent never falls when the range grows, so that coarsening is always possible.
        """
        largest = max(-lowest, highest)
        exponent = math.frexp(largest)[1] - _SIGNIFICANT_BITS if largest else _SMALLEST_EXPONENT
        # With a lower exponent, even that many bins together are narrower than the range.
        needed = math.frexp((highest - lowest) / bins)[1] - 1 if highest > lowest else exponent
        exponent = max(exponent, needed, _SMALLEST_EXPONENT)
        while True:
            first = math.floor(math.ldexp(lowest, -exponent))
            used = math.floor(math.ldexp(highest, -exponent)) - first + 1
            if used <= bins:
                return cls(exponent, first, used)
            exponent += 1

    def window(self, bins: int) -> Self:
        """All bins that some range of no more than ``bins`` bins could need beside these."""
        return self._replace(first=self.first + self.used - bins, used=2 * bins - self.used)

    def hold(self, lowest: float, highest: float) -> bool:
        """Whether both values lie in one of the bins, and so all between them."""
        below, above = (math.floor(math.ldexp(v, -self.exponent)) for v in (lowest, highest))
        return self.first <= below and above < self.first + self.used

    def edges(self) -> Tensor:
        """Where the bins begin, and where the last one ends: float64, shape ``(used + 1,)``."""
        indices = torch.arange(self.first, self.first + self.used + 1, dtype=torch.float64)
        return indices * math.ldexp(1.0, self.exponent)


def add_rebinned(total: Tensor, new: DyadicBins, counts: Tensor, old: DyadicBins) -> None:
    """Add the counts of ``old`` bins to those of ``new`` ones, which are no finer, in place.

    Args:
        total: int64, shape ``(new.used,)`` or longer.
        counts: int64, shape ``(old.used,)`` or longer; 0 for what lies outside of ``new``.
    """
    if new.exponent == old.exponent:
        first = max(new.first, old.first)
        end = min(new.first + new.used, old.first + old.used)
        if first < end:
            added = counts.narrow(0, first - old.first, end - first)
            total.narrow(0, first - new.first, end - first).add_(added)
        return
    index = torch.arange(old.first, old.first + old.used, device=counts.device)
    # Every index is below 2^25, so that a shift of 63 already leaves only its sign.
    index = (index >> min(new.exponent - old.exponent, 63)) - new.first
    total.index_add_(0, index.clamp(0, new.used - 1), counts[: old.used])
