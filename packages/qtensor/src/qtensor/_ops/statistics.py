"""The range and the histogram of float tensors, each in one pass.

Not operators of ``torch.ops``: what has no kernel (other devices and dtypes, a compiler that
looks on) is plain torch all the way, and gives the same numbers.
"""

import math

import torch
from torch import Tensor

from .. import _statistics
from .._direct import direct
from .._threads import num_threads
from ._channels import check_axis
from ._layout import FLOAT

_INF = float("inf")
# The plain torch path computes in pieces of this size, so that the memory it uses is fixed.
_PIECE = 1 << 16
# Bins are numbered in 32 bits, and one thread's counters should fit a cache.
_INDEX_LIMIT, _SIZE_LIMIT = 2**30, 2**24

Range = tuple[Tensor, Tensor, Tensor]


def check_float(x: Tensor) -> None:
    """Raise ``TypeError`` unless ``x`` is of a float dtype."""
    if not x.is_floating_point():
        raise TypeError(
            f"expected a tensor of a float dtype, got {x.dtype} of shape {tuple(x.shape)}; "
            "convert it with .float()"
        )


def _has_kernel(x: Tensor) -> bool:
    return x.dtype in FLOAT and direct(x)


def _room(*shape: int) -> Range:
    """For lower and upper bounds, and for counts."""
    dtypes = torch.float32, torch.float32, torch.int64
    lowest, highest, count = (torch.empty(shape, dtype=dtype, device="cpu") for dtype in dtypes)
    return lowest, highest, count


def _described(x: Tensor) -> tuple[int, int, torch.Size, tuple[int, ...]]:
    """What the compiled functions take of a tensor."""
    return FLOAT[x.dtype], x.data_ptr(), x.shape, x.stride()


def _addresses(found: Range) -> tuple[int, int, int]:
    lowest, highest, nonfinite = found
    return lowest.data_ptr(), highest.data_ptr(), nonfinite.data_ptr()


def _of_dtype(x: Tensor, found: Range) -> Range:
    """Bounds of the dtype of ``x``, of whose values they are."""
    lowest, highest, nonfinite = found
    return lowest.to(x.dtype), highest.to(x.dtype), nonfinite


# ---- range --------------------------------------------------------------------------------------


def aminmax_reference(x: Tensor) -> Range:
    lowest, highest, nonfinite = aminmax_per_channel_reference(x.reshape(1, -1), 0)
    return lowest[0], highest[0], nonfinite[0]


def aminmax_cpu(x: Tensor) -> Range:
    found = _room()
    _statistics.aminmax(*_described(x), *_addresses(found), num_threads())
    return _of_dtype(x, found)


def aminmax(x: Tensor) -> Range:
    """The smallest and the largest finite value, and how many values are not finite.

    Args:
        x: float32, float64, float16 or bfloat16; any shape, strides and device. On a CPU it is
            read once and never copied, unless it is float64.

    Returns:
        two scalars of the dtype of ``x``, ``inf`` and ``-inf`` where nothing is finite, with +0
        for a zero; and how many values are NaN or infinite, an int64 scalar.

    Raises:
        TypeError: ``x`` is of another dtype.

    Example:
        >>> import torch
        >>> from qtensor.statistics import aminmax
        >>> lowest, highest, nonfinite = aminmax(torch.tensor([3.0, float("nan"), -1.0]))
        >>> lowest.item(), highest.item(), nonfinite.item()
        (-1.0, 3.0, 1)
    """
    check_float(x)
    return aminmax_cpu(x) if _has_kernel(x) else aminmax_reference(x)


