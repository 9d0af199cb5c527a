"""Times the elementwise, pooling and embedding operators beside torch's legacy quantized ones.

python benchmarks/elementwise.py
"""

import warnings
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from qtensor._ops.add import add
from qtensor._ops.embedding import embedding
from qtensor._ops.pool import adaptive_avg_pool, avg_pool, max_pool
from qtensor._ops.quantize import dequantize_per_tensor, quantize_per_tensor
from quintet_testing.bench import Table, compare, threads

LEGACY = "legacy"
IMAGES = [(1, 64, 56, 56), (8, 64, 56, 56), (1, 256, 14, 14), (1, 512, 7, 7), (1, 16, 8, 8)]

Calls = tuple[str, Callable[[], object], Callable[[], object]]


def image_operators(shape: tuple[int, ...]) -> Iterator[Calls]:
    """Name, ours, legacy; on uint8 images in channels_last."""
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    legacy = torch.quantize_per_tensor(x, 0.03, 128, torch.quint8)
    other = torch.quantize_per_tensor(x, 0.04, 120, torch.quint8)
    a, b = legacy.int_repr(), other.int_repr()
    parameters = (a, 0.03, 128, b, 0.04, 120, 0.05, 100, 0, 255)

    yield (
        "quantize",
        lambda: quantize_per_tensor(x, 0.03, 128, 0, 255, torch.uint8),
        lambda: torch.quantize_per_tensor(x, 0.03, 128, torch.quint8),
    )
    yield "dequantize", lambda: dequantize_per_tensor(a, 0.03, 128), legacy.dequantize
    yield (
        "add",
        lambda: add(*parameters),
        lambda: torch.ops.quantized.add(legacy, other, 0.05, 100),
    )
    yield (
        "add, ReLU",
        lambda: add(*parameters, 0.0),
        lambda: torch.ops.quantized.add_relu(legacy, other, 0.05, 100),
    )
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
        window = [kernel] * 2, [stride] * 2, [padding] * 2
        name = f"{kernel}x{kernel}/{stride}"
        yield (
            f"max {name}",
            lambda window=window: max_pool(a, *window, [1, 1], False),
            lambda window=window: F.max_pool2d(legacy, *window),
        )
        yield (
            f"average {name}",
            lambda window=window: avg_pool(a, 128, *window, False, True),
            lambda window=window: F.avg_pool2d(legacy, *window),
        )
    yield (
        "average to 1x1",
        lambda: adaptive_avg_pool(a, [1, 1]),
        lambda: F.adaptive_avg_pool2d(legacy, 1),
    )


def lookup(rows: int, dimension: int, count: int) -> Calls:
    table = torch.randn(rows, dimension)
    lowest, highest = table.aminmax(dim=1)
    scales = (highest - lowest) / 255
    zero_points = -lowest / scales
    quantized = torch.quantize_per_channel(table, scales, zero_points, axis=0, dtype=torch.quint8)
    weight, handle = quantized.int_repr(), torch.ops.quantized.embedding_bag_prepack(quantized)
    indices = torch.randint(0, rows, (count,))
    return (
        f"embedding {rows}x{dimension}, {count} rows",
        lambda: embedding(weight, scales, zero_points, indices),
        lambda: torch.ops.quantized.embedding_byte(handle, indices),
    )


def main() -> None:
    warnings.simplefilter("ignore")  # the legacy stack warns that it is going away
    table = Table("Elementwise and pooling operators, uint8", peer=LEGACY)
    for count in (1, 2):
        with threads(count):
            for shape in IMAGES:
                label = "x".join(map(str, shape))
                for name, ours, legacy in image_operators(shape):
                    timings = compare({"ours": ours, LEGACY: legacy}, seconds=0.1)
                    table.add(f"{name} {label}", timings)
            name, ours, legacy = lookup(30_522, 384, 9 * 128)
            table.add(name, compare({"ours": ours, LEGACY: legacy}, seconds=0.2))
    table.print()


if __name__ == "__main__":
    main()
