"""Pooling on integers, which keeps the parameters."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn.modules.utils import _pair

from .._ops.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from .._qtensor import QTensor
from ._register import stands_for

Ints = int | Sequence[int]


def _pooled(input: QTensor, pool: Callable[..., Tensor], *args: Any) -> QTensor:
    data = input.int_repr()
    batched = data if data.dim() == 4 else data.unsqueeze(0)
    result = pool(batched, *args)
    return QTensor(result if data.dim() == 4 else result.squeeze(0), input.qparams)


@stands_for("max_pool2d")
def _max_pool2d(
    input: QTensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> QTensor:
    window = _pair(kernel_size), _pair(stride or kernel_size), _pair(padding), _pair(dilation)
    return _pooled(input, max_pool2d, *window, ceil_mode)


@stands_for("avg_pool2d")
def _avg_pool2d(
    input: QTensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> QTensor:
    window = _pair(kernel_size), _pair(stride or kernel_size), _pair(padding)
    rule = ceil_mode, count_include_pad, divisor_override
    return _pooled(input, avg_pool2d, input.q_zero_point(), *window, *rule)


@stands_for("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def _adaptive_avg_pool2d(input: QTensor, output_size: Any) -> QTensor:
    size = [
        given if wanted is None else wanted
        for wanted, given in zip(_pair(output_size), input.shape[-2:], strict=True)
    ]
    return _pooled(input, adaptive_avg_pool2d, size)
