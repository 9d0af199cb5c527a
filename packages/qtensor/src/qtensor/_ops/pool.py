"""Pooling over the height and width of quantized images; the parameters stay as they are.

The kernels read and write NHWC (``torch.channels_last``): an input in another memory format is
converted, and the output is always ``channels_last``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _pooling
from .._qparams import check_zero_point
from .._threads import num_threads
from ._checks import RANGES, check_integers
from ._layout import ELEMENT
from ._registry import operator

Axis = tuple[int, int, int, int, int, int]
"""The fields of ``pool_axis`` in csrc/elementwise.h: input and output size, kernel, stride,
padding, dilation."""


def _check_images(input: Tensor) -> None:
    check_integers(input, (torch.uint8, torch.int8))
    if input.ndim != 4:
        raise ValueError(
            f"expected input of shape (batch, channels, height, width), got {tuple(input.shape)}"
        )


def _axis(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> Axis:
    """Checks the windows along one axis and counts them: as many as end within the input or its
    padding, or, with ``ceil_mode``, start within the input or its left padding."""
    reach = dilation * (kernel - 1) + 1
    if kernel < 1 or stride < 1 or dilation < 1 or not 0 <= 2 * padding <= reach:
        raise ValueError(
            "expected a kernel size, stride and dilation of at least 1 and a padding from 0 to "
            f"half the window, got kernel size {kernel}, stride {stride}, dilation {dilation}, "
            f"padding {padding}"
        )
    room = size + 2 * padding - reach
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    if size < 1 or count < 1:
        raise ValueError(
            f"expected a height and width of at least one window, got {size} for kernel size "
            f"{kernel}, padding {padding} and dilation {dilation}"
        )
    return size, count, kernel, stride, padding, dilation


def _axes(
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Axis, Axis]:
    _check_images(input)
    _, _, height, width = input.shape
    try:
        pairs = zip(kernel_size, stride, padding, dilation, strict=True)
        along_height, along_width = pairs
    except (TypeError, ValueError):
        raise ValueError(
            "expected two integers, for height and width, for each of kernel_size, stride, padding "
            f"and dilation, got {kernel_size}, {stride}, {padding} and {dilation}"
        ) from None
    return _axis(height, *along_height, ceil_mode), _axis(width, *along_width, ceil_mode)


def _empty_images(input: Tensor, height: Axis, width: Axis) -> Tensor:
    batch, channels = input.shape[:2]
    rows, columns = height[1], width[1]
    strides = (rows * columns * channels, 1, columns * channels, channels)  # channels_last
    return input.new_empty_strided((batch, channels, rows, columns), strides)


# ---- maximum ------------------------------------------------------------------------------------


def max_pool2d_reference(
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """The largest integer in each window, for each channel.

    Args:
        input: uint8 or int8, shape ``(batch, channels, height, width)``.
        kernel_size, stride, padding, dilation: two integers each, for height and width.
        ceil_mode: keep windows that reach beyond the right or lower padding.

    Returns:
        The dtype of ``input``, shape ``(batch, channels, height', width')``, ``channels_last``.
        Padding never is the largest; a window of nothing but padding gives the smallest integer.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` is not four-dimensional or too small for one window, or the
            geometry is not possible.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], False)
        tensor([[[[4]]]], dtype=torch.uint8)
    """
    largest = torch.max_pool2d(
        input.float(),
        tuple(kernel_size),
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        ceil_mode,
    )
    smallest, _ = RANGES[input.dtype]
    result = largest.clamp(min=smallest).to(input.dtype)  # of nothing: minus infinity
    return result.contiguous(memory_format=torch.channels_last)


def max_pool2d_fake(
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    return _empty_images(input, *_axes(input, kernel_size, stride, padding, dilation, ceil_mode))


def max_pool2d_cpu(
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    height, width = _axes(input, kernel_size, stride, padding, dilation, ceil_mode)
    output = _empty_images(input, height, width)
    input = input.contiguous(memory_format=torch.channels_last)
    batch, channels = input.shape[:2]
    _pooling.max_pool(
        input.data_ptr(),
        output.data_ptr(),
        ELEMENT[input.dtype],
        batch,
        channels,
        height,
        width,
        num_threads(),
    )
    return output


max_pool2d = operator(
    "max_pool2d(Tensor input, int[2] kernel_size, int[2] stride, int[2] padding, "
    "int[2] dilation, bool ceil_mode) -> Tensor",
    cpu=max_pool2d_cpu,
    reference=max_pool2d_reference,
    fake=max_pool2d_fake,
)


# ---- average ------------------------------------------------------------------------------------


def avg_pool2d_reference(
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
        input: uint8 or int8, shape ``(batch, channels, height, width)``.
        zero_point: the integer that stands for 0, which is what padding is.
        kernel_size, stride, padding: two integers each, for height and width.
        ceil_mode: keep windows that reach beyond the right or lower padding.
        count_include_pad: divide by the window's size with its padding, else without.
        divisor_override: divide by this instead.

    Returns:
        ``round(sum(input - zero_point) / divisor) + zero_point``, ties to even, within the range
        of the dtype, which is that of ``input``; shape ``(batch, channels, height', width')``,
        ``channels_last``.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` is not four-dimensional or too small for one window, the geometry is
            not possible, the divisor is 0, or the zero point is out of the dtype's range.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[[1, 2], [3, 5]]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.avg_pool2d(x, 0, [2, 2], [2, 2], [0, 0], False, True)
        tensor([[[[3]]]], dtype=torch.uint8)
    """
    mean = F.avg_pool2d(
        input.double() - zero_point,
        tuple(kernel_size),
        tuple(stride),
        tuple(padding),
        ceil_mode,
        count_include_pad,
        divisor_override,
    )
    return _rounded_mean(mean, zero_point, input.dtype)


def _rounded_mean(mean: Tensor, zero_point: int, dtype: torch.dtype) -> Tensor:
    result = (mean.round() + zero_point).clamp(*RANGES[dtype]).to(dtype)
    return result.contiguous(memory_format=torch.channels_last)


def _check_mean(input: Tensor, zero_point: int, divisor_override: int | None) -> None:
    check_zero_point(zero_point, *RANGES[input.dtype])
    if divisor_override == 0:
        raise ValueError("expected a divisor_override other than 0")


def avg_pool2d_fake(
    input: Tensor,
    zero_point: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    axes = _axes(input, kernel_size, stride, padding, (1, 1), ceil_mode)
    _check_mean(input, zero_point, divisor_override)
    return _empty_images(input, *axes)


def avg_pool2d_cpu(
    input: Tensor,
    zero_point: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    axes = _axes(input, kernel_size, stride, padding, (1, 1), ceil_mode)
    _check_mean(input, zero_point, divisor_override)
    return _mean_pool(input, axes, zero_point, count_include_pad, divisor_override or 0)


def _mean_pool(
    input: Tensor,
    axes: tuple[Axis, Axis],
    zero_point: int,
    count_padding: bool,
    divisor_override: int,
) -> Tensor:
    output = _empty_images(input, *axes)
    input = input.contiguous(memory_format=torch.channels_last)
    batch, channels = input.shape[:2]
    height, width = axes
    _pooling.mean_pool(
        input.data_ptr(),
        output.data_ptr(),
        ELEMENT[input.dtype],
        batch,
        channels,
        height,
        width,
        zero_point,
        count_padding,
        divisor_override,
        num_threads(),
    )
    return output


avg_pool2d = operator(
    "avg_pool2d(Tensor input, int zero_point, int[2] kernel_size, int[2] stride, "
    "int[2] padding, bool ceil_mode, bool count_include_pad, int? divisor_override=None) "
    "-> Tensor",
    cpu=avg_pool2d_cpu,
    reference=avg_pool2d_reference,
    fake=avg_pool2d_fake,
)


# ---- average over windows that cover the input evenly -------------------------------------------


def adaptive_avg_pool2d_reference(
    input: Tensor, output_size: Sequence[int], zero_point: int = 0
) -> Tensor:
    """The mean over each of a given number of windows, for each channel, rounded to an integer.

    Args:
        input: uint8 or int8, shape ``(batch, channels, height, width)``.
        output_size: two integers; window i of n along an axis of size s reaches from
            ``floor(i * s / n)`` to ``ceil((i + 1) * s / n)``.
        zero_point: the integer that stands for 0. It only matters for means halfway between two
            integers, whose distance from it is rounded to even; 0 by default.

    Returns:
        ``round(mean(input) - zero_point) + zero_point``, of the dtype of ``input``, shape
        ``(batch, channels, *output_size)``, ``channels_last``.

    Raises:
        TypeError: ``input`` is of another dtype.
        ValueError: ``input`` is not four-dimensional or has no pixels, ``output_size`` is not two
            positive integers, or the zero point is out of the dtype's range.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[[[1, 2], [3, 5]]]], dtype=torch.uint8)
        >>> torch.ops.qtensor.adaptive_avg_pool2d(x, [1, 2])
        tensor([[[[2, 4]]]], dtype=torch.uint8)
    """
    # Not F.adaptive_avg_pool2d, which divides by height and width in turn and so rounds twice.
    centered = input.double() - zero_point
    rows = []
    for y in _spans(input.shape[2], output_size[0]):
        windows = [centered[..., y, x] for x in _spans(input.shape[3], output_size[1])]
        means = [window.sum((2, 3)) / (window.shape[2] * window.shape[3]) for window in windows]
        rows.append(torch.stack(means, -1))
    return _rounded_mean(torch.stack(rows, -2), zero_point, input.dtype)


def _spans(size: int, count: int) -> list[slice]:
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _adaptive_axes(input: Tensor, output_size: Sequence[int], zero_point: int) -> tuple[Axis, Axis]:
    _check_images(input)
    check_zero_point(zero_point, *RANGES[input.dtype])
    if len(output_size) != 2 or min(output_size) < 1:
        raise ValueError(
            f"expected output_size to be two positive integers, got {tuple(output_size)}"
        )
    height, width = input.shape[2:]
    if height < 1 or width < 1:
        raise ValueError(
            f"expected a height and width of at least 1, got input of shape {tuple(input.shape)}"
        )
    # A kernel size of 0 is the kernels' sign of an adaptive axis.
    return (height, output_size[0], 0, 1, 0, 1), (width, output_size[1], 0, 1, 0, 1)


def adaptive_avg_pool2d_fake(
    input: Tensor, output_size: Sequence[int], zero_point: int = 0
) -> Tensor:
    return _empty_images(input, *_adaptive_axes(input, output_size, zero_point))


def adaptive_avg_pool2d_cpu(
    input: Tensor, output_size: Sequence[int], zero_point: int = 0
) -> Tensor:
    return _mean_pool(input, _adaptive_axes(input, output_size, zero_point), zero_point, False, 0)


adaptive_avg_pool2d = operator(
    "adaptive_avg_pool2d(Tensor input, int[2] output_size, int zero_point=0) -> Tensor",
    cpu=adaptive_avg_pool2d_cpu,
    reference=adaptive_avg_pool2d_reference,
    fake=adaptive_avg_pool2d_fake,
)
