"""Activations: comparing integers is comparing the values they stand for; the rest are tables.

Which parameters a result has, when a function is called on a QTensor that could not be told any:

- clamps (ReLU, hardtanh, …), GELU, leaky ReLU, PReLU and threshold keep the input's, as they
  always did: their values lie within the input's range;
- sigmoid, hardsigmoid, softmax and tanh have the fixed ones of their ranges, 0 … 1 and -1 … 1;
- any other function gets the finest scale that holds its values on all integers of the input.

In-place forms keep the tensor's own. ``qtensor.ops`` has forms that are told the output's.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _elementwise, ops
from .._functions import found
from .._one_call import Call, Shortcut
from .._ops._checks import BYTES, RANGES
from .._ops._layout import ELEMENT, layout_under
from .._qparams import QParams, per_tensor_qparams
from .._qtensor import QTensor, in_float, parameters, wrapped
from .._quantize import quantize_value
from ..ops._unary import apply_call
from ._register import stands_for


def _clamp_kernel(
    output: Tensor, input: Tensor, low: int | None, high: int | None
) -> _elementwise.Clamp:
    lowest, highest = RANGES[input.dtype]
    bounds = lowest if low is None else low, highest if high is None else high
    lies = layout_under(output, input)
    return _elementwise.Clamp(ELEMENT[input.dtype], output.numel(), lies, *bounds)


_clamp_bytes = Shortcut(torch.clamp, _clamp_kernel)


def _clamp(x: QTensor, low: float | None, high: float | None, inplace: bool) -> Any:
    qparams = parameters(x)
    bounds = [None if bound is None else quantize_value(bound, qparams) for bound in (low, high)]
    if inplace:
        x._writable().clamp_(*bounds)
        return x
    if x._data.dtype not in BYTES:
        return wrapped(x._data.clamp(*bounds), qparams)
    return Call(_clamp_bytes, (x._data, *bounds), qparams)


@stands_for("relu", per_tensor=True)
def relu(input: QTensor, inplace: bool = False) -> Any:
    return _clamp(input, 0.0, None, inplace)


@stands_for("relu_", per_tensor=True)
def relu_(input: QTensor) -> Any:
    return _clamp(input, 0.0, None, True)


@stands_for("relu6", per_tensor=True)
def relu6(input: QTensor, inplace: bool = False) -> Any:
    return _clamp(input, 0.0, 6.0, inplace)


@stands_for("hardtanh", per_tensor=True)
def hardtanh(
    input: QTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Any:
    return _clamp(input, min_val, max_val, inplace)


@stands_for("hardtanh_", per_tensor=True)
def hardtanh_(input: QTensor, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return _clamp(input, min_val, max_val, True)


@stands_for("clamp", "clip", per_tensor=True)
def clamp(input: QTensor, min: Any = None, max: Any = None) -> Any:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return in_float(torch.clamp, "clamp", (input, min, max), {})
    return _clamp(input, min, max, False)


@stands_for("clamp_", "clip_", per_tensor=True)
def clamp_(input: QTensor, min: float | None = None, max: float | None = None) -> Any:
    return _clamp(input, min, max, True)


@stands_for("clamp_min", per_tensor=True)
def clamp_min(input: QTensor, min: Any) -> Any:
    return clamp(input, min=min)


@stands_for("clamp_max", per_tensor=True)
def clamp_max(input: QTensor, max: Any) -> Any:
    return clamp(input, max=max)


@stands_for("clamp_min_", per_tensor=True)
def clamp_min_(input: QTensor, min: float) -> Any:
    return _clamp(input, min, None, True)


@stands_for("clamp_max_", per_tensor=True)
def clamp_max_(input: QTensor, max: float) -> Any:
    return _clamp(input, None, max, True)


# ---- functions that are tables

Rule = Callable[[QTensor, str, tuple[float, ...]], QParams]
"""From the input, the function and its arguments to the output's parameters."""


def _kept(input: QTensor, function: str, arguments: tuple[float, ...]) -> QParams:
    return parameters(input)


def _fitted(input: QTensor, function: str, arguments: tuple[float, ...]) -> QParams:
    return ops.fitting(input, function, *arguments)


def _within(low: float, high: float) -> Rule:
    def fixed(input: QTensor, function: str, arguments: tuple[float, ...]) -> QParams:
        dtype = parameters(input).dtype
        steps = dtype.quant_max - dtype.quant_min + 1
        zero_point = dtype.quant_min + round(steps * -low / (high - low))
        return per_tensor_qparams((high - low) / steps, zero_point, dtype)

    return fixed


