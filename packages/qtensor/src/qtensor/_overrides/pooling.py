"""Pooling and means on integers, which keep the parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .._ops import pool
from .._qtensor import QTensor, in_float, parameters, wrapped
from ..ops._mean import mean
from ._register import stands_for

Ints = int | Sequence[int]


def _pooled(input: QTensor, dims: int, operator: Callable[..., Tensor], *args: Any) -> QTensor:
    """``operator`` on images of ``dims`` dimensions, which may come without a batch."""
    data = input._data
    if data.dim() == dims + 2:
        return wrapped(operator(data, *args), parameters(input))
    if data.dim() != dims + 1:
        raise ValueError(
            f"expected {dims} spatial dimensions after (batch, channels) or (channels,), got a "
            f"QTensor of shape {tuple(data.shape)}"
        )
    return wrapped(operator(data.unsqueeze(0), *args).squeeze(0), parameters(input))


def _windows(dims: int, kernel_size: Ints, stride: Ints | None, *others: Ints) -> list[Any]:
    """The geometry, with an integer for each dimension; torch's empty stride is none given."""
    given = (kernel_size, stride or kernel_size, *others)
    return [(value,) * dims if type(value) is int else _each(dims, value) for value in given]


def _each(dims: int, value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def _register(dims: int) -> None:
    """The functions for images of ``dims`` dimensions."""

    @stands_for(f"max_pool{dims}d", per_tensor=True)
    def max_pool(
        input: QTensor,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> QTensor:
        if return_indices:
            raise _no_indices(f"max_pool{dims}d")
        windows = _windows(dims, kernel_size, stride, padding, dilation)
        return _pooled(input, dims, pool.max_pool, *windows, ceil_mode)

    @stands_for(f"adaptive_max_pool{dims}d", per_tensor=True)
    def adaptive_max_pool(
        input: QTensor, output_size: Any, return_indices: bool = False
    ) -> QTensor:
        if return_indices:
            raise _no_indices(f"adaptive_max_pool{dims}d")
        size = _full_size(input, dims, output_size)
        return _pooled(input, dims, pool.adaptive_max_pool, size)

    @stands_for(f"avg_pool{dims}d", per_tensor=True)
    def avg_pool(
        input: QTensor,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> QTensor:
        windows = _windows(dims, kernel_size, stride, padding)
        rule = ceil_mode, count_include_pad, divisor_override
        return _pooled(input, dims, pool.avg_pool, input._zero_point, *windows, *rule)

    names = f"adaptive_avg_pool{dims}d", f"_adaptive_avg_pool{dims}d"

    @stands_for(*names, per_tensor=True)
    def adaptive_avg_pool(input: QTensor, output_size: Any) -> QTensor:
        size = _full_size(input, dims, output_size)
        return _pooled(input, dims, pool.adaptive_avg_pool, size, input._zero_point)


def _full_size(input: QTensor, dims: int, output_size: Any) -> tuple[int, ...]:
    """``output_size`` with the input's own sizes for those that are ``None``."""
    wanted = _each(dims, output_size)
    if not any(n is None for n in wanted):
        return wanted  # asking for a shape takes as long as pooling a few pixels
    given = input.shape[-dims:]
    return tuple(n if m is None else m for m, n in zip(wanted, given, strict=True))


def _no_indices(name: str) -> NotImplementedError:
    return NotImplementedError(
        f"{name} of a QTensor gives no indices; call it on x.dequantize() to get them"
    )


for _dims in (1, 2, 3):
    _register(_dims)


@stands_for("mean", per_tensor=True)
def _mean(
    input: QTensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
    out: Tensor | None = None,
) -> Any:
    if dtype is not None or out is not None:
        return in_float(torch.mean, "mean", (input, dim, keepdim), {"dtype": dtype, "out": out})
    return mean(input, dim, keepdim)
