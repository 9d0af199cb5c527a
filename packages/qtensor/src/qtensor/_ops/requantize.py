"""Requantize: the same real values in other parameters, or in another type of integer."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import _elementwise
from .._calls import Prepared
from ._checks import BYTES, RANGES, check_integers, check_parameters, check_range
from ._layout import layout_under
from ._registry import operator
from ._requantize import integer_bounds, round_within


def requantize_reference(
    input: Tensor,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Tensor:
    """Change the parameters of a quantized tensor.

    Args:
        input: uint8 or int8, any shape.
        scale, zero_point: how ``input`` is quantized.
        output_scale, output_zero_point: how the result is.
        quant_min, quant_max: the integers the result may use, both included.
        dtype: of the result, ``torch.uint8`` or ``torch.int8``.
        activation_min, activation_max: bounds of the real result, as in ``add``.

    Returns:
        ``(input - zero_point) * (scale / output_scale)`` in float32, the ratio rounded once;
        bounded, rounded (ties to even), plus ``output_zero_point``. With the shape and memory
        format of ``input``.

    Raises:
        TypeError: the dtypes are not as above.
        ValueError: a scale is not positive and finite, or a zero point or the range does not fit
            the dtype.

    Example:
        >>> import torch, qtensor
        >>> q = torch.tensor([10, 20], dtype=torch.uint8)
        >>> torch.ops.qtensor.requantize(q, 0.5, 10, 1.0, 0, -128, 127, torch.int8)
        tensor([0, 5], dtype=torch.int8)
    """
    lowest, highest = integer_bounds(
        output_scale, output_zero_point, quant_min, quant_max, activation_min, activation_max
    )
    multiplier = torch.tensor(scale / output_scale, dtype=torch.float32, device="cpu")
    steps = (input.int() - zero_point).float() * multiplier
    return (round_within(steps, lowest, highest) + output_zero_point).to(dtype)


def check_requantize(
    input: Tensor,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> None:
    """Raise unless bytes of these parameters can be brought to those of the output."""
    check_integers(input, BYTES)
    if dtype not in BYTES:
        raise TypeError(
            f"expected an output dtype out of {', '.join(map(str, BYTES))}, got {dtype}"
        )
    check_range(quant_min, quant_max, dtype)
    check_parameters(scale, zero_point, *RANGES[input.dtype])
    check_parameters(output_scale, output_zero_point, quant_min, quant_max, "output_")


@lru_cache(maxsize=4096)
def requantize_params(
    input_dtype: torch.dtype,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> _elementwise.RequantizeParams:
    """The kernels' form of these parameters, which are checked when they are first seen."""
    probe = torch.empty(0, dtype=input_dtype, device="cpu")
    output = output_scale, output_zero_point, quant_min, quant_max
    check_requantize(probe, scale, zero_point, *output, dtype)
    return _elementwise.RequantizeParams(
        scale / output_scale,
        zero_point,
        input_dtype is torch.int8,
        output_zero_point,
        *integer_bounds(*output, activation_min, activation_max),
        dtype is torch.int8,
    )


def requantize_fake(
    input: Tensor,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Tensor:
    output = output_scale, output_zero_point, quant_min, quant_max
    check_requantize(input, scale, zero_point, *output, dtype)
    return torch.empty_like(input, dtype=dtype)


def _kernel(
    output: Tensor,
    input: Tensor,
    scale: float,
    zero_point: int,
    *parameters: Any,
) -> _elementwise.Join:
    params = requantize_params(input.dtype, scale, zero_point, *parameters)
    n = output.numel()
    return _elementwise.Join([(params, 0, 1, n, n, layout_under(output, input))])


requantize = operator(
    "requantize(Tensor input, float scale, int zero_point, float output_scale, "
    "int output_zero_point, int quant_min, int quant_max, ScalarType dtype, "
    "float? activation_min=None, float? activation_max=None) -> Tensor",
    cpu=Prepared(requantize_fake, _kernel),
    reference=requantize_reference,
    fake=requantize_fake,
)
