"""Pooling over the spatial dimensions of quantized images; the parameters stay as they are.

Images have one, two or three spatial dimensions: input is of shape ``(batch, channels, length)``,
``(batch, channels, height, width)`` or ``(batch, channels, depth, height, width)``. They are read
where they are, and the output has channels last if the input has (``_images.py``).
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _pooling
from .._calls import Prepared
from .._qparams import check_zero_point
from ._checks import RANGES, check_countable
from ._images import check_images, images_like, images_of
from ._layout import ELEMENT
from ._registry import operator

Axis = tuple[int, int, int, int, int, int]
"""The fields of ``pool_axis`` in csrc/pool.h: input and output size, kernel, stride, padding,
dilation."""

_INT32_MAX = 2**31 - 1

IDENTITY: Axis = (1, 1, 1, 1, 0, 1)
"""The axis of a dimension that is not there."""


# ---- windows ------------------------------------------------------------------------------------


def _axis(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> Axis:
    """Checks the windows along one axis and counts them: as many as end within the input or its
    padding, or, with ``ceil_mode``, start within the input or its left padding."""
    reach = dilation * (kernel - 1) + 1
    values = kernel, stride, dilation
    if min(values) < 1 or max(values) > _INT32_MAX or not 0 <= 2 * padding <= reach:
        raise ValueError(
            "expected a kernel size, stride and dilation of at least 1 (and below 2**31), and a "
            f"padding from 0 to half the window, got kernel size {kernel}, stride {stride}, "
            f"dilation {dilation}, padding {padding}"
        )
    room = size + 2 * padding - reach
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    if size < 1 or count < 1:
        raise ValueError(
            f"expected spatial dimensions that hold at least one window, got {size} for kernel "
            f"size {kernel}, padding {padding} and dilation {dilation}"
        )
    return size, count, kernel, stride, padding, dilation


def _window_axes(
    dtype: torch.dtype,
    shape: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[Axis]:
    check_images(dtype, shape)
    given = (kernel_size, stride, padding, dilation)
    if any(len(values) != len(shape) - 2 for values in given):
        raise ValueError(
            f"expected {len(shape) - 2} integers, one for each spatial dimension of input of "
            f"shape {tuple(shape)}, for each of kernel_size, stride, padding and dilation, got "
            f"{', '.join(str(list(values)) for values in given)}"
        )
    along = zip(shape[2:], *given, strict=True)
    return [_axis(*values, ceil_mode) for values in along]


def _even_axes(dtype: torch.dtype, shape: Sequence[int], output_size: Sequence[int]) -> list[Axis]:
    """The axes of windows that cover the input evenly."""
    check_images(dtype, shape)
    if len(output_size) != len(shape) - 2 or min(output_size) < 1:
        raise ValueError(
            f"expected output_size to be {len(shape) - 2} positive integers for input of shape "
            f"{tuple(shape)}, got {tuple(output_size)}"
        )
    check_countable((*shape[:2], *output_size))
    if min(shape[2:]) < 1:
        raise ValueError(
            f"expected spatial dimensions of at least 1, got input of shape {tuple(shape)}"
        )
    # A kernel size of 0 is the kernels' sign of such an axis.
    return [(size, n, 0, 1, 0, 1) for size, n in zip(shape[2:], output_size, strict=True)]


def _fake_output(input: Tensor, axes: Sequence[Axis]) -> Tensor:
    return images_like(input, [axis[1] for axis in axes])


def _max(input: Tensor, axes: Sequence[Axis]) -> _pooling.MaxPool:
    return _pooling.MaxPool(ELEMENT[input.dtype], images_of(input), three(axes))


def _mean(
    input: Tensor,
    axes: Sequence[Axis],
    zero_point: int,
    count_padding: bool = False,
    divisor_override: int | None = None,
) -> _pooling.MeanPool:
    return _pooling.MeanPool(
        ELEMENT[input.dtype],
        images_of(input),
        three(axes),
        zero_point,
        1.0,
        zero_point,
        *RANGES[input.dtype],
        count_padding,
        divisor_override or 0,
    )


def three(axes: Sequence[Axis]) -> list[Axis]:
    """Depth, height and width, of which the first may not be there."""
    return [IDENTITY] * (3 - len(axes)) + [*axes]


# ---- maximum ------------------------------------------------------------------------------------


def max_pool_reference(
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """The largest integer in each window, for each channel.

    Args:
        input: uint8 or int8, shape ``(batch, channels, *spatial)``, of one to three spatial sizes.
        kernel_size, stride, padding, dilation: an integer for each spatial dimension.
        ceil_mode: keep windows that reach beyond the far padding.

    Returns:
        The dtype of ``input``, shape ``(batch, channels, *windows)``; channels last in memory if
        those of ``input`` lie side by side, else contiguous. Padding never is the largest; a
        window of nothing but padding gives the smallest integer.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` has other dimensions or is too small for one window, or the geometry
            is not possible.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.max_pool(x, [2, 2], [2, 2], [0, 0], [1, 1], False)
        tensor([[[[4]]]], dtype=torch.uint8)
    """
    output = max_pool_fake(input, kernel_size, stride, padding, dilation, ceil_mode)
    if output.numel() == 0:  # torch's own refuse images of no channels
        return output
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[input.ndim - 3]
    window = tuple(kernel_size), tuple(stride), tuple(padding), tuple(dilation)
    smallest, _ = RANGES[input.dtype]
    return output.copy_(pool(input.float(), *window, ceil_mode).clamp(min=smallest))


def max_pool_fake(
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    window = kernel_size, stride, padding, dilation, ceil_mode
    return _fake_output(input, _window_axes(input.dtype, input.shape, *window))


def _max_pool_kernel(
    output: Tensor,
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> _pooling.MaxPool:
    window = kernel_size, stride, padding, dilation, ceil_mode
    return _max(input, _window_axes(input.dtype, input.shape, *window))


max_pool = operator(
    "max_pool(Tensor input, int[] kernel_size, int[] stride, int[] padding, int[] dilation, "
    "bool ceil_mode) -> Tensor",
    cpu=Prepared(max_pool_fake, _max_pool_kernel),
    reference=max_pool_reference,
    fake=max_pool_fake,
)


def adaptive_max_pool_reference(input: Tensor, output_size: Sequence[int]) -> Tensor:
    """The largest integer in each of a given number of windows, for each channel.

    Args:
        input: uint8 or int8, shape ``(batch, channels, *spatial)``, of one to three spatial sizes.
        output_size: the windows as in :func:`adaptive_avg_pool_reference`.

    Returns:
        The dtype of ``input``, shape ``(batch, channels, *output_size)``; in memory as
        :func:`max_pool_reference` says.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` has other dimensions or no pixels, or ``output_size`` is not one
            positive integer for each spatial dimension.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[1, 2, 3, 4]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.adaptive_max_pool(x, [2])
        tensor([[[2, 4]]], dtype=torch.uint8)
    """
    output = adaptive_max_pool_fake(input, output_size)
    dims = tuple(range(2, input.ndim))
    return _per_even_window(output, input, lambda window: window.amax(dims))


def adaptive_max_pool_fake(input: Tensor, output_size: Sequence[int]) -> Tensor:
    return _fake_output(input, _even_axes(input.dtype, input.shape, output_size))


def _adaptive_max_pool_kernel(
    output: Tensor, input: Tensor, output_size: Sequence[int]
) -> _pooling.MaxPool:
    return _max(input, _even_axes(input.dtype, input.shape, output_size))


adaptive_max_pool = operator(
    "adaptive_max_pool(Tensor input, int[] output_size) -> Tensor",
    cpu=Prepared(adaptive_max_pool_fake, _adaptive_max_pool_kernel),
    reference=adaptive_max_pool_reference,
    fake=adaptive_max_pool_fake,
)


# ---- average ------------------------------------------------------------------------------------


def avg_pool_reference(
    input: Tensor,
    zero_point: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window, for each channel, rounded to an integer.

    Args:
        input: uint8 or int8, shape ``(batch, channels, *spatial)``, of one to three spatial sizes.
        zero_point: the integer that stands for 0, which is what padding is.
        kernel_size, stride, padding: an integer for each spatial dimension.
        ceil_mode: keep windows that reach beyond the far padding.
        count_include_pad: divide by the window's size with its padding, else without.
        divisor_override: divide by this instead.

    Returns:
        ``round(sum(input - zero_point) / divisor) + zero_point``, ties to even, within the range
        of the dtype, which is that of ``input``; shape ``(batch, channels, *windows)``, in memory
        as :func:`max_pool_reference` says.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` has other dimensions or is too small for one window, the geometry is
            not possible, the divisor is 0, or the zero point is out of the dtype's range.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[[1, 2], [3, 5]]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.avg_pool(x, 0, [2, 2], [2, 2], [0, 0], False, True)
        tensor([[[[3]]]], dtype=torch.uint8)
    """
    rule = ceil_mode, count_include_pad, divisor_override
    output = avg_pool_fake(input, zero_point, kernel_size, stride, padding, *rule)
    # Not torch's own, which in three dimensions refuses inputs smaller than a window.
    sums = input.double() - zero_point
    divisor = torch.ones((), dtype=torch.float64, device=input.device)
    axes = _window_axes(
        input.dtype, input.shape, kernel_size, stride, padding, [1] * (input.ndim - 2), ceil_mode
    )
    for dim, axis in enumerate(axes, 2):
        sums = _window_sums(sums, dim, axis)
        extents = torch.tensor(_extents(axis, count_include_pad), device=input.device)
        divisor = divisor.unsqueeze(-1) * extents
    if divisor_override is not None:
        divisor = torch.tensor(divisor_override, device=input.device)
    mean = sums / divisor
    return output.copy_(_rounded(mean, zero_point, input.dtype))


