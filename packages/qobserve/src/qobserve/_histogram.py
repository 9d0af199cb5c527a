"""An observer that keeps a histogram, and leaves out of the range what costs more than it gains."""

from typing import Any, Self

import torch
from torch import Tensor

from qtensor import per_tensor_affine, quint8
from qtensor.statistics import aminmax, count_bins

from ._affine import check_qscheme
from ._dyadic import DyadicBins, add_rebinned
from ._running import RangeObserver, fill_unseen_range
from ._search import Density, least_error_grid

_MOST_BINS = 2**20


class HistogramObserver(RangeObserver):
    """Chooses the range with the smallest mean squared quantization error.

    The histogram lies on a dyadic grid (bins as wide as a power of two, edges at its multiples), as
    fine as the range seen allows, and counts in 64 bits. It is the same whatever the order of the
    values and however they came in batches, and :meth:`merge` is exact. The range is then searched
    for the scale and the zero point that minimise the squared error, with values outside clamped
    and the density taken as constant within a bin.

    Args:
        bins: into how many bins the range is divided at least, 2 … 2^20; 2048 by default.
        dtype: the dtype to quantize to, ``quint8`` by default.
        qscheme: ``per_tensor_affine`` (default) or ``per_tensor_symmetric``.
        reduce_range: use half of the integers (0 … 127, -64 … 63).
        quant_min, quant_max: the integers to use; the dtype's by default.
        factory_kwargs: ``device`` of the statistics.
        eps: the smallest scale.
        is_dynamic: must be false.
        power_of_two_scale: try only scales that are powers of two.

    Attributes:
        histogram: the counts, int64, shape ``(4 * bins,)``; the first bin holds ``min_val``.
        min_val, max_val: the range seen, float32 scalars; ``inf`` and ``-inf`` before any.

    Raises:
        ValueError: too few or too many bins, a per-channel scheme, a range of integers that is not
            possible, or ``is_dynamic``.
        TypeError: a dtype that is not quantized, or no scheme.

    Example:
        >>> import torch
        >>> from qobserve import HistogramObserver
        >>> observer = HistogramObserver()
        >>> bulk_and_outlier = torch.cat([torch.linspace(0, 1, 1_000_000), torch.tensor([2.0])])
        >>> _ = observer(bulk_and_outlier)
        >>> bool(observer.qparams().scale < 1.1 / 255)
        True
    """

    histogram: Tensor

    def __init__(
        self,
        bins: int = 2048,
        dtype: Any = quint8,
        qscheme: Any = per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = torch.finfo(torch.float32).eps,
        is_dynamic: bool = False,
        *,
        power_of_two_scale: bool = False,
    ) -> None:
        if is_dynamic:
            raise ValueError(f"{type(self).__name__} does not support dynamic quantization")
        if not 2 <= bins <= _MOST_BINS:
            raise ValueError(f"expected 2 … {_MOST_BINS} bins, got {bins}")
        super().__init__(
            dtype=dtype,
            qscheme=check_qscheme(qscheme, per_channel=False, observer=type(self).__name__),
            reduce_range=reduce_range,
            quant_min=quant_min,
            quant_max=quant_max,
            factory_kwargs=factory_kwargs,
            eps=eps,
            power_of_two_scale=power_of_two_scale,
        )
        self.bins = bins
        self._register_range([], factory_kwargs)
        # A width that is a power of two may be nearly twice what would do: with room for four times
        # as many, at least twice ``bins`` lie within the range. Of a thousand values, few make out
        # most of the error, and with wider bins it is not known well enough which grid suits them.
        self._most = 4 * bins
        counts = torch.zeros(self._most, dtype=torch.int64, device=self.eps.device)
        self.register_buffer("histogram", counts)

    def update(self, x: Tensor) -> int:
        """Count the finite values of ``x``; return how many are not finite.

        One pass, if they lie close enough to those seen before; else one more, once it is known
        which bins are needed.
        """
        if torch.compiler.is_compiling():
            dropped: int = self._update_uncompiled(x)
            return dropped
        return self._update(x)

    # The grid follows from values, which a compiler does not know.
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not say its type
    def _update_uncompiled(self, x: Tensor) -> int:
        return self._update(x)

    def _update(self, x: Tensor) -> int:
        seen = self._seen
        counted = None
        if seen[0] <= seen[1]:
            bins = DyadicBins.covering(*seen, self._most)
            counted = bins.window(self._most)
            counts, lowest, highest, dropped = count_bins(x, *counted)
        else:
            lowest, highest, dropped = aminmax(x)
        low, high = lowest.item(), highest.item()
        if low <= high:  # something is finite
            if low < seen[0] or high > seen[1]:
                self.widen(lowest, highest)
                bins = DyadicBins.covering(*self._seen, self._most)
            if counted is None or not counted.hold(low, high):
                counted = bins
                counts = count_bins(x, *counted)[0]
            add_rebinned(self.histogram, bins, counts, counted)
        return int(dropped.item())

    @property
    def _seen(self) -> tuple[float, float]:
        """The range seen."""
        return self.min_val.item(), self.max_val.item()

    @property
    def _bins(self) -> DyadicBins:
        """Those that the histogram consists of."""
        return DyadicBins.covering(*self._seen, self._most)

    def widen(self, lowest: Tensor, highest: Tensor) -> None:
        """Make the range, and the histogram, hold another range as well."""
        old = self._bins if self.has_seen_data else None
        torch.minimum(self.min_val, lowest, out=self.min_val)
        torch.maximum(self.max_val, highest, out=self.max_val)
        if old is not None and (new := self._bins) != old:
            counts = self.histogram.clone()
            add_rebinned(self.histogram.zero_(), new, counts, old)

    def merge(self, other: Self) -> None:
        """Take in all that ``other`` has seen, exactly as if this observer had seen it.

        Raises:
            ValueError: another number of bins.
        """
        self._check_mergeable(other)
        super().merge(other)
        if other.has_seen_data:
            counts = other.histogram.to(self.histogram.device)
            add_rebinned(self.histogram, self._bins, counts, other._bins)

    def _check_mergeable(self, other: object) -> None:
        super()._check_mergeable(other)
        if isinstance(other, HistogramObserver) and other.bins != self.bins:
            raise ValueError(f"cannot merge {other.bins} bins into {self.bins}")

    def reset(self) -> None:
        """Forget everything seen."""
        super().reset()
        self.histogram.zero_()

    def reset_histogram(self) -> None:
        """Forget everything seen: the older name of :meth:`reset`."""
        self.reset()

    def density(self) -> Density:
        """What has been seen, as a distribution with constant density within each bin.

        But the outermost bins' values are taken to lie where the range ends. One at least does, and
        of those that ReLU or softmax put out nearly all do.
        """
        bins = self._bins
        low, high = torch.split(torch.tensor(self._seen, dtype=torch.float64), 1)
        counts = self.histogram[: bins.used].to("cpu", torch.float64)
        nothing = counts.new_zeros(1)
        if bins.used == 1:  # both ends of the range
            return Density(
                torch.cat([low, low, high, high]), torch.cat([counts, nothing, counts]) / 2
            )
        edges = torch.cat([low, low, bins.edges()[1:-1], high, high])
        counts = torch.cat([counts[:1], nothing, counts[1:-1], nothing, counts[-1:]])
        return Density(edges, counts)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale (float32) and zero point (int64), each of shape ``(1,)``; 1 and 0 if unseen."""
        # With more integers than bins, what clamping might gain cannot be seen.
        if not self.has_seen_data or self.quant_max - self.quant_min >= self.bins:
            return self._calculate_qparams(self.min_val, self.max_val)
        lowest, highest = self._choose_range(self.density())
        return self._calculate_qparams(
            self.min_val.new_tensor(lowest), self.max_val.new_tensor(highest)
        )

    def _choose_range(self, density: Density) -> tuple[float, float]:
        """The range to map to the integers; what lies outside is clamped."""
        levels = self.quant_max - self.quant_min
        first_level = None
        if self.qscheme.symmetric:
            first_level = self.quant_min - self._symmetric_zero_point
        grid = least_error_grid(
            density, levels, first_level, self.eps.item(), self.power_of_two_scale
        )
        low = -levels / 2 if self.qscheme.symmetric else grid.first_level
        return low * grid.scale, (low + levels) * grid.scale

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        fill_unseen_range(state_dict, prefix)
        saved = state_dict.get(prefix + "histogram")
        if saved is not None and saved.is_floating_point():
            lowest, highest = state_dict[prefix + "min_val"], state_dict[prefix + "max_val"]
            state_dict[prefix + "histogram"] = self._from_equal_widths(saved, lowest, highest)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _from_equal_widths(self, histogram: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        """The counts of torch's observer: float32 ones, in bins that divide the range equally.

        Each bin counts where its middle lies, which moves a value by half a bin at most.
        """
        counts = torch.zeros_like(self.histogram)
        if bool(lowest <= highest):
            bins = DyadicBins.covering(lowest.item(), highest.item(), self._most)
            share = (torch.arange(len(histogram), dtype=torch.float64) + 0.5) / len(histogram)
            middles = lowest.item() + share * (highest - lowest).item()
            index = torch.bucketize(middles, bins.edges()[1:-1], right=True)
            counts.index_add_(0, index.to(counts.device), histogram.round().to(counts))
        return counts