_zero_to_one = _within(0.0, 1.0)


def _table(
    input: Any,
    torch_function: Callable[..., Any],
    function: str,
    arguments: tuple[float, ...],
    rule: Rule,
    inplace: bool,
) -> Any:
    if not isinstance(input, QTensor):
        kwargs = {"inplace": True} if inplace else {}
        return in_float(torch_function, function, (input, *arguments), kwargs)
    if not inplace:
        return apply_call(input, function, rule(input, function, arguments), *arguments)
    result = ops.apply(input, function, parameters(input), *arguments)
    input._writable().copy_(result.int_repr())
    return input


def _register(name: str, rule: Rule, **defaults: float | None) -> None:
    """Function ``name`` of torch, whose arguments besides the input have these defaults."""
    torch_function = found(name)[0]

    def arguments_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**defaults, **dict(zip((*defaults, "inplace"), args, strict=False)), **kwargs}

    @stands_for(name, per_tensor=True, of_bytes=True)
    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        given = arguments_of(args, kwargs)
        inplace = given.pop("inplace", False)
        if given.keys() != defaults.keys():  # such as out=
            return in_float(torch_function, name, (input, *args), kwargs)
        return _table(input, torch_function, name, tuple(map(float, given.values())), rule, inplace)

    @stands_for(f"{name}_", per_tensor=True, of_bytes=True)
    def in_place(input: Any, *args: Any, **kwargs: Any) -> Any:
        return function(input, inplace=True, **arguments_of(args, kwargs))


_register("abs", _fitted)
_register("celu", _fitted, alpha=1.0)
_register("cos", _fitted)
_register("erf", _fitted)
_register("exp", _fitted)
_register("expm1", _fitted)
_register("hardshrink", _kept, lambd=0.5)
_register("hardsigmoid", _zero_to_one)
_register("hardswish", _fitted)
_register("leaky_relu", _kept, negative_slope=0.01)
_register("logsigmoid", _fitted)
_register("mish", _fitted)
_register("neg", _fitted)
_register("selu", _fitted)
_register("sigmoid", _zero_to_one)
_register("silu", _fitted)
_register("sin", _fitted)
_register("softplus", _fitted, beta=1.0, threshold=20.0)
_register("softshrink", _kept, lambd=0.5)
_register("softsign", _fitted)
_register("square", _fitted)
_register("tanh", _within(-1.0, 1.0))
_register("tanhshrink", _fitted)
_register("threshold", _kept, threshold=None, value=None)


@stands_for("elu", per_tensor=True, of_bytes=True)
def elu(
    input: QTensor,
    alpha: float = 1.0,
    scale: float | bool = 1.0,
    input_scale: float = 1.0,
    inplace: bool = False,
) -> Any:
    if isinstance(scale, bool):  # F.elu has `inplace` where the operator below it has `scale`
        inplace, scale = scale, 1.0
    arguments = float(alpha), float(scale), float(input_scale)
    return _table(input, F.elu, "elu", arguments, _fitted, inplace)


@stands_for("elu_", per_tensor=True, of_bytes=True)
def elu_(input: QTensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    return elu(input, alpha, float(scale), input_scale, True)


@stands_for("gelu", per_tensor=True, of_bytes=True)
def gelu(input: QTensor, approximate: str = "none") -> Any:
    if approximate not in ("none", "tanh"):
        raise ValueError(f"expected approximate to be 'none' or 'tanh', got {approximate!r}")
    function = "gelu_tanh" if approximate == "tanh" else "gelu"
    return _table(input, F.gelu, function, (), _kept, False)


@stands_for("prelu", "_prelu_kernel", per_tensor=True, of_bytes=True)
def prelu(input: Any, weight: Tensor) -> Any:
    if not isinstance(input, QTensor):
        return in_float(torch.prelu, "prelu", (input, weight), {})
    output = parameters(input)
    slopes = weight.reshape(-1)  # the operator below broadcasts them itself
    return ops.prelu(input, slopes, float(output.scale), int(output.zero_point))


@stands_for("softmax", "_softmax", per_tensor=True, of_bytes=True)
def softmax(input: QTensor, dim: int | None = None, *args: Any, **kwargs: Any) -> Any:
    dtype = kwargs.get("dtype") or next((x for x in args if isinstance(x, torch.dtype)), None)
    if dim is None or dtype is not None:
        return in_float(torch.softmax, "softmax", (input, dim), {"dtype": dtype})
    output = _zero_to_one(input, "softmax", ())
    return ops.softmax(input, dim, float(output.scale), int(output.zero_point))
