"""The mean of a quantized tensor over any of its dimensions."""

from collections.abc import Sequence
from itertools import groupby
from math import prod

import torch
from torch import Tensor

from .. import _pooling
from .._calls import Kernel, Prepared
from ._checks import BYTES, RANGES, check_integers, check_parameters, check_range
from ._layout import ELEMENT, is_dense
from ._registry import operator
from ._requantize import round_within
from .pool import Axis, three

Images = tuple[int, int, list[Axis]]
"""Batch size, channels, and the three axes that are pooled."""


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
    images, order = _plan(input.shape, input.stride(), _sorted_dims(input, dim))
    made = _pooling.MeanPool(
        ELEMENT[input.dtype],
        *images,
        zero_point,
        scale / output_scale,
        output_zero_point,
        quant_min,
        quant_max,
        False,
        0,
    )
    if order is not None:
        made.copied = (torch.empty_permuted(input.shape, order, dtype=input.dtype, device="meta"),)
    return made


def _plan(
    shape: Sequence[int], strides: Sequence[int], dims: Sequence[int]
) -> tuple[Images, list[int] | None]:
    """The tensor as images whose pooling gives this mean, and the order of its dimensions in which
    it is to be copied first, if it is.

    Dimensions next to each other in memory that are kept alike or averaged alike count as one.
    The first and last of them that are kept are batch and channels. Those between are axes that
    are pooled to one pixel, or not at all; if there are more than three, or what is kept would
    come in another order, the tensor is copied.
    """
    every: Sequence[int] = range(len(shape))
    order = sorted(every, key=lambda i: -strides[i])
    kept = [i for i in every if i not in dims]
    in_place = is_dense(shape, strides) and kept == [i for i in order if i not in dims]
    if not in_place:
        order = list(every)
    batch, axes, channels = _runs(shape, order, dims)
    if len(axes) > 3:
        in_place, order = False, [*kept, *dims]
        batch, axes, channels = _runs(shape, order, dims)
    return (batch, channels, three(axes)), None if in_place else order


def _runs(
    shape: Sequence[int], order: Sequence[int], dims: Sequence[int]
) -> tuple[int, list[Axis], int]:
    """Batch size, axes and channels of a tensor that is dense in this order of dimensions."""
    grouped = groupby((i for i in order if shape[i] != 1), key=lambda i: i in dims)
    runs = [(averaged, prod(shape[i] for i in run)) for averaged, run in grouped]
    batch = runs.pop(0)[1] if runs and not runs[0][0] else 1
    channels = runs.pop()[1] if runs and not runs[-1][0] else 1
    return batch, [_whole(size) if averaged else _each(size) for averaged, size in runs], channels


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
