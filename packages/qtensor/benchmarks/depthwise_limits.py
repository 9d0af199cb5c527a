"""What keeps depthwise convolution from twice fbgemm's speed.

``python benchmarks/depthwise_limits.py``; it needs a C compiler.

Minima, in cycles for 64 outputs, of one thread. ``kernel`` and ``joining`` are the two loops alone
on data that stay in the L1 cache, ``call`` is the operator on a single pixel. They are part of
``whole``, whatever the caches and the walk over the image cost: where they take half of fbgemm's
time or nearly, twice its speed is out of reach of these loops.
"""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import rich.console
import rich.table
from _peer import thread_counts
from conv2d import SHAPES, candidates

from quintet_testing.bench import machine, threads

PACKAGE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PACKAGE))
from hatch_build import CFLAGS, ISA_FLAGS  # noqa: E402

LANES, OUTPUTS = 32, 64  # channels of a panel; what the cycles are given for
JOINED_BYTES, PIXEL_BYTES = 24 << 10, 128  # JOINED_BYTES of csrc/depthwise.c; a joined pixel
ROUNDS, ROUND = 150, 0.001  # how many, and seconds for each call in one

Seconds = Callable[[], float]


def compiled() -> ctypes.CDLL:
    """The functions of depthwise_limits.c: all return seconds, the least of some samples."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "depthwise_limits.so")
        sources = PACKAGE / "csrc/depthwise_avx2.c", Path(__file__).with_suffix(".c")
        flags = [*CFLAGS, *ISA_FLAGS["_avx2"], f"-I{PACKAGE / 'csrc'}", "-shared"]
        command = [os.environ.get("CC", "cc"), *flags, *map(str, sources), "-o", str(library)]
        subprocess.run(command, check=True)
        loops = ctypes.CDLL(str(library))
    for function in (loops.cycle, loops.kernel, loops.joining):
        function.restype = ctypes.c_double
    return loops


def columns_at_once(columns: int, kernel: int, stride: int) -> int:
    """How many outputs of a line are convolved at once: choose_tasks() of csrc/depthwise.c."""
    fitting = JOINED_BYTES // (PIXEL_BYTES * ((kernel + 2) // 2))
    cuts = -(-columns // ((fitting - kernel) // stride + 1))
    return -(-columns // cuts)


def shortest(call: Callable[[], object]) -> float:
    """The least time of a call, of those that fit into a round."""
    best, end = float("inf"), time.perf_counter() + ROUND
    while (start := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - start)
    return best


def parts(loops: ctypes.CDLL, channels: int, size: int, kernel: int, stride: int) -> list[Seconds]:
    """What takes samples of 64 outputs' share of: whole, kernel, joining, call, half of fbgemm."""
    calls, _ = candidates(1, channels, size, channels, kernel, stride, channels, 127)
    pixel, _ = candidates(1, 16, 1, 16, kernel, stride, 16, 127)
    outputs = ((size - 1) // stride + 1) ** 2
    columns = columns_at_once((size - 1) // stride + 1, kernel, stride)
    pixels = columns * stride
    pairs = size * (size + kernel - 1) // 2  # of pixels that are joined, for a panel
    of_panel, of_all = OUTPUTS / LANES / outputs, OUTPUTS / channels / outputs
    return [
        lambda: shortest(calls["ours"]) * of_all,
        lambda: loops.kernel(kernel, stride, columns, 5) / columns * outputs * of_panel,
        lambda: loops.joining(pixels, 5) / pixels * pairs * of_panel,
        lambda: shortest(pixel["ours"]) * of_all,
        lambda: shortest(calls["fbgemm"]) * of_all / 2,
    ]


def main() -> None:
    thread_counts(__doc__)
    loops = compiled()
    takers = {
        f"{channels}x{size}x{size} {kernel}/{stride}": parts(loops, channels, size, kernel, stride)
        for _, channels, size, _, kernel, stride, groups in SHAPES
        if groups == channels
    }
    cycle, best = (
        float("inf"),
        {label: [float("inf")] * len(those) for label, those in takers.items()},
    )
    with threads(1):
        for _ in range(ROUNDS):  # all in turns: a slow spell of the machine hits all of them
            cycle = min(cycle, loops.cycle(5))
            for label, those in takers.items():
                samples = [take() for take in those]
                best[label] = [min(pair) for pair in zip(best[label], samples, strict=True)]

    titles = ("depthwise", "whole", "kernel", "joining", "call", "the three", "half of fbgemm")
    table = rich.table.Table(*titles, caption="cycles for 64 outputs, minima, one thread")
    for label, seconds in best.items():
        whole, *three, half = (part / cycle for part in seconds)
        cells = (whole, *three, sum(three), half)
        table.add_row(label, *(f"{cell:.1f}" for cell in cells))
    console = rich.console.Console(width=120)
    console.print(machine(), highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
