"""Runs calls on chosen instruction sets, and compares results to the bit."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from qtensor import _isa


@contextmanager
def isa(name: str) -> Iterator[None]:
    """Use the kernels of one instruction set, in every compiled module."""
    modules = [
        module
        for path, module in sys.modules.items()
        if path.startswith("qtensor.") and hasattr(module, "use_isa")
    ]
    for module in modules:
        module.use_isa(name)
    try:
        yield
    finally:
        for module in modules:
            module.use_isa(_isa.ISA)


def tensors(result: Any) -> tuple[Tensor, ...]:
    """What an operator returned, as a tuple."""
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def bits(tensor: Tensor) -> bytes:
    """A tensor's values, in the order of its indices: NaN equals NaN, and 0 is not -0."""
    return tensor.detach().flatten().contiguous().view(torch.uint8).numpy().tobytes()


def assert_same(result: Any, expected: Any, *, strides: bool = True) -> None:
    """Both are the same to the bit: dtypes, shapes, strides and values."""
    for one, other in zip(tensors(result), tensors(expected), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert not strides or one.stride() == other.stride()
        assert bits(one) == bits(other), f"differ at {(one != other).nonzero()[:5].tolist()}"
