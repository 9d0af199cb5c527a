"""Quantize and dequantize of exported graphs, in every form, beside the operators that torch
records there: ``python benchmarks/conversions.py``.

Those are functions of several float operators each; a compiler is meant to fuse them.
"""

import importlib
from collections.abc import Iterator

import torch
from _peer import SECONDS, thread_counts
from torch import Tensor

from quintet_testing.bench import OURS, Call, Table, compare, threads

PEER = "legacy"
SHAPES = ((9, 128, 384), (1, 512, 4096))
GROUP = 128
INT8 = (-128, 127, torch.int8)

ops = torch.ops.qtensor


def forms(x: Tensor) -> Iterator[tuple[str, tuple[object, ...]]]:
    """The operators' names without the direction, and their parameters."""
    columns = x.shape[-1]
    channels = torch.rand(columns) / 50 + 0.01, torch.zeros(columns, dtype=torch.int64)
    tokens = torch.rand(*x.shape[:-1], 1) / 50 + 0.01, torch.zeros(*x.shape[:-1], 1).long()
    runs = x.numel() // columns, columns // GROUP
    groups = torch.rand(runs) / 50 + 0.01, torch.zeros(runs, dtype=torch.int64)
    yield "per_tensor", (0.03, 3, *INT8)
    yield "per_channel", (*channels, x.ndim - 1, *INT8)
    yield "per_token", (*tokens, *INT8)
    yield "per_channel_group", (*groups, *INT8, GROUP)


def calls(shape: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Call]]]:
    """What is compared."""
    old = torch.ops.quantized_decomposed
    for name, parameters in forms(torch.empty(shape)):
        x = torch.randn(shape)
        if name == "per_channel_group":  # which torch takes of matrices only
            x = x.flatten(0, -2)
        integers = getattr(ops, f"quantize_{name}")(x, *parameters)
        last = (torch.float32,) if name in ("per_token", "per_channel_group") else ()
        for direction, given, further in (("quantize", x, ()), ("dequantize", integers, last)):
            ours, peer = (getattr(package, f"{direction}_{name}") for package in (ops, old))
            yield (
                f"{direction} {name.replace('_', ' ')}",
                {
                    OURS: lambda ours=ours, given=given, p=parameters: ours(given, *p),
                    PEER: lambda peer=peer, given=given, p=(*parameters, *further): peer(given, *p),
                },
            )


def main() -> None:
    counts = thread_counts(__doc__)
    importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the peer's
    for count in counts:
        with threads(count):
            table = Table("Conversions of exported graphs, int8", peer=PEER)
            for shape in SHAPES:
                for name, candidates in calls(shape):
                    label = f"{name} {'x'.join(map(str, shape))}"
                    table.add(label, compare(candidates, seconds=SECONDS))
            table.print()


if __name__ == "__main__":
    main()
