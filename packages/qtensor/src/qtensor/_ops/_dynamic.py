"""What operators that quantize their float input share: how they do it."""

from typing import NamedTuple

import torch
from torch import Tensor

from .._packing import AMAX

_TINY = torch.finfo(torch.float32).tiny


class InputQuantization(NamedTuple):
    """How float input becomes integers of ``0 … quant_max``, each part of it by its own range.

    A part is a row of a linear layer's input, or an image of a convolution's. The fields are
    arguments of the operators, in their order; ``linear_dynamic`` documents the formulas.

    Attributes:
        quant_max: the largest integer; at most 255.
        per_part: whether every part has a scale and a zero point; else the whole input has one.
    """

    quant_max: int = 255
    per_part: bool = True

    def check(self) -> None:
        """Raise ``ValueError`` unless the integers are bytes."""
        if not 1 <= self.quant_max <= 255:
            raise ValueError(f"expected quant_max within 1 … 255, got {self.quant_max}")

    @property
    def amax(self) -> int:
        """Which of ``AMAX`` holds for the integers, as the kernel clamps them to ``quant_max``."""
        return next(amax for amax in AMAX if self.quant_max <= amax)

    def reference(self, input: Tensor, part: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The formulas in plain torch.

        Args:
            input: float32, any shape.
            part: the dimensions that a part extends over.

        Returns:
            The integers less the zero point, as float64, and the scales, float32: NaN for parts
            that are not finite, and of a shape that broadcasts to that of ``input``.
        """
        low = high = input.new_zeros(())
        if input.numel():
            low, high = input.amin(part, keepdim=True), input.amax(part, keepdim=True)
            if not self.per_part:
                low, high = low.amin(), high.amax()
        finite = low.isfinite() & high.isfinite()  # amin and amax keep NaN
        low, high = low.clamp(max=0).double(), high.clamp(min=0).double()
        scale = ((high - low) / self.quant_max).float().clamp(min=_TINY)
        scale = torch.where(finite, scale, float("nan"))
        zero_point = (-low / scale.double()).round().clamp(max=self.quant_max)
        zero_point = zero_point.nan_to_num(0).float()
        scaled = input * (1 / scale)
        q = torch.maximum(torch.minimum(scaled, self.quant_max - zero_point), -zero_point).round()
        return q.nan_to_num(0).double(), scale
