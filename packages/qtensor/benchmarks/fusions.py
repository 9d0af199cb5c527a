"""What is fused to a layer beside legacy's two steps: ``python benchmarks/fusions.py``.

The legacy stack fuses ReLU, and the rest in another engine than fbgemm only: there it is the layer
and then the activation, on quantized tensors where it has such a kernel and else by way of float.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from _peer import SECONDS, kaiming_weight, peer_input, peer_weight, thread_counts
from torch import Tensor, nn

from qtensor import QParams, QTensor, qint8, quint8
from qtensor.nn.intrinsic import quantized as fused
from quintet_testing.bench import OURS, Call, Table, compare, threads

PEER = "fbgemm"
INPUT, OUTPUT = (0.03, 30), (0.05, 60)
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "Linear 128x768x3072": (nn.Linear(768, 3072), (128, 768)),
    "Conv2d 1x64x56x64 3/1": (nn.Conv2d(64, 64, 3, padding=1), (1, 64, 56, 56)),
}

Function = Callable[[Tensor], Tensor]
legacy = torch.ops.quantized


def _through_float(function: Function) -> Function:
    return lambda y: torch.quantize_per_tensor(function(y.dequantize()), *OUTPUT, torch.quint8)


AFTER: dict[str, tuple[Function, Function]] = {
    "ReLU": (F.relu, torch.relu),
    "Hardtanh": (F.hardtanh, lambda y: F.hardtanh(y)),
    "LeakyReLU": (F.leaky_relu, lambda y: legacy.leaky_relu(y, 0.01, False, *OUTPUT)),
    "Tanh": (torch.tanh, torch.tanh),
    "GELU": (F.gelu, _through_float(F.gelu)),
}
"""Of each class: the activation in float, and on a legacy quantized tensor."""


def static(kind: str, layer: nn.Module, shape: tuple[int, ...]) -> dict[str, dict[str, Call]]:
    """By what is fused: calls of each candidate."""
    integers, scales = kaiming_weight(*layer.weight.shape)
    bias = layer.bias.detach()
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    weight = QTensor(integers, QParams(scales, zeros, qint8, axis=0))
    layer.weight = nn.Parameter(weight.dequantize(), requires_grad=False)
    layer.bias.requires_grad = False
    activations = torch.randint(0, 128, shape).to(torch.uint8)
    if len(shape) == 4:
        activations = activations.contiguous(memory_format=torch.channels_last)
    x, given = activations.float(), QTensor(activations, QParams(*INPUT, quint8))
    old, plain = peer_input(activations, *INPUT), _legacy_layer(layer, integers, scales, bias)
    residual, real = plain(old).int_repr(), layer(x)
    added, old_added = QTensor(residual, QParams(*OUTPUT, quint8)), peer_input(residual, *OUTPUT)

    def ours(after: str) -> nn.Module:
        name = f"{kind}{after}" if kind == "Linear" else f"{kind[:-2]}{after}{kind[-2:]}"
        outputs, inputs, *kernel = layer.weight.shape
        sizes = [inputs, outputs, *([kernel, 1, 1] if kernel else [])]
        made = getattr(fused, name)(*sizes, *([0.01] if name == "LinearLeakyReLU" else []))
        made.set_weight_bias(weight, bias)
        made.scale, made.zero_point = OUTPUT
        return made

    table = {}
    for after, (function, quantized) in AFTER.items():
        module = ours(after)
        table[after] = {
            OURS: lambda module=module: module(given),
            PEER: lambda quantized=quantized: quantized(plain(old)),
            "float": lambda function=function: function(layer(x)),
        }
    for after, add in (("Add", legacy.add), ("AddReLU", legacy.add_relu)):
        module = ours(after)
        table[after] = {
            OURS: lambda module=module: module(given, added),
            PEER: lambda add=add: add(plain(old), old_added, *OUTPUT),
            "float": lambda: layer(x) + real,
        }
    return table


def _legacy_layer(layer: nn.Module, integers: Tensor, scales: Tensor, bias: Tensor) -> Function:
    if isinstance(layer, nn.Linear):
        packed = legacy.linear_prepack(peer_weight(integers, scales), bias)
        return lambda x: legacy.linear(x, packed, *OUTPUT)
    geometry = [list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups]
    packed = legacy.conv2d_prepack(peer_weight(integers, scales), bias, *geometry)
    return lambda x: legacy.conv2d(x, packed, *OUTPUT)


def main() -> None:
    for count in thread_counts(__doc__):
        with threads(count), torch.no_grad():
            table = Table("What is fused to a layer, activations 0…127", peer=PEER)
            for name, (layer, shape) in LAYERS.items():
                for after, calls in static(type(layer).__name__, layer, shape).items():
                    table.add(f"{name} {after}", compare(calls, seconds=SECONDS))
            table.print()


if __name__ == "__main__":
    main()
