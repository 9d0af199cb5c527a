"""Writing into a quantized tensor: always with the parameters of the tensor written to.

What has no integer form here raises (see ``in_float``): computed in float, it would be lost.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import ops
from .._qtensor import QTensor, in_float, parameters
from .._quantize import quantize, quantize_value
from ._register import stands_for


@stands_for("copy_")
def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Any:
    if not isinstance(input, QTensor):
        return input.copy_(src.dequantize(), non_blocking)
    input._writable().copy_(_integers_for(src, input), non_blocking)
    return input


@stands_for("__setitem__")
def _setitem(input: Tensor, index: Any, value: Any) -> None:
    if isinstance(input, QTensor):
        input._writable()[index] = _integers_for(value, input, index)
    else:
        input[index] = value.dequantize()


@stands_for("fill_")
def fill_(input: QTensor, value: float) -> Any:
    _setitem(input, ..., value)
    return input


@stands_for("zero_")
def zero_(input: QTensor) -> Any:
    return fill_(input, 0.0)


@stands_for("detach_")
def detach_(input: QTensor) -> Any:
    return input  # it has no gradients to be detached from


@stands_for("share_memory_")
def share_memory_(input: QTensor) -> Any:
    for tensor in (input._stored(), input._scale, input._zero_point):
        if isinstance(tensor, Tensor):
            tensor.share_memory_()  # type: ignore[no-untyped-call]  # torch declares none
    return input


def _integers_for(value: Any, target: QTensor, index: Any = ...) -> Tensor:
    """``value`` as integers to be written to ``target[index]``."""
    qparams = parameters(target)
    if isinstance(value, QTensor):
        alike = qparams.axis is None or value.shape == target.shape
        if alike and value.qparams == qparams:
            return value.int_repr()
        value = value.dequantize()
    values = torch.as_tensor(value, dtype=torch.float32, device=target.device)
    if qparams.axis is None:
        return quantize(values, qparams).int_repr()
    # Each element becomes a channel of its own, with the parameters of the one that it goes to.
    sizes = [-1 if i == qparams.axis else 1 for i in range(target.dim())]
    ids = torch.arange(target.shape[qparams.axis], device=target.device).view(sizes)
    channels = ids.expand(target.shape)[index]
    while values.dim() > channels.dim() and values.shape[0] == 1:  # as torch allows
        values = values[0]
    flat = qparams.replace(
        scale=target.q_per_channel_scales()[channels].flatten(),
        zero_point=target.q_per_channel_zero_points()[channels].flatten(),
        axis=0,
    )
    integers = quantize(values.expand(channels.shape).flatten(), flat).int_repr()
    return integers.view(channels.shape)


# ---- functions that put values at some positions ------------------------------------------------


def _register_placing(name: str, position: int, *keywords: str) -> None:
    """Method ``name``, whose argument at ``position`` holds the values, under one of ``keywords``.
    Arguments after it ask for sums or other reductions."""
    method: Callable[..., Any] = getattr(Tensor, name)

    @stands_for(name, per_tensor=True)
    def place(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        given = list(args)
        named = {key: kwargs.pop(key) for key in keywords if key in kwargs}
        reduced = [*given[position + 1 :], *(kwargs.pop(k, None) for k in ("accumulate", "reduce"))]
        if not isinstance(input, QTensor):
            values = {key: _real(value) for key, value in named.items()}
            return method(input, *map(_real, args), **values, **kwargs)
        if any(reduced):
            return in_float(method, name, (input, *args), kwargs)
        if len(given) > position:
            given[position] = _placed(given[position], input)
        values = {key: _placed(value, input) for key, value in named.items()}
        method(input._writable(), *given[: position + 1], **values, **kwargs)
        return input


def _placed(value: Any, target: QTensor) -> Any:
    if isinstance(value, Tensor):
        return _integers_for(value, target)
    return quantize_value(value, parameters(target))


def _real(x: Any) -> Any:
    return x.dequantize() if isinstance(x, QTensor) else x


_register_placing("fill_diagonal_", 0, "fill_value")
_register_placing("index_copy_", 2, "source")
_register_placing("index_fill_", 2, "value")
_register_placing("index_put_", 1, "values")
_register_placing("masked_fill_", 1, "value")
_register_placing("masked_scatter_", 1, "source")
_register_placing("put_", 1, "source")
_register_placing("scatter_", 2, "src", "value")


@stands_for("tril_", per_tensor=True)
def tril_(input: QTensor, diagonal: int = 0) -> Any:
    return _keep(input, torch.tril, diagonal)


@stands_for("triu_", per_tensor=True)
def triu_(input: QTensor, diagonal: int = 0) -> Any:
    return _keep(input, torch.triu, diagonal)


def _keep(input: QTensor, part: Callable[..., Tensor], diagonal: int) -> Any:
    kept = part(torch.ones(input.shape, dtype=torch.bool, device=input.device), diagonal)
    input._writable().masked_fill_(~kept, input.q_zero_point())
    return input


# ---- arithmetic ---------------------------------------------------------------------------------


def _written(input: QTensor, result: QTensor) -> Any:
    input._writable().copy_(result.int_repr())
    return input


@stands_for("add_", "__iadd__", per_tensor=True)
def add_(input: Tensor, other: Any, *, alpha: float = 1) -> Any:
    if not isinstance(input, QTensor):
        return input.add_(_real(other), alpha=alpha)
    if not isinstance(other, Tensor):
        return _written(input, ops.apply(input, "add", parameters(input), other * alpha))
    scaled = other if alpha == 1 else ops.mul_scalar(other, alpha)  # type: ignore[arg-type]  # checked there
    return _written(input, ops.add_to(input, scaled, parameters(input)))  # type: ignore[arg-type]  # likewise


@stands_for("sub_", "subtract_", "__isub__", per_tensor=True)
def sub_(input: Tensor, other: Any, *, alpha: float = 1) -> Any:
    return add_(input, other, alpha=-alpha)


@stands_for("mul_", "multiply_", "__imul__", per_tensor=True)
def mul_(input: Tensor, other: Any) -> Any:
    if not isinstance(input, QTensor):
        return input.mul_(_real(other))
    if isinstance(other, Tensor):
        return _written(input, ops.mul_to(input, other, parameters(input)))  # type: ignore[arg-type]  # checked there
    return _written(input, ops.requantize(ops.mul_scalar(input, other), parameters(input)))


@stands_for("div_", "divide_", "true_divide_", "__itruediv__", per_tensor=True)
def div_(input: Tensor, other: Any, *, rounding_mode: str | None = None) -> Any:
    if not isinstance(input, QTensor):
        return input.div_(_real(other), rounding_mode=rounding_mode)
    if isinstance(other, Tensor) or other == 0 or rounding_mode is not None:
        return in_float(Tensor.div_, "div_", (input, other), {"rounding_mode": rounding_mode})
    return mul_(input, 1 / other)
