"""Elementwise operators, quantized, and the embedding beside legacy quantized torch, ONNX Runtime
and float: ``python benchmarks/elementwise.py``."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from _peer import onnx_operator, onnx_parameters, thread_counts
from torch import Tensor

from qtensor import QTensor, qint8, quantize_per_channel, quantize_per_tensor, quint8
from qtensor._ops.embedding import embedding
from qtensor.nn import quantized as modules
from qtensor.ops import (
    add_scalar,
    add_to,
    apply,
    cat_to,
    mul_scalar,
    mul_to,
    prelu_to,
    requantize,
    softmax_to,
)
from quintet_testing.bench import OURS, Table, compare, threads

LEGACY = "legacy"
ONNX = "onnxruntime"
FLOAT = "float"
SECONDS = 0.1
IMAGES = [(1, 64, 56, 56), (8, 64, 56, 56), (1, 256, 14, 14), (1, 512, 7, 7), (1, 16, 8, 8)]

Call = Callable[[], object]
Calls = tuple[str, dict[str, Call]]


def conversions(x: Tensor) -> Iterator[Calls]:
    ours = quantize_per_tensor(x, 0.03, 128, quint8)
    legacy = torch.quantize_per_tensor(x, 0.03, 128, torch.quint8)
    yield (
        "quantize",
        {
            OURS: lambda: quantize_per_tensor(x, 0.03, 128, quint8),
            LEGACY: lambda: torch.quantize_per_tensor(x, 0.03, 128, torch.quint8),
            ONNX: onnx_operator("QuantizeLinear", "", [in_order(x), *onnx_parameters(0.03, 128)]),
        },
    )
    operands = [in_order(ours.int_repr()), *onnx_parameters(0.03, 128)]
    yield (
        "dequantize",
        {
            OURS: ours.dequantize,
            LEGACY: legacy.dequantize,
            ONNX: onnx_operator("DequantizeLinear", "", operands, np.float32),
        },
    )


def conversions_per_channel(x: Tensor) -> Iterator[Calls]:
    scales, zero_points = torch.rand(x.shape[1]) / 50 + 0.02, torch.zeros(x.shape[1], dtype=int)
    parameters = scales, zero_points, 1
    ours = quantize_per_channel(x, *parameters, qint8)
    legacy = torch.quantize_per_channel(x, *parameters, torch.qint8)
    yield (
        "quantize per channel",
        {
            OURS: lambda: quantize_per_channel(x, *parameters, qint8),
            LEGACY: lambda: torch.quantize_per_channel(x, *parameters, torch.qint8),
        },
    )
    yield "dequantize per channel", {OURS: ours.dequantize, LEGACY: legacy.dequantize}


def joins(x: Tensor, y: Tensor) -> Iterator[Calls]:
    """Operators on two tensors; results have a scale of 0.05 and zero point of 100."""
    quantized = torch.ops.quantized
    a, b = quantize_per_tensor(x, 0.03, 128, quint8), quantize_per_tensor(y, 0.04, 120, quint8)
    like_a = quantize_per_tensor(y, 0.03, 128, quint8)
    gate = quantize_per_tensor(y.mean((2, 3), True), 1 / 256, 0, quint8)
    output = quantize_per_tensor(x, 0.05, 100, quint8).qparams
    p, q, like_p, peer_gate = (_legacy(tensor) for tensor in (a, b, like_a, gate))
    both = [*_onnx(a), *_onnx(b), *onnx_parameters(0.05, 100)]
    for name, call, peer, onnx, plain in (
        ("add", lambda: add_to(a, b, output), quantized.add, "QLinearAdd", lambda: x + y),
        (
            "add, ReLU",
            lambda: add_to(a, b, output, 0.0),
            quantized.add_relu,
            None,
            lambda: (x + y).relu_(),
        ),
        ("mul", lambda: mul_to(a, b, output), quantized.mul, "QLinearMul", lambda: x * y),
        (
            "mul, ReLU",
            lambda: mul_to(a, b, output, 0.0),
            quantized.mul_relu,
            None,
            lambda: (x * y).relu_(),
        ),
    ):
        calls = {OURS: call, LEGACY: lambda peer=peer: peer(p, q, 0.05, 100), FLOAT: plain}
        if onnx:
            calls[ONNX] = onnx_operator(onnx, "com.microsoft", both)
        yield name, calls
    yield (
        "mul by one a channel",
        {
            OURS: lambda: mul_to(a, gate, output),
            LEGACY: lambda: quantized.mul(p, peer_gate, 0.05, 100),
        },
    )
    # ONNX Runtime's images are channels last too, but do not know it.
    axis = 3 if x.is_contiguous(memory_format=torch.channels_last) else 1
    yield (
        "cat",
        {
            OURS: lambda: cat_to([a, b], 1, output),
            LEGACY: lambda: quantized.cat([p, q], 1, 0.05, 100),
            ONNX: onnx_operator(
                "QLinearConcat",
                "com.microsoft",
                [*onnx_parameters(0.05, 100), *_onnx(a), *_onnx(b)],
                axis=axis,
            ),
            FLOAT: lambda: torch.cat([x, y], 1),
        },
    )
    yield (
        "cat, same scales",
        {
            OURS: lambda: cat_to([a, like_a], 1, a.qparams),
            LEGACY: lambda: quantized.cat([p, like_p], 1, 0.03, 128),
            ONNX: onnx_operator(
                "QLinearConcat",
                "com.microsoft",
                [*onnx_parameters(0.03, 128), *_onnx(a), *_onnx(like_a)],
                axis=axis,
            ),
            FLOAT: lambda: torch.cat([x, y], 1),
        },
    )


def functions(x: Tensor) -> Iterator[Calls]:
    """Functions of one tensor whose results have parameters of their own."""
    quantized = torch.ops.quantized
    a = quantize_per_tensor(x, 0.03, 128, quint8)
    p = _legacy(a)
    output = quantize_per_tensor(x, 0.05, 100, quint8).qparams
    slopes = torch.rand(x.shape[1])
    peer_slopes = torch.quantize_per_tensor(slopes, 1 / 256, 0, torch.quint8)
    rescaled = 0.05, 100
    tables: list[tuple[str, tuple[float, ...], Call, Call]] = [
        ("celu", (1.0,), lambda: quantized.celu(p, *rescaled), lambda: F.celu(x)),
        ("elu", (1.0, 1.0, 1.0), lambda: quantized.elu(p, *rescaled), lambda: F.elu(x)),
        ("hardswish", (), lambda: quantized.hardswish(p, *rescaled), lambda: F.hardswish(x)),
        (
            "leaky_relu",
            (0.01,),
            lambda: quantized.leaky_relu(p, 0.01, False, *rescaled),
            lambda: F.leaky_relu(x),
        ),
    ]
    for name, arguments, peer, plain in tables:
        ours = lambda name=name, arguments=arguments: apply(a, name, output, *arguments)  # noqa: E731
        calls = {OURS: ours, LEGACY: peer, FLOAT: plain}
        if name == "leaky_relu":
            operands = [*_onnx(a), *onnx_parameters(*rescaled)]
            calls[ONNX] = onnx_operator("QLinearLeakyRelu", "com.microsoft", operands)
        yield name, calls
    yield (
        "PReLU",
        {
            OURS: lambda: prelu_to(a, slopes, output),
            LEGACY: lambda: quantized.prelu(p, peer_slopes, *rescaled),
            FLOAT: lambda: F.prelu(x, slopes),
        },
    )
    yield (
        "softmax",
        {
            OURS: lambda: softmax_to(a, 1, output),
            LEGACY: lambda: quantized.softmax(p, 1, *rescaled),
            FLOAT: lambda: F.softmax(x, 1),
        },
    )
    yield (
        "requantize",
        {
            OURS: lambda: requantize(a, output),
            LEGACY: lambda: torch.quantize_per_tensor(p.dequantize(), *rescaled, torch.quint8),
        },
    )
    scales, zero_points = torch.rand(x.shape[1]) / 50 + 0.02, torch.zeros(x.shape[1], dtype=int)
    b = quantize_per_channel(x, scales, zero_points, 1, qint8)
    q = torch.quantize_per_channel(x, scales, zero_points, 1, torch.qint8)
    yield (
        "requantize per channel",
        {
            OURS: lambda: requantize(b, output),
            LEGACY: lambda: torch.quantize_per_tensor(q.dequantize(), *rescaled, torch.quint8),
        },
    )


TORCHS: list[tuple[str, Callable[[Tensor], object]]] = [
    ("sigmoid", torch.sigmoid),
    ("tanh", torch.tanh),
    ("gelu", F.gelu),
    ("silu", F.silu),
    ("mish", F.mish),
    ("hardsigmoid", F.hardsigmoid),
    ("relu", F.relu),
    ("relu6", F.relu6),
    ("hardtanh", F.hardtanh),
    ("clamp", lambda x: torch.clamp(x, -1.0, 2.0)),
    ("threshold", lambda x: F.threshold(x, 0.5, 0.0)),
    ("stack", lambda x: torch.stack([x, x])),
    ("pad", lambda x: F.pad(x, (1, 1, 1, 1))),
    ("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2)),
    ("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2)),
    ("channel_shuffle", lambda x: F.channel_shuffle(x, 4)),
]
"""Functions of torch on a tensor of any kind; their results have the input's parameters or fixed
ones."""

NUMBERS: list[tuple[str, Callable[..., object], str]] = [
    ("add a number", add_scalar, "add_scalar"),
    ("mul by a number", mul_scalar, "mul_scalar"),
]


def functions_of_torch(x: Tensor) -> Iterator[Calls]:
    """Where legacy has no such function of quantized tensors, it takes the detour through float."""
    a = quantize_per_tensor(x, 0.03, 128, quint8)
    p = _legacy(a)
    for name, function in TORCHS:
        if name == "pixel_unshuffle" and x.shape[-1] % 2:
            continue  # it halves the sides
        calls = {OURS: partial(function, a), LEGACY: _peer(function, p)}
        calls[FLOAT] = partial(function, x)
        if name == "sigmoid":
            operands = [*_onnx(a), *onnx_parameters(1 / 256, 0)]
            calls[ONNX] = onnx_operator("QLinearSigmoid", "com.microsoft", operands)
        yield name, calls
    for name, ours, peer in NUMBERS:
        legacy = getattr(torch.ops.quantized, peer)
        yield name, {OURS: partial(ours, a, 0.5), LEGACY: partial(legacy, p, 0.5)}


def _peer(function: Callable[[Tensor], object], p: Tensor) -> Call:
    """``function`` of a tensor of torch's own quantized type, through float if it must be."""
    try:
        function(p)
    except (NotImplementedError, RuntimeError):
        parameters = p.q_scale(), p.q_zero_point(), torch.quint8
        return lambda: torch.quantize_per_tensor(function(p.dequantize()), *parameters)
    return partial(function, p)


