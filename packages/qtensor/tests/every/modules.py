"""An example of every quantized module: how it is made, and what it takes."""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import qtensor
from qtensor import nn as qnn

from ..models import random_weight

QUANTIZED = ("nn.quantized", "nn.intrinsic.quantized")
FLOAT_INPUT = (
    *("nn.quantized.dynamic", "nn.quantized.weight_only", "nn.quantized.reference"),
    "nn.intrinsic.quantized.dynamic",
)

# What is not called as the others are, and where it is tested instead.
ELSEWHERE = {
    **dict.fromkeys(("Activation", "OutputModule", "ReferenceModule"), "bases of the others"),
    **dict.fromkeys(
        ("FloatFunctional", "FXFloatFunctional", "QFunctional"), "test_nn_modules.py: no forward"
    ),
    **dict.fromkeys(
        ("LSTM", "LSTMCell", "MultiheadAttention"), "made from modules of qobserve, tested there"
    ),
}

TABLES = ("Embedding", "EmbeddingBag")  # looked up by integers
_SIZES = {"1d": (9,), "2d": (9, 8), "3d": (7, 6, 5)}


@dataclass(frozen=True)
class Module:
    """How to make a module, the same in every call, and the shapes of its inputs."""

    path: str
    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    indices: bool = False

    def __str__(self) -> str:
        return f"{self.path}.{self.name}"

    @property
    def quantized_input(self) -> bool:
        return self.path in QUANTIZED and self.name not in ("Quantize", *TABLES)

    def inputs(self) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(5)
        if self.indices:
            return tuple(torch.randint(0, 6, shape, generator=generator) for shape in self.shapes)
        real = [torch.randn(shape, generator=generator) for shape in self.shapes]
        if not self.quantized_input:
            return tuple(real)
        return tuple(qtensor.quantize_per_tensor(x, 0.03, 100, qtensor.quint8) for x in real)


def _layer(make: Callable[[], Any]) -> Callable[[], nn.Module]:
    """With a random weight and bias; a slow quarter of them large enough to need wide steps."""

    def filled() -> nn.Module:
        layer = make()
        if hasattr(layer, "qweight"):
            weight = random_weight(*layer.qweight.shape, seed=3)
            layer.qweight = weight.int_repr()
            layer.weight_scales = torch.linspace(0.01, 0.02, len(layer.weight_scales))
            layer.float_bias = torch.linspace(-1, 1, len(layer.float_bias))
        if isinstance(getattr(layer, "output_qparams", None), qtensor.QParams):
            layer.output_qparams = qtensor.QParams(0.05, 90)
        return layer.eval()

    return filled


def _of_class(path: str, name: str) -> Module | None:
    """By what the names of classes have in common."""
    cls = getattr(importlib.import_module(f"qtensor.{path}"), name)
    inputs = 2 if "Add" in name and path in QUANTIZED else 1
    if name.startswith("Linear"):
        slope = (0.1,) if name == "LinearLeakyReLU" else ()
        features = 12 if inputs == 1 else 20
        shapes = ((5, 20), (5, features))[:inputs]
        return Module(path, name, _layer(lambda: cls(20, features, *slope)), shapes)
    if name.startswith(("Conv", "BatchNorm", "BNReLU")):
        image = (2, 8, *_SIZES[name[-2:]])
        if not name.startswith("Conv"):
            return Module(path, name, _layer(lambda: cls(8)), (image,))
        padded = {"padding": 1, "groups": 2}  # the output is of the image's shape
        return Module(path, name, _layer(lambda: cls(8, 8, 3, **padded)), (image,) * inputs)
    if "Pool" in name:
        return Module(path, name, lambda: cls(2), ((2, 8, *_SIZES[name[-2:]]),))
    return None


_OTHERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ELU": (lambda: qnn.quantized.ELU(0.05, 90), (3, 8)),
    "Hardswish": (lambda: qnn.quantized.Hardswish(0.05, 90), (3, 8)),
    "LeakyReLU": (lambda: qnn.quantized.LeakyReLU(0.05, 90), (3, 8)),
    "PReLU": (lambda: qnn.quantized.PReLU(0.05, 90, 8), (3, 8)),
    "ReLU6": (qnn.quantized.ReLU6, (3, 8)),
    "Sigmoid": (lambda: qnn.quantized.Sigmoid(1 / 256, 0), (3, 8)),
    "Softmax": (lambda: qnn.quantized.Softmax(1, 1 / 256, 0), (3, 8)),
    "Quantize": (lambda: qnn.quantized.Quantize(0.05, 90, qtensor.quint8), (3, 8)),
    "DeQuantize": (qnn.quantized.DeQuantize, (3, 8)),
    "Dropout": (lambda: qnn.quantized.Dropout().eval(), (3, 8)),
}


def _embedding(path: str, name: str) -> nn.Module:
    module = getattr(importlib.import_module(f"qtensor.{path}"), name)(6, 4)
    if path in QUANTIZED:
        generator = torch.Generator().manual_seed(2)
        table = torch.randn(6, 4, generator=generator)
        scales = torch.full((6,), 0.05)
        zeros = torch.full((6,), 60.0)
        weight = qtensor.quantize_per_channel(table, scales, zeros, 0, qtensor.quint8)
        module.set_weight(weight)
    return module.eval()


def public() -> set[tuple[str, str]]:
    """Path and name of every public module class."""
    return {
        (path, name)
        for path in (*QUANTIZED, *FLOAT_INPUT)
        for name, value in vars(importlib.import_module(f"qtensor.{path}")).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }


def modules() -> list[Module]:
    found = []
    for path, name in sorted(public()):
        if name in ELSEWHERE:
            continue
        if name in TABLES:
            make = functools.partial(_embedding, path, name)
            found.append(Module(path, name, make, ((3, 2),), True))
        elif name in _OTHERS:
            make, shape = _OTHERS[name]
            found.append(Module(path, name, make, (shape,)))
        elif (module := _of_class(path, name)) is not None:
            found.append(module)
    return found
