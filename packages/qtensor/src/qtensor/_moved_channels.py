"""Where the channels of a tensor quantized per channel go when its values move."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ._ops._channels import along
from ._qparams import QParams
from ._qtensor import QTensor


def following(
    move: Callable[[Sequence[Tensor]], Any], tensors: Sequence[QTensor], others: Sequence[Any] = ()
) -> Any:
    """What a function that only moves values does to tensors quantized per channel.

    It is called a second time, on the numbers of the channels instead of the integers. These show
    along which axis the channels lie now, and which of them are left.

    Args:
        move: the function, of plain tensors.
        tensors: all of the same parameters.
        others: what else the function looks at, such as indices.

    Returns:
        What ``move`` returns, quantized: per channel, or per tensor if it is of one channel, as
        ``x[0]``. ``None`` if the channels do not lie along one axis then, as in ``x.flatten()``;
        and if that cannot be known, because sizes are symbolic or indices have no memory.
    """
    if any(type(n) is not int for x in tensors for n in x.shape) or not all(map(_known, others)):
        return None
    moved = move([x.int_repr() for x in tensors])
    with _disable_current_modes():  # this is part of no trace
        numbers = move([_numbers(x) for x in tensors])
        several = isinstance(moved, (tuple, list))
        found = [_channels_left(n, tensors[0]) for n in (numbers if several else [numbers])]
    results = []
    for data, left in zip(moved if several else [moved], found, strict=True):
        qparams = None if left is None else _parameters(*left, tensors[0].qparams)
        if qparams is None:
            return None
        results.append(QTensor(data, qparams))
    return type(moved)(results) if several else results[0]


def _known(x: Any) -> bool:
    return not isinstance(x, Tensor) or (type(x) is Tensor and x.device.type != "meta")


def _numbers(x: QTensor) -> Tensor:
    """In place of each value the number of its channel, in the same order in memory."""
    device = "cpu" if x.device.type == "meta" else x.device
    axis = x.q_per_channel_axis()
    channels = along(axis, torch.arange(x.shape[axis], device=device), x.dim())
    layout = torch.empty_strided(x.shape, x.stride(), device="meta")
    return torch.empty_like(layout, dtype=channels.dtype, device=device).copy_(channels)


def _channels_left(numbers: Tensor, x: QTensor) -> tuple[list[int], int | None] | None:
    """Of values that were in the channels of ``x`` with these numbers: which channels are left, and
    along which axis, which is none for a single channel. ``None`` if they lie along no axis."""
    axis, count = x.q_per_channel_axis(), x.shape[x.q_per_channel_axis()]
    if numbers.numel() == 0:
        return None
    if bool((numbers == numbers.flatten()[0]).all()):
        kept = axis < numbers.dim() == x.dim() or (count == 1 and axis < numbers.dim())
        if not (kept and numbers.shape[axis] == 1):
            return [int(numbers.flatten()[0])], None
    for dim in sorted(range(numbers.dim()), key=lambda dim: dim != axis):
        left = numbers.transpose(0, dim).flatten(1)[:, 0] if numbers.dim() > 1 else numbers
        as_before = left.numel() <= count or left.numel() < numbers.numel()
        if as_before and torch.equal(numbers, along(dim, left, numbers.dim()).expand_as(numbers)):
            return left.tolist(), dim
    return None


def _parameters(left: list[int], axis: int | None, qparams: QParams) -> QParams | None:
    """Those of the channels that are left, if they can be known."""
    scale, zero_point = torch.as_tensor(qparams.scale), torch.as_tensor(qparams.zero_point)
    if axis is not None and left == list(range(scale.numel())):
        return qparams.replace(axis=axis)
    # Only what is taken from a tracer's tensors is part of its graph.
    with _disable_current_modes() if type(scale) is Tensor else nullcontext():
        if axis is not None:
            return qparams.replace(scale=scale[left], zero_point=zero_point[left], axis=axis)
        if not _known(scale) or zero_point.is_floating_point():  # per tensor they are integers
            return None
        number = left[0]
        return qparams.replace(
            scale=float(scale[number]), zero_point=int(zero_point[number]), axis=None
        )
