"""Enlarging and reducing quantized images; the parameters stay as they are.

Images have one, two or three spatial dimensions, and are read where they are, as in ``pool.py``.
Positions are computed in float32, as torch does for float images, so the pixels are the same ones.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _pooling
from .._calls import Prepared
from .._qparams import check_zero_point
from ._checks import RANGES, check_countable
from ._images import check_images, images_like, images_of
from ._layout import ELEMENT
from ._registry import operator

_SMALLEST_FACTOR = torch.finfo(torch.float32).smallest_normal  # the inverse is finite


class _Axis(NamedTuple):
    """Output i lies between the inputs low[i] and high[i], ``weight[i]`` of the way."""

    low: Tensor
    high: Tensor
    weight: Tensor


def _nearest_axis(size: int, count: int, factor: float | None, exact: bool) -> _Axis:
    step = torch.tensor(
        size / count if factor is None else 1 / factor, dtype=torch.float32, device="cpu"
    )
    positions = (
        torch.arange(count, dtype=torch.float32, device="cpu") + (0.5 if exact else 0.0)
    ) * step
    low = positions.clamp(max=size - 1).long()  # in this order: infinity is no integer
    return _Axis(low, low, torch.zeros(count, dtype=torch.float32, device="cpu"))


def _linear_axis(size: int, count: int, factor: float | None, align_corners: bool) -> _Axis:
    positions = torch.arange(count, dtype=torch.float32, device="cpu")
    if align_corners:
        step = torch.tensor((size - 1) / max(count - 1, 1), dtype=torch.float32, device="cpu")
        positions = positions * step
    else:
        step = torch.tensor(
            size / count if factor is None else 1 / factor, dtype=torch.float32, device="cpu"
        )
        positions = ((positions + 0.5) * step - 0.5).clamp(min=0)
    low = positions.clamp(max=size - 1).long()  # in this order: infinity is no integer
    return _Axis(low, (low + 1).clamp(max=size - 1), (positions - low).clamp(0, 1))


def _axes(
    shape: Sequence[int],
    output_size: Sequence[int],
    scale_factors: Sequence[float] | None,
    make: Any,
    option: bool,
) -> list[_Axis]:
    factors: Sequence[float | None] = scale_factors or [None] * len(output_size)
    sizes = zip(shape[2:], output_size, factors, strict=True)
    return [make(*values, option) for values in sizes]


def _kernel(input: Tensor, axes: list[_Axis], *options: Any) -> _pooling.Interpolate:
    absent = [_Axis(*(torch.zeros(1, dtype=t.dtype, device="cpu") for t in axes[0]))]
    axes = absent * (3 - len(axes)) + axes
    return _pooling.Interpolate(ELEMENT[input.dtype], images_of(input), axes, *options)


def _check(
    dtype: torch.dtype,
    shape: Sequence[int],
    output_size: Sequence[int],
    scale_factors: Sequence[float] | None,
) -> None:
    check_images(dtype, shape)
    spatial = len(shape) - 2
    if len(output_size) != spatial or min(output_size) < 1 or min(shape[2:]) < 1:
        raise ValueError(
            f"expected an output_size of {spatial} positive integers and input with pixels, got "
            f"{tuple(output_size)} for input of shape {tuple(shape)}"
        )
    check_countable((*shape[:2], *output_size))
    if scale_factors is not None and not (
        len(scale_factors) == spatial
        and all(_SMALLEST_FACTOR <= factor < math.inf for factor in scale_factors)
    ):
        raise ValueError(
            f"expected {spatial} positive scale_factors that float32 holds, for input of shape "
            f"{tuple(shape)}, got {tuple(scale_factors)}"
        )


def _fake(
    input: Tensor, output_size: Sequence[int], scale_factors: Sequence[float] | None
) -> Tensor:
    _check(input.dtype, input.shape, output_size, scale_factors)
    return images_like(input, output_size)


# ---- nearest ------------------------------------------------------------------------------------


def interpolate_nearest_reference(
    input: Tensor,
    output_size: Sequence[int],
    scale_factors: Sequence[float] | None,
    exact: bool,
) -> Tensor:
    """The image in another size, each pixel being a copy of one of the input's.

    Args:
        input: uint8 or int8, shape ``(batch, channels, *spatial)``, of one to three spatial sizes.
        output_size: an integer for each spatial dimension.
        scale_factors: the ratios of output to input size that positions are computed with; those
            of the sizes themselves if ``None``.
        exact: copy from where the middle of an output pixel lies (``"nearest-exact"``), else from
            where its beginning does (``"nearest"``).

    Returns:
        The dtype of ``input``, shape ``(batch, channels, *output_size)``; channels last in memory
        if those of ``input`` lie side by side, else contiguous.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` has other dimensions or no pixels, or ``output_size`` or
            ``scale_factors`` is not one positive number for each spatial dimension.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[1, 2]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.interpolate_nearest(x, [4], None, False)
        tensor([[[1, 1, 2, 2]]], dtype=torch.uint8)
    """
    output = _fake(input, output_size, scale_factors)
    axes = _axes(input.shape, output_size, scale_factors, _nearest_axis, exact)
    for dim, axis in enumerate(axes, 2):
        input = input.index_select(dim, axis.low.to(input.device))
    return output.copy_(input)


def interpolate_nearest_fake(
    input: Tensor,
    output_size: Sequence[int],
    scale_factors: Sequence[float] | None,
    exact: bool,
) -> Tensor:
    return _fake(input, output_size, scale_factors)


def _nearest_kernel(
    output: Tensor,
    input: Tensor,
    output_size: Sequence[int],
    scale_factors: Sequence[float] | None,
    exact: bool,
) -> _pooling.Interpolate:
    axes = _axes(input.shape, output_size, scale_factors, _nearest_axis, exact)
    return _kernel(input, axes, False, 0)


interpolate_nearest = operator(
    "interpolate_nearest(Tensor input, int[] output_size, float[]? scale_factors, bool exact) "
    "-> Tensor",
    cpu=Prepared(interpolate_nearest_fake, _nearest_kernel),
    reference=interpolate_nearest_reference,
    fake=interpolate_nearest_fake,
)


# ---- linear -------------------------------------------------------------------------------------


def interpolate_linear_reference(
    input: Tensor,
    zero_point: int,
    output_size: Sequence[int],
    scale_factors: Sequence[float] | None,
    align_corners: bool,
) -> Tensor:
    """The image in another size, each pixel being interpolated between its neighbours.

    Linear in one dimension, bilinear in two, trilinear in three.

    Args:
        input: uint8 or int8, shape ``(batch, channels, *spatial)``, of one to three spatial sizes.
        zero_point: the integer that stands for 0. It only matters for values halfway between two
            integers, whose distance from it is rounded to even.
        output_size: an integer for each spatial dimension.
        scale_factors: the ratios of output to input size that positions are computed with; those
            of the sizes themselves if ``None``.
        align_corners: the middles of the corner pixels stay where they are, else their edges do.

    Returns:
        The dtype of ``input``, shape ``(batch, channels, *output_size)``; channels last in memory
        if those of ``input`` lie side by side, else contiguous. Computed in float32, along the last
        dimension first, in steps ``(1 - w) * a + w * b``; within 2**-12 of the exact value before
        it is rounded, ties to even.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` has other dimensions or no pixels, ``output_size`` or
            ``scale_factors`` is not one positive number for each spatial dimension, or the zero
            point is out of the dtype's range.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[0, 40]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.interpolate_linear(x, 0, [4], None, False)
        tensor([[[ 0, 10, 30, 40]]], dtype=torch.uint8)
    """
    output = interpolate_linear_fake(input, zero_point, output_size, scale_factors, align_corners)
    axes = _axes(input.shape, output_size, scale_factors, _linear_axis, align_corners)
    values = (input.int() - zero_point).float()
    for dim, axis in reversed(list(enumerate(axes, 2))):
        low, high = (values.index_select(dim, i.to(values.device)) for i in (axis.low, axis.high))
        weight = axis.weight.to(values.device).view(-1, *[1] * (values.ndim - dim - 1))
        values = (1 - weight) * low + weight * high
    return output.copy_(values.round() + zero_point)


def interpolate_linear_fake(
    input: Tensor,
    zero_point: int,
    output_size: Sequence[int],
    scale_factors: Sequence[float] | None,
    align_corners: bool,
) -> Tensor:
    output = _fake(input, output_size, scale_factors)
    check_zero_point(zero_point, *RANGES[input.dtype])
    return output


def _linear_kernel(
    output: Tensor,
    input: Tensor,
    zero_point: int,
    output_size: Sequence[int],
    scale_factors: Sequence[float] | None,
    align_corners: bool,
) -> _pooling.Interpolate:
    axes = _axes(input.shape, output_size, scale_factors, _linear_axis, align_corners)
    return _kernel(input, axes, True, zero_point)


interpolate_linear = operator(
    "interpolate_linear(Tensor input, int zero_point, int[] output_size, float[]? scale_factors, "
    "bool align_corners) -> Tensor",
    cpu=Prepared(interpolate_linear_fake, _linear_kernel),
    reference=interpolate_linear_reference,
    fake=interpolate_linear_fake,
)
