"""The weights of attention: softmax over rows of integer scores."""

import torch
from torch import Tensor

from .. import _elementwise
from .._threads import num_threads
from ._activation import expm1_negative
from ._checks import check_float32, check_integers, check_parameters
from ._registry import operator


def attention_weights_reference(
    scores: Tensor, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Softmax over the last dimension, each row rounded to 8 bits of its own largest weight.

    In float32, in this order, and every implementation equals it bit for bit::

        t = scores * scale + mask
        steps = round_half_to_even(255 * e**(t - max(t)))      # e as in _activation
        scales = 1 / max(sum(steps), 1)

    Args:
        scores: int32, ``(..., S)``, exact sums of products.
        scale: what one of their steps is worth.
        mask: float32, broadcasts to ``scores``: added to the real scores, ``-inf`` for what is not
            to be attended; ``None``, the default, for none.

    Returns:
        steps, uint8, of the shape of ``scores``, and scales, float32, ``(..., 1)``: the weights are
        ``steps * scales``, and those of a row sum to 1. A row that may attend to nothing is all
        zeros, and so is the weight of a score that is NaN or infinite.

    Raises:
        TypeError: a dtype is not as above.
        ValueError: ``scale`` is not positive and finite, there is no score in a row, or the mask
            does not fit the scores.

    Example:
        >>> import torch, qtensor
        >>> scores = torch.tensor([[0, 0, -1000]], dtype=torch.int32)
        >>> torch.ops.qtensor.attention_weights(scores, 0.1)
        (tensor([[255, 255,   0]], dtype=torch.uint8), tensor([[0.0020]]))
    """
    attention_weights_fake(scores, scale, mask)
    t = scores.float() * torch.tensor(scale, dtype=torch.float32, device=scores.device)
    if mask is not None:
        t = t + mask
    t = torch.where(t.isnan(), -torch.inf, t)
    # A row of nothing but -inf has no differences.
    t = t - t.amax(-1, keepdim=True).clamp_min(torch.finfo(t.dtype).min)
    t = torch.where(t > -87, t, -87.0)
    steps = ((expm1_negative(t) + 1) * 255).round().to(torch.uint8).contiguous()
    return steps, 1 / steps.sum(-1, keepdim=True).clamp_min(1).float()


def attention_weights_fake(
    scores: Tensor, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    check_integers(scores, (torch.int32,), "scores")
    check_parameters(scale, 0, 0, 0)
    if scores.dim() == 0 or scores.shape[-1] == 0:
        raise ValueError(
            "expected scores of one row or more, with a score or more in each, got shape "
            f"{tuple(scores.shape)}"
        )
    if mask is not None:
        check_float32(mask, "mask")
        _check_mask(mask, scores)
    steps = scores.new_empty(scores.shape, dtype=torch.uint8)
    return steps, scores.new_empty((*scores.shape[:-1], 1), dtype=torch.float32)


def _check_mask(mask: Tensor, scores: Tensor) -> None:
    try:
        mask.expand(scores.shape)
    except RuntimeError:
        raise ValueError(
            f"expected a mask that broadcasts to the scores' shape {tuple(scores.shape)}, got "
            f"{tuple(mask.shape)}"
        ) from None


def attention_weights_cpu(
    scores: Tensor, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    steps, scales = attention_weights_fake(scores, scale, mask)
    if steps.numel() == 0:
        return steps, scales
    mask = None if mask is None else mask.expand(scores.shape)
    _elementwise.attention_weights(scores, mask, steps, scales, scale, num_threads())
    return steps, scales


attention_weights = operator(
    "attention_weights(Tensor scores, float scale, Tensor? mask=None) -> (Tensor, Tensor)",
    cpu=attention_weights_cpu,
    reference=attention_weights_reference,
    fake=attention_weights_fake,
)
