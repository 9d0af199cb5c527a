"""What observers share that keep statistics of all they have seen."""

from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor

from qtensor import warn_user

from ._base import UniformQuantizationObserverBase

_INF = float("inf")


class RunningObserver(UniformQuantizationObserverBase):
    """An observer that keeps statistics of all the values it has seen.

    Values that are NaN or infinite take no part in them, and are reported once. The statistics lie
    on the device of what is observed. A subclass defines :meth:`update`, :meth:`reset` and
    :meth:`merge`, and says from its statistics whether it :attr:`has_seen_data`.

    Attributes:
        count: how many finite values have been seen, an int64 scalar; not part of the state dict.
        nonfinite_count: how many values were NaN or infinite; likewise.
        synchronised: whether :func:`sync` has added what other processes have seen.
    """

    count: Tensor
    nonfinite_count: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Tensors, so that a compiled model counts without being compiled anew for every batch.
        for name in ("count", "nonfinite_count"):
            zero = torch.zeros((), dtype=torch.int64, device=self.eps.device)
            self.register_buffer(name, zero, persistent=False)
        self._reported = False
        self.synchronised = False

    def forward(self, x: Tensor) -> Tensor:
        """Take ``x``, of any shape, into the statistics and return it unchanged."""
        if x.numel():
            values = self.values_of(x)
            dropped = self.update(values)
            self.count.add_(x.numel() - dropped)
            self.report(dropped)
        return x

    def values_of(self, x: Tensor) -> Tensor:
        """``x`` for :meth:`update`: without history, of a dtype that the statistics hold.

        The statistics move to its device.
        """
        eps = self.eps
        if x.device != eps.device:
            self.to(x.device)
        values = x.detach()
        if values.dtype != eps.dtype and not self._holds(values.dtype):
            # What the statistics cannot hold would be infinite in them, and so is treated so.
            values = values.to(eps.dtype)
        return values

    def report(self, dropped: Tensor | int) -> None:
        """Count values that are not finite, and warn of the first ones."""
        if isinstance(dropped, Tensor) or dropped:
            self.nonfinite_count.add_(dropped)
            self._report_nonfinite()

    def _holds(self, dtype: torch.dtype) -> bool:
        """Whether the statistics hold every value of this dtype."""
        statistics = self.eps.dtype
        return dtype.is_floating_point and torch.promote_types(dtype, statistics) == statistics

    @abstractmethod
    def update(self, x: Tensor) -> Tensor | int:
        """Take the finite values of ``x`` into the statistics; return how many are not finite."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything seen."""
        self.count.zero_()
        self.nonfinite_count.zero_()
        self._reported = self.synchronised = False

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in all that ``other`` has seen, as if this observer had seen it."""
        self._check_mergeable(other)
        self.count += other.count.to(self.count.device)
        self.nonfinite_count += other.nonfinite_count.to(self.count.device)

    def _check_mergeable(self, other: object) -> None:
        if type(other) is not type(self):
            raise TypeError(f"cannot merge {type(other).__name__} into {type(self).__name__}")

    def _calculate_qparams(self, min_val: Tensor, max_val: Tensor) -> tuple[Tensor, Tensor]:
        self._report_nonfinite()
        return super()._calculate_qparams(min_val, max_val)

    def _report_nonfinite(self) -> None:
        """Warn once. A compiled model cannot: of what it saw, whoever asks for parameters hears."""
        if self._reported or torch.compiler.is_compiling() or not self.nonfinite_count:
            return
        self._reported = True
        dropped = int(self.nonfinite_count)
        warn_user(
            f"{self.name or type(self).__name__}: {dropped} of {dropped + int(self.count)} values "
            "seen in calibration are NaN or infinite; such values are left out of the statistics. "
            "Further ones are counted in nonfinite_count without a message."
        )


class RangeObserver(RunningObserver):
    """A :class:`RunningObserver` that keeps, at least, the range of what it has seen.

    Attributes:
        min_val, max_val: the range, per tensor or per channel; ``inf`` and ``-inf`` before any.
    """

    min_val: Tensor
    max_val: Tensor

    def _register_range(self, shape: list[int], factory_kwargs: dict[str, Any] | None) -> None:
        self.register_buffer("min_val", torch.full(shape, _INF, **(factory_kwargs or {})))
        self.register_buffer("max_val", torch.full(shape, -_INF, **(factory_kwargs or {})))

    @property
    def has_seen_data(self) -> bool:
        """Whether a finite value has been seen, in any channel."""
        return bool((self.min_val <= self.max_val).any())

    @abstractmethod
    def widen(self, lowest: Tensor, highest: Tensor) -> None:
        """Make the range hold another one, of the same shape, as well."""

    def merge(self, other: Self) -> None:
        """Take in all that ``other`` has seen, exactly as if this observer had seen it."""
        super().merge(other)
        self.widen(other.min_val.to(self.min_val), other.max_val.to(self.max_val))

    def reset(self) -> None:
        """Forget everything seen."""
        super().reset()
        self.min_val.fill_(_INF)
        self.max_val.fill_(-_INF)

    def reset_min_max_vals(self) -> None:
        """Forget everything seen: the older name of :meth:`reset`."""
        self.reset()

    def extra_repr(self) -> str:
        """The range seen."""
        return f"min_val={self.min_val}, max_val={self.max_val}"


def fill_unseen_range(state_dict: dict[str, Any], prefix: str) -> None:
    """Give ``min_val`` and ``max_val`` their shape in the oldest state dicts.

    Those hold empty tensors where nothing was seen.
    """
    for name, unseen in (("min_val", float("inf")), ("max_val", -float("inf"))):
        saved = state_dict.get(prefix + name)
        if saved is not None and saved.numel() == 0:
            state_dict[prefix + name] = torch.tensor(unseen)
