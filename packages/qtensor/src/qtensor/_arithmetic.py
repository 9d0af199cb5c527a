"""Torch's functions on a QTensor that need integer arithmetic of their own."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair

from ._functions import copies, found
from ._ops.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from ._qtensor import QTensor, dispatched, functions, in_float
from ._quantize import quantize, quantize_value

Ints = int | Sequence[int]
Function = Callable[..., Any]


def _stands_for(*names: str) -> Callable[[Function], Function]:
    """Makes the decorated function the integer counterpart of torch's functions ``names``."""

    def register(on_integers: Function) -> Function:
        def from_dispatcher(func: Any, *args: Any, **kwargs: Any) -> Any:
            return on_integers(*args, **kwargs)

        for name in names:
            dispatched[name] = from_dispatcher
            functions.update(dict.fromkeys(found(name), on_integers))
        return on_integers

    return register


# ---- activations: comparing integers is comparing the values they stand for


def _clamp(x: QTensor, low: float | None, high: float | None, inplace: bool) -> Any:
    qparams = x.qparams
    if qparams.axis is not None:
        clamp = Tensor.clamp_ if inplace else Tensor.clamp
        return in_float(clamp, clamp.__name__, (x, low, high), {})
    bounds = [None if bound is None else quantize_value(bound, qparams) for bound in (low, high)]
    if inplace:
        x.int_repr().clamp_(*bounds)
        return x
    return QTensor(x.int_repr().clamp(*bounds), qparams)


@_stands_for("relu")
def relu(input: QTensor, inplace: bool = False) -> Any:
    return _clamp(input, 0.0, None, inplace)


@_stands_for("relu_")
def relu_(input: QTensor) -> Any:
    return _clamp(input, 0.0, None, True)


@_stands_for("relu6")
def relu6(input: QTensor, inplace: bool = False) -> Any:
    return _clamp(input, 0.0, 6.0, inplace)


@_stands_for("hardtanh")
def hardtanh(
    input: QTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Any:
    return _clamp(input, min_val, max_val, inplace)


@_stands_for("hardtanh_")
def hardtanh_(input: QTensor, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return _clamp(input, min_val, max_val, True)


@_stands_for("clamp", "clip")
def clamp(input: QTensor, min: Any = None, max: Any = None) -> Any:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return in_float(torch.clamp, "clamp", (input, min, max), {})
    return _clamp(input, min, max, False)


@_stands_for("clamp_", "clip_")
def clamp_(input: QTensor, min: float | None = None, max: float | None = None) -> Any:
    return _clamp(input, min, max, True)


# ---- pooling and padding


def _pooled(input: QTensor, pool: Callable[..., Tensor], *args: Any) -> QTensor:
    data = input.int_repr()
    batched = data if data.dim() == 4 else data.unsqueeze(0)
    result = pool(batched, *args)
    return QTensor(result if data.dim() == 4 else result.squeeze(0), input.qparams)


@_stands_for("max_pool2d")
def _max_pool2d(
    input: QTensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> QTensor:
    window = _pair(kernel_size), _pair(stride or kernel_size), _pair(padding), _pair(dilation)
    return _pooled(input, max_pool2d, *window, ceil_mode)


@_stands_for("avg_pool2d")
def _avg_pool2d(
    input: QTensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> QTensor:
    window = _pair(kernel_size), _pair(stride or kernel_size), _pair(padding)
    rule = ceil_mode, count_include_pad, divisor_override
    return _pooled(input, avg_pool2d, input.q_zero_point(), *window, *rule)


@_stands_for("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def _adaptive_avg_pool2d(input: QTensor, output_size: Any) -> QTensor:
    size = [
        given if wanted is None else wanted
        for wanted, given in zip(_pair(output_size), input.shape[-2:], strict=True)
    ]
    return _pooled(input, adaptive_avg_pool2d, size)


def _pad(
    input: QTensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Any:
    if input.qparams.axis is not None:
        return in_float(F.pad, "pad", (input, pad, mode, value), {})
    fill = quantize_value(value or 0.0, input.qparams) if mode == "constant" else None
    return QTensor(F.pad(input.int_repr(), list(pad), mode, fill), input.qparams)


functions[F.pad] = functions[torch._C._nn.pad] = _pad


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if training:
        return in_float(F.dropout, "dropout", (input, p, training, inplace), {"inplace": inplace})
    return input


functions.update(dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), _dropout))


# ---- writing: always with the parameters of the tensor written to


@_stands_for("copy_")
def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Any:
    if not isinstance(input, QTensor):
        return input.copy_(src.dequantize(), non_blocking)
    input.int_repr().copy_(_quantized_like(src, input).int_repr(), non_blocking)
    return input


@_stands_for("__setitem__")
def _setitem(input: Tensor, index: Any, value: Any) -> None:
    if isinstance(input, QTensor):
        input.int_repr()[index] = _quantized_like(value, input).int_repr()
    else:
        input[index] = value.dequantize()


@_stands_for("fill_")
def fill_(input: QTensor, value: float) -> Any:
    return copy_(input, torch.full_like(input.int_repr(), value, dtype=torch.float32))


@_stands_for("zero_")
def zero_(input: QTensor) -> Any:
    return fill_(input, 0.0)


def _quantized_like(value: Any, target: QTensor) -> QTensor:
    if target.qparams.axis is not None and not (
        isinstance(value, Tensor) and value.shape == target.shape
    ):
        raise NotImplementedError("writing part of a tensor quantized per channel")
    if isinstance(value, QTensor):
        if value.qparams == target.qparams:
            return value
        value = value.dequantize()
    return quantize(torch.as_tensor(value, dtype=torch.float32), target.qparams)


# ---- the rest


@_stands_for("to", "_to_copy")
def _to(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(x, QTensor):  # x.to(q) asks for q's float dtype and its device
        plain: list[Any] = [arg.dequantize() if isinstance(arg, QTensor) else arg for arg in args]
        return x.to(*plain, **kwargs)
    if any(isinstance(arg, (torch.dtype, Tensor)) for arg in (*args, *kwargs.values())):
        return x.dequantize().to(*args, **kwargs)
    return copies(Tensor.to, x, *args, **kwargs)


@_stands_for("equal")
def _equal(input: Any, other: Any) -> bool:
    if isinstance(input, QTensor) and isinstance(other, QTensor):
        same = input.qparams == other.qparams
        return same and torch.equal(input.int_repr(), other.int_repr())
    return False


@_stands_for("requires_grad_")
def _requires_grad_(input: QTensor, requires_grad: bool = True) -> QTensor:
    if requires_grad:
        raise RuntimeError(
            f"a QTensor of {input.qdtype} cannot require gradients: integers have none. Train the "
            "float model and quantize it afterwards."
        )
    return input


@_stands_for("backward")
def _backward(input: QTensor, *args: Any, **kwargs: Any) -> None:
    raise RuntimeError(
        f"backward() through a QTensor of {input.qdtype}: integers have no gradients. Train the "
        "float model and quantize it afterwards."
    )
