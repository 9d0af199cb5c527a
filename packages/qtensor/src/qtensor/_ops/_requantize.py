"""How results become integers: bounds in steps of the output's scale, and rounding."""

import torch
from torch import Tensor


def integer_bounds(
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    activation_min: float | None,
    activation_max: float | None,
) -> tuple[float, float]:
    """Bounds of a result in steps of its scale, before its zero point is added.

    Returns:
        The real bounds of an activation divided by the scale, where there are any, and always
        within ``quant_min - zero_point … quant_max - zero_point``.
    """
    lowest = float(quant_min - output_zero_point)
    highest = float(quant_max - output_zero_point)

    def within(activation: float | None, default: float) -> float:
        if activation is None:
            return default
        return min(highest, max(lowest, activation / output_scale))

    return within(activation_min, lowest), within(activation_max, highest)


def round_within(values: Tensor, lowest: Tensor | float, highest: Tensor | float) -> Tensor:
    """``values`` clamped, NaN to ``lowest``, then rounded with ties to even; still floats."""
    values = torch.where(values > lowest, values, lowest)  # NaN compares false
    return torch.where(values < highest, values, highest).round()