def _window_sums(x: Tensor, dim: int, axis: Axis) -> Tensor:
    size, count, kernel, stride, padding, _ = axis
    beyond = max(0, (count - 1) * stride + kernel - size - padding)
    around = [0, 0] * (x.ndim - dim - 1) + [padding, beyond]  # F.pad begins with the last dimension
    return F.pad(x, around).unfold(dim, kernel, stride).narrow(dim, 0, count).sum(-1)


def _extents(axis: Axis, count_padding: bool) -> list[int]:
    """What each window along an axis counts as."""
    size, count, kernel, stride, padding, _ = axis
    starts = [i * stride - padding for i in range(count)]
    if count_padding:
        return [min(kernel, size + padding - start) for start in starts]
    return [min(start + kernel, size) - max(start, 0) for start in starts]


def _rounded(mean: Tensor, zero_point: int, dtype: torch.dtype) -> Tensor:
    return (mean.round() + zero_point).clamp(*RANGES[dtype])


def _check_mean(dtype: torch.dtype, zero_point: int, divisor_override: int | None = None) -> None:
    lowest, highest = RANGES[dtype]
    if not lowest <= zero_point <= highest:
        check_zero_point(zero_point, lowest, highest)
    if divisor_override == 0:
        raise ValueError("expected a divisor_override other than 0")


