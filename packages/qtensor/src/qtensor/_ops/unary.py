"""Functions of one quantized value. There are 256 of those, so a function is a table of bytes.

The tables are computed in float64 by torch's own functions. ``FUNCTIONS`` is all there is to say
about one: adding a line there adds the operator.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _elementwise
from .._calls import Prepared
from ._layout import layout_under
from ._registry import operator
from ._requantize import round_within
from .requantize import check_requantize

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "abs": torch.abs,
    "add": torch.add,
    "add_relu": lambda x, number: torch.relu(x + number),
    "celu": F.celu,
    "cos": torch.cos,
    "div": torch.div,
    "elu": torch._C._nn.elu,
    "erf": torch.erf,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardshrink": F.hardshrink,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "leaky_relu": F.leaky_relu,
    "log": torch.log,
    "log1p": torch.log1p,
    "logsigmoid": F.logsigmoid,
    "mish": F.mish,
    "mul": torch.mul,
    "mul_relu": lambda x, number: torch.relu(x * number),
    "neg": torch.neg,
    "pow": torch.pow,
    "rdiv": lambda x, number: number / x,
    "reciprocal": torch.reciprocal,
    "rsqrt": torch.rsqrt,
    "rsub": torch.rsub,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "softshrink": F.softshrink,
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "sub": torch.sub,
    "tanh": torch.tanh,
    "tanhshrink": F.tanhshrink,
    "threshold": F.threshold,
}
"""By name: a function of a float64 tensor and of further numbers."""


def unary_reference(
    input: Tensor,
    scale: float,
    zero_point: int,
    function: str,
    arguments: Sequence[float],
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    """Apply a function to each value of a quantized tensor.

    Args:
        input: uint8 or int8, any shape.
        scale, zero_point: how ``input`` is quantized.
        function: a name in ``FUNCTIONS``, such as ``"gelu"``.
        arguments: what the function takes besides, such as the slope of ``"leaky_relu"``.
        output_scale, output_zero_point: how the result is quantized.
        quant_min, quant_max: the integers the result may use, both included.
        dtype: of the result, ``torch.uint8`` or ``torch.int8``.

    Returns:
        The function of ``(input - zero_point) * scale``, divided by ``output_scale``, rounded
        (ties to even), plus ``output_zero_point``; all in float64, where NaN gives ``quant_min``.
        With the shape and memory format of ``input``.

    Raises:
        TypeError: the dtypes are not as above.
        ValueError: there is no such function, a scale is not positive and finite, or a zero point
            or the range does not fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> q = torch.tensor([0, 128, 255], dtype=torch.uint8)
        >>> torch.ops.qtensor.unary(
        ...     q, 0.1, 128, "sigmoid", [], 1 / 256, 0, 0, 255, torch.uint8
        ... )
        tensor([  0, 128, 255], dtype=torch.uint8)
    """
    table = table_of(
        input.dtype,
        scale,
        zero_point,
        function,
        tuple(arguments),
        output_scale,
        output_zero_point,
        quant_min,
        quant_max,
        dtype,
    )
    values = torch.tensor(list(table), dtype=torch.uint8, device=input.device).view(dtype)
    return values[input.long() & 0xFF]


def check_function(name: str) -> None:
    """Raise ``ValueError`` unless ``FUNCTIONS`` has the name."""
    if name not in FUNCTIONS:
        raise ValueError(f"expected a function out of {', '.join(FUNCTIONS)}, got {name!r}")


def values_of(
    dtype: torch.dtype,
    scale: float,
    zero_point: int,
    function: str,
    arguments: tuple[float, ...],
) -> Tensor:
    """The function of every byte: float64, shape ``(256,)``; at ``i`` that of the byte ``i``."""
    check_function(function)
    bytes_ = torch.arange(256, dtype=torch.int16, device="cpu").to(torch.uint8).view(dtype)
    return FUNCTIONS[function]((bytes_.double() - zero_point) * scale, *arguments)


@lru_cache(maxsize=1024)
def table_of(
    input_dtype: torch.dtype,
    scale: float,
    zero_point: int,
    function: str,
    arguments: tuple[float, ...],
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> bytes:
    """The output byte of each of the 256 input bytes, in the order of :func:`values_of`."""
    probe = torch.empty(0, dtype=input_dtype, device="cpu")
    output = output_scale, output_zero_point, quant_min, quant_max
    check_requantize(probe, scale, zero_point, *output, dtype)
    steps = values_of(input_dtype, scale, zero_point, function, arguments) / output_scale
    rounded = round_within(
        steps, float(quant_min - output_zero_point), float(quant_max - output_zero_point)
    )
    return bytes((rounded + output_zero_point).to(dtype).view(torch.uint8).tolist())


def unary_fake(
    input: Tensor,
    scale: float,
    zero_point: int,
    function: str,
    arguments: Sequence[float],
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
) -> Tensor:
    check_function(function)
    output = output_scale, output_zero_point, quant_min, quant_max
    check_requantize(input, scale, zero_point, *output, dtype)
    return torch.empty_like(input, dtype=dtype)


def _kernel(
    output: Tensor,
    input: Tensor,
    scale: float,
    zero_point: int,
    function: str,
    arguments: Sequence[float],
    *parameters: Any,
) -> _elementwise.Lookup:
    table = table_of(input.dtype, scale, zero_point, function, tuple(arguments), *parameters)
    return _elementwise.Lookup(output.numel(), layout_under(output, input), table)


unary = operator(
    "unary(Tensor input, float scale, int zero_point, str function, float[] arguments, "
    "float output_scale, int output_zero_point, int quant_min, int quant_max, ScalarType dtype) "
    "-> Tensor",
    cpu=Prepared(unary_fake, _kernel),
    reference=unary_reference,
    fake=unary_fake,
)
