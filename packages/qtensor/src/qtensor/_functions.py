"""Torch's functions that run on the integers of a QTensor as they are.

A *kind* says what a function does to a quantized tensor; the lists below say which functions are
of which kind. Functions that need integer arithmetic of their own are in ``_overrides``; all
others are computed in float by ``QTensor`` itself.
"""

from collections.abc import Callable
from functools import partial
from types import GetSetDescriptorType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from ._moved_channels import following
from ._qtensor import QTensor, dispatched, functions, in_float, metadata


def found(name: str) -> list[Callable[..., Any]]:
    """Torch's functions and methods called ``name``: this version's, there may be none."""
    return [
        getattr(space, name) for space in (torch, Tensor, F, torch._C._nn) if hasattr(space, name)
    ]


# ---- kinds


def _moves_values(func: Callable[..., Any], x: Any, *args: Any, **kwargs: Any) -> Any:
    """Values move, dimensions may merge or split; per channel, where channels stay apart."""
    if isinstance(x, QTensor) and x._axis is not None:
        given = *args, *kwargs.values()
        moved = _followed(lambda xs: func(xs[0], *args, **kwargs), [x], given)
        return in_float(func, func.__name__, (x, *args), kwargs) if moved is None else moved
    result = func(*map(_integers, (x, *args)), **kwargs)
    if not isinstance(x, QTensor):  # such as float_tensor.view_as(q)
        return result
    if isinstance(result, Tensor):
        return QTensor(result, x.qparams)
    return type(result)(QTensor(part, x.qparams) for part in result)


def _picks_values(func: Callable[..., Any], x: Any, *args: Any, **kwargs: Any) -> Any:
    """Values are picked one by one: only sound when parameters are per tensor."""
    if isinstance(x, QTensor) and x._axis is not None:
        return in_float(func, func.__name__, (x, *args), kwargs)
    return _moves_values(func, x, *args, **kwargs)


def _followed(move: Callable[..., Any], tensors: list[QTensor], others: Any) -> Any:
    # Which channel goes where depends on the function's numbers, which the compiler cannot read.
    return None if is_dynamo_compiling() else following(move, tensors, others)


def _reorders(func: Callable[..., Any], x: QTensor, *args: Any, **kwargs: Any) -> QTensor:
    """Dimensions change places, and per-channel parameters follow their axis."""
    qparams = x.qparams
    if qparams.axis is not None:
        # Only the channel axis of this probe has two elements, so it shows where the axis goes.
        shape = [2 if i == qparams.axis else 1 for i in range(x.dim())]
        probe = func(torch.empty(shape, device="meta"), *args, **kwargs)
        qparams = qparams.replace(axis=list(probe.shape).index(2))
    return QTensor(func(x.int_repr(), *args, **kwargs), qparams)


def copies(func: Callable[..., Any], x: QTensor, *args: Any, **kwargs: Any) -> QTensor:
    """The same values elsewhere: other memory, memory format or device."""
    data = func(x.int_repr(), *args, **kwargs)
    qparams = x.qparams
    if qparams.axis is not None:
        qparams = qparams.replace(
            scale=torch.as_tensor(qparams.scale, device=data.device),
            zero_point=torch.as_tensor(qparams.zero_point, device=data.device),
        )
    return QTensor(data, qparams)


def _orders(func: Callable[..., Any], x: QTensor, *args: Any, **kwargs: Any) -> Any:
    """Picks elements by size: integers are ordered as the values they stand for."""
    if x.qparams.axis is not None or any(isinstance(arg, Tensor) for arg in args):
        return in_float(func, func.__name__, (x, *args), kwargs)
    result = func(x.int_repr(), *args, **kwargs)
    if isinstance(result, Tensor):
        return QTensor(result, x.qparams)
    values, indices = result
    return type(result)((QTensor(values, x.qparams), indices))