def avg_pool_fake(
    input: Tensor,
    zero_point: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    window = kernel_size, stride, padding, [1] * (input.ndim - 2), ceil_mode
    axes = _window_axes(input.dtype, input.shape, *window)
    _check_mean(input.dtype, zero_point, divisor_override)
    return _fake_output(input, axes)


def _avg_pool_kernel(
    output: Tensor,
    input: Tensor,
    zero_point: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> _pooling.MeanPool:
    window = kernel_size, stride, padding, [1] * (input.ndim - 2), ceil_mode
    axes = _window_axes(input.dtype, input.shape, *window)
    return _mean(input, axes, zero_point, count_include_pad, divisor_override)


avg_pool = operator(
    "avg_pool(Tensor input, int zero_point, int[] kernel_size, int[] stride, int[] padding, "
    "bool ceil_mode, bool count_include_pad, int? divisor_override=None) -> Tensor",
    cpu=Prepared(avg_pool_fake, _avg_pool_kernel),
    reference=avg_pool_reference,
    fake=avg_pool_fake,
)


def adaptive_avg_pool_reference(
    input: Tensor, output_size: Sequence[int], zero_point: int = 0
) -> Tensor:
    """The mean over each of a given number of windows, for each channel, rounded to an integer.

    Args:
        input: uint8 or int8, shape ``(batch, channels, *spatial)``, of one to three spatial sizes.
        output_size: an integer for each spatial dimension; window i of n along an axis of size s
            reaches from ``floor(i * s / n)`` to ``ceil((i + 1) * s / n)``.
        zero_point: the integer that stands for 0. It only matters for means halfway between two
            integers, whose distance from it is rounded to even; 0 by default.

    Returns:
        ``round(mean(input) - zero_point) + zero_point``, of the dtype of ``input``, shape
        ``(batch, channels, *output_size)``, in memory as :func:`max_pool_reference` says.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` has other dimensions or no pixels, ``output_size`` is not one
            positive integer for each spatial dimension, or the zero point is out of range.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[[1, 2], [3, 5]]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.adaptive_avg_pool(x, [1, 2])
        tensor([[[[2, 4]]]], dtype=torch.uint8)
    """
    # Not torch's own, which divides along one dimension after the other and so rounds repeatedly.
    output = adaptive_avg_pool_fake(input, output_size, zero_point)
    dims = tuple(range(2, input.ndim))

    def mean(window: Tensor) -> Tensor:
        total: Tensor = (window.double() - zero_point).sum(dims)
        return _rounded(total / prod(window.shape[2:]), zero_point, input.dtype)

    return _per_even_window(output, input, mean)


def _per_even_window(output: Tensor, input: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Fills ``output`` with ``reduce`` of each window of ``input``."""
    counts = output.shape[2:]
    index: Any
    for index in product(*map(range, counts)):
        window: tuple[Any, ...] = tuple(
            slice(i * size // n, -(-(i + 1) * size // n))
            for i, size, n in zip(index, input.shape[2:], counts, strict=True)
        )
        output[(..., *index)] = reduce(input[(..., *window)])
    return output


def adaptive_avg_pool_fake(
    input: Tensor, output_size: Sequence[int], zero_point: int = 0
) -> Tensor:
    axes = _even_axes(input.dtype, input.shape, output_size)
    _check_mean(input.dtype, zero_point)
    return _fake_output(input, axes)


def _adaptive_avg_pool_kernel(
    output: Tensor, input: Tensor, output_size: Sequence[int], zero_point: int = 0
) -> _pooling.MeanPool:
    return _mean(input, _even_axes(input.dtype, input.shape, output_size), zero_point)


adaptive_avg_pool = operator(
    "adaptive_avg_pool(Tensor input, int[] output_size, int zero_point=0) -> Tensor",
    cpu=Prepared(adaptive_avg_pool_fake, _adaptive_avg_pool_kernel),
    reference=adaptive_avg_pool_reference,
    fake=adaptive_avg_pool_fake,
)
