"""What these tests share: memory layouts, random data, and running on every instruction set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from qtensor import _elementwise, _isa, _pooling, _requantize

# Multiples of a vector's size, their neighbours, and what is below any.
SIZES = st.sampled_from([0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 130])


@st.composite
def shapes(draw: st.DrawFn, dims: int) -> tuple[int, ...]:
    """Shapes of up to ``dims`` dimensions, one of them of an interesting size."""
    shape = draw(st.lists(st.integers(0, 4), max_size=dims - 1))
    shape.insert(draw(st.integers(0, len(shape))), draw(SIZES))
    return tuple(shape)


generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
"""NumPy's random generators; hypothesis draws the seed, not each number."""


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.movedim(0, -1).contiguous().movedim(-1, 0) if tensor.ndim else tensor


def _every_second(tensor: Tensor) -> Tensor:
    wide = torch.zeros(*tensor.shape, 2, dtype=tensor.dtype)
    wide[..., 1] = tensor
    return wide[..., 1]


def _unaligned(tensor: Tensor) -> Tensor:
    flat = torch.zeros(tensor.numel() + 1, dtype=tensor.dtype)
    flat[1:] = tensor.flatten()
    return flat[1:].reshape(tensor.shape)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "transposed": _transposed,
    "channels_last": _channels_last,
    "every_second": _every_second,
    "unaligned": _unaligned,
}
"""The same values, laid out in memory in different ways."""

layouts = st.sampled_from(sorted(LAYOUTS)).map(LAYOUTS.__getitem__)


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Random integers over the whole range of ``dtype``, its ends among them."""
    info = torch.iinfo(dtype)
    values = rng.integers(info.min, info.max, size=shape, endpoint=True)
    ends = rng.random(shape)
    values = np.where(ends < 0.1, info.min, np.where(ends > 0.9, info.max, values))
    return torch.tensor(values).to(dtype)


@contextmanager
def isa(name: str) -> Iterator[None]:
    for kernels in (_elementwise, _pooling, _requantize):
        kernels.use_isa(name)
    try:
        yield
    finally:
        for kernels in (_elementwise, _pooling, _requantize):
            kernels.use_isa(_isa.ISA)


def on_every_isa(call: Callable[..., Tensor], *args: object) -> Tensor:
    """The result of ``call(*args)``, which every instruction set must give bit for bit."""
    with isa("scalar"):
        expected = call(*args)
    for name in _isa.available():
        with isa(name):
            result = call(*args)
        assert result.dtype is expected.dtype
        assert result.stride() == expected.stride()
        same = result.numpy().tobytes() == expected.numpy().tobytes()
        assert same, f"{name} differs from scalar at {(result != expected).nonzero()[:5].tolist()}"
    return expected


def check_operator(operator: Any, args: tuple[object, ...]) -> None:
    """torch's own checks: the schema tells the truth, fake shapes and strides are the real ones."""
    torch.library.opcheck(operator.op, args, test_utils=("test_schema", "test_faketensor"))
