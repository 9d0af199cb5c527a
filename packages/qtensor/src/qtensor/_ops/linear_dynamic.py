"""Linear layers that quantize their float input as they go."""

from typing import Any

import torch
from torch import Tensor

from .. import _kernels
from .._packing import PackedWeights, Run
from .._threads import num_threads
from ._checks import check_float32
from ._dynamic import InputQuantization
from ._product import Dequantization, check_weight, contiguous
from ._weighted import weighted_operator
from .linear import linear_outputs, linear_shape, linear_sums_reference


def linear_dynamic_reference(
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    quant_max: int = 255,
    per_row: bool = True,
    activation_min: float | None = None,
    activation_max: float | None = None,
    activation: str = "",
    negative_slope: float = 0.01,
) -> Tensor:
    """Quantize float activations, multiply them by an int8 weight matrix, return floats.

    Args:
        input: float32, ``(..., K)``.
        weight: int8, ``(N, K)``.
        weight_scales: float32, ``(N,)``, or ``(1,)`` for one scale.
        weight_zero_points: int64, ``(N,)``; ``None`` if all are zero.
        bias: float32, ``(N,)``, or ``None``.
        quant_max: activations are quantized to ``0 … quant_max``; at most 255.
        per_row: every row of K values gets a scale and a zero point of its own; else the
            whole input gets one.
        activation_min, activation_max: bounds of the result: 0 and ``None`` for a ReLU.
        activation: a function of the result before it is bounded: ``"leaky_relu"`` (of
            ``negative_slope``), ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""`` for none.

    Returns:
        float32, ``(..., N)``. With ``low`` and ``high`` the extremes of a row and 0, in float32
        but where noted::

            scale = (high - low) / quant_max                  # in float64, rounded once
            zero_point = round(-low / scale)                  # in float64
            q = round(clamp(x * (1 / scale), -zero_point, quant_max - zero_point)) + zero_point
            y = float32(exact sum of (q - zero_point) * (w - w_zero_point)) * weight_scale
            y = activation(y * scale + bias)                  # then bounded; see _activation

        A row with a NaN or an infinity gives NaN in all of its outputs.

    Raises:
        TypeError: a dtype, or the weight's number of dimensions, is not as above.
        ValueError: shapes or devices do not fit, or ``quant_max`` is not within 1 … 255.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[0.0, 1.0, 3.0]])
        >>> w = torch.tensor([[1, 1, 1], [0, 0, -1]], dtype=torch.int8)
        >>> torch.ops.qtensor.linear_dynamic(x, w, torch.ones(1), None, None)
        tensor([[ 4., -3.]])
    """
    q, scale = InputQuantization(quant_max, per_row).reference(input, (-1,))
    sums = linear_sums_reference(q, 0, weight, weight_zero_points).float()
    bounds = activation_min, activation_max
    finish = Dequantization(weight_scales, bias, *bounds, activation, negative_slope)
    return finish.reference(sums, -1, scale)


def check_linear_dynamic(
    input: Tensor,
    weight: Tensor,
    weight_zero_points: Tensor | None,
    rounding: InputQuantization,
    finish: Dequantization,
) -> tuple[int, ...]:
    """Raise unless everything fits; returns the output's shape."""
    check_float32(input)
    check_weight(input, weight, finish.weight_scales, weight_zero_points, finish.bias, 2)
    finish.check()
    rounding.check()
    return linear_shape(input, weight.shape)


def prepare_linear_dynamic(
    cache: PackedWeights,
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    quant_max: int,
    per_row: bool,
    *output_arguments: Any,
) -> Run:
    rounding = InputQuantization(quant_max, per_row)
    finish = Dequantization(weight_scales, bias, *output_arguments)
    check_linear_dynamic(input, weight, weight_zero_points, rounding, finish)
    call = _kernels.Product(0, contiguous(weight_zero_points))
    finish.configure(call)
    amax = rounding.amax
    forms = cache.forms(weight, weight_zero_points)
    outputs = linear_outputs(tuple(weight.shape), torch.float32)

    def run(arguments: tuple[Any, ...]) -> Tensor:
        input, weight, _, weight_zero_points = arguments[:4]
        output = outputs.of(input).new()
        operands = num_threads(), output, input
        call.linear_dynamic(forms, weight, weight_zero_points, *operands, *rounding, amax)
        return output

    return run


def linear_dynamic_fake(
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    quant_max: int = 255,
    per_row: bool = True,
    *output_arguments: Any,
    **named: Any,
) -> Tensor:
    rounding = InputQuantization(quant_max, per_row)
    finish = Dequantization(weight_scales, bias, *output_arguments, **named)
    shape = check_linear_dynamic(input, weight, weight_zero_points, rounding, finish)
    return input.new_empty(shape)


linear_dynamic = weighted_operator(
    "linear_dynamic(Tensor input, Tensor weight, Tensor weight_scales, "
    "Tensor? weight_zero_points, Tensor? bias, int quant_max=255, bool per_row=True, "
    "float? activation_min=None, float? activation_max=None, "
    "str activation='', float negative_slope=0.01) -> Tensor",
    prepare=prepare_linear_dynamic,
    reference=linear_dynamic_reference,
    fake=linear_dynamic_fake,
)
