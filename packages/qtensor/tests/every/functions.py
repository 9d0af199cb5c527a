"""A call of every function of ``qtensor.ops``, and what it computes on real numbers.

What holds for all functions is tested over this table. A new one needs an entry here:
``test_functions.py`` fails without one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import qtensor
from qtensor import QParams, ops, qint8, quint4x2, quint8

OUTPUT = (0.05, 90)
LIKE = QParams(*OUTPUT)


@dataclass(frozen=True)
class Function:
    """A call, and the same on real values in place of quantized tensors."""

    name: str
    arguments: tuple[Any, ...]
    real: Callable[..., Tensor]

    def __str__(self) -> str:
        return self.name

    def __call__(self, *arguments: Any) -> Any:
        return getattr(ops, self.name)(*arguments)


def public() -> set[str]:
    return {name for name, value in vars(ops).items() if name[0] != "_" and callable(value)}


def _float(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _quantized(*shape: int, scale: float = 0.03) -> qtensor.QTensor:
    return qtensor.quantize_per_tensor(_float(*shape), scale, 100, quint8)


def _weight(*shape: int, axis: int = 0) -> qtensor.QTensor:
    channels = shape[axis]
    scales, zeros = torch.linspace(0.002, 0.004, channels), torch.zeros(channels).long()
    return qtensor.quantize_per_channel(_float(*shape) / 4, scales, zeros, axis, qint8)


def _empty(*shape: int) -> qtensor.QTensor:
    return qtensor.quantize_per_tensor(torch.zeros(shape), *OUTPUT, quint8)


Table = dict[str, tuple[tuple[Any, ...], Callable[..., Tensor]]]


def _binary() -> Table:
    a, b = _quantized(2, 5, 4), _quantized(2, 5, 4, scale=0.02)
    table: Table = {}
    for name, real in (("add", torch.add), ("mul", torch.mul)):
        for relu, after in (("", lambda x: x), ("_relu", F.relu)):

            def both(x: Any, y: Any, *_: Any, real: Any = real, after: Any = after) -> Tensor:
                return after(real(x, y))

            table[f"{name}{relu}"] = (a, b, *OUTPUT), both
            table[f"{name}{relu}_out"] = (a, b, _empty(2, 5, 4)), both
            table[f"{name}_scalar{relu}"] = (a, 0.3), both
            table[f"{name}_scalar{relu}_out"] = (a, 0.3, _empty(2, 5, 4)), both
        table[f"{name}_to"] = (a, b, LIKE), lambda x, y, _, real=real: real(x, y)
    return table


def _joining() -> Table:
    parts = [_quantized(2, 3), _quantized(2, 3, scale=0.02)]

    def cat(xs: Any, dim: int, *_: Any) -> Tensor:
        return torch.cat(xs, dim)

    def positive(xs: Any, dim: int, *_: Any) -> Tensor:
        return torch.cat(xs, dim).relu()

    return {
        "cat": ((parts, 1, *OUTPUT), cat),
        "cat_relu": ((parts, 1, *OUTPUT), positive),
        "cat_out": ((parts, 1, _empty(2, 6)), cat),
        "cat_relu_out": ((parts, 1, _empty(2, 6)), positive),
        "cat_to": ((parts, 1, LIKE), cat),
        "stack": ((parts, 1, *OUTPUT), lambda xs, dim, *_: torch.stack(xs, dim)),
    }


def _products() -> Table:
    x, weight, bias = _quantized(3, 10), _weight(6, 10), _float(6)

    def linear(after: Callable[[Tensor], Tensor] = lambda x: x) -> Callable[..., Tensor]:
        return lambda x, w, b, *_: after(F.linear(x, w, b))

    quantized, floats = (x, weight, bias, *OUTPUT), (x.dequantize(), weight, bias)
    leaky = linear(lambda x: F.leaky_relu(x, 0.1))
    return {
        "linear": (quantized, linear()),
        "linear_relu": (quantized, linear(F.relu)),
        "linear_tanh": (quantized, linear(torch.tanh)),
        "linear_leaky_relu": ((*quantized, 0.1), leaky),
        "linear_dynamic": (floats, linear()),
        "linear_relu_dynamic": (floats, linear(F.relu)),
        "linear_weight_only": (floats, linear()),
        "matmul": ((x, _quantized(10, 4), *OUTPUT), lambda a, b, *_: a @ b),
        "matmul_to": ((x, _quantized(10, 4), LIKE), lambda a, b, _: a @ b),
    }


def _convolutions() -> Table:
    table: Table = {}
    for axes in (1, 2, 3):
        x, bias = _quantized(2, 3, *(6, 5, 4)[:axes]), _float(4)
        output = {"plain": (1, 1, 1, 1, "zeros", *OUTPUT), "transposed": (1, 1, 0, 1, 1, *OUTPUT)}
        weight = _weight(4, 3, *[3] * axes)
        across = _weight(3, 4, *[3] * axes, axis=1)
        conv = getattr(F, f"conv{axes}d")
        transposed = getattr(F, f"conv_transpose{axes}d")

        def plain(x: Any, w: Any, b: Any, *_: Any, conv: Any = conv) -> Tensor:
            return conv(x, w, b, 1, 1)

        def backwards(x: Any, w: Any, b: Any, *_: Any, conv: Any = transposed) -> Tensor:
            return conv(x, w, b, 1, 1)

        arguments = (x, weight, bias, *output["plain"])
        table[f"conv{axes}d"] = arguments, plain
        table[f"conv{axes}d_relu"] = arguments, lambda *given, f=plain: f(*given).relu()
        table[f"conv_transpose{axes}d"] = (x, across, bias, *output["transposed"]), backwards
        real = x.dequantize()
        table[f"conv{axes}d_dynamic"] = (real, weight, bias, 1, 1), plain
        table[f"conv_transpose{axes}d_dynamic"] = (real, across, bias, 1, 1), backwards
    x, weight, bias = _quantized(2, 3, 6, 5), _weight(4, 3, 3, 3), _float(4)
    residual = _quantized(2, 4, 6, 5)
    arguments = (x, residual, weight, bias, *(1, 1, 1, 1, "zeros"), *OUTPUT)

    def added(x: Any, more: Any, w: Any, b: Any, *_: Any) -> Tensor:
        return F.conv2d(x, w, b, 1, 1) + more

    table["conv2d_add"] = arguments, added
    table["conv2d_add_relu"] = arguments, lambda *given: added(*given).relu()
    return table


def _of_one() -> Table:
    q = _quantized(2, 3, 7)
    table: Table = {
        "apply": ((q, "gelu", LIKE), lambda x, *_: F.gelu(x)),
        "fitting": ((q, "gelu"), lambda x, *_: x),
        "celu": ((q, *OUTPUT, 0.7), lambda x, *_: F.celu(x, 0.7)),
        "clamp": ((q, -0.3, 0.6), lambda x, *_: x.clamp(-0.3, 0.6)),
        "dropout": ((q, *OUTPUT), lambda x, *_: x),
        "elu": ((q, *OUTPUT, 0.7), lambda x, *_: F.elu(x, 0.7)),
        "hardswish": ((q, *OUTPUT), lambda x, *_: F.hardswish(x)),
        "leaky_relu": ((q, 0.1, False, *OUTPUT), lambda x, *_: F.leaky_relu(x, 0.1)),
        "mean": ((q, 1, False, *OUTPUT), lambda x, *_: x.mean(1)),
        "prelu": ((q, _float(3), *OUTPUT), lambda x, w, *_: F.prelu(x, w)),
        "prelu_to": ((q, _float(3), LIKE), lambda x, w, _: F.prelu(x, w)),
        "relu6": ((q,), F.relu6),
        "requantize": ((q, LIKE), lambda x, _: x),
        "sigmoid": ((q, 1 / 256, 0), lambda x, *_: x.sigmoid()),
        "softmax": ((q, 2, 1 / 256, 0), lambda x, *_: x.softmax(2)),
        "softmax_to": ((q, 2, QParams(1 / 256, 0)), lambda x, *_: x.softmax(2)),
        "threshold": ((q, 0.3, -0.6), lambda x, *_: F.threshold(x, 0.3, -0.6)),
        "max_pool1d": ((q, 3, 2, 1, 1, False), lambda x, *_: F.max_pool1d(x, 3, 2, 1)),
        "max_pool2d": (
            (_quantized(2, 3, 7, 6), 3, 2, 1, 1, False),
            lambda x, *_: F.max_pool2d(x, 3, 2, 1),
        ),
    }
    return table


def _normalizing() -> Table:
    numbers = _float(3), _float(3), _float(3), _float(3).square() + 0.5, 1e-5

    def norm(x: Any, w: Any, b: Any, mean: Any, var: Any, eps: float, *_: Any) -> Tensor:
        return F.batch_norm(x, mean, var, w, b, eps=eps)

    table: Table = {}
    for axes in ("", "1d", "2d", "3d"):
        shape = (2, 3, 5, 4, 3)[: 2 + int(axes[:1] or 2)]
        arguments = (_quantized(*shape), *numbers, *OUTPUT)
        table[f"batch_norm{axes}"] = arguments, norm
        table[f"batch_norm{axes}_relu"] = arguments, lambda *given: norm(*given).relu()
    return table


def _looking_up() -> Table:
    rows, indices, offsets = _float(6, 4), torch.tensor([0, 5, 2, 2]), torch.tensor([0, 3])
    table: Table = {}
    for name, dtype in (("byte", quint8), ("4bit", quint4x2)):
        scales = torch.full((6,), 0.03 if dtype == quint8 else 0.4)
        zeros = torch.full((6,), 100.5 if dtype == quint8 else 7.5)
        weight = qtensor.quantize_per_channel(rows, scales, zeros, 0, dtype)
        table[f"embedding_{name}"] = (weight, indices), lambda w, i: F.embedding(i, w)
        table[f"embedding_bag_{name}"] = (
            (weight, indices, offsets),
            lambda w, i, o: F.embedding_bag(i, w, o, mode="sum"),
        )
    return table


def functions() -> list[Function]:
    """Fresh tensors in every call."""
    families = (
        *(_binary, _joining, _products, _convolutions),
        *(_of_one, _normalizing, _looking_up),
    )
    return [Function(name, *entry) for family in families for name, entry in family().items()]
