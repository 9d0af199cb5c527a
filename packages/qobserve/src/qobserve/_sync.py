"""Calibration over several processes: the statistics of all of them, in each of them."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ._base import ObserverBase
from ._histogram import HistogramObserver
from ._minmax import PerChannelMinMaxObserver
from ._passive import FixedQParamsObserver
from ._running import RangeObserver

_UNKNOWN = 2**62


def sync(
    model_or_observers: nn.Module | Iterable[ObserverBase],
    group: dist.ProcessGroup | None = None,
) -> None:
    """Give the observers of every process what those of all processes have seen.

    Every process prepares the same model, calibrates it with its own part of the data and calls
    this once, before converting. Ranges and histograms are then those of one process that saw
    everything, bit for bit. However many observers there are, this takes four collectives.

    Observers without statistics take no part, and each :class:`RecordingObserver` keeps what it
    has. One of your own takes part if it has a method ``sync(group)``, which is called after the
    others have been done.

    Args:
        model_or_observers: a prepared model, or observers in the same order everywhere.
        group: the processes, all by default.

    Raises:
        TypeError: an observer that averages over batches, which depends on their order and so has
            no sum; or one of your own that has buffers but no method ``sync``.
        RuntimeError: ``torch.distributed`` is not initialised; the processes have different
            observers; or they have been synchronised before, so that data would count twice.
        ValueError: the processes saw different numbers of channels.

    Example:
        >>> import torch, tempfile
        >>> import torch.distributed as dist
        >>> from qobserve import MinMaxObserver, sync
        >>> store = dist.FileStore(tempfile.mktemp(), 1)
        >>> dist.init_process_group("gloo", store=store, rank=0, world_size=1)
        >>> observer = MinMaxObserver()
        >>> _ = observer(torch.tensor([0.0, 3.0]))
        >>> sync([observer])
        >>> observer.max_val
        tensor(3.)
        >>> dist.destroy_process_group()
    """
    if not dist.is_initialized():
        raise RuntimeError(
            "no processes to synchronise with: call torch.distributed.init_process_group first"
        )
    named = _observers_of(model_or_observers)
    ranges = [observer for observer in named.values() if isinstance(observer, RangeObserver)]
    own: list[Any] = [
        o for o in named.values() if not isinstance(o, RangeObserver) and hasattr(o, "sync")
    ]
    _check_kinds(named)
    _check_same_observers(named, group)
    if ranges:
        _share_channels(ranges, group)
        _share_ranges(ranges, group)
        _share_counts(ranges, group)
    for observer in own:
        observer.sync(group)
    for observer in ranges:
        observer.synchronised = True


def _observers_of(
    model_or_observers: nn.Module | Iterable[ObserverBase],
) -> dict[str, ObserverBase]:
    """The observers by name; of a list, each by its own name and its place."""
    if not isinstance(model_or_observers, nn.Module):
        return {f"{o.name or type(o).__name__} ({i})": o for i, o in enumerate(model_or_observers)}
    modules = model_or_observers.named_modules()
    return {name: module for name, module in modules if isinstance(module, ObserverBase)}


def _check_kinds(named: Mapping[str, ObserverBase]) -> None:
    for name, observer in named.items():
        if isinstance(observer, RangeObserver):
            observer._check_mergeable(observer)
            if observer.synchronised:
                raise RuntimeError(
                    f"{name} has been synchronised before: what it has seen would count once for "
                    "every process. Synchronise once, when all data has been seen, or reset it"
                )
        elif _keeps_statistics(observer) and not hasattr(observer, "sync"):
            raise TypeError(
                f"{name}, a {type(observer).__name__}, keeps statistics that are unknown here; "
                "give it a method sync(group) that combines them over the processes"
            )


def _keeps_statistics(observer: ObserverBase) -> bool:
    """Whether an observer has buffers that depend on data."""
    names = {name for name, _ in observer.named_buffers()} - {"eps"}
    return bool(names) and not isinstance(observer, FixedQParamsObserver)


def _check_same_observers(
    named: Mapping[str, ObserverBase], group: dist.ProcessGroup | None
) -> None:
    """Before anything whose size depends on the observers, which would fail obscurely."""
    description = "\n".join(
        f"{name} {type(observer).__name__} {getattr(observer, 'bins', '')}"
        for name, observer in named.items()
    )
    checksum = zlib.crc32(description.encode())
    device = next((o.eps.device for o in named.values() if isinstance(o, RangeObserver)), None)
    both = torch.tensor([checksum, -checksum], device=device)
    dist.all_reduce(both, dist.ReduceOp.MAX, group)
    if both[0] != -both[1]:
        raise RuntimeError(
            "the processes have different observers; prepare the same model in the same way in "
            f"each. Here there are {len(named)}: {', '.join(named) or 'none'}"
        )


def _share_channels(observers: list[RangeObserver], group: dist.ProcessGroup | None) -> None:
    """Let those that saw nothing know how many channels the others have."""
    sizes = [observer.min_val.numel() for observer in observers]
    # The most, and the least of those that there are.
    both = torch.tensor([sizes, [-size or -_UNKNOWN for size in sizes]])
    both = both.to(observers[0].eps.device)
    dist.all_reduce(both, dist.ReduceOp.MAX, group)
    for observer, most, least in zip(observers, *both.tolist(), strict=True):
        if most and most != -least:
            raise ValueError(
                f"{observer.name or type(observer).__name__}: one process saw {most} channels, "
                f"another {-least}"
            )
        if isinstance(observer, PerChannelMinMaxObserver) and most:
            observer.expect_channels(most)


def _share_ranges(observers: list[RangeObserver], group: dist.ProcessGroup | None) -> None:
    device = observers[0].eps.device
    bounds = [bound for o in observers for bound in (-o.min_val, o.max_val)]
    flat = torch.cat([bound.reshape(-1).to(device, torch.float64) for bound in bounds])
    dist.all_reduce(flat, dist.ReduceOp.MAX, group)
    shared = iter(torch.split(flat, [bound.numel() for bound in bounds]))
    for observer in observers:
        lowest, highest = (
            next(shared).reshape(bound.shape).to(bound)
            for bound in (observer.min_val, observer.max_val)
        )
        observer.widen(-lowest, highest)  # which brings histograms onto the common grid


def _share_counts(observers: list[RangeObserver], group: dist.ProcessGroup | None) -> None:
    counts = [count for observer in observers for count in _counts_of(observer)]
    device = observers[0].eps.device
    flat = torch.cat([count.reshape(-1).to(device) for count in counts])
    dist.all_reduce(flat, dist.ReduceOp.SUM, group)
    for count, total in zip(counts, torch.split(flat, [c.numel() for c in counts]), strict=True):
        count.copy_(total.reshape(count.shape))


def _counts_of(observer: RangeObserver) -> list[Tensor]:
    counts = [observer.count, observer.nonfinite_count]
    return [*counts, observer.histogram] if isinstance(observer, HistogramObserver) else counts
