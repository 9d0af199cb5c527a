"""Linear layers on quantized tensors, requantized in the same pass."""

from typing import Any

import torch
from torch import Tensor

from .._calls import ByLayout, Layout
from .._packing import PackedWeights, Run, shared_cache
from .._threads import num_threads
from ._product import (
    Requantization,
    check_input,
    check_weight,
    readable_residual,
    sums_call,
)
from ._weighted import weighted_operator


def linear_reference(
    input: Tensor,
    input_scale: float,
    input_zero_point: int,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
    residual: Tensor | None = None,
    residual_scale: float = 1.0,
    residual_zero_point: int = 0,
    activation: str = "",
    negative_slope: float = 0.01,
) -> Tensor:
    """Multiply by a weight matrix, add, bound and requantize.

    Args:
        input: uint8 or int8, ``(..., K)``, quantized by ``input_scale``, ``input_zero_point``.
        weight: int8, ``(N, K)``.
        weight_scales: float32, ``(N,)``, or ``(1,)`` for one scale.
        weight_zero_points: int64, ``(N,)``; ``None`` if all are zero.
        bias: float32, ``(N,)``, or ``None``.
        output_scale, output_zero_point: how the result is quantized.
        quant_min, quant_max: the integers the result may use, both included.
        dtype: of the result, ``torch.uint8`` or ``torch.int8``.
        activation_min, activation_max: bounds of the real result: 0 and ``None`` for a ReLU,
            0 and 6 for a ReLU6; ``None``, the default, for no bound.
        residual: added to the result before it is bounded; of the result's shape and dtype,
            quantized by ``residual_scale``, ``residual_zero_point``.
        activation: a function of the result before it is bounded: ``"leaky_relu"`` (of
            ``negative_slope``), ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""`` for none.

    Returns:
        ``(..., N)``. The integer sums are exact; ``qtensor._ops._product.Requantization``
        says how they are requantized.

    Raises:
        TypeError: a dtype, or the weight's number of dimensions, is not as above.
        ValueError: shapes or devices do not fit, a scale is not positive and finite, or a zero
            point or the range does not fit its dtype.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[1, 2, 3]], dtype=torch.uint8)
        >>> w = torch.tensor([[1, 1, 1], [0, 0, -1]], dtype=torch.int8)
        >>> one = torch.ones(1)
        >>> torch.ops.qtensor.linear(x, 1.0, 0, w, one, None, None, 1.0, 5, 0, 255, torch.uint8)
        tensor([[11,  2]], dtype=torch.uint8)
    """
    finish = Requantization(
        input_scale,
        weight_scales,
        bias,
        output_scale,
        output_zero_point,
        quant_min,
        quant_max,
        dtype,
        activation_min,
        activation_max,
        residual,
        residual_scale,
        residual_zero_point,
        activation,
        negative_slope,
    )
    sums = linear_sums_reference(input, input_zero_point, weight, weight_zero_points)
    return finish.reference(sums, -1)


def linear_sums_reference(
    input: Tensor, input_zero_point: int, weight: Tensor, weight_zero_points: Tensor | None
) -> Tensor:
    """The exact sums, as float64: a product has 16 bits, so they stay far below 2**53."""
    centred = weight.double()
    if weight_zero_points is not None:
        centred = centred - weight_zero_points.double().unsqueeze(1)
    return (input.double() - input_zero_point) @ centred.t()


def check_linear(
    input: Tensor,
    input_scale: float,
    input_zero_point: int,
    weight: Tensor,
    weight_zero_points: Tensor | None,
    finish: Requantization,
) -> tuple[int, ...]:
    """Raise unless everything fits; returns the output's shape."""
    check_input(input, input_scale, input_zero_point)
    check_weight(input, weight, finish.weight_scales, weight_zero_points, finish.bias, 2)
    shape = linear_shape(input, weight.shape)
    finish.check(shape)
    return shape


def linear_shape(input: Tensor, weight_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The output's shape; raises ``ValueError`` if there is none."""
    shape, (n, k) = input.shape, weight_shape
    if not shape or shape[-1] != k:
        raise ValueError(
            f"expected an input of shape (..., {k}) for a weight of shape {tuple(weight_shape)}, "
            f"got {tuple(shape)}"
        )
    return (*shape[:-1], n)


def linear_outputs(weight_shape: tuple[int, ...], dtype: torch.dtype) -> "ByLayout[Layout]":
    """How outputs lie, found out once for each layout of an input."""

    def layout(input: Tensor) -> Layout:
        return Layout(input.new_empty(linear_shape(input, weight_shape), dtype=dtype))

    return ByLayout(layout)


def prepare_linear(
    cache: PackedWeights,
    input: Tensor,
    input_scale: float,
    input_zero_point: int,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    *output_arguments: Any,
) -> Run:
    finish = Requantization(input_scale, weight_scales, bias, *output_arguments)
    check_linear(input, input_scale, input_zero_point, weight, weight_zero_points, finish)
    call = sums_call(input, input_zero_point, weight_zero_points)
    finish.configure(call)
    forms = cache.forms(weight, weight_zero_points)
    outputs = linear_outputs(tuple(weight.shape), finish.dtype)

    def run(arguments: tuple[Any, ...]) -> Tensor:
        input, weight, weight_zero_points = arguments[0], arguments[3], arguments[5]
        output = outputs.of(input).new()
        residual = readable_residual(arguments[_RESIDUAL], output)
        operands = output, residual, input
        call.linear(forms, weight, weight_zero_points, num_threads(), *operands)
        return output

    return run


def linear_int32(
    input: Tensor,
    input_zero_point: int,
    weight: Tensor,
    weight_zero_points: Tensor | None = None,
    *,
    cache: PackedWeights | None = None,
) -> Tensor:
    """The exact integer sums, modulo 2**32, without scales.

    Args:
        input, input_zero_point, weight, weight_zero_points: as for :func:`linear`.

    Returns:
        int32, ``(..., N)``: sums of ``(input - input_zero_point) * (weight - zero_point)``.
    """
    check_input(input, 1.0, input_zero_point)
    scales = input.new_ones(1, dtype=torch.float32)
    check_weight(input, weight, scales, weight_zero_points, None, 2)
    output = input.new_empty(linear_shape(input, weight.shape), dtype=torch.int32)
    call = sums_call(input, input_zero_point, weight_zero_points)
    forms = (cache or shared_cache(weight)).forms(weight, weight_zero_points)
    call.linear(forms, weight, weight_zero_points, num_threads(), output, None, input)
    return output


def linear_fake(
    input: Tensor,
    input_scale: float,
    input_zero_point: int,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    *output_arguments: Any,
    **named: Any,
) -> Tensor:
    finish = Requantization(input_scale, weight_scales, bias, *output_arguments, **named)
    shape = check_linear(input, input_scale, input_zero_point, weight, weight_zero_points, finish)
    return input.new_empty(shape, dtype=finish.dtype)


_RESIDUAL = 14  # its position in the schema
_SCHEMA = (
    "linear(Tensor input, float input_scale, int input_zero_point, Tensor weight, "
    "Tensor weight_scales, Tensor? weight_zero_points, Tensor? bias, float output_scale, "
    "int output_zero_point, int quant_min, int quant_max, ScalarType dtype, "
    "float? activation_min=None, float? activation_max=None, Tensor? residual=None, "
    "float residual_scale=1., int residual_zero_point=0, str activation='', "
    "float negative_slope=0.01) -> Tensor"
)
linear = weighted_operator(
    _SCHEMA, prepare=prepare_linear, reference=linear_reference, fake=linear_fake
)
