"""Example calls of every operator of ``torch.ops.qtensor``.

What holds for all operators is tested over this table. A new operator needs an entry here:
``test_operators.py`` fails without one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import qtensor  # noqa: F401  # registers the operators

Arguments = tuple[Any, ...]


class Random:
    """Random tensors, the same in every run."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def uint8(self, *shape: int) -> Tensor:
        return torch.randint(0, 256, shape, generator=self._generator, dtype=torch.uint8)

    def int8(self, *shape: int) -> Tensor:
        return torch.randint(-128, 128, shape, generator=self._generator, dtype=torch.int8)

    def int32(self, *shape: int) -> Tensor:
        return torch.randint(-5000, 5000, shape, generator=self._generator, dtype=torch.int32)

    def zero_points(self, *shape: int, low: int = -9, high: int = 9) -> Tensor:
        return torch.randint(low, high, shape, generator=self._generator)

    def float(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def scales(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._generator) / 50 + 0.001


@dataclass(frozen=True)
class Example:
    """One call. Arguments that are left out have the schema's defaults."""

    operator: str
    arguments: Arguments
    number: int

    def __str__(self) -> str:
        return f"{self.operator}-{self.number}"

    @property
    def op(self) -> Any:
        """The overload of ``torch.ops.qtensor``."""
        packet, _, overload = self.operator.partition(".")
        return getattr(getattr(torch.ops.qtensor, packet), overload or "default")

    def reference(self, *arguments: Any) -> Any:
        """The plain torch path: what the dispatcher would run on a device without kernels."""
        kernel = torch.library.get_kernel(f"qtensor::{self.operator}", "CUDA")
        schema = [a for a in self.op._schema.arguments if not a.kwarg_only]
        defaults = (argument.default_value for argument in schema[len(arguments) :])
        keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
        return kernel.call_boxed(keys, *arguments, *defaults)

    def named(self) -> dict[str, Any]:
        """The arguments by name."""
        names = (argument.name for argument in self.op._schema.arguments)
        return dict(zip(names, self.arguments, strict=False))


QUINT8 = (0.1, 60, 0, 255, torch.uint8)
QINT8 = (0.2, -3, -128, 127, torch.int8)
SEVEN_BITS = (0.1, 60, 0, 127, torch.uint8)


def _linear(r: Random, *, zero_points: bool = True, bias: bool = True) -> Arguments:
    return (
        r.int8(7, 24),
        r.scales(7),
        r.zero_points(7) if zero_points else None,
        r.float(7) if bias else None,
    )


def _lstm(
    r: Random, integers: Callable[..., Tensor], zero_point: int, low: int, high: int
) -> Arguments:
    """3 steps of a batch of 2, 5 units."""
    gates, state, cell = integers(3, 2, 20), integers(2, 5), integers(2, 5)
    of_each = (0.02, zero_point)
    weight = r.int8(20, 5), r.scales(20), r.zero_points(20), r.float(20)
    stages = [0.02] * 10, [zero_point] * 10, [low] * 10, [high] * 10
    return (gates, *of_each, state, *of_each, cell, *of_each, *weight, *stages)


def _conv(r: Random, axes: int, groups: int, *, transposed: bool = False) -> Arguments:
    """A weight for 8 input and output channels, its parameters, and a bias."""
    weight = r.int8(8, 8 // groups, *(3, 2, 2)[:axes])
    channels = 8 // groups if transposed else 8
    return weight, r.scales(channels), r.zero_points(channels), r.float(8)


def _plain(axes: int, groups: int, mode: str = "zeros") -> Arguments:
    return [2, 1, 1][:axes], [1, 1, 0][:axes], [1, 2, 1][:axes], groups, mode


def _transposed(axes: int, groups: int) -> Arguments:
    return [2, 1, 1][:axes], [1, 0, 0][:axes], [1, 0, 0][:axes], groups, [1, 2, 1][:axes]


def _image(r: Random, axes: int, channels: int = 8) -> Tensor:
    return r.uint8(2, channels, *(9, 7, 5)[:axes])


def _convolutions(r: Random) -> dict[str, list[Arguments]]:
    table = {}
    rest = (None, None, None, 1.0, 0)
    for axes in (1, 2, 3):
        image, signed = _image(r, axes), r.int8(2, 8, *(9, 7, 5)[:axes])
        quantized, real = (image, 0.02, 7), image.float() / 40 - 3
        for prefix, transposed in (("conv", False), ("conv_transpose", True)):
            name, shape = f"{prefix}{axes}d", _transposed if transposed else _plain
            weight = {g: _conv(r, axes, g, transposed=transposed) for g in (1, 2, 8)}
            table[name] = [
                (*quantized, *weight[1], *shape(axes, 1), *QUINT8),
                (*quantized, *weight[2], *shape(axes, 2), *SEVEN_BITS, 0.0, 6.0),
                (signed, 0.02, -5, *weight[8], *shape(axes, 8), *QINT8),
                (*quantized, *weight[1], *shape(axes, 1), *QUINT8, *rest, "gelu"),
                (quantized[0][:, :, 1:], 0.02, 0, *weight[1][:2], None, None, *shape(axes, 1),
                 *QUINT8),
            ]  # fmt: skip
            table[f"{name}_dynamic"] = [
                (real, *weight[1], *shape(axes, 1)),
                (real, *weight[2], *shape(axes, 2), 127, False, 0.0),
                (real, *weight[8], *shape(axes, 8), 255, True, None, None, "leaky_relu", 0.1),
            ]
        table[f"conv{axes}d"].append(
            (*quantized, *_conv(r, axes, 1), *_plain(axes, 1, "reflect"), *QUINT8)
        )
    residual = torch.ops.qtensor.conv2d(*table["conv2d"][0]).flip(0)
    table["conv2d"].append((*table["conv2d"][0], 0.0, None, residual, 0.05, 9))
    return table


def _products(r: Random) -> dict[str, list[Arguments]]:
    rows, residual, real = r.uint8(2, 5, 24), r.uint8(2, 5, 7), r.float(2, 5, 24)
    masked = torch.zeros(2, 1, 5, 37).masked_fill(r.uint8(2, 1, 5, 37) > 99, -torch.inf)
    masked[1, 0, 2] = -torch.inf
    norm = (r.float(8), r.float(8), r.float(8), r.scales(8), 1e-5)
    table: dict[str, list[Arguments]] = {
        "linear": [
            (rows, 0.02, 7, *_linear(r), *QUINT8),
            (rows // 2, 0.02, 7, *_linear(r, zero_points=False, bias=False), *SEVEN_BITS, 0.0),
            (r.int8(1, 24), 0.02, -7, *_linear(r), *QINT8),
            (rows, 0.02, 7, *_linear(r), *QUINT8, 0.0, 6.0, residual, 0.05, 9),
            (rows, 0.02, 7, *_linear(r), *QUINT8, None, None, None, 1.0, 0, "tanh"),
        ],
        "linear_dynamic": [
            (real, *_linear(r)),
            (real, *_linear(r, bias=False), 127, False, 0.0, 6.0),
            (real[0, :1], *_linear(r), 255, True, None, None, "leaky_relu", 0.1),
        ],
        "linear_weight_only": [
            (real, *_linear(r)),
            (real[0], *_linear(r, zero_points=False, bias=False), 0.0, None, "gelu_tanh"),
        ],
        "matmul": [
            (r.uint8(2, 3, 9), 0.02, 7, r.uint8(2, 9, 5), 0.03, 100, 0.5, *QUINT8[1:]),
            (r.int8(3, 9), 0.02, -7, r.int8(4, 9).t(), 0.03, 10, *QINT8, 0.0),
        ],
        "matmul_int32": [
            (r.uint8(2, 3, 9), 7, r.uint8(2, 9, 5), 100),
            (r.int8(3, 9), -7, r.int8(4, 9).t(), 10),
        ],
        "attention_weights": [
            (r.int32(2, 3, 5, 37), 0.002),
            (r.int32(2, 3, 5, 37), 0.001, masked),
            (r.int32(4, 9), 0.003, r.float(4, 1)),
        ],
        "lstm": [_lstm(r, r.uint8, 100, 0, 255), _lstm(r, r.int8, -3, -128, 127)],
    }
    for axes in (1, 2, 3):
        table[f"batch_norm{axes}d"] = [
            (_image(r, axes), 0.02, 7, *norm, *QUINT8, 0.0),
            (_image(r, axes).to(torch.int8), 0.02, 7, *norm, *QINT8),
        ]
    return table


def _pooling(r: Random) -> dict[str, list[Arguments]]:
    line, image, signed = r.uint8(2, 5, 9), _image(r, 2), r.int8(2, 8, 9, 7, 5)
    last = image.contiguous(memory_format=torch.channels_last)
    one, two, none = [3], [3, 2], [0, 0]
    return {
        "max_pool": [
            (line, one, [2], [1], [1], False),
            (last, two, [2, 1], [1, 1], [1, 2], True),
            (signed, [2, 2, 2], [2, 1, 2], [0, 0, 0], [1, 1, 1], False),
        ],
        "avg_pool": [
            (line, 7, one, [2], [1], False, True),
            (last, 7, two, [2, 1], [1, 1], True, False),
            (image, 7, two, two, none, False, True, 5),
            (signed, -7, [2, 2, 2], [2, 1, 2], [0, 0, 0], False, False),
        ],
        "adaptive_max_pool": [(line, [4]), (last, [3, 2]), (signed, [2, 3, 2])],
        "adaptive_avg_pool": [(line, [4], 7), (last, [3, 2], 7), (signed, [2, 3, 2], -7)],
        "mean": [
            (image, [2, 3], False, 0.02, 7, *QUINT8[:4]),
            (last, [1], True, 0.02, 7, *QUINT8[:4]),
            (signed, [0, 4], False, 0.02, -7, *QINT8[:4]),
        ],
        "interpolate_nearest": [
            (line, [13], None, False),
            (last, [4, 20], None, True),
            (signed, [12, 14, 3], [1.4, 2.0, 0.6], False),
        ],
        "interpolate_linear": [
            (line, 7, [13], None, False),
            (last, 7, [4, 20], None, True),
            (image, 7, [18, 14], [2.0, 2.0], False),
            (signed, -7, [12, 14, 3], None, False),
        ],
    }  # fmt: skip


def _elementwise(r: Random) -> dict[str, list[Arguments]]:
    image, other, signed = _image(r, 2), _image(r, 2), r.int8(4, 33)
    table = r.uint8(6, 17), r.scales(6), r.float(6)
    last = other.contiguous(memory_format=torch.channels_last)
    unsigned, to_signed, ranks = QUINT8[:4], QINT8[:4], torch.arange(8)
    binary = [
        (image, 0.02, 7, other, 0.03, 100, *unsigned),
        (image, 0.02, 7, last[:, :, :1], 0.03, 100, *unsigned, 0.0, 6.0),
        (signed, 0.02, -7, signed[0], 0.03, 10, *to_signed),
    ]
    return {
        "add": binary,
        "mul": binary,
        "cat": [
            ([image, last, image[:, :1]], [0.02, 0.03, 0.02], [7, 100, 7], 1, *QUINT8),
            ([signed, signed], [0.02, 0.2], [7, -3], 0, *QINT8, 0.0, 6.0),
        ],
        "requantize": [
            (image, 0.02, 7, *QUINT8, 0.0),
            (last, 0.02, 7, *QINT8),
        ],
        "requantize_per_channel": [
            (image, r.scales(8), ranks, torch.tensor([0.03]), ranks[:1], 1, 0, 255, torch.uint8),
            (last, r.scales(8), ranks, r.scales(8), -ranks, 1, -128, 127, torch.int8),
            (signed.int(), r.scales(1), ranks[:1], r.scales(4), ranks[:4], 0, -9, 99, torch.int32),
        ],
        "unary": [
            (image, 0.02, 7, "gelu", [], *QUINT8),
            (last, 0.02, 7, "leaky_relu", [0.1], *QINT8),
            (signed, 0.02, -7, "threshold", [0.5, -1.0], *QINT8),
        ],
        "prelu": [
            (image, 0.02, 7, r.float(8), *unsigned),
            (signed, 0.02, -7, r.float(1), *to_signed),
        ],
        "softmax": [
            (image, 0.02, 1, 1 / 256, 0, 0, 255),
            (signed, 0.02, -1, 1 / 256, -128, -128, 127),
        ],
        "embedding_bag": [
            (*table, torch.tensor([0, 5, 2, 1]), torch.tensor([0, 3]), 17),
            (*table, torch.tensor([0, 5, 2]), torch.tensor([0, 1, 3]), 17, 8, "mean", None, True),
            (*table, torch.tensor([0, 5, 2]), torch.tensor([0, 0]), 34, 4, "max", None, False, 2),
            (*table, torch.tensor([4, 5, 2]), torch.tensor([0, 2]), 67, 2, "sum", r.float(3)),
        ],
        "embedding": [
            (r.uint8(6, 17), r.scales(6), r.float(6), torch.tensor([[0, 5, 2], [2, 0, 1]])),
            (r.uint8(6, 17), r.scales(6), r.float(6), torch.tensor(3, dtype=torch.int32)),
        ],
    }  # fmt: skip


def _conversions(r: Random) -> dict[str, list[Arguments]]:
    real, unsigned, signed = r.float(2, 8, 9), r.uint8(2, 8, 9), r.int8(2, 8, 9)
    byte, int8 = (0, 255, torch.uint8), (-128, 127, torch.int8)
    scale, zero = torch.tensor(0.02), torch.tensor(7)
    ends = torch.tensor(-128), torch.tensor(127), torch.int8
    channels = r.scales(8), r.zero_points(8, low=0)
    tokens = r.scales(2, 8, 1), r.zero_points(2, 8, 1)
    groups = r.scales(2, 8, 3), r.zero_points(2, 8, 3)
    choose = (real, 0, 255, 1e-6, torch.uint8)
    return {
        "quantize_per_tensor": [
            (real, 0.02, 7, *byte),
            (real.half(), 0.02, -7, *int8),
            (real.transpose(0, 2), 0.02, 1000, -(2**31), 2**31 - 1, torch.int32),
        ],
        "quantize_per_tensor.tensor": [(real, scale, zero, *int8)],
        "quantize_per_tensor.tensor2": [(real, scale, zero, *ends)],
        "dequantize_per_tensor": [
            (unsigned, 0.02, 7),
            (signed, 0.02, -7, *int8),
            (r.int32(3, 5), 0.02, 1000),
        ],
        "dequantize_per_tensor.tensor": [(signed, scale, zero, *int8)],
        "dequantize_per_tensor.tensor2": [(signed, scale, zero, *ends)],
        "quantize_per_channel": [
            (real, *channels, 1, *byte),
            (real, r.scales(8), r.float(8), -2, *byte),
        ],
        "dequantize_per_channel": [
            (unsigned, *channels, 1),
            (unsigned, r.scales(9), None, 2, *byte),
        ],
        "quantize_per_token": [(real, *tokens, *int8)],
        "dequantize_per_token": [(signed, *tokens, *int8)],
        "quantize_per_channel_group": [(real, *groups, *int8, 3)],
        "dequantize_per_channel_group": [(signed, *groups, *int8, 3)],
        "choose_qparams.tensor": [choose],
        "choose_qparams_symmetric.tensor": [choose],
        "choose_qparams_per_token": [(real, torch.int8)],
        "choose_qparams_per_token_asymmetric": [(real, torch.int8)],
        "convert_element_type.no_fuse": [(real, torch.float16)],
    }


def _training(r: Random) -> dict[str, list[Arguments]]:
    real, grad = r.float(2, 8, 9), r.float(2, 8, 9)
    scale, zero, zeros = r.scales(1), torch.tensor([7]), r.zero_points(8, low=0)
    on = torch.tensor([1], dtype=torch.uint8)
    return {
        "fake_quantize": [
            (real, scale, zero, None, 0, 255),
            (real, r.scales(8), zeros.int(), 1, 0, 255, on),
        ],
        "fake_quantize_backward": [
            (grad, real, scale, zero, None, 0, 255),
            (grad, real, r.scales(8), zeros.int(), 1, 0, 255, on),
        ],
        "fake_quantize_learnable": [
            (real, scale, zero.float(), None, 0, 255, 0.1),
            (real, r.scales(8), zeros.float(), 1, 0, 255),
        ],
        "fake_quantize_learnable_backward": [
            (grad, real, scale, zero.float(), None, 0, 255, 0.1),
            (grad, real, r.scales(8), zeros.float(), 1, 0, 255),
        ],
        "fake_quant_per_channel": [(real, r.scales(8), zeros, 1, 0, 255)],
    }


def examples() -> list[Example]:
    """Fresh tensors in every call, so that a test may write to them."""
    families = (_convolutions, _products, _pooling, _elementwise, _conversions, _training)
    return [
        Example(name, arguments, number)
        for seed, family in enumerate(families)
        for name, calls in family(Random(seed)).items()
        for number, arguments in enumerate(calls)
    ]


def registered() -> set[str]:
    """The names of all operators."""
    names = torch._C._dispatch_get_all_op_names()
    return {name.removeprefix("qtensor::") for name in names if name.startswith("qtensor::")}
