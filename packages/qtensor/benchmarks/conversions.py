"""Quantize and dequantize of exported graphs, in every form, beside the operators that torch
records there, and of half floats and strided tensors: ``python benchmarks/conversions.py``.

Those are functions of several float operators each; a compiler is meant to fuse them. Half floats
are beside torch's quantized tensors, which take them by way of ``.float()`` only.
"""

import importlib
from collections.abc import Iterator

import torch
from _peer import SECONDS, peer_input, thread_counts
from torch import Tensor

import qtensor
from qtensor._ops.quantize import dequantize_per_tensor
from quintet_testing.bench import OURS, Call, Table, compare, threads

PEER = "legacy"
SHAPES = ((9, 128, 384), (1, 512, 4096))
IMAGES = ((8,), (1, 64, 56, 56), (9, 128, 384))
HALVES = (torch.float16, torch.bfloat16)
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


def half_calls(shape: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Call]]]:
    """To and from half floats, and from every second column of a wider tensor."""
    scale, zero_point = 0.03, 3
    inputs = {str(t).removeprefix("torch."): torch.randn(shape).to(t) for t in HALVES}
    inputs["strided"] = torch.randn(*shape[:-1], 2 * shape[-1])[..., ::2]
    for name, x in inputs.items():
        yield (
            f"quantize {name}",
            {
                OURS: lambda x=x: qtensor.quantize_per_tensor(x, scale, zero_point, qtensor.quint8),
                PEER: lambda x=x: torch.quantize_per_tensor(
                    x.float(), scale, zero_point, torch.quint8
                ),
            },
        )
    q = torch.randint(0, 256, shape).to(torch.uint8)
    peer = peer_input(q, scale, zero_point)
    for dtype in HALVES:
        yield (
            f"dequantize to {str(dtype).removeprefix('torch.')}",
            {
                OURS: lambda dtype=dtype: dequantize_per_tensor(
                    q, scale, zero_point, out_dtype=dtype
                ),
                PEER: lambda dtype=dtype: peer.dequantize().to(dtype),
            },
        )


def main() -> None:
    counts = thread_counts(__doc__)
    importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the peer's
    for count in counts:
        with threads(count):
            for title, cases, shapes in (
                ("Conversions of exported graphs, int8", calls, SHAPES),
                ("Conversions of half floats and strided tensors, quint8", half_calls, IMAGES),
            ):
                table = Table(title, peer=PEER)
                for shape in shapes:
                    for name, candidates in cases(shape):
                        label = f"{name} {'x'.join(map(str, shape))}"
                        table.add(label, compare(candidates, seconds=SECONDS))
                table.print()


if __name__ == "__main__":
    main()
