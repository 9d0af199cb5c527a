"""What a second thread gains on shapes above 100 MOP: ``python benchmarks/threads.py``.

A machine that others share may not have a second core to give. So each round also runs two calls
side by side that know nothing of each other, on one thread each: what they gain is what two cores
had to offer at that moment, and about the most that sharing one call can.
"""

import statistics
import time
from collections.abc import Callable
from threading import Barrier, Thread
from typing import NamedTuple

import rich.console
import rich.table
import torch
from _peer import AMAX, kaiming_weight
from torch import Tensor

from qtensor._ops.conv import conv2d
from qtensor._ops.linear import linear
from qtensor._packing import PackedWeights
from quintet_testing.bench import machine

LINEAR = (  # M, K, N
    (128, 768, 768),
    (128, 768, 3072),
    (512, 1024, 1024),
    (200, 512, 2048),
)
CONV = (  # C, H = W, O, kernel, stride
    (64, 56, 64, 3, 1),
    (256, 14, 256, 3, 1),
    (64, 56, 256, 1, 1),
    (3, 224, 64, 7, 2),
    (512, 7, 512, 3, 1),
    (128, 28, 128, 3, 1),
)
ROUNDS, ROUND = 100, 0.01  # how many of each shape, and seconds for each of their three parts
QUIET = 0.005  # seconds for which OpenMP's threads stay awake after their work

Call = Callable[[], Tensor]


def linear_call(m: int, k: int, n: int, amax: int) -> Call:
    weight, scales = kaiming_weight(n, k)
    input, bias = torch.randint(0, amax + 1, (m, k)).to(torch.uint8), torch.randn(n)
    parameters = (4 / amax, 30, weight, scales, None, bias, 0.05, 60, 0, 255, torch.uint8)
    cache = PackedWeights()
    return lambda: linear(input, *parameters, cache=cache)


def conv_call(c: int, size: int, o: int, kernel: int, stride: int, amax: int) -> Call:
    weight, scales = kaiming_weight(o, c, kernel, kernel)
    input = torch.randint(0, amax + 1, (1, c, size, size)).to(torch.uint8)
    input, bias = input.contiguous(memory_format=torch.channels_last), torch.randn(o)
    geometry = ([stride] * 2, [kernel // 2] * 2, [1, 1], 1, "zeros")
    parameters = (4 / amax, 30, weight, scales, None, bias, *geometry, 0.05, 60, 0, 255)
    cache = PackedWeights()
    return lambda: conv2d(input, *parameters, torch.uint8, cache=cache)


class Round(NamedTuple):
    """Seconds of a call in one round: on one thread, shared by two, and of each of two calls."""

    one: float
    two: float
    side_by_side: float


def rounds(call: Call) -> list[Round]:
    call()
    calls = max(1, round(ROUND / _seconds(call, 1)))
    return [
        Round(_on(1, call, calls), _on(2, call, calls), _side_by_side(call, calls))
        for _ in range(ROUNDS)
    ]


def _seconds(call: Call, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _on(count: int, call: Call, calls: int) -> float:
    torch.set_num_threads(count)
    call()
    return _seconds(call, calls)


def _side_by_side(call: Call, calls: int) -> float:
    """What each of two threads took for a call: the one that took longer, halved."""
    time.sleep(QUIET)
    barrier, taken = Barrier(2), []

    def run() -> None:
        torch.set_num_threads(1)
        call()
        barrier.wait()
        taken.append(_seconds(call, calls))

    both = [Thread(target=run) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    return max(taken) / 2


def row(label: str, measured: list[Round]) -> list[str]:
    cells = [label]
    for typical in (statistics.median, min):
        one, two, side_by_side = map(typical, zip(*measured, strict=True))
        cells += [f"{1e6 * one:.0f} µs", f"{1e6 * two:.0f} µs"]
        cells += [f"{one / two:.2f}", f"{one / side_by_side:.2f}"]
    return cells


def main() -> None:
    torch.manual_seed(0)
    for amax in AMAX:
        table = rich.table.Table(caption="medians, then minima, of which a neighbour spoils none")
        for title in ("case", *("1 thread", "2 threads", "gain", "offered") * 2):
            table.add_column(title, justify="left" if title == "case" else "right")
        for shape in LINEAR:
            label = "linear " + "x".join(map(str, shape))
            table.add_row(*row(label, rounds(linear_call(*shape, amax))))
        for shape in CONV:
            label = "conv {}x{}x{} {}/{}".format(*shape)
            table.add_row(*row(label, rounds(conv_call(*shape, amax))))
        console = rich.console.Console(width=120)
        console.print(f"One thread and two, activations 0…{amax}: {machine()}", highlight=False)
        console.print(table)


if __name__ == "__main__":
    main()
