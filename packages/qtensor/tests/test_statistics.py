"""Ranges and histograms against NumPy in float64, on every instruction set and without kernels."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from qtensor import _isa, _statistics
from qtensor._ops.statistics import (
    aminmax_per_channel_reference,
    aminmax_reference,
    count_bins_reference,
)
from qtensor.statistics import aminmax, aminmax_per_channel, count_bins

NAN, INF = float("nan"), float("inf")
SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 1023, 1025, 2048, 2049, 5000]


@contextmanager
def isa(name):
    _statistics.use_isa(name)
    try:
        yield
    finally:
        _statistics.use_isa(_isa.ISA)


@st.composite
def tensors(draw, min_dims=0):
    """Tensors of many shapes and layouts: dense, permuted, strided, expanded; some not finite."""
    dims = draw(st.integers(min_dims, 4))
    shape = [draw(st.integers(1, 4)) for _ in range(dims)]
    if dims:
        shape[draw(st.integers(0, dims - 1))] = draw(st.sampled_from(SIZES))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = random.standard_normal(shape) * 10.0 ** draw(st.integers(-40, 30))
    special = draw(st.sampled_from([0.0, 0.01, 1.0]))
    chosen = random.choice([NAN, INF, -INF, 0.0, -0.0, 1e-45, -1e-45], shape)
    values = np.where(random.random(shape) < special, chosen, values)
    x = torch.as_tensor(values, dtype=torch.float32)
    layout = draw(st.sampled_from(["dense", "permuted", "strided", "expanded", "unaligned"]))
    if layout == "permuted" and dims:
        x = x.movedim(0, -1).contiguous().movedim(-1, 0)
    elif layout == "strided" and dims:
        x = x.repeat_interleave(2, dim=draw(st.integers(0, dims - 1)))[..., ::2]
    elif layout == "expanded":
        x = x.expand(3, *x.shape)
    elif layout == "unaligned":
        x = torch.cat([torch.zeros(1), x.reshape(-1)])[1:].view(x.shape)
    return x


def wanted_range(values):
    finite = values[np.isfinite(values)]
    nonfinite = values.size - finite.size
    return (finite.min() + 0.0, finite.max() + 0.0, nonfinite) if finite.size else (
        INF, -INF, nonfinite
    )  # fmt: skip


def bits(results):
    return [r.view(torch.int32).tolist() if r.dtype is torch.float32 else r.tolist()
            for r in results]  # fmt: skip


def everywhere(run, reference, *args):
    """The result, after checking that all ways to compute it agree bit for bit."""
    wanted = bits(reference(*args))
    for name in _isa.available():
        with isa(name):
            results = run(*args)
        assert bits(results) == wanted, name
    return results


@given(tensors())
def test_range_is_that_of_the_finite_values(x):
    lowest, highest, nonfinite = everywhere(aminmax, aminmax_reference, x)
    assert (lowest.item(), highest.item(), nonfinite.item()) == wanted_range(x.double().numpy())
    assert lowest.dtype == highest.dtype == torch.float32


@given(tensors(min_dims=1), st.data())
def test_every_channel_has_its_range(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    results = everywhere(aminmax_per_channel, aminmax_per_channel_reference, x, axis)
    channels = np.moveaxis(x.double().numpy(), axis, 0)
    assert [tuple(found) for found in zip(*(r.tolist() for r in results), strict=True)] == [
        wanted_range(channel) for channel in channels
    ]


@given(tensors(), st.integers(-149, 128), st.integers(-70, 70), st.sampled_from([1, 3, 64, 4096]))
def test_every_value_is_counted_in_its_bin(x, exponent, first, size):
    results = everywhere(count_bins, count_bins_reference, x, exponent, first, size)
    assert bits(results[1:]) == bits(aminmax(x))
    values = x.double().numpy().ravel()
    index = np.floor(values[np.isfinite(values)] / 2.0**exponent) - first
    index = index[(index >= 0) & (index < size)].astype(np.int64)
    assert results[0].tolist() == np.bincount(index, minlength=size).tolist()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=9))
def test_a_block_within_the_bins_is_counted_by_the_fast_kernel(values):
    x = torch.tensor(values)
    largest = np.abs(values).max()
    exponent = max(int(np.frexp(largest)[1]) - 5 if largest else -149, -149)
    counts = everywhere(count_bins, count_bins_reference, x, exponent, -64, 128)[0]
    assert counts.sum() == len(values)


@pytest.mark.parametrize("shape", [(5, 40, 9, 7), (2, 3, 200), (300, 1000), (3, 70_001)])
@pytest.mark.parametrize("memory", ["contiguous", "last axis first"])
def test_threads_change_nothing(shape, memory):
    x = torch.randn(shape)
    if memory == "last axis first":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    x[1, 1] = NAN
    before = torch.get_num_threads()
    results = {}
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            calls = (aminmax(x), aminmax_per_channel(x, 1), count_bins(x, -5, -200, 400))
            results[threads] = [bits(call) for call in calls]
    finally:
        torch.set_num_threads(before)
    assert results[1] == results[2] == results[5]


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2)])
def test_of_nothing(shape):
    x = torch.empty(shape)
    assert [r.item() for r in everywhere(aminmax, aminmax_reference, x)] == [INF, -INF, 0]
    assert count_bins(x, 0, 0, 2)[0].tolist() == [0, 0]
    for axis in range(x.ndim):
        lowest, highest, nonfinite = everywhere(
            aminmax_per_channel, aminmax_per_channel_reference, x, axis
        )
        assert lowest.tolist() == [INF] * shape[axis] == (-highest).tolist()
        assert nonfinite.tolist() == [0] * shape[axis]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_float_dtypes(dtype):
    x = torch.tensor([1.5, NAN, -2.0], dtype=dtype)
    lowest, highest, nonfinite = aminmax(x)
    assert (lowest.item(), highest.item(), nonfinite.item()) == (-2.0, 1.5, 1)
    assert lowest.dtype == dtype
    assert count_bins(x, 0, -2, 4)[0].tolist() == [1, 0, 0, 1]


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"float dtype, got torch.int64 of shape \(2,\)"):
        aminmax(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"shape \(3,\), got 1"):
        aminmax_per_channel(torch.ones(3), 1)
    with pytest.raises(ValueError, match="axis"):
        aminmax_per_channel(torch.tensor(1.0), 0)
    for bins in ((129, 0, 1), (0, 2**31, 1), (0, 0, 0), (0, 0, 2**25)):
        with pytest.raises(ValueError, match="exponent"):
            count_bins(torch.ones(3), *bins)


def test_where_kernels_must_not_read():
    x = torch.tensor([[1.0, -2.0], [NAN, 3.0]])

    def all_three(x):
        return *aminmax(x), *aminmax_per_channel(x, 0), *count_bins(x, 0, -2, 6)

    wanted = bits(all_three(x))
    assert bits(torch.compile(all_three, fullgraph=True, backend="eager")(x)) == wanted
    assert bits(torch.fx.experimental.proxy_tensor.make_fx(all_three)(x)(x)) == wanted
    shapes = [r.shape for r in all_three(x)]
    assert [r.shape for r in all_three(x.to("meta"))] == shapes
    with FakeTensorMode() as mode:
        assert [r.shape for r in all_three(mode.from_tensor(x))] == shapes
    x.requires_grad_()
    assert bits(r.detach() for r in all_three(x)) == wanted
