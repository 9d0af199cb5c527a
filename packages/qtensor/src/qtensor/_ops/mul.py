"""Multiplication of two quantized tensors, with the activation that follows it."""

import torch
from torch import Tensor

from ._binary import binary_operator
from ._requantize import integer_bounds, round_within


def mul_reference(
    a: Tensor,
    a_scale: float,
    a_zero_point: int,
    b: Tensor,
    b_scale: float,
    b_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Tensor:
    """Multiply two quantized tensors and requantize the product.

    Args:
        a, b: both uint8 or both int8, of shapes that broadcast together.
        a_scale, a_zero_point, b_scale, b_zero_point: how ``a`` and ``b`` are quantized.
        output_scale, output_zero_point: how the result is.
        quant_min, quant_max: the integers the result may use, both included.
        activation_min, activation_max: bounds of the real result, as in ``add``.

    Returns:
        ``(a - a_zero_point) * (b - b_zero_point)``, an integer, times
        ``a_scale * b_scale / output_scale`` in float32, rounded once; bounded, rounded (ties to
        even), plus ``output_zero_point``. Dtype, shape and memory format as in ``add``.

    Raises:
        TypeError: the dtypes are not as above.
        ValueError: the shapes do not broadcast, a scale is not positive and finite, or a zero
            point or the range does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> a = torch.tensor([10, 20], dtype=torch.uint8)
        >>> torch.ops.qtensor.mul(a, 0.5, 10, a, 0.5, 10, 1.0, 0, 0, 255)
        tensor([ 0, 25], dtype=torch.uint8)
    """
    lowest, highest = integer_bounds(
        output_scale, output_zero_point, quant_min, quant_max, activation_min, activation_max
    )
    multiplier, _ = _multipliers(a_scale, b_scale, output_scale)
    product = ((a.int() - a_zero_point) * (b.int() - b_zero_point)).float()
    product = product * torch.tensor(multiplier, dtype=torch.float32, device="cpu")
    return (round_within(product, lowest, highest) + output_zero_point).to(a.dtype)


def _multipliers(a_scale: float, b_scale: float, output_scale: float) -> tuple[float, float]:
    return a_scale * b_scale / output_scale, 0.0


mul = binary_operator("mul", _multipliers, mul_reference)
