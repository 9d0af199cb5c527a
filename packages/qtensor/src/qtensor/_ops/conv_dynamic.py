"""Convolutions that quantize their float input as they go."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _kernels
from .._packing import PackedWeights, Run
from .._threads import num_threads
from ._checks import check_float32
from ._conv_axes import Geometry, channels_last_strides, plans
from ._dynamic import InputQuantization
from ._product import Dequantization, contiguous
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


_GEOMETRY = slice(5, 10)  # its position in the operators' schemas
_ROUNDING = slice(10, 12)  # likewise


class _Call(NamedTuple):
    """The arguments of an operator, checked; and the output's shape for this input."""

    input: Tensor
    weight: Tensor
    weight_zero_points: Tensor | None
    geometry: Geometry
    rounding: InputQuantization
    finish: Dequantization
    shape: tuple[int, ...]


def _define(axes: int, transposed: bool) -> Callable[..., Tensor]:
    read_geometry = transposed_geometry if transposed else plain_geometry

    def read(*arguments: Any) -> _Call:
        input, weight, scales, zero_points, bias = arguments[: _GEOMETRY.start]
        geometry = read_geometry(*arguments[_GEOMETRY])
        check_float32(input)
        check_conv_weight(input, weight, scales, zero_points, bias, geometry, axes)
        if len(scales) > 1:
            scales = per_output(scales, geometry)
        rounding = InputQuantization(*arguments[_ROUNDING])
        finish = Dequantization(scales, bias, *arguments[_ROUNDING.stop :])
        finish.check()
        rounding.check()
        shape = geometry.output_shape(input.shape, weight.shape)
        return _Call(input, weight, zero_points, geometry, rounding, finish, shape)

    def prepare(cache: PackedWeights, *arguments: Any) -> Run:
        _, weight, zero_points, geometry, rounding, finish, _ = read(*arguments)
        known = known_zero_points(weight, zero_points, geometry)
        call = _kernels.Product(0, contiguous(known))
        finish.configure(call)
        amax = rounding.amax
        forms = packed_forms(cache, weight, zero_points, geometry)
        planned = plans(weight.shape, geometry, torch.float32)

        def run(arguments: tuple[Any, ...]) -> Tensor:
            input, weight, _, zero_points = arguments[:4]
            outputs, phases = planned.of(input)
            output = outputs.new()
            for shape, taps in phases if output.numel() else ():
                packed = forms.get(amax, weight, zero_points, taps)
                addresses = output.data_ptr(), input.data_ptr()
                call.conv_dynamic(packed, num_threads(), *addresses, shape, *rounding)
            return output

        return run

    def reference(*arguments: Any) -> Tensor:
        input, weight, zero_points, geometry, rounding, finish, _ = read(*arguments)
        q, scale = rounding.reference(input, tuple(range(1, input.dim())))
        sums = exact_sums(q, weight, zero_points, geometry).float()
        return channels_last(finish.reference(sums, 1, scale))

    def fake(*arguments: Any) -> Tensor:
        input, *_, shape = read(*arguments)
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


conv1d_dynamic, conv2d_dynamic, conv3d_dynamic = (
    _define(axes, transposed=False) for axes in (1, 2, 3)
)
conv_transpose1d_dynamic, conv_transpose2d_dynamic, conv_transpose3d_dynamic = (
    _define(axes, transposed=True) for axes in (1, 2, 3)
)
