"""Pooling, means and interpolation, quantized, beside legacy quantized torch, ONNX Runtime and
float: ``python benchmarks/pool.py``.

Each call is that of a user: most are functions of torch on a quantized tensor, and what torch's own
Python takes before it asks such a tensor is shown beside them. Pooling is also called by the
operator's own name and through a module. ONNX Runtime's operators are those that read channels-last
images, where it has such. Images have channels last unless a row says otherwise.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _peer import onnx_operator, onnx_parameters, thread_counts
from torch import Tensor, nn

from qtensor import ops, quantize_per_tensor, quint8
from qtensor.nn import quantized as modules
from quintet_testing.bench import OURS, Table, compare, threads

LEGACY = "legacy"
ONNX = "onnxruntime"
FLOAT = "float"
TORCH = "torch's Python"
SECONDS = 0.1
SCALE, ZERO_POINT = 0.03, 128
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
Onnx = tuple[str, list[np.ndarray], dict[str, object]]
"""An operator's name, its constants, its attributes."""


def functions() -> Iterator[tuple[str, Function, Onnx]]:
    """What is done to images: its name, a function of torch, an operator of ONNX Runtime."""
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
        window = kernel, stride, padding
        name = f"{kernel}x{kernel}/{stride}"
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        largest: Onnx = ("NhwcMaxPool", [], attributes)
        yield f"max {name}", lambda x, window=window: F.max_pool2d(x, *window), largest
        mean: Onnx = ("QLinearAveragePool", _mean(), {**attributes, "channels_last": 1})
        yield f"average {name}", lambda x, window=window: F.avg_pool2d(x, *window), mean
    everything: Onnx = ("QLinearGlobalAveragePool", _mean(), {"channels_last": 1})
    yield "average to 1x1", lambda x: F.adaptive_avg_pool2d(x, 1), everything
    yield "mean of pixels", lambda x: torch.mean(x, (2, 3)), everything
    enlarged = [np.empty(0, np.float32), np.array([1, 2, 2, 1], np.float32)]
    corners = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    nearest: Onnx = ("Resize", enlarged, {"mode": "nearest", **corners})
    yield "nearest, twice the size", lambda x: F.interpolate(x, scale_factor=2), nearest
    yield (
        "bilinear, twice the size",
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
        ("Resize", enlarged, {"mode": "linear"}),
    )


def ways() -> Iterator[tuple[str, Function, Function]]:
    """What is not called alike on both: ours and legacy's."""
    for kernel, padding in ((2, 0), (3, 1)):
        size, stride, around, apart = [kernel] * 2, [2, 2], [padding] * 2, [1, 1]
        geometry = size, stride, around, apart, False
        yield (
            f"ops.max_pool2d {kernel}x{kernel}/2",
            lambda x, given=geometry: ops.max_pool2d(x, *given),
            lambda x, given=geometry: torch.ops.quantized.max_pool2d(x, *given),
        )
        yield (
            f"MaxPool2d {kernel}x{kernel}/2",
            modules.MaxPool2d(kernel, 2, padding),
            nn.MaxPool2d(kernel, 2, padding),
        )
    yield "AdaptiveAvgPool2d 1x1", modules.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(1)
    yield (
        "adaptive_max_pool2d 7x7 (legacy: of floats)",
        lambda x: F.adaptive_max_pool2d(x, 7),
        lambda x: torch.quantize_per_tensor(
            F.adaptive_max_pool2d(x.dequantize(), 7), SCALE, ZERO_POINT, torch.quint8
        ),
    )


class Answering(Tensor):
    """A tensor whose functions do nothing: calling one takes what torch itself takes."""

    @classmethod
    def __torch_function__(cls, *call: Any, **options: Any) -> None:
        return None


def _mean() -> list[np.ndarray]:
    """The operands of a mean beside the image."""
    return onnx_parameters(SCALE, ZERO_POINT) * 2


def timed(function: Function, x: Tensor, onnx: Onnx | None = None) -> dict[str, float]:
    """Of a quantized tensor, ours and legacy, and of a float one."""
    ours = quantize_per_tensor(x, SCALE, ZERO_POINT, quint8)
    peer = torch.quantize_per_tensor(x, SCALE, ZERO_POINT, torch.quint8)
    calls = {
        OURS: lambda: function(ours),
        LEGACY: lambda: function(peer),
        FLOAT: lambda: function(x),
        TORCH: partial(function, x.as_subclass(Answering)),
    }
    if onnx:
        name, constants, attributes = onnx
        operands = [ours.int_repr().permute(0, 2, 3, 1).contiguous(), *constants]
        domain = "" if name == "Resize" else "com.microsoft"
        calls[ONNX] = onnx_operator(name, domain, operands, **attributes)
    return compare(calls, seconds=SECONDS)


def main() -> None:
    for count in thread_counts(__doc__):
        with threads(count):
            table = Table("Pooling and interpolation, uint8", peer=LEGACY)
            for shape in IMAGES:
                x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
                for name, function, onnx in functions():
                    table.add(f"{name} {'x'.join(map(str, shape))}", timed(function, x, onnx))
            for name, function, _ in functions():
                label = f"{name} {'x'.join(map(str, IMAGES[0]))}, contiguous"
                table.add(label, timed(function, torch.randn(IMAGES[0])))
            images = torch.randn(IMAGES[0]).contiguous(memory_format=torch.channels_last)
            quantized = SCALE, ZERO_POINT
            ours = quantize_per_tensor(images, *quantized, quint8)
            peer = torch.quantize_per_tensor(images, *quantized, torch.quint8)
            for name, function, legacy in ways():
                calls = {OURS: partial(function, ours), LEGACY: partial(legacy, peer)}
                label = f"{name} {'x'.join(map(str, IMAGES[0]))}"
                table.add(label, compare(calls, seconds=SECONDS))
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
