"""Observers that clip the range by other rules than the least squared error.

All count into the dyadic histogram of :class:`HistogramObserver`, so merging and synchronising
are exact for them too; they differ in what they do with it.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._histogram import HistogramObserver
from ._search import Density

# Ranges tried: from the whole one down to a hundredth of it.
_SHRINKINGS = 100
_TINY = 1e-12


class PercentileObserver(HistogramObserver):
    """Leaves out a fixed share of the values, the most extreme ones.

    With symmetric schemes the bound is the percentile of the magnitudes; else half of what is left
    out lies at each end: from the ``(100 - percentile) / 2``-th percentile to the
    ``100 - (100 - percentile) / 2``-th (Wu et al., "Integer Quantization for Deep Learning
    Inference: Principles and Empirical Evaluation", 2020, there for magnitudes).
    Within a bin, values are taken as spread evenly.

    Args:
        percentile: how many of a hundred values to keep, above 0, at most 100; 99.99 by default.

        The others are those of :class:`HistogramObserver`, by keyword.

    Raises:
        ValueError: a percentile outside of that, or as for :class:`HistogramObserver`.

    Example:
        >>> import torch
        >>> from qobserve import PercentileObserver
        >>> observer = PercentileObserver(percentile=99.0)
        >>> _ = observer(torch.cat([torch.linspace(0, 1, 10_000), torch.tensor([1000.0])]))
        >>> bool(observer.qparams().scale < 0.01)
        True
    """

    def __init__(self, percentile: float = 99.99, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0.0 < percentile <= 100.0:
            raise ValueError(f"expected a percentile above 0, at most 100, got {percentile}")
        self.percentile = percentile

    def _choose_range(self, density: Density) -> tuple[float, float]:
        left_out = 1.0 - self.percentile / 100.0
        if not self.qscheme.symmetric:
            lowest, highest = density.quantiles(torch.tensor([left_out / 2, 1 - left_out / 2]))
            return lowest.item(), highest.item()
        bound = self._magnitudes().quantiles(torch.tensor([1.0 - left_out])).item()
        return -bound, bound

    def _magnitudes(self) -> Density:
        """The distribution of the absolute values: bin ``-1 - k`` is the mirror image of ``k``."""
        bins = self._bins
        index = torch.arange(bins.first, bins.first + bins.used)
        index = torch.maximum(index, -1 - index)
        first, last = int(index.min()), int(index.max())
        counts = torch.zeros(last - first + 1, dtype=torch.float64)
        counts.index_add_(0, index - first, self.histogram[: bins.used].to("cpu", torch.float64))
        edges = bins._replace(first=first, used=len(counts)).edges()
        edges[-1] = max(map(abs, self._seen))  # the outer bin ends where the values do
        return Density(edges, counts)


Cost = Callable[[Tensor, Tensor], float]


class _ShrinkingObserver(HistogramObserver):
    """Tries the range at ``1, 0.99 … 0.01`` of its size and takes the one that costs least."""

    def _choose_range(self, density: Density) -> tuple[float, float]:
        lowest, highest = density.edges[0].item(), density.edges[-1].item()
        cost_of = self._cost(density)
        best, least = 1.0, float("inf")
        for step in range(_SHRINKINGS, 0, -1):
            share = step / _SHRINKINGS
            cost = cost_of(*self._qparams_of(share * lowest, share * highest))
            if cost < least:
                best, least = share, cost
        return best * lowest, best * highest

    def _qparams_of(self, lowest: float, highest: float) -> tuple[Tensor, Tensor]:
        """Those of a range, both of shape ``(1,)``, float64."""
        scale, zero_point = self._calculate_qparams(
            self.min_val.new_tensor(lowest), self.max_val.new_tensor(highest)
        )
        return scale.double().cpu(), zero_point.double().cpu()

    @abstractmethod
    def _cost(self, density: Density) -> Cost:
        """What each scale and zero point, of shape ``(1,)``, costs."""

    def _integers(self, values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
        """Those that ``values`` are quantized to, as float64."""
        rounded = torch.round(values / scale) + zero_point
        return rounded.clamp(self.quant_min, self.quant_max)

    def _error(self, density: Density, norm: float) -> Cost:
        """The sum of the errors' powers, with all of a bin in its middle."""
        middles = density.middles()

        def error(scale: Tensor, zero_point: Tensor) -> float:
            restored = (self._integers(middles, scale, zero_point) - zero_point) * scale
            return float((density.counts * (restored - middles).abs() ** norm).sum())

        return error


class MSEObserver(_ShrinkingObserver):
    """Shrinks the range by the factor with the smallest mean ``norm``-th power of the error.

    That is, it minimises ``Σ count · |x - dequantize(quantize(x))| ^ norm`` over 100 ranges, each
    with its ends at the same share of those of the data (Shin et al., "Fixed-point performance
    analysis of recurrent neural networks", 2016, for the L2 norm; Li et al., "BRECQ", 2021, use
    2.4). :class:`HistogramObserver` searches the scale and the zero point one by one, and so is
    never clearly worse at ``norm=2``; higher norms weigh what is clipped more.

    Args:
        norm: the power, positive; 2 by default.

        The others are those of :class:`HistogramObserver`, by keyword.

    Raises:
        ValueError: a norm that is not positive, or as for :class:`HistogramObserver`.

    Example:
        >>> import torch
        >>> from qobserve import MSEObserver
        >>> observer = MSEObserver(quant_min=0, quant_max=15)
        >>> _ = observer(torch.cat([torch.rand(10_000), torch.tensor([1.5])]))
        >>> bool(observer.qparams().scale < 1.4 / 15)
        True
    """

    def __init__(self, norm: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not norm > 0.0:
            raise ValueError(f"expected a positive norm, got {norm}")
        self.norm = norm

    def _cost(self, density: Density) -> Cost:
        return self._error(density, self.norm)


class EntropyObserver(_ShrinkingObserver):
    """Shrinks the range by the factor that keeps most information about the distribution.

    The cost is the Kullback-Leibler divergence ``Σ p · log(p / q)``. Here ``p`` is the histogram
    with what lies outside of the range added to its outermost bins, and ``q`` is what is left of
    the histogram inside after quantization: each integer's count spread evenly over its bins that
    are not empty (Migacz, "8-bit Inference with TensorRT", GTC 2017, there for magnitudes; in
    our affine schemes both ends of the range shrink).

    The divergence weighs values by how many they are, not by how large. With few integers it would
    therefore give up the few large outputs of a softmax to tell the many tiny ones apart. So no
    range is taken that loses more in the mean square than the whole one.

    Args:
        **kwargs: those of :class:`HistogramObserver`.

    Example:
        >>> import torch
        >>> from qobserve import EntropyObserver
        >>> observer = EntropyObserver(quant_min=0, quant_max=15)
        >>> _ = observer(torch.cat([torch.randn(10_000), torch.tensor([100.0])]))
        >>> bool(observer.qparams().scale < 50 / 15)
        True
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def _cost(self, density: Density) -> Cost:
        error = self._error(density, 2.0)
        most = error(*self._qparams_of(*self._seen))

        def cost(scale: Tensor, zero_point: Tensor) -> float:
            if error(scale, zero_point) > most:
                return float("inf")
            return self._divergence(density, scale, zero_point)

        return cost

    def _divergence(self, density: Density, scale: Tensor, zero_point: Tensor) -> float:
        middles = density.middles()
        with_zero = (density.edges[:-1] <= 0.0) & (density.edges[1:] >= 0.0)
        counts = density.counts.masked_fill(with_zero, 0.0)
        integers = self._integers(middles, scale, zero_point)
        low = (self.quant_min - 0.5 - zero_point) * scale
        high = (self.quant_max + 0.5 - zero_point) * scale
        inside = (middles >= low) & (middles <= high)
        if not bool(inside.any()):
            return float("inf")
        first, last = (int(i) for i in inside.nonzero()[[0, -1], 0])
        p = counts[first : last + 1].clone()
        p[0] += counts[:first].sum()
        p[-1] += counts[last + 1 :].sum()
        kept, level = counts[first : last + 1], integers[first : last + 1].long() - self.quant_min
        levels = self.quant_max - self.quant_min + 1
        total = torch.zeros(levels, dtype=torch.float64).index_add_(0, level, kept)
        filled = (kept > 0).double()
        bins = torch.zeros(levels, dtype=torch.float64).index_add_(0, level, filled)
        q = filled * total[level] / bins[level].clamp(min=1.0)
        # Of values drawn from q itself, p would differ by this much on average (Miller, 1955).
        freedom = filled.sum() - (bins > 0).sum()
        chance = float(freedom / (2.0 * p.sum()))
        p, q = p / p.sum(), q / q.sum()
        # Where p has values and q none, some information is lost for good: a small q, not zero.
        divergence = torch.where(p > 0, p * (p / q.clamp(min=_TINY)).log(), 0.0).sum()
        return float(divergence) - chance
