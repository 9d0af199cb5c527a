"""What these tests share: adversarial integers, exact sums, the requantization in NumPy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from qtensor import _isa, _kernels

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
"""NumPy's random generators; hypothesis draws the seed, not each number."""

# The sizes of a tile, a step and a panel, their multiples and neighbours.
ROWS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 17, 65])
CHANNELS = st.sampled_from([1, 2, 15, 16, 17, 31, 32, 33, 50])
DEPTHS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 64, 67, 130])

PATTERNS = ("random", "small", "ends", "highest", "lowest", "alternating", "lanes")
patterns = st.sampled_from(PATTERNS)


def adversarial(
    rng: np.random.Generator, shape: tuple[int, ...], pattern: str, lowest: int, highest: int
) -> np.ndarray:
    """Integers within ``lowest … highest`` that strain 16-bit sums in one way or another."""
    if pattern == "random":
        return rng.integers(lowest, highest, size=shape, endpoint=True)
    if pattern == "small":  # normally distributed, as weights mostly are
        spread = rng.normal((lowest + highest + 1) // 2, (highest - lowest) / 8, size=shape)
        return spread.round().clip(lowest, highest).astype(np.int64)
    if pattern == "ends":
        return rng.choice([lowest, highest], size=shape)
    if pattern in ("highest", "lowest"):
        return np.full(shape, highest if pattern == "highest" else lowest)
    period = 2 if pattern == "alternating" else 4
    high = np.arange(shape[-1] if shape else 0) % period < period // 2
    return np.broadcast_to(np.where(high, highest, lowest), shape).copy()


def weights(rng: np.random.Generator, shape: tuple[int, ...], pattern: str) -> Tensor:
    """An int8 weight; -128 is among its values."""
    return torch.from_numpy(adversarial(rng, shape, pattern, -128, 127)).to(torch.int8)


def activations(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    pattern: str,
    dtype: torch.dtype = torch.uint8,
    highest: int | None = None,
) -> Tensor:
    """uint8 or int8 activations up to ``highest``, the dtype's own end by default."""
    info = torch.iinfo(dtype)
    values = adversarial(rng, shape, pattern, info.min, info.max if highest is None else highest)
    return torch.from_numpy(values).to(dtype)


def worst_rows(weight: Tensor, amax: int) -> Tensor:
    """For each channel, the activations that push its 16-bit sums up, and down, the most."""
    flat = weight.flatten(1)
    return torch.cat([(flat > 0), (flat < 0)]).to(torch.uint8) * amax


def zero_points_of(rng: np.random.Generator, channels: int, asymmetric: bool) -> Tensor | None:
    return torch.from_numpy(rng.integers(-128, 128, channels)) if asymmetric else None


def exact_sums(
    input: Tensor, zero_point: int, weight: Tensor, weight_zero_points: Tensor | None
) -> np.ndarray:
    """``(rows, K)`` times ``(N, K)`` in int64."""
    centred = weight.numpy().astype(np.int64)
    if weight_zero_points is not None:
        centred = centred - weight_zero_points.numpy()[:, None]
    return (input.numpy().astype(np.int64) - zero_point) @ centred.T


def requantized(
    sums: np.ndarray,
    input_scale: float,
    weight_scales: Tensor,
    bias: Tensor | None,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    activation_min: float | None = None,
    activation_max: float | None = None,
    residual: np.ndarray | None = None,
    residual_scale: float = 1.0,
    residual_zero_point: int = 0,
) -> np.ndarray:
    """Sums with channels last to integers, as Requantization's docstring tells it."""
    scales = weight_scales.numpy().astype(np.float64)
    with np.errstate(all="ignore"):
        t = sums.astype(np.float32) * (scales * (input_scale / output_scale)).astype(np.float32)
        if bias is not None:
            t = t + (bias.numpy().astype(np.float64) / output_scale).astype(np.float32)
        if residual is not None:
            centred = (residual.astype(np.int64) - residual_zero_point).astype(np.float32)
            t = t + centred * np.float32(residual_scale / output_scale)
    assert t.dtype == np.float32
    ends = [quant_min - output_zero_point, quant_max - output_zero_point]
    bounds = list(ends)
    for i, activation in enumerate((activation_min, activation_max)):
        if activation is not None:
            bounds[i] = np.float32(np.clip(activation / output_scale, *ends))
    t = np.where(np.isnan(t), bounds[0], t)
    return np.rint(np.minimum(np.maximum(t, bounds[0]), bounds[1])) + output_zero_point


@contextmanager
def isa(name: str) -> Iterator[None]:
    """Use the kernels of one instruction set."""
    _kernels.use_isa(name)
    try:
        yield
    finally:
        _kernels.use_isa(_isa.ISA)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_every_isa(call: Callable[..., Tensor], *args: Any, **named: Any) -> Tensor:
    """The result of the call, which every instruction set must give bit for bit."""
    with isa("scalar"):
        expected = call(*args, **named)
    for name in _isa.available():
        with isa(name):
            result = call(*args, **named)
        assert result.dtype is expected.dtype
        assert result.stride() == expected.stride()
        same = result.numpy().tobytes() == expected.numpy().tobytes()
        assert same, f"{name} differs from scalar at {(result != expected).nonzero()[:5].tolist()}"
    return expected


def check_operator(operator: Any, args: tuple[object, ...]) -> None:
    """torch's own checks: the schema tells the truth, fake shapes and strides are the real ones."""
    torch.library.opcheck(operator.op, args, test_utils=("test_schema", "test_faketensor"))
