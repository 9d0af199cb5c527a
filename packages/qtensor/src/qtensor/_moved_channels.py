"""Where the channels of a tensor quantized per channel go when its values move."""

from collections.abc import Callable, Sequence
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
        qparams = [_parameters(n, tensors[0]) for n in (numbers if several else [numbers])]
    if None in qparams:
        return None
    parts = zip(moved if several else [moved], qparams, strict=True)
    results = [QTensor(data, found) for data, found in parts if found is not None]
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


def _parameters(numbers: Tensor, x: QTensor) -> QParams | None:
    """Those of values that were in the channels of ``x`` with these numbers, if they have any."""
    qparams, axis, count = x.qparams, x.q_per_channel_axis(), x.shape[x.q_per_channel_axis()]
    if numbers.numel() == 0:
        return None
    if bool((numbers == numbers.flatten()[0]).all()):
        kept = axis < numbers.dim() == x.dim() or (count == 1 and axis < numbers.dim())
        if not (kept and numbers.shape[axis] == 1):
            return _of_one_channel(int(numbers.flatten()[0]), qparams)
    for dim in sorted(range(numbers.dim()), key=lambda dim: dim != axis):
        left = numbers.transpose(0, dim).flatten(1)[:, 0] if numbers.dim() > 1 else numbers
        as_before = left.numel() <= count or left.numel() < numbers.numel()
        if as_before and torch.equal(numbers, along(dim, left, numbers.dim()).expand_as(numbers)):
            return _of_channels(left, dim, qparams)
    return None


def _of_one_channel(number: int, qparams: QParams) -> QParams | None:
    scale, zero_point = torch.as_tensor(qparams.scale), torch.as_tensor(qparams.zero_point)
    if not _known(scale) or zero_point.is_floating_point():  # per tensor they are integers
        return None
    return qparams.replace(
        scale=float(scale[number]), zero_point=int(zero_point[number]), axis=None
    )


def _of_channels(numbers: Tensor, axis: int, qparams: QParams) -> QParams | None:
    scale, zero_point = torch.as_tensor(qparams.scale), torch.as_tensor(qparams.zero_point)
    if torch.equal(numbers, torch.arange(scale.numel(), device=numbers.device)):
        return qparams.replace(axis=axis)
    if type(scale) is not Tensor:
        return None
    left = numbers.to(scale.device)
    return qparams.replace(scale=scale[left], zero_point=zero_point[left], axis=axis)
