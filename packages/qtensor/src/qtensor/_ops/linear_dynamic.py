"""Linear layers that quantize their float input as they go."""

from typing import Any

import torch
from torch import Tensor

from .. import _kernels
from .._calls import ByLayout, Layout
from .._packing import AMAX, PackedWeights, Run
from .._threads import num_threads
from ._activation import ACTIVATIONS, activated, bounded, check_activation
from ._checks import check_bounds, check_float32
from ._product import check_weight, contiguous
from ._weighted import weighted_operator
from .linear import linear_shape

_INFINITY = float("inf")


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
    low, high = torch.zeros(()), torch.zeros(())
    if input.numel():
        low, high = input.amin(-1, keepdim=True), input.amax(-1, keepdim=True)
        if not per_row:
            low, high = low.amin(), high.amax()
    finite = (low.abs() < _INFINITY) & (high.abs() < _INFINITY)  # amin and amax keep NaN
    low, high = low.clamp(max=0).double(), high.clamp(min=0).double()
    scale = ((high - low) / quant_max).float().clamp(min=torch.finfo(torch.float32).tiny)
    scale = torch.where(finite, scale, scale.new_tensor(float("nan")))
    zero_point = (-low / scale.double()).round().clamp(max=quant_max).nan_to_num(0).float()
    scaled = input * (1 / scale)
    q = torch.maximum(torch.minimum(scaled, quant_max - zero_point), -zero_point).round()
    centred = weight.double()
    if weight_zero_points is not None:
        centred = centred - weight_zero_points.double().unsqueeze(1)
    y = (q.nan_to_num(0).double() @ centred.t()).float() * weight_scales * scale
    if bias is not None:
        y = y + bias
    return bounded(activated(y, activation, negative_slope), activation_min, activation_max)


def check_linear_dynamic(
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    quant_max: int,
    bounds: tuple[float | None, float | None],
    activation: str,
    negative_slope: float,
) -> tuple[int, ...]:
    """Raise unless everything fits; returns the output's shape."""
    check_float32(input)
    check_weight(input, weight, weight_scales, weight_zero_points, bias, 2)
    check_bounds(*bounds)
    check_activation(activation, negative_slope)
    if not 1 <= quant_max <= 255:
        raise ValueError(f"expected quant_max within 1 … 255, got {quant_max}")
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
    activation_min: float | None,
    activation_max: float | None,
    activation: str,
    negative_slope: float,
) -> Run:
    operands = (input, weight, weight_scales, weight_zero_points, bias)
    bounds = activation_min, activation_max
    check_linear_dynamic(*operands, quant_max, bounds, activation, negative_slope)
    call = _kernels.Product(0, contiguous(weight_zero_points))
    lowest = -_INFINITY if activation_min is None else activation_min
    highest = _INFINITY if activation_max is None else activation_max
    call.scale(weight_scales.contiguous(), contiguous(bias), lowest, highest)
    call.dequantize()
    call.activate(ACTIVATIONS.index(activation), negative_slope)
    # The kernel clamps what it quantizes to quant_max, which proves the bound.
    amax = next(amax for amax in AMAX if quant_max <= amax)
    n, k = weight_shape = tuple(weight.shape)
    forms = cache.forms(weight, weight_zero_points)
    outputs = ByLayout(lambda input: Layout(input.new_empty(linear_shape(input, weight_shape))))

    def run(arguments: tuple[Any, ...]) -> Tensor:
        input, weight, _, weight_zero_points = arguments[:4]
        output = outputs.of(input).new()
        if output.numel():
            input = input.contiguous()
            rows = output.numel() // n
            call.linear_dynamic(
                forms.for_rows(rows, amax, weight, weight_zero_points),
                num_threads(),
                output.data_ptr(),
                input.data_ptr(),
                rows,
                k,
                quant_max,
                per_row,
            )
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
    activation_min: float | None = None,
    activation_max: float | None = None,
    activation: str = "",
    negative_slope: float = 0.01,
) -> Tensor:
    operands = (input, weight, weight_scales, weight_zero_points, bias)
    bounds = activation_min, activation_max
    shape = check_linear_dynamic(*operands, quant_max, bounds, activation, negative_slope)
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