def aminmax_per_channel_reference(x: Tensor, axis: int) -> Range:
    rows = x.movedim(axis, 0).reshape(x.shape[axis], x.numel() // max(x.shape[axis], 1))
    finite = torch.isfinite(rows)
    nonfinite = (~finite).sum(1)
    if rows.numel() == 0:
        nothing = x.new_full((x.shape[axis],), _INF)
        return nothing, -nothing, nonfinite
    lowest = torch.where(finite, rows, _INF).amin(1)
    highest = torch.where(finite, rows, -_INF).amax(1)
    return lowest + 0.0, highest + 0.0, nonfinite  # +0 for -0


def aminmax_per_channel_cpu(x: Tensor, axis: int) -> Range:
    found = _room(x.shape[axis])
    threads = num_threads()
    _statistics.aminmax_per_channel(*_described(x), axis % x.ndim, *_addresses(found), threads)
    return _of_dtype(x, found)


def aminmax_per_row_reference(x: Tensor) -> Range:
    rows = math.prod(x.shape[:-1])
    return aminmax_per_channel_reference(x.reshape(rows, x.shape[-1]), 0)


def aminmax_per_row_cpu(x: Tensor) -> Range:
    """The ranges of the rows of the last dimension, in one dimension, however they lie."""
    found = _room(math.prod(x.shape[:-1]))
    _statistics.aminmax_per_row(*_described(x), *_addresses(found), num_threads())
    return _of_dtype(x, found)


def aminmax_per_channel(x: Tensor, axis: int) -> Range:
    """As :func:`aminmax`, for each index along one axis.

    The ranges of the rows of any tensor are those along axis 0 of ``x.flatten(0, -2)``.

    Args:
        x: as for :func:`aminmax`, with at least one dimension.
        axis: the channel axis; a negative one counts from the end.

    Returns:
        two tensors of the dtype of ``x`` and an int64 one, each of shape ``(x.shape[axis],)``.

    Raises:
        TypeError: ``x`` is not of a float dtype.
        ValueError: ``x`` has no such axis.

    Example:
        >>> import torch
        >>> from qtensor.statistics import aminmax_per_channel
        >>> lowest, highest, _ = aminmax_per_channel(torch.tensor([[1.0, 5.0], [2.0, 3.0]]), 0)
        >>> lowest, highest
        (tensor([1., 2.]), tensor([5., 3.]))
    """
    check_float(x)
    check_axis(x, axis, "x")
    run = aminmax_per_channel_cpu if _has_kernel(x) else aminmax_per_channel_reference
    return run(x, axis)


# ---- histogram ----------------------------------------------------------------------------------


def count_bins_reference(
    x: Tensor, exponent: int, first: int, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    counts = torch.zeros(size, dtype=torch.int64, device=x.device)
    inverse_width = math.ldexp(1.0, -exponent)  # whose product with a float32 is exact in float64
    for piece in torch.split(x.reshape(-1), _PIECE):
        index = (piece.double() * inverse_width).floor() - first
        inside = (index >= 0) & (index < size)  # neither holds for NaN
        index = torch.where(inside, index, 0.0).to(torch.int64)
        counts.index_add_(0, index, inside.to(torch.int64))
    return counts, *aminmax_reference(x)


def count_bins_cpu(
    x: Tensor, exponent: int, first: int, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    counts, found = torch.zeros(size, dtype=torch.int64, device="cpu"), _room()
    written = counts.data_ptr(), *_addresses(found)
    _statistics.count_bins(*_described(x), exponent, first, size, *written, num_threads())
    return counts, *_of_dtype(x, found)


def count_bins(
    x: Tensor, exponent: int, first: int, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How many values lie in each of consecutive bins of a dyadic grid, and :func:`aminmax`.

    Bin ``i`` is ``[(first + i) · 2^exponent, (first + i + 1) · 2^exponent)``. What lies in none is
    left out of the counts, but not of the range; so one pass tells whether there was anything.

    Args:
        x: as for :func:`aminmax`.
        exponent: the bins are ``2 ** exponent`` wide; -149 … 128.
        first: the number of the first bin, of magnitude up to 2^30.
        size: how many bins, 1 … 2^24.

    Returns:
        int64 counts of shape ``(size,)``, and the three results of :func:`aminmax`.

    Raises:
        TypeError: ``x`` is not of a float dtype.
        ValueError: bins outside of these limits.

    Example:
        >>> import torch
        >>> from qtensor.statistics import count_bins
        >>> counts, lowest, highest, _ = count_bins(torch.tensor([0.1, 0.6, 0.7, 9.0]), -1, 0, 2)
        >>> counts, highest
        (tensor([1, 2]), tensor(9.))
    """
    check_float(x)
    if not (-149 <= exponent <= 128 and abs(first) <= _INDEX_LIMIT and 1 <= size <= _SIZE_LIMIT):
        raise ValueError(
            f"expected an exponent within -149 … 128, first within ±2^30 and size within 1 … 2^24, "
            f"got exponent={exponent}, first={first}, size={size}"
        )
    run = count_bins_cpu if _has_kernel(x) else count_bins_reference
    return run(x, exponent, first, size)
