"""Times pooling, means and interpolation beside legacy quantized torch and float torch.

python benchmarks/pool.py

Each call is that of a user: a function of torch on a quantized tensor.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from qtensor import quantize_per_tensor, quint8
from quintet_testing.bench import OURS, Table, compare, threads

LEGACY = "legacy"
FLOAT = "float"
IMAGES = [
    (1, 64, 56, 56),
    (8, 64, 56, 56),
    (1, 256, 14, 14),
    (1, 512, 7, 7),
    (1, 16, 56, 56),
    (1, 3, 224, 224),
    (1, 16, 8, 8),
]
VOLUME = (1, 32, 16, 28, 28)
SEQUENCES = (8, 128, 384)

Function = Callable[[Any], object]


def functions() -> Iterator[tuple[str, Function]]:
    """What is done to images, by name."""
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
        window = kernel, stride, padding
        name = f"{kernel}x{kernel}/{stride}"
        yield f"max {name}", lambda x, window=window: F.max_pool2d(x, *window)
        yield f"average {name}", lambda x, window=window: F.avg_pool2d(x, *window)
    yield "average to 1x1", lambda x: F.adaptive_avg_pool2d(x, 1)
    yield "mean of pixels", lambda x: torch.mean(x, (2, 3))
    yield "nearest, twice the size", lambda x: F.interpolate(x, scale_factor=2)
    yield (
        "bilinear, twice the size",
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
    )


def timed(function: Function, x: torch.Tensor, legacy: bool = True) -> dict[str, float]:
    """Of a quantized tensor, the legacy one unless it knows no such function, and a float one."""
    ours = quantize_per_tensor(x, 0.03, 128, quint8)
    peer = torch.quantize_per_tensor(x, 0.03, 128, torch.quint8)
    calls = {OURS: lambda: function(ours), FLOAT: lambda: function(x)}
    if legacy:
        calls[LEGACY] = lambda: function(peer)
    return compare(calls, seconds=0.1)


def main() -> None:
    warnings.simplefilter("ignore")  # the legacy stack warns that it is going away
    torch.manual_seed(0)
    table = Table("Pooling and interpolation, uint8, channels last", peer=LEGACY)
    for count in (1, 2):
        with threads(count):
            for shape in IMAGES:
                x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
                for name, function in functions():
                    table.add(f"{name} {'x'.join(map(str, shape))}", timed(function, x))
            volume = torch.randn(VOLUME).contiguous(memory_format=torch.channels_last_3d)
            label = "x".join(map(str, VOLUME))
            table.add(f"average 2x2x2/2 {label}", timed(lambda x: F.avg_pool3d(x, 2), volume))
            sequences, label = torch.randn(SEQUENCES), "x".join(map(str, SEQUENCES))
            for dim in (1, 2):
                mean = timed(lambda x, dim=dim: torch.mean(x, dim), sequences)
                table.add(f"mean over dimension {dim} {label}", mean)
    table.print()


if __name__ == "__main__":
    main()
