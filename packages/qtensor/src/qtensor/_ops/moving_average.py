"""Quantization parameters that follow the moving average of the ranges seen.

Not an operator of ``torch.ops``: it writes into the buffers of a module, a value a channel. What
has no kernel is plain torch, with the same numbers. The rule is that of the moving-average
observers, so a model is trained with the very parameters it will be converted with::

    range += averaging_constant · (new range - range)
    lo, hi = min(range.min, 0), max(range.max, 0)
    affine:     scale = (hi - lo) / (quant_max - quant_min)
                zero_point = clamp(quant_min - round(lo / scale), quant_min, quant_max)
    symmetric:  scale = 2 · max(-lo, hi) / (quant_max - quant_min)
                zero_point = 0, or the middle of an unsigned range

(Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, section 3), with scales of at least float32's epsilon.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import _fake_quantize
from .._direct import direct

_INF = float("inf")
_EPS = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class RunningRange:
    """Buffers of one value per channel, written in place.

    Attributes:
        min, max: the moving averages, float; ``inf`` and ``-inf`` before anything was seen.
        scale: float.
        zero_point: of an integer dtype.
    """

    min: Tensor
    max: Tensor
    scale: Tensor
    zero_point: Tensor

    def expect_channels(self, channels: int) -> None:
        """Give empty buffers their size; raise ``ValueError`` if they have another."""
        if self.min.numel() == 0 and channels:
            initial = (self.min, _INF), (self.max, -_INF), (self.scale, 1), (self.zero_point, 0)
            for tensor, value in initial:
                tensor.resize_(channels).fill_(value)
        names = "running_min", "running_max", "scale", "zero_point"
        for name, tensor in zip(names, self.tensors, strict=True):
            if tensor.numel() != channels:
                raise ValueError(
                    f"expected {name} of {channels} element(s), got shape {tuple(tensor.shape)}"
                )

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All four."""
        return self.min, self.max, self.scale, self.zero_point


@dataclass(frozen=True)
class RangeRule:
    """How parameters follow from ranges; see above."""

    averaging_constant: float
    quant_min: int
    quant_max: int
    symmetric: bool


def follow_range(new: tuple[Tensor, Tensor] | None, running: RunningRange, rule: RangeRule) -> None:
    """Average a new range in, if there is one, and set scale and zero point from the result.

    Bounds that are not finite move nothing; channels that have seen nothing keep their parameters.

    Args:
        new: the smallest and largest values of the channels, float32.
        running: the buffers to write, as many values each.
        rule: how.
    """
    tensors = running.tensors
    kernel_takes = all(t.is_contiguous() for t in tensors) and tuple(t.dtype for t in tensors) == (
        (torch.float32,) * 3 + (torch.int32,)
    )
    if direct(*tensors, *(new or ())) and kernel_takes:
        _follow_range_cpu(new, running, rule)
    else:
        _follow_range_reference(new, running, rule)


def _follow_range_cpu(
    new: tuple[Tensor, Tensor] | None, running: RunningRange, rule: RangeRule
) -> None:
    lowest, highest = (x.float().contiguous() for x in new) if new is not None else (None, None)
    _fake_quantize.follow_range(
        0 if lowest is None else lowest.data_ptr(),
        0 if highest is None else highest.data_ptr(),
        running.min.numel(),
        rule.averaging_constant,
        rule.quant_min,
        rule.quant_max,
        rule.symmetric,
        _EPS,
        *(tensor.data_ptr() for tensor in running.tensors),
    )
    torch.autograd.graph.increment_version([t for t in running.tensors if not t.is_inference()])


def _follow_range_reference(
    new: tuple[Tensor, Tensor] | None, running: RunningRange, rule: RangeRule
) -> None:
    if new is not None:
        for average, value in zip((running.min, running.max), new, strict=True):
            value = value.detach().reshape(average.shape).to(average)
            moved = average + rule.averaging_constant * (value - average)
            moved = torch.where(torch.isinf(average), value, moved)
            average.copy_(torch.where(torch.isinf(value), average, moved))
    levels = float(rule.quant_max - rule.quant_min)
    lowest, highest = running.min.float(), running.max.float()
    below, above = lowest.clamp(max=0.0), highest.clamp(min=0.0)
    span = 2.0 * torch.maximum(-below, above) if rule.symmetric else above - below
    scale = (span.clamp(max=torch.finfo(torch.float32).max) / levels).clamp(min=_EPS)
    if rule.symmetric:
        middle = 0 if rule.quant_min < 0 else (rule.quant_min + rule.quant_max + 1) // 2
        zero_point = torch.full_like(scale, middle)
    else:
        zero_point = (rule.quant_min - torch.round(below / scale).double()).clamp(
            rule.quant_min, rule.quant_max
        )
    seen = lowest <= highest
    for tensor, value in ((running.scale, scale), (running.zero_point, zero_point)):
        value = value.to(tensor.dtype).reshape(tensor.shape)
        tensor.copy_(torch.where(seen.reshape(tensor.shape), value, tensor))
