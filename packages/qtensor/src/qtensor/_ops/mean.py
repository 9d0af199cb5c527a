"""The mean of a quantized tensor over any of its dimensions."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from .. import _pooling
from .._calls import Kernel, Prepared
from ._checks import BYTES, RANGES, check_integers, check_parameters, check_range
from ._images import Images
from ._layout import ELEMENT, layout_under
from ._registry import operator
from ._requantize import round_within
from .pool import Axis, three


def mean_reference(
    input: Tensor,
    dim: Sequence[int],
    keepdim: bool,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """The mean over some dimensions, of sums that are exact.

    Args:
        input: uint8 or int8, any shape.
        dim: the dimensions that the mean is taken over; none of size 0.
        keepdim: keep them, with size 1.
        scale, zero_point: how ``input`` is quantized.
        output_scale, output_zero_point: how the result is.
        quant_min, quant_max: the integers the result may use, both included.

    Returns:
        ``round(sum(input - zero_point) * (scale / output_scale) / count) + output_zero_point``,
        ties to even, in float64, clamped; of the dtype of ``input``, contiguous.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: a dimension does not exist, occurs twice or is empty, or the parameters do not
            fit the dtype.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[1, 2, 6], [4, 5, 6]], dtype=torch.uint8)
        >>> torch.ops.qtensor.mean(x, [1], False, 0.5, 0, 0.5, 0, 0, 255)
        tensor([3, 5], dtype=torch.uint8)
    """
    output = mean_fake(
        input,
        dim,
        keepdim,
        scale,
        zero_point,
        output_scale,
        output_zero_point,
        quant_min,
        quant_max,
    )
    dims = _sorted_dims(input, dim)
    centered = input.double() - zero_point
    sums = centered.sum(dims, keepdim=keepdim) if dims else centered
    means = sums * (scale / output_scale) / prod(input.shape[i] for i in dims)
    bounds = quant_min - output_zero_point, quant_max - output_zero_point
    return output.copy_(round_within(means, *bounds) + output_zero_point)


def _sorted_dims(input: Tensor, dim: Sequence[int]) -> list[int]:
    dims = sorted(i + input.ndim if i < 0 else i for i in dim)
    if any(not 0 <= i < input.ndim for i in dims) or len(set(dims)) < len(dims):
        raise ValueError(
            f"expected different dimensions of input of shape {tuple(input.shape)}, got "
            f"{tuple(dim)}"
        )
    if any(input.shape[i] == 0 for i in dims):
        raise ValueError(
            f"the mean of nothing: expected dimensions {tuple(dim)} of input of shape "
            f"{tuple(input.shape)} to be of size 1 or more"
        )
    return dims


def mean_fake(
    input: Tensor,
    dim: Sequence[int],
    keepdim: bool,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    check_integers(input, BYTES)
    check_range(quant_min, quant_max, input.dtype)
    check_parameters(scale, zero_point, *RANGES[input.dtype])
    check_parameters(output_scale, output_zero_point, quant_min, quant_max, "output_")
    dims = _sorted_dims(input, dim)
    sizes = [1 if i in dims else size for i, size in enumerate(input.shape)]
    if not keepdim:
        sizes = [size for i, size in enumerate(sizes) if i not in dims]
    return input.new_empty(sizes)


def _kernel(
    output: Tensor,
    input: Tensor,
    dim: Sequence[int],
    keepdim: bool,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Kernel:
    if output.numel() == 0:
        return Kernel()
    element = ELEMENT[input.dtype]
    rule = zero_point, scale / output_scale, output_zero_point, quant_min, quant_max
    strides = input.stride()
    dims = sorted(_sorted_dims(input, dim), key=lambda i: -strides[i])
    kept = [i for i in range(input.ndim) if i not in dims]
    pooled = _as_images(_runs(input, kept), _runs(input, dims))
    if pooled is not None:
        images, axes = pooled
        return _pooling.MeanPool(element, images, axes, *rule, False, 0)
    in_order = input.permute(kept + dims)
    layout = layout_under(torch.empty(in_order.shape, device="meta"), in_order)
    size = prod(input.shape[i] for i in dims)
    return _pooling.MeanOfElements(element, layout, output.numel(), size, *rule)


class _Run(NamedTuple):
    """Dimensions that follow each other in memory as one would."""

    size: int
    stride: int


def _runs(input: Tensor, dims: Iterable[int]) -> list[_Run]:
    runs: list[_Run] = []
    for i in dims:
        size, stride = input.shape[i], input.stride(i)
        if runs and runs[-1].stride == size * stride:
            runs[-1] = _Run(runs[-1].size * size, stride)
        elif size != 1:
            runs.append(_Run(size, stride))
    return runs


def _as_images(kept: list[_Run], averaged: list[_Run]) -> tuple[Images, list[Axis]] | None:
    """The tensor as images whose pooling gives this mean, if there are any, and their axes."""
    free = 3 - len(averaged)
    if free < 0 or len(kept) > 2 + free:
        return None
    channels_last = bool(kept) and kept[-1].stride == 1
    lines = bool(averaged) and averaged[-1].stride == 1
    # Columns can be worked on together, and need not be where their own values lie together.
    columns = free > 0 and not lines and not channels_last
    kept = [_Run(1, 0)] * (2 + columns - len(kept)) + kept
    if channels_last:
        batch, *inner, channels = kept
    else:
        batch, channels, *inner = kept
    runs = [_Run(1, 0)] * (free - len(inner)) + averaged + inner
    images = Images(
        batch.size,
        channels.size,
        batch.stride,
        channels.stride,
        [run.size for run in runs],
        [run.stride for run in runs],
        channels_last,
    )
    return images, three(
        [_whole(run.size) for run in averaged] + [_each(run.size) for run in inner]
    )


def _whole(size: int) -> Axis:
    return size, 1, 0, 1, 0, 1


def _each(size: int) -> Axis:
    return size, size, 1, 1, 0, 1


mean = operator(
    "mean(Tensor input, int[] dim, bool keepdim, float scale, int zero_point, "
    "float output_scale, int output_zero_point, int quant_min, int quant_max) -> Tensor",
    cpu=Prepared(mean_fake, _kernel),
    reference=mean_reference,
    fake=mean_fake,
)
