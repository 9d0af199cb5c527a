"""Time ours beside a peer, in one run, and print medians and their ratio.

Two numbers taken minutes apart on a shared machine say little about each other. Here the
candidates take turns, sample by sample, so that a slow spell of the machine hits all of them, and
what is reported is the ratio of their medians.

Example::

    from quintet_testing.bench import Table, compare, threads

    table = Table("int8 linear", peer="fbgemm")
    for count in (1, 2):
        with threads(count):
            timings = compare({"ours": ours, "fbgemm": fbgemm})
            table.add("512x1024x1024", timings, operations=2 * 512 * 1024 * 1024, steps="T=2 93 %")
    table.print()
"""

import gc
import math
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import rich.console
import rich.table
import torch

OURS = "ours"
# Involuntary context switches a second. An idle machine makes a few; a neighbour on the same cores
# makes a hundred, and then two threads that wait for each other take a scheduler's time slice.
BUSY = 50

Call = Callable[[], object]


def compare(
    candidates: Mapping[str, Call], *, seconds: float = 0.4, sample_seconds: float = 0.002
) -> dict[str, float]:
    """The median time of one call of each candidate, in seconds.

    A sample is as many calls in a row as take about ``sample_seconds``; the candidates' samples
    alternate, and the order turns around every round so that none always runs on another's cache.

    Args:
        candidates: callables without arguments, by name. By convention ours is ``"ours"``.
        seconds: how long to measure each candidate, warm-up not counted. At least 7 samples
            are taken, however long they last.
        sample_seconds: the least duration of one sample.
    """
    calls = {name: _calls_per_sample(call, sample_seconds) for name, call in candidates.items()}
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    deadline = time.perf_counter() + seconds * len(candidates)
    collecting = gc.isenabled()
    gc.disable()
    try:
        while time.perf_counter() < deadline or len(samples[order[0]]) < 7:
            for name in order:
                samples[name].append(_sample(candidates[name], calls[name]))
            order.reverse()
    finally:
        if collecting:
            gc.enable()
    return {name: statistics.median(times) for name, times in samples.items()}


def _sample(call: Call, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _calls_per_sample(call: Call, sample_seconds: float) -> int:
    _sample(call, 3)  # packs weights, fills caches, starts threads
    calls = 1
    while (each := _sample(call, calls)) * calls < sample_seconds:
        calls = max(2 * calls, math.ceil(sample_seconds / each))
    return calls


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run the block with ``count`` torch threads, which our kernels follow."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _switches() -> tuple[float, int]:
    """The time, and how often this process was made to wait for another so far."""
    return time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


@dataclass(frozen=True)
class _Row:
    label: str
    thread_count: int
    timings: Mapping[str, float]
    operations: float | None
    notes: Mapping[str, str]

    def ratio(self, peer: str) -> float:
        return self.timings[peer] / self.timings[OURS]


@dataclass
class Table:
    """Comparisons of one benchmark, printed with the machine they were taken on.

    Attributes:
        title: what is measured.
        peer: the candidate that ours is held against; the ratio is its median over ours, so that
            above 1 ours is faster.
    """

    title: str
    peer: str
    _rows: list[_Row] = field(default_factory=list, init=False)
    _start: tuple[float, int] = field(default_factory=_switches, init=False, repr=False)

    def add(
        self,
        label: str,
        timings: Mapping[str, float],
        *,
        operations: float | None = None,
        **notes: str,
    ) -> None:
        """Add one line, taken with the number of threads torch has now.

        Args:
            label: the shape or setting measured.
            timings: what :func:`compare` returned, with ``"ours"`` and the peer among the names.
            operations: how many arithmetic operations one call is; shown as GOP/s of ours.
            notes: further columns, by title, such as ``steps="T=2 93 %"``.
        """
        missing = {OURS, self.peer} - set(timings)
        if missing:
            raise ValueError(f"timings of {label!r} lack {sorted(missing)}; got {list(timings)}")
        self._rows.append(_Row(label, torch.get_num_threads(), timings, operations, notes))

    def geometric_mean(self, thread_count: int | None = None) -> float:
        """Geometric mean of the ratios, of the lines with ``thread_count`` threads or of all."""
        return statistics.geometric_mean(
            row.ratio(self.peer) for row in self._rows if thread_count in (None, row.thread_count)
        )

    def print(self) -> None:
        """Print the machine, the lines, and the geometric mean for each number of threads."""
        # A file or pipe would get 80 columns, which is too narrow for these tables.
        console = rich.console.Console(width=None if os.isatty(1) else 120)
        console.print(f"\n[bold]{self.title}[/bold]: {machine()}", highlight=False)
        console.print(self._table())
        for count in sorted({row.thread_count for row in self._rows}):
            console.print(
                f"geometric mean of {self.peer} / ours, {count} thread(s): "
                f"{self.geometric_mean(count):.2f}",
                highlight=False,
            )
        (start, before), (now, after) = self._start, _switches()
        rate = (after - before) / (now - start)
        if rate > BUSY:
            console.print(
                f"[red]the machine was busy[/red] ({rate:.0f} involuntary context switches a "
                "second): run this again without neighbours before believing it",
                highlight=False,
            )

    def _table(self) -> rich.table.Table:
        columns: dict[str, list[str]] = {
            "case": [row.label for row in self._rows],
            "threads": [str(row.thread_count) for row in self._rows],
        }
        for name in dict.fromkeys(name for row in self._rows for name in row.timings):
            columns[name] = [_duration(row.timings.get(name)) for row in self._rows]
        columns["ratio"] = [_colored(row.ratio(self.peer)) for row in self._rows]
        if any(row.operations for row in self._rows):
            columns["GOP/s"] = [_rate(row.operations, row.timings[OURS]) for row in self._rows]
        for note in dict.fromkeys(note for row in self._rows for note in row.notes):
            columns[note] = [row.notes.get(note, "") for row in self._rows]

        caption = f"medians; ratio is {self.peer} / ours: above 1, ours is faster"
        table = rich.table.Table(caption=caption)
        for title in columns:
            table.add_column(title, justify="left" if title == "case" else "right")
        for cells in zip(*columns.values(), strict=True):
            table.add_row(*cells)
        return table


def _colored(ratio: float) -> str:
    return f"[{'green' if ratio >= 1 else 'red'}]{ratio:.2f}"


def _rate(operations: float | None, seconds: float) -> str:
    return f"{operations / seconds / 1e9:.0f}" if operations else ""


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def machine() -> str:
    """One line that says where a figure comes from: processor, instruction set, torch."""
    kernels = sys.modules.get("qtensor._isa")
    return ", ".join(
        (
            _processor(),
            f"{os.cpu_count()} cores",
            f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})",
            f"our kernels: {kernels.ISA if kernels else 'qtensor is not loaded'}",
        )
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(
                line.partition(":")[2].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
