"""Addition of two quantized tensors, with the activation that follows it."""

import torch
from torch import Tensor

from ._binary import binary_operator
from ._requantize import integer_bounds, round_within


def add_reference(
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
    """Add two quantized tensors and requantize the sum.

    Args:
        a, b: both uint8 or both int8, of shapes that broadcast together.
        a_scale, a_zero_point, b_scale, b_zero_point: how ``a`` and ``b`` are quantized.
        output_scale, output_zero_point: how the result is.
        quant_min, quant_max: the integers the result may use, both included.
        activation_min, activation_max: bounds of the real result: 0 and ``None`` for a ReLU,
            0 and 6 for a ReLU6; ``None``, the default, for no bound.

    Returns:
        With real values ``(a - a_zero_point) * a_scale`` and likewise for ``b``: their sum,
        bounded, divided by ``output_scale``, rounded (ties to even), plus ``output_zero_point``.
        In float32, each ratio of scales rounded once. The dtype is that of ``a``, the shape the
        broadcast one, the memory format that of ``a``, or of ``b`` where only it has that shape.

    Raises:
        TypeError: the dtypes are not as above.
        ValueError: the shapes do not broadcast, a scale is not positive and finite, or a zero
            point or the range does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> a = torch.tensor([10, 20], dtype=torch.uint8)
        >>> torch.ops.qtensor.add(a, 0.5, 10, a, 0.5, 10, 1.0, 0, 0, 255)
        tensor([ 0, 10], dtype=torch.uint8)
    """
    lowest, highest = integer_bounds(
        output_scale, output_zero_point, quant_min, quant_max, activation_min, activation_max
    )
    sums = _scaled(a, a_zero_point, a_scale / output_scale)
    sums = sums + _scaled(b, b_zero_point, b_scale / output_scale)
    return (round_within(sums, lowest, highest) + output_zero_point).to(a.dtype)


def _scaled(values: Tensor, zero_point: int, multiplier: float) -> Tensor:
    return (values.int() - zero_point).float() * torch.tensor(
        multiplier, dtype=torch.float32, device="cpu"
    )


def _multipliers(a_scale: float, b_scale: float, output_scale: float) -> tuple[float, float]:
    return a_scale / output_scale, b_scale / output_scale


add = binary_operator("add", _multipliers, add_reference)
