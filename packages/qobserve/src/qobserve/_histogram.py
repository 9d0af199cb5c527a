"""An observer that keeps a histogram, and leaves out of the range what costs more than it gains."""

from typing import Any, Self

import torch
from torch import Tensor

from qtensor import per_tensor_affine, quint8

from ._affine import check_qscheme, symmetric_zero_point
from ._base import RunningObserver, fill_unseen_range
from ._dyadic import DyadicBins, coarsen, count
from ._search import Density, least_error_grid
from ._statistics import finite_aminmax

_INF = float("inf")


class HistogramObserver(RunningObserver):
    """Chooses the range with the smallest mean squared quantization error.

    The histogram lies on a dyadic grid (bins as wide as a power of two, edges at its multiples), as
    fine as the range seen allows, and counts in 64 bits. It is the same whatever the order of the
    values and however they came in batches, and :meth:`merge` is exact. The range is then searched
    for the scale and the zero point that minimise the squared error, with values outside clamped
    and the density taken as constant within a bin.

    Args:
        bins: how many bins may be used, at least 2; 2048 by default.
        dtype: the dtype to quantize to, ``quint8`` by default.
        qscheme: ``per_tensor_affine`` (default) or ``per_tensor_symmetric``.
        reduce_range: use half of the integers (0 … 127, -64 … 63).
        quant_min, quant_max: the integers to use; the dtype's by default.
        factory_kwargs: ``device`` of the statistics.
        eps: the smallest scale.
        is_dynamic: must be false.

    Attributes:
        histogram: the counts, int64, shape ``(bins,)``; the first bin holds ``min_val``.
        min_val, max_val: the range seen, float32 scalars; ``inf`` and ``-inf`` before any.

    Raises:
        ValueError: fewer than 2 bins, a per-channel scheme, a range of integers that is not
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
    min_val: Tensor
    max_val: Tensor

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
    ) -> None:
        if is_dynamic:
            raise ValueError("HistogramObserver does not support dynamic quantization")
        if bins < 2:
            raise ValueError(f"expected at least 2 bins, got {bins}")
        super().__init__(
            dtype=dtype,
            qscheme=check_qscheme(qscheme, per_channel=False, observer=type(self).__name__),
            reduce_range=reduce_range,
            quant_min=quant_min,
            quant_max=quant_max,
            factory_kwargs=factory_kwargs,
            eps=eps,
        )
        self.bins = bins
        device = (factory_kwargs or {}).get("device")
        self.register_buffer("histogram", torch.zeros(bins, dtype=torch.int64, device=device))
        self.register_buffer("min_val", torch.tensor(_INF, device=device))
        self.register_buffer("max_val", torch.tensor(-_INF, device=device))

    @property
    def has_seen_data(self) -> bool:
        """Whether a finite value has been seen."""
        return bool(self.min_val <= self.max_val)

    def update(self, x: Tensor) -> int:
        """Count the finite values of ``x``; return how many are not finite."""
        if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            x = x.to(torch.float32)
        lowest, highest, dropped = finite_aminmax(x)
        if dropped:
            x = x[torch.isfinite(x)]
        if x.numel():
            bins = self._widen(lowest.item(), highest.item())
            self.histogram += count(x, bins, self.bins)
        return dropped

    def _covering(self, lowest: float, highest: float) -> DyadicBins:
        return DyadicBins.covering(lowest, highest, self.bins)

    def _widen(self, lowest: float, highest: float) -> DyadicBins:
        """Make room for a range; return the bins that the histogram now has."""
        seen = self.min_val.item(), self.max_val.item()
        lowest, highest = min(lowest, seen[0]), max(highest, seen[1])
        bins = self._covering(lowest, highest)
        if self.has_seen_data:
            old = self._covering(*seen)
            if (bins.exponent, bins.first) != (old.exponent, old.first):
                self.histogram.copy_(coarsen(self.histogram, old, bins))
        self.min_val.fill_(lowest)
        self.max_val.fill_(highest)
        return bins

    def merge(self, other: Self) -> None:
        """Take in all that ``other`` has seen, exactly as if this observer had seen it.

        Raises:
            ValueError: another number of bins.
        """
        if other.bins != self.bins:
            raise ValueError(f"cannot merge {other.bins} bins into {self.bins}")
        super().merge(other)
        if not other.has_seen_data:
            return
        added = other.min_val.item(), other.max_val.item()
        bins = self._widen(*added)
        counts = other.histogram.to(self.histogram.device)
        self.histogram += coarsen(counts, self._covering(*added), bins)

    def reset(self) -> None:
        """Forget everything seen."""
        super().reset()
        self.histogram.zero_()
        self.min_val.fill_(_INF)
        self.max_val.fill_(-_INF)

    def density(self) -> Density:
        """What has been seen, as a distribution with constant density within each bin."""
        seen = self.min_val.item(), self.max_val.item()
        bins = self._covering(*seen)
        edges = bins.edges()
        edges[0], edges[-1] = seen  # the outer bins end where the values do
        return Density(edges, self.histogram[: bins.used].to("cpu", torch.float64))

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale (float32) and zero point (int64), each of shape ``(1,)``; 1 and 0 if unseen."""
        levels = self.quant_max - self.quant_min
        # With more integers than bins, what clamping might gain cannot be seen.
        if not self.has_seen_data or levels >= self.bins:
            return self._calculate_qparams(self.min_val, self.max_val)
        first_level = None
        if self.qscheme.symmetric:
            first_level = self.quant_min - symmetric_zero_point(
                self.dtype, self.quant_min, self.quant_max, self.has_customized_qrange
            )
        grid = least_error_grid(self.density(), levels, first_level, self.eps.item())
        low = -levels / 2 if self.qscheme.symmetric else grid.first_level
        return self._calculate_qparams(
            self.min_val.new_tensor(low * grid.scale),
            self.max_val.new_tensor((low + levels) * grid.scale),
        )

    def extra_repr(self) -> str:
        """The range seen."""
        return f"min_val={self.min_val}, max_val={self.max_val}"

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
            bins = self._covering(lowest.item(), highest.item())
            share = (torch.arange(len(histogram), dtype=torch.float64) + 0.5) / len(histogram)
            middles = lowest.item() + share * (highest - lowest).item()
            index = torch.bucketize(middles, bins.edges()[1:-1], right=True)
            counts.index_add_(0, index.to(counts.device), histogram.round().to(counts))
        return counts
