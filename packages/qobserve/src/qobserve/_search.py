"""The range whose quantization loses least, found from a histogram.

All grids that keep zero exact are ``{k · scale}`` with ``quant_max - quant_min + 1`` consecutive
integers ``k``. Their squared error follows from one function of the distribution, ``G(t) = ∫ (t -
x) dμ(x)`` over all ``x`` below ``t``, taken at the midpoints between grid values. For with all
values rounded to the last one, ``v``, the error is ``∫ (x - v)² dμ``; and letting those below the
midpoint ``t`` of two grid values round to the lower one instead saves ``2 · scale · G(t)``::

    error = ∫ (x - v)² dμ - 2 · scale · Σ G(midpoints)

So for one scale, prefix sums give the error of *every* choice of the integers: the zero point is
found exactly, and only the scale is searched.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

# The smallest scale tried is this fraction of that which holds all the values.
_SMALLEST = 2.0**-11
# How many scales are tried: over all these magnitudes, and around the best one in the end.
_COARSE, _FINE, _REFINEMENTS = 96, 33, 2
# Where many values lie at an end of the range, as those of a softmax do, the error oscillates with
# the number of steps from zero to that end, once for each whole number. It is looked at this often.
_PER_OSCILLATION = 8
# Relative to the second moment: smaller differences are rounding errors of the sums.
_NOISE = 1e-12


class Density(NamedTuple):
    """A distribution with constant density within each bin.

    Attributes:
        edges: float64, shape ``(bins + 1,)``, not decreasing.
        counts: the mass of each bin, float64, shape ``(bins,)``.
    """

    edges: Tensor
    counts: Tensor

    def middles(self) -> Tensor:
        """The middle of each bin, float64, shape ``(bins,)``."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def widths(self) -> Tensor:
        """The width of each bin, float64, shape ``(bins,)``."""
        return self.edges[1:] - self.edges[:-1]

    def quantiles(self, shares: Tensor) -> Tensor:
        """The points below which these shares of the mass lie, of any shape, within 0 … 1."""
        below = torch.cat([self.counts.new_zeros(1), self.counts.cumsum(0)])
        wanted = shares.to(torch.float64) * below[-1]
        bin_ = torch.searchsorted(below[1:-1], wanted)
        share = (wanted - below[bin_]) / self.counts[bin_].clamp(min=1.0)
        return self.edges[bin_] + share.clamp(0.0, 1.0) * self.widths()[bin_]


class _Errors:
    """The squared errors of grids with so many steps.

    Attributes:
        noise: differences below this are rounding errors.
    """

    def __init__(self, density: Density, levels: int) -> None:
        edges, counts, widths = density.edges, density.counts, density.widths()
        middles, zero = density.middles(), counts.new_zeros(1)
        self._levels = levels
        self._edges = edges
        # G is quadratic within a bin: its height, slope and curvature where each bin begins, and
        # beyond the last.
        self._slope = torch.cat([zero, counts.cumsum(0)])
        rises = (self._slope[:-1] + counts / 2) * widths
        self._height = torch.cat([zero, rises.cumsum(0)])
        self._curvature = torch.cat([torch.where(widths > 0, counts / (2 * widths), 0.0), zero])
        self._mass, self._first = counts.sum(), (counts * middles).sum()
        self._second = (counts * (middles**2 + widths**2 / 12)).sum()
        self.noise = _NOISE * self._second.item()

    def of(self, scales: Tensor, first_levels: range) -> Tensor:
        """For each scale and each first level.

        Args:
            scales: float64, shape ``(scales,)``.
            first_levels: consecutive ones.

        Returns:
            float64, shape ``(scales, first levels)``.
        """
        levels, scale = self._levels, scales[:, None]
        k = torch.arange(first_levels[0], first_levels[-1] + levels + 1, dtype=torch.float64)
        saved = self._g((k[1:] - 0.5) * scale).cumsum(1)
        saved = torch.cat([torch.zeros_like(scale), saved], dim=1)  # by the midpoints below k
        last = k[levels:] * scale
        all_at_last = self._second - 2.0 * last * self._first + last**2 * self._mass
        return all_at_last - 2.0 * scale * (saved[:, levels:] - saved[:, :-levels])

    def _g(self, points: Tensor) -> Tensor:
        points = points.clamp(min=self._edges[0])
        bin_ = torch.searchsorted(self._edges, points, right=True) - 1
        beyond = points - self._edges[bin_]
        return self._height[bin_] + beyond * (self._slope[bin_] + beyond * self._curvature[bin_])


class Grid(NamedTuple):
    """The values ``k · scale`` for ``levels + 1`` consecutive integers from ``first_level`` on."""

    scale: float
    first_level: int
    error: float


def least_error_grid(
    density: Density,
    levels: int,
    first_level: int | None,
    smallest_scale: float,
    power_of_two: bool = False,
) -> Grid:
    """The grid on which rounding the values loses least, in the mean square.

    Args:
        density: the distribution.
        levels: how many steps the grid has, ``quant_max - quant_min``.
        first_level: the lowest integer ``k``, where the scheme fixes it (``quant_min -
            zero_point``); ``None`` tries all that keep zero on the grid.
        smallest_scale: positive; no scale below it is tried.
        power_of_two: try only scales that are powers of two.

    Returns:
        the grid and its error; of equally good ones, that with the largest scale.
    """
    lowest, highest = density.edges[0].item(), density.edges[-1].item()
    if first_level is None:
        span = max(highest, 0.0) - min(lowest, 0.0)
        first_levels = _first_levels(lowest, highest, levels)
    else:
        span = 2.0 * max(-lowest, highest)
        first_levels = range(first_level, first_level + 1)
    full = max(span / levels, smallest_scale)
    errors = _Errors(density, levels)

    def best_of(scales: Tensor) -> Grid:
        scales = scales.clamp(min=smallest_scale)
        least, columns = errors.of(scales, first_levels).min(dim=1)
        row = int((least <= least.min() + errors.noise).nonzero()[0])
        return Grid(scales[row].item(), first_levels[int(columns[row])], least[row].item())

    if power_of_two:
        return best_of(_powers_of_two(full, smallest_scale))
    steps = torch.arange(-1.0, _COARSE, dtype=torch.float64) / (_COARSE - 1)
    best = best_of(full * _SMALLEST**steps)
    reach = _SMALLEST ** (-1 / (_COARSE - 1)) - 1.0  # to the next scale
    counts = [max(_FINE, 2 * math.ceil(reach * levels * _PER_OSCILLATION)), *[_FINE] * _REFINEMENTS]
    for count in counts:
        around = torch.linspace(1.0 + reach, 1.0 - reach, count, dtype=torch.float64)
        found = best_of(best.scale * around)
        best = found if found.error < best.error - errors.noise else best
        reach *= 2.0 / (count - 1)
    return best


def _first_levels(lowest: float, highest: float, levels: int) -> range:
    """Those of grids that reach to the sides of zero where values are."""
    if lowest >= 0.0:
        return range(1)
    return range(-levels, 1 if highest > 0.0 else 1 - levels)


def _powers_of_two(largest: float, smallest: float) -> Tensor:
    """From the first not below ``largest`` down to the last not below ``smallest``: float64."""
    top, bottom = (math.ceil(math.log2(value)) for value in (largest, smallest))
    bottom = max(bottom, top + round(math.log2(_SMALLEST)))
    return 2.0 ** torch.arange(top, bottom - 1, -1, dtype=torch.float64)
