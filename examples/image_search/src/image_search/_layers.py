"""A small float network, layer by layer in int8."""

from typing import Any

import torch
from torch import Tensor, nn

import qtensor.nn.intrinsic.quantized as fused
import qtensor.nn.quantized as quantized
from qtensor import quint8

from ._weights import int8_rows


def quantize_layers(model: nn.Sequential, examples: Tensor) -> nn.Sequential:
    """Int8 layers for a float network.

    Linear layers and convolutions, with a ReLU that follows, become int8 layers. Everything else
    (pooling, flattening …) stays as it is, and then works on integers.

    Args:
        model: layers in a row.
        examples: float32 input, from which the ranges of all activations are taken.

    Returns:
        a network from float32 to float32.
    """
    layers: list[nn.Module] = [quantized.Quantize(*_parameters(examples), quint8)]
    values = examples
    pending = list(model)
    while pending:
        layer = pending.pop(0)
        values = _run(layer, values)
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            layers.append(layer)
            continue
        with_relu = bool(pending) and isinstance(pending[0], nn.ReLU)
        if with_relu:
            values = _run(pending.pop(0), values)
        int8 = _like(layer, with_relu)
        int8.set_weight_bias(int8_rows(layer.weight), layer.bias)
        int8.scale, int8.zero_point = _parameters(values)
        layers.append(int8)
    return nn.Sequential(*layers, quantized.DeQuantize())


@torch.no_grad()
def _run(layer: nn.Module, values: Tensor) -> Tensor:
    result: Tensor = layer(values)
    return result


def _parameters(values: Tensor) -> tuple[float, int]:
    """Scale and zero point that map the range of the values, and zero, to 0 … 255."""
    lowest, highest = min(values.min().item(), 0.0), max(values.max().item(), 0.0)
    scale = max((highest - lowest) / 255, torch.finfo(torch.float32).tiny)
    return scale, round(-lowest / scale)


def _like(layer: Any, with_relu: bool) -> Any:
    """An int8 layer of the same sizes."""
    if isinstance(layer, nn.Linear):
        kind: Any = fused.LinearReLU if with_relu else quantized.Linear
        return kind(layer.in_features, layer.out_features, layer.bias is not None)
    kind = fused.ConvReLU2d if with_relu else quantized.Conv2d
    geometry = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups
    return kind(layer.in_channels, layer.out_channels, *geometry, layer.bias is not None)
