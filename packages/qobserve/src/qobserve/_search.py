"""The range whose quantization loses least, found from a histogram.

All grids that keep zero exact are ``{k · scale}`` with ``quant_max - quant_min + 1`` consecutive
integers ``k``. For one scale, the squared error of *every* choice of those integers follows from
the moments of the distribution at the midpoints between grid values: prefix sums of the error of
the cells, and the tails that are clamped to the first and the last grid value. So the zero point is
found exactly, and only the scale is searched.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

_COARSE, _FINE, _REFINEMENTS = 96, 33, 3
# The smallest scale tried is this fraction of that which holds all the values.
_SMALLEST = 2.0**-11
# Relative to the second moment: smaller differences are rounding errors of the prefix sums.
_NOISE = 1e-12


class Density(NamedTuple):
    """A distribution with constant density within each bin.

    Attributes:
        edges: float64, shape ``(bins + 1,)``, not decreasing.
        counts: the mass of each bin, float64, shape ``(bins,)``.
    """

    edges: Tensor
    counts: Tensor

    def moments(self, points: Tensor) -> Tensor:
        """Mass, first and second moment of all that lies below each of ``points``.

        Args:
            points: float64, any shape.

        Returns:
            float64, shape ``(3, *points.shape)``.
        """
        left, right = self.edges[:-1], self.edges[1:]
        whole = self.counts * _mean_powers(left, right)
        before = torch.cat([whole.new_zeros(3, 1), whole.cumsum(1)], dim=1)[:, :-1]
        end = points.clamp(left[0], right[-1])
        bin_ = torch.searchsorted(right, points).clamp(max=len(right) - 1)
        start, width = left[bin_], (right - left)[bin_]
        # A bin without width is wholly below the points beyond it, and not at all below others.
        share = torch.where(width > 0, (end - start) / width, (points > start).double())
        return before[:, bin_] + self.counts[bin_] * share * _mean_powers(start, end)

    def total(self) -> Tensor:
        """Mass, first and second moment of everything: float64, shape ``(3,)``."""
        return (self.counts * _mean_powers(self.edges[:-1], self.edges[1:])).sum(1)

    def middles(self) -> Tensor:
        """The middle of each bin, float64, shape ``(bins,)``."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def quantiles(self, shares: Tensor) -> Tensor:
        """The points below which these shares of the mass lie, of any shape, within 0 … 1."""
        below = torch.cat([self.counts.new_zeros(1), self.counts.cumsum(0)])
        wanted = shares.to(torch.float64) * below[-1]
        bin_ = torch.searchsorted(below[1:-1], wanted)
        share = (wanted - below[bin_]) / self.counts[bin_].clamp(min=1.0)
        return self.edges[bin_] + share.clamp(0.0, 1.0) * (self.edges[1:] - self.edges[:-1])[bin_]


def _mean_powers(start: Tensor, end: Tensor) -> Tensor:
    """The means of 1, x and x² over ``start … end``."""
    return torch.stack(
        [
            torch.ones_like(start),
            (start + end) / 2,
            (start * start + start * end + end * end) / 3,
        ]
    )


class Grid(NamedTuple):
    """The values ``k · scale`` for ``levels + 1`` consecutive integers from ``first_level`` on."""

    scale: float
    first_level: int


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
        the grid; of equally good ones, that with the largest scale.
    """
    lowest, highest = density.edges[0].item(), density.edges[-1].item()
    if first_level is None:
        span = max(highest, 0.0) - min(lowest, 0.0)
    else:
        span = 2.0 * max(-lowest, highest)
    full = max(span / levels, smallest_scale)

    noise = _NOISE * density.total()[2].item()
    best, best_error = Grid(full, 0), float("inf")
    scales = (_powers_of_two if power_of_two else _coarse_scales)(full, smallest_scale)
    reach = _SMALLEST ** (-1 / (_COARSE - 1)) - 1.0  # to the next scale
    for _ in range(1 if power_of_two else 1 + _REFINEMENTS):
        errors = squared_errors(density, scales, levels)
        if first_level is not None:
            errors = errors[:, first_level + levels, None]
        least, columns = errors.min(dim=1)
        row = int((least <= least.min() + noise).nonzero()[0])
        if least[row].item() < best_error - noise:
            best_error = least[row].item()
            lowest_level = int(columns[row]) - levels if first_level is None else first_level
            best = Grid(scales[row].item(), lowest_level)
        # Where many values lie at an end of the range, as those of a softmax do, the error
        # oscillates with the scale: a few thousandths away from a good one is a bad one. So this
        # goes on around the best one, whether or not anything better was found last.
        around = torch.linspace(1.0 + reach, 1.0 - reach, _FINE, dtype=torch.float64)
        scales = (best.scale * around).clamp(min=smallest_scale)
        reach *= 2.0 / (_FINE - 1)
    return best


def _coarse_scales(largest: float, smallest: float) -> Tensor:
    """From one step beyond the largest on, where the ends may lie half a level off: float64."""
    steps = torch.arange(-1.0, _COARSE, dtype=torch.float64) / (_COARSE - 1)
    return (largest * _SMALLEST**steps).clamp(min=smallest)


def _powers_of_two(largest: float, smallest: float) -> Tensor:
    """From the first not below ``largest`` down to the last not below ``smallest``: float64."""
    top, bottom = (math.ceil(math.log2(value)) for value in (largest, smallest))
    bottom = max(bottom, top + round(math.log2(_SMALLEST)))
    return 2.0 ** torch.arange(top, bottom - 1, -1, dtype=torch.float64)


def squared_errors(density: Density, scales: Tensor, levels: int) -> Tensor:
    """The sum of squared errors for each scale and each first level from ``-levels`` to 0.

    Args:
        density: the distribution.
        scales: float64, shape ``(scales,)``.
        levels: how many steps the grid has.

    Returns:
        float64, shape ``(scales, levels + 1)``.
    """
    scale = scales[:, None]
    k = torch.arange(-levels, levels, dtype=torch.float64)
    below = density.moments((k + 0.5) * scale)  # all that lies below the middle of k and k + 1
    total = density.total()[:, None, None]

    def error(moments: Tensor, level: Tensor) -> Tensor:
        """Of the values with these moments, rounded to ``level · scale``."""
        value = level * scale
        return moments[2] - 2.0 * value * moments[1] + value * value * moments[0]

    cells = error(below[..., 1:] - below[..., :-1], k[1:])
    cells = torch.cat([torch.zeros_like(scale), cells.cumsum(-1)], dim=-1)

    # Each grid value stands for its cell, the first and the last for all beyond as well.
    first = slice(0, levels + 1)
    last = slice(levels - 1, 2 * levels)
    return (
        error(below[..., first], k[first])
        + (cells[:, last] - cells[:, first])
        + error(total - below[..., last], k[last] + 1.0)
    )
