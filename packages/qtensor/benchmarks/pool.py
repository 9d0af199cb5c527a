"""Pooling, means and interpolation, quantized, beside legacy quantized torch, ONNX Runtime and
float: ``python benchmarks/pool.py``.

Each call is that of a user: a function of torch on a quantized tensor. ONNX Runtime's operators are
those that read channels-last images, where it has such.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _peer import onnx_operator, onnx_parameters, thread_counts
from torch import Tensor

from qtensor import quantize_per_tensor, quint8
from quintet_testing.bench import OURS, Table, compare, threads

LEGACY = "legacy"
ONNX = "onnxruntime"
FLOAT = "float"
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
            table = Table("Pooling and interpolation, uint8, channels last", peer=LEGACY)
            for shape in IMAGES:
                x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
                for name, function, onnx in functions():
                    table.add(f"{name} {'x'.join(map(str, shape))}", timed(function, x, onnx))
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
