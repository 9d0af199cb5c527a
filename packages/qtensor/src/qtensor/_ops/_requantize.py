"""How results become integers: bounds in steps of the output's scale, and rounding."""

import torch
from torch import Tensor

from ._checks import check_bounds


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

    Raises:
        ValueError: a bound is NaN.
    """
    check_bounds(activation_min, activation_max)
    lowest = low = float(quant_min - output_zero_point)
    highest = high = float(quant_max - output_zero_point)
    if activation_min is not None:
        low = min(highest, max(lowest, activation_min / output_scale))
    if activation_max is not None:
        high = min(highest, max(lowest, activation_max / output_scale))
    return low, high


def round_within(values: Tensor, lowest: Tensor | float, highest: Tensor | float) -> Tensor:
    """``values`` clamped, NaN to ``lowest``, then rounded with ties to even; still floats."""
    values = torch.where(values > lowest, values, lowest)  # NaN compares false
    return torch.where(values < highest, values, highest).round()