def functional_add(count: int) -> Calls:
    """What a call costs: ``QFunctional.add`` on a few values."""
    ours, legacy = modules.QFunctional(), torch.ao.nn.quantized.QFunctional()
    ours.scale = legacy.scale = 0.1
    x = quantize_per_tensor(torch.ones(count), 0.1, 0, quint8)
    y = _legacy(x)
    return (
        f"QFunctional.add on {count} values",
        {OURS: lambda: ours.add(x, x), LEGACY: lambda: legacy.add(y, y)},
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
        {
            OURS: lambda: embedding(weight, scales, zero_points, indices),
            LEGACY: lambda: torch.ops.quantized.embedding_byte(handle, indices),
            FLOAT: lambda: F.embedding(indices, table),
        },
    )


def in_order(x: Tensor) -> Tensor:
    """Dense, its dimensions in the order of memory."""
    if x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    return x.contiguous()


def _legacy(q: QTensor) -> Tensor:
    return torch._make_per_tensor_quantized_tensor(q.int_repr(), q.q_scale(), q.q_zero_point())


def _onnx(q: QTensor) -> list[Tensor | np.ndarray]:
    return [in_order(q.int_repr()), *onnx_parameters(q.q_scale(), q.q_zero_point())]


def images(shape: tuple[int, ...], memory_format: torch.memory_format) -> Iterator[Calls]:
    x, y = (torch.randn(shape).contiguous(memory_format=memory_format) for _ in range(2))
    yield from conversions(x)
    yield from conversions_per_channel(x)
    yield from joins(x, y)
    yield from functions(x)
    yield from functions_of_torch(x)


def main() -> None:
    for count in thread_counts(__doc__):
        with threads(count):
            table = Table("Elementwise operators, uint8, channels last", peer=LEGACY)
            for shape in IMAGES:
                for name, calls in images(shape, torch.channels_last):
                    label = f"{name} {'x'.join(map(str, shape))}"
                    table.add(label, compare(calls, seconds=SECONDS))
            for name, calls in images(IMAGES[0], torch.contiguous_format):
                table.add(f"{name}, channels first", compare(calls, seconds=SECONDS))
            for name, calls in (lookup(30_522, 384, 9 * 128), functional_add(8)):
                table.add(name, compare(calls, seconds=2 * SECONDS))
            table.print()


if __name__ == "__main__":
    main()
