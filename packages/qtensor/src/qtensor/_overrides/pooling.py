"""Pooling and means on integers, which keep the parameters."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._pools import POOLS
from .._qtensor import QTensor, in_float
from ..ops._mean import mean_call
from ._register import stands_for

for _name, _function in POOLS.items():
    _also = (f"_{_name}",) if _name.startswith("adaptive_avg") else ()  # torch's own for 1×1
    stands_for(_name, *_also, per_tensor=True, of_bytes=True)(_function)


@stands_for("mean", per_tensor=True, of_bytes=True)
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
    return mean_call(input, dim, keepdim)
