"""Convolutions that quantize their float input as they go."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import _kernels
from .._packing import AMAX, PackedWeights, Run
from .._threads import num_threads
from ._activation import ACTIVATIONS, activated, bounded, check_activation
from ._checks import check_bounds, check_float32
from ._conv_axes import Geometry, channels_last_strides, plans
from ._layout import is_dense
from ._product import contiguous
from ._weighted import weighted_operator
from .conv import (
    channels_last,
    check_conv_weight,
    exact_sums,
    geometry_schema,
    known_zero_points,
    packed_forms,
    per_output,
    plain_geometry,
    transposed_geometry,
)

_INFINITY = float("inf")

_DOCUMENTATION = """Quantize a float image, convolve it with an int8 weight, return floats.

Args:
    input: float32, ``(N, C, S)``, of the spatial axes S.
    weight, weight_scales, weight_zero_points, bias, the geometry: as in the operator without
        ``_dynamic``.
    quant_max: activations are quantized to ``0 … quant_max``; at most 255.
    per_image: every image of the batch gets a scale and a zero point of its own; else the whole
        input gets one.
    activation_min, activation_max: bounds of the result: 0 and ``None`` for a ReLU.
    activation, negative_slope: a function of the result before it is bounded.

Returns:
    float32, ``(N, O, S')``, channels last in memory: what ``linear_dynamic`` computes, with an
    image in the place of a row. Padding stands for real zeros.

    An image with a NaN or an infinity gives NaN in all of its outputs.

Raises:
    TypeError: a dtype, or a number of dimensions, is not as above.
    ValueError: shapes or devices do not fit, or ``quant_max`` is not within 1 … 255.

Example:
    >>> import torch, qtensor
    >>> x = torch.tensor([[[0.0, 1.0, 3.0]]])
    >>> w = torch.tensor([[[1, 1]]], dtype=torch.int8)
    >>> geometry = (1,), (0,), (1,), 1, "zeros"
    >>> torch.ops.qtensor.conv1d_dynamic(x, w, torch.ones(1), None, None, *geometry)
    tensor([[[1., 4.]]])
"""


def quantized_images(input: Tensor, quant_max: int, per_image: bool) -> tuple[Tensor, Tensor]:
    """The integers without zero point as float64, and the scales, which are NaN if not finite.

    The formulas are those of ``linear_dynamic``.
    """
    shape = (-1, *[1] * (input.dim() - 1))
    low = input.flatten(1).amin(1) if input.numel() else input.new_zeros(len(input))
    high = input.flatten(1).amax(1) if input.numel() else low
    if not per_image and len(input):
        low, high = low.amin().expand(len(low)), high.amax().expand(len(high))
    finite = (low.abs() < _INFINITY) & (high.abs() < _INFINITY)  # amin and amax keep NaN
    low, high = low.clamp(max=0).double(), high.clamp(min=0).double()
    scale = ((high - low) / quant_max).float().clamp(min=torch.finfo(torch.float32).tiny)
    scale = torch.where(finite, scale, scale.new_tensor(float("nan")))
    zero_point = (-low / scale.double()).round().clamp(max=quant_max).nan_to_num(0).float()
    scale, zero_point = scale.view(shape), zero_point.view(shape)
    scaled = input * (1 / scale)
    q = torch.maximum(torch.minimum(scaled, quant_max - zero_point), -zero_point).round()
    return q.nan_to_num(0).double(), scale


def _define(axes: int, transposed: bool) -> Callable[..., Tensor]:
    read_geometry = transposed_geometry if transposed else plain_geometry

    def check(
        input: Tensor,
        weight: Tensor,
        weight_scales: Tensor,
        weight_zero_points: Tensor | None,
        bias: Tensor | None,
        geometry: Geometry,
        quant_max: int,
        bounds: tuple[float | None, float | None],
        activation: str,
        negative_slope: float,
    ) -> tuple[int, ...]:
        check_float32(input)
        parameters = (weight_scales, weight_zero_points, bias)
        check_conv_weight(input, weight, *parameters, geometry, axes)
        check_bounds(*bounds)
        check_activation(activation, negative_slope)
        if not 1 <= quant_max <= 255:
            raise ValueError(f"expected quant_max within 1 … 255, got {quant_max}")
        return geometry.output_shape(input.shape, weight.shape)

    def prepare(
        cache: PackedWeights,
        input: Tensor,
        weight: Tensor,
        weight_scales: Tensor,
        weight_zero_points: Tensor | None,
        bias: Tensor | None,
        *arguments: Any,
    ) -> Run:
        geometry = read_geometry(*arguments[:5])
        quant_max, per_image, lowest, highest, activation, slope = arguments[5:]
        operands = (input, weight, weight_scales, weight_zero_points, bias)
        check(*operands, geometry, quant_max, (lowest, highest), activation, slope)
        known = known_zero_points(weight, weight_zero_points, geometry)
        call = _kernels.Product(0, contiguous(known))
        call.scale(
            _scales(weight_scales, geometry).contiguous(),
            contiguous(bias),
            -_INFINITY if lowest is None else lowest,
            _INFINITY if highest is None else highest,
        )
        call.dequantize()
        call.activate(ACTIVATIONS.index(activation), slope)
        # The kernel clamps what it quantizes to quant_max, which proves the bound.
        amax = next(amax for amax in AMAX if quant_max <= amax)
        forms = packed_forms(cache, weight, weight_zero_points, geometry)
        planned = plans(weight.shape, geometry, torch.float32)

        def run(arguments: tuple[Any, ...]) -> Tensor:
            input, weight, _, zero_points = arguments[:4]
            if not is_dense(input.shape[1:], input.stride()[1:]):
                input = input.contiguous()  # a part of a larger tensor: a range needs it whole
            outputs, phases = planned.of(input)
            output = outputs.new()
            for shape, taps in phases if output.numel() else ():
                packed = forms.get(amax, weight, zero_points, taps)
                addresses = output.data_ptr(), input.data_ptr()
                call.conv_dynamic(packed, num_threads(), *addresses, shape, quant_max, per_image)
            return output

        return run

    def reference(
        input: Tensor,
        weight: Tensor,
        weight_scales: Tensor,
        weight_zero_points: Tensor | None,
        bias: Tensor | None,
        *arguments: Any,
    ) -> Tensor:
        geometry = read_geometry(*arguments[:5])
        quant_max, per_image, lowest, highest, activation, slope = _options(*arguments[5:])
        operands = (input, weight, weight_scales, weight_zero_points, bias)
        check(*operands, geometry, quant_max, (lowest, highest), activation, slope)
        channels = (-1, *[1] * axes)
        q, scale = quantized_images(input, quant_max, per_image)
        sums = exact_sums(q, weight, weight_zero_points, geometry).float()
        y = sums * _scales(weight_scales, geometry).view(channels) * scale
        if bias is not None:
            y = y + bias.view(channels)
        return channels_last(bounded(activated(y, activation, slope), lowest, highest))

    def fake(
        input: Tensor,
        weight: Tensor,
        weight_scales: Tensor,
        weight_zero_points: Tensor | None,
        bias: Tensor | None,
        *arguments: Any,
    ) -> Tensor:
        geometry = read_geometry(*arguments[:5])
        quant_max, _, lowest, highest, activation, slope = _options(*arguments[5:])
        operands = (input, weight, weight_scales, weight_zero_points, bias)
        shape = check(*operands, geometry, quant_max, (lowest, highest), activation, slope)
        strides = channels_last_strides(shape)
        return torch.empty_strided(shape, strides, dtype=input.dtype, device=input.device)

    reference.__doc__ = _DOCUMENTATION
    name = f"conv{'_transpose' * transposed}{axes}d_dynamic"
    return weighted_operator(
        f"{name}(Tensor input, Tensor weight, Tensor weight_scales, Tensor? weight_zero_points, "
        f"Tensor? bias, {geometry_schema(axes, transposed)}, int quant_max=255, "
        "bool per_image=True, float? activation_min=None, float? activation_max=None, "
        "str activation='', float negative_slope=0.01) -> Tensor",
        prepare=prepare,
        reference=reference,
        fake=fake,
    )


def _options(
    quant_max: int = 255,
    per_image: bool = True,
    activation_min: float | None = None,
    activation_max: float | None = None,
    activation: str = "",
    negative_slope: float = 0.01,
) -> tuple[int, bool, float | None, float | None, str, float]:
    return quant_max, per_image, activation_min, activation_max, activation, negative_slope


def _scales(weight_scales: Tensor, geometry: Geometry) -> Tensor:
    return per_output(weight_scales, geometry) if len(weight_scales) > 1 else weight_scales


conv1d_dynamic, conv2d_dynamic, conv3d_dynamic = (
    _define(axes, transposed=False) for axes in (1, 2, 3)
)
conv_transpose1d_dynamic, conv_transpose2d_dynamic, conv_transpose3d_dynamic = (
    _define(axes, transposed=True) for axes in (1, 2, 3)
)
