"""Folding a batch norm into the layer before it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


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
    fold = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    folded = fold(layer, bn)
    return folded if fused is None else fused(folded, *rest)
