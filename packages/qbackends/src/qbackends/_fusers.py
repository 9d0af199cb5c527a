"""Folding a batch norm into the layer before it."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.nn.utils.fusion import (
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
)


def folding_batch_norm(
    fused: type[nn.Module] | None = None, training: type[nn.Module] | None = None
) -> Callable[..., nn.Module]:
    """A fuser method for a sequence of a layer, a batch norm, and anything after them.

    Args:
        fused: what layer (with the batch norm folded in) and the rest become; by default the
            layer alone.
        training: what all of them become in quantization-aware training, where the batch norm
            still has to learn; a row without one is not fused then.
    """
    return partial(_fold, fused=fused, training=training)


def _fold(
    is_qat: bool,
    layer: Any,
    bn: Any,
    *rest: Any,
    fused: type[nn.Module] | None,
    training: type[nn.Module] | None,
) -> nn.Module:
    if is_qat and training is not None:
        return training(layer, bn, *rest)
    folded = _fold_function(layer)(layer, bn)
    return folded if fused is None else fused(folded, *rest)


def _fold_function(layer: nn.Module) -> Callable[..., nn.Module]:
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval
    return _fold_transposed if getattr(layer, "transposed", False) else fuse_conv_bn_eval


def _fold_transposed(layer: Any, bn: Any) -> nn.Module:
    """Of the weight, ``(in, out / groups, …)``, each group's rows hold output channels of its own;
    they are laid side by side, so that the batch norm meets all of them along axis 1."""
    weight: Any = layer.weight.unflatten(0, (layer.groups, -1)).transpose(0, 1).flatten(1, 2)
    statistics = (bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    weight, bias = fuse_conv_bn_weights(weight, layer.bias, *statistics, transpose=True)
    weight = weight.unflatten(1, (layer.groups, -1)).transpose(0, 1).flatten(0, 1)
    folded: nn.Module = copy.deepcopy(layer)
    folded.weight = nn.Parameter(weight.detach(), layer.weight.requires_grad)
    folded.bias = bias
    return folded