def _reads(func: Callable[..., Any], x: QTensor) -> Any:
    """Asks about the memory, which holds the integers."""
    return func(x._stored())


def _finds(func: Callable[..., Any], x: QTensor, *args: Any, **kwargs: Any) -> Any:
    """Finds where elements are, by size: the answer is positions, not values."""
    if x.qparams.axis is not None:
        return in_float(func, func.__name__, (x, *args), kwargs)
    return func(x.int_repr(), *args, **kwargs)


def _joins(func: Callable[..., Any], tensors: Any, *args: Any, **kwargs: Any) -> Any:
    """Puts tensors together, which integers can follow when all have the same parameters."""
    qparams = [x.qparams if isinstance(x, QTensor) else None for x in tensors]
    first = qparams[0]
    together = first is not None and all(q == first for q in qparams)
    if not together or first is None or kwargs.get("out") is not None:
        return in_float(func, func.__name__, (tensors, *args), kwargs)
    if first.axis is not None:
        joined = _followed(lambda xs: func(xs, *args, **kwargs), tensors, ())
        return in_float(func, func.__name__, (tensors, *args), kwargs) if joined is None else joined
    return QTensor(func([x.int_repr() for x in tensors], *args, **kwargs), first)


def _leaves(func: Callable[..., Any], x: Any, *args: Any, **kwargs: Any) -> Any:
    """Asks for real values by its very name, so computing in float is no surprise."""
    if not isinstance(x, QTensor):
        return in_float(func, func.__name__, (x, *args), kwargs)
    return func(x.dequantize(), *args, **kwargs)


def _integers(x: Any) -> Any:
    return x.int_repr() if isinstance(x, QTensor) else x


# ---- which functions are of which kind

_KINDS: dict[Callable[..., Any], str] = {
    _moves_values: """
        __getitem__ _unsafe_view broadcast_to chunk diagonal dsplit expand expand_as flatten flip
        fliplr flipud hsplit index_select narrow ravel repeat repeat_interleave reshape reshape_as
        roll rot90 select slice split split_with_sizes squeeze tensor_split tile unbind unflatten
        unfold unsafe_chunk unsafe_split view view_as vsplit
    """,
    _picks_values: "_reshape_alias as_strided gather masked_select take_along_dim",
    _reorders: "T mT adjoint movedim moveaxis permute swapaxes swapdims t transpose unsqueeze",
    copies: "alias clone contiguous cpu cuda data detach pin_memory",
    _orders: "amax amin kthvalue max median min mode msort sort topk",
    _finds: "argmax argmin argsort",
    _joins: "cat concat concatenate dstack hstack stack vstack",
    _reads: "data_ptr is_pinned is_shared storage_offset",
    _leaves: """
        __array__ __bool__ __complex__ __float__ __format__ __int__ bfloat16 bool byte char
        dequantize double float half int item long numpy short tolist type type_as
    """,
}

# These ask the wrapper itself, which knows its shape, strides and device.
_ASKS = """
    __dir__ __hash__ __len__ dim dim_order element_size get_device has_names is_complex is_conj
    is_contiguous is_inference is_neg is_set_to is_signed ndimension nelement numel size stride
    untyped_storage
"""


def _callable(attribute: Any) -> Any:
    """What torch hands to ``__torch_function__`` for an attribute: a property's getter."""
    return attribute.__get__ if isinstance(attribute, GetSetDescriptorType) else attribute


for _kind, _names in _KINDS.items():
    for _name in _names.split():
        dispatched[_name] = _kind
        for _func in map(_callable, found(_name)):
            functions[_func] = partial(_kind, _func)
del functions[F.unfold]  # which only has its name from the method: it makes columns of windows

for _name in _ASKS.split():
    metadata.update(dict.fromkeys(found(_name), True))
metadata.update(
    (_attribute.__get__, True)
    for _attribute in vars(torch._C.TensorBase).values()
    if isinstance(_attribute, GetSetDescriptorType)
)
