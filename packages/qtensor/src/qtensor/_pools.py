"""Pooling of quantized tensors: the operator call that each of torch's functions comes to.

``POOLS`` has them under torch's names and with torch's arguments. They take a tensor quantized per
tensor and keep its parameters.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ._arguments import quantized
from ._one_call import Call, one_call
from ._ops import pool
from ._qtensor import QTensor, parameters, wrapped
from ._sizes import Ints, each

POOLS: dict[str, Callable[..., Call | QTensor]] = {}


def pooling(name: str) -> Callable[..., QTensor]:
    """The function ``name``, without what torch's own does first; it checks what it is given."""
    pool_call = POOLS[name]

    def checked(input: Any, *args: Any, **kwargs: Any) -> Call | QTensor:
        return pool_call(quantized(input, name), *args, **kwargs)

    return one_call(checked)


def _define(dims: int) -> None:
    """The functions for images of ``dims`` dimensions."""

    def max_pool(
        input: QTensor,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Call | QTensor:
        if return_indices:
            raise _no_indices(f"max_pool{dims}d")
        windows = _windows(dims, kernel_size, stride, padding, dilation)
        return _pooled(input, dims, pool.max_pool, *windows, ceil_mode)

    def adaptive_max_pool(
        input: QTensor, output_size: Any, return_indices: bool = False
    ) -> Call | QTensor:
        if return_indices:
            raise _no_indices(f"adaptive_max_pool{dims}d")
        return _pooled(input, dims, pool.adaptive_max_pool, _full_size(input, dims, output_size))

    def avg_pool(
        input: QTensor,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Call | QTensor:
        windows = _windows(dims, kernel_size, stride, padding)
        rule = ceil_mode, count_include_pad, divisor_override
        return _pooled(input, dims, pool.avg_pool, input._zero_point, *windows, *rule)

    def adaptive_avg_pool(input: QTensor, output_size: Any) -> Call | QTensor:
        size = _full_size(input, dims, output_size)
        return _pooled(input, dims, pool.adaptive_avg_pool, size, input._zero_point)

    for function in (max_pool, adaptive_max_pool, avg_pool, adaptive_avg_pool):
        POOLS[f"{function.__name__}{dims}d"] = function


def _pooled(
    input: QTensor, dims: int, operator: Callable[..., Tensor], *args: Any
) -> Call | QTensor:
    """``operator`` on images of ``dims`` dimensions, which may come without a batch."""
    data, output = input._data, parameters(input)
    if data.dim() == dims + 2:
        return Call(operator, (data, *args), output)
    if data.dim() != dims + 1:
        raise ValueError(
            f"expected {dims} spatial dimensions after (batch, channels) or (channels,), got a "
            f"QTensor of shape {tuple(data.shape)}"
        )
    return wrapped(operator(data.unsqueeze(0), *args).squeeze(0), output)


def _windows(dims: int, kernel_size: Ints, stride: Ints | None, *others: Ints) -> list[Any]:
    """The geometry, with an integer for each dimension; torch's empty stride is none given."""
    return [each(value, dims) for value in (kernel_size, stride or kernel_size, *others)]


def _full_size(input: QTensor, dims: int, output_size: Any) -> tuple[int, ...]:
    """``output_size`` with the input's own sizes for those that are ``None``."""
    wanted, given = each(output_size, dims), input._data.shape[-dims:]
    if len(wanted) != dims:
        return wanted  # which the operator will refuse
    return tuple(n if m is None else m for m, n in zip(wanted, given, strict=True))


def _no_indices(name: str) -> NotImplementedError:
    return NotImplementedError(
        f"{name} of a QTensor gives no indices; call it on x.dequantize() to get them"
    )


for _dims in (1, 2, 3):
    _define(_dims)
