"""Half floats and strided tensors: what conversions read and write block by block."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from qtensor import _isa
from qtensor import statistics as stats
from qtensor._ops import quantize as ops

from ..every.kernels import assert_same, isa

HALVES = [torch.float16, torch.bfloat16]
FLOATS = [torch.float32, *HALVES]
OPS = torch.ops.qtensor
# More than a block holds, so that blocks begin within rows; and so many that threads share them.
WIDE = 1600


def on_every_isa(call):
    """What ``call()`` returns, the same on every instruction set."""
    with isa("scalar"):
        expected = call()
    for name in _isa.available():
        with isa(name):
            assert_same(call(), expected)
    return expected


def every_half(dtype: torch.dtype) -> Tensor:
    """All 65 536 values, NaN among them."""
    return torch.arange(-(2**15), 2**15).short().view(dtype)


def numbers(dtype: torch.dtype) -> np.ndarray:
    """The same in float64, from their bits: sign, exponent and fraction."""
    bits = np.arange(-(2**15), 2**15).astype(np.int64) & 0xFFFF
    width = 10 if dtype is torch.float16 else 7
    bias = 15 if dtype is torch.float16 else 127
    exponent, fraction = bits >> width & (2 * bias + 1), bits & (2**width - 1)
    significand = np.where(exponent == 0, fraction, fraction + 2**width).astype(np.float64)
    with np.errstate(over="ignore"):
        values = np.ldexp(significand, np.maximum(exponent, 1) - bias - width)
    values = np.where(exponent == 2 * bias + 1, np.where(fraction == 0, np.inf, np.nan), values)
    return np.where(bits >> 15 == 1, -values, values)


@pytest.mark.parametrize("dtype", HALVES)
def test_every_half_float_is_read_as_it_is(dtype):
    scale, zero_point = 2.0**-10, 7
    arguments = scale, zero_point, -(2**31), 2**31 - 1, torch.int32
    x = every_half(dtype)
    result = on_every_isa(lambda: ops.quantize_per_tensor(x, *arguments))
    steps = np.clip(np.rint(numbers(dtype) / scale), -(2.0**31) - 7, 2.0**31 - 1 - 7)
    expected = np.where(np.isnan(steps), -(2.0**31), steps + zero_point)
    np.testing.assert_array_equal(result.numpy(), expected.astype(np.int64))


def around(dtype: torch.dtype) -> np.ndarray:
    """float32 at, and just beside, each half float and the middle between it and the next."""
    finite = np.unique(numbers(dtype)[np.isfinite(numbers(dtype))])
    last = finite[-1] + (finite[-1] - finite[-2])  # where infinity takes over
    middles = (finite + np.append(finite[1:], last)) / 2
    exact = np.concatenate([finite, middles, -middles]).astype(np.float32)
    with np.errstate(over="ignore"):
        beside = [np.nextafter(exact, np.float32(end)) for end in (-np.inf, np.inf)]
    return np.concatenate([exact, *beside])


@pytest.mark.parametrize("dtype", HALVES)
def test_half_floats_are_rounded_to_even(dtype):
    """A float32 is written as dequantizing 1 with it as the scale, if it can be one."""
    scales = around(dtype)
    scales = scales[(scales >= np.finfo(np.float32).tiny) & np.isfinite(scales)]
    q, zeros = torch.ones(len(scales), dtype=torch.int8), torch.zeros(len(scales)).long()

    def written(axis_last: bool) -> Tensor:
        shape, axis = ((1, -1), 1) if axis_last else ((-1, 1), 0)
        parameters = torch.from_numpy(scales), zeros, axis
        return ops.dequantize_per_channel(q.reshape(shape), *parameters, out_dtype=dtype).flatten()

    candidates = np.unique(numbers(dtype)[np.isfinite(numbers(dtype))])
    candidates = np.append(candidates, 2 * candidates[-1] - candidates[-2])  # infinity's place
    above = np.searchsorted(candidates, scales.astype(np.float64)).clip(1, len(candidates) - 1)
    low, high = above - 1, above
    to_low, to_high = scales - candidates[low], candidates[high] - scales
    # Positive half floats are numbered as they ascend: the even number has the even fraction.
    first_positive = np.flatnonzero(candidates > 0)[0] - 1
    even_low = (low - first_positive) % 2 == 0
    nearest = np.where((to_low < to_high) | ((to_low == to_high) & even_low), low, high)
    expected = np.where(nearest == len(candidates) - 1, np.inf, candidates[nearest])
    for axis_last in (False, True):
        result = on_every_isa(lambda last=axis_last: written(last))
        np.testing.assert_array_equal(result.double().numpy(), expected)


# ---- strided -------------------------------------------------------------------------------------


def _steps(wide: Tensor) -> Tensor:
    return wide[:, ::2, 1::3]


def _transposed(wide: Tensor) -> Tensor:
    return wide.permute(2, 0, 1)[:-1]


def _expanded(wide: Tensor) -> Tensor:
    return wide[:, :1].expand(-1, 3, -1)


def _of_one_value(wide: Tensor) -> Tensor:
    return wide[:1, :1, :1].expand(2, 3, WIDE)


def _part(wide: Tensor) -> Tensor:
    return wide[:, :, 5:-7]


def _dense(wide: Tensor) -> Tensor:
    return wide


VIEWS = {f.__name__.strip("_"): f for f in (_steps, _transposed, _expanded, _of_one_value, _part)}
VIEWS["dense"] = _dense
each_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def wide_values(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(4, 6, WIDE, generator=generator) * 3).to(dtype)


@each_view
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bounds", [(0, 255, torch.uint8), (-9, 10**6, torch.int32)])
def test_quantize_reads_any_layout(view, dtype, bounds, threads):
    x = view(wide_values(dtype))
    same = x.float().contiguous()

    def check(quantize, parameters, *last):
        result = on_every_isa(lambda: quantize(x, *parameters, *bounds, *last))
        assert_same(result, quantize(same, *parameters, *bounds, *last), strides=False)

    check(OPS.quantize_per_tensor, (0.05, 7))
    for axis in range(x.ndim):
        size = x.shape[axis]
        scales, zeros = torch.rand(size) + 0.01, torch.randint(0, 99, (size,))
        check(OPS.quantize_per_channel, (scales, zeros, axis))
    tokens = torch.rand(*x.shape[:-1], 1) + 0.01
    check(OPS.quantize_per_token, (tokens, torch.randint(0, 99, tokens.shape)))
    if x.shape[-1] % 4 == 0:
        groups = torch.rand(*x.shape[:-1], x.shape[-1] // 4) + 0.01
        check(OPS.quantize_per_channel_group, (groups, torch.zeros_like(groups).long()), 4)


@each_view
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("integer", [torch.uint8, torch.int32])
def test_dequantize_reads_any_layout_and_writes_any_float(view, dtype, integer, threads):
    q = view(torch.randint(0, 256, (4, 6, WIDE)).to(integer))
    same = q.contiguous()

    def check(dequantize, parameters, *last, name="out_dtype"):
        result = on_every_isa(lambda: dequantize(q, *parameters, *last, **{name: dtype}))
        expected = dequantize(same, *parameters, *last).to(dtype)
        assert_same(result, expected, strides=False)

    check(OPS.dequantize_per_tensor, (0.05, 7))
    for axis in range(q.ndim):
        scales, zeros = torch.rand(q.shape[axis]) + 0.01, torch.randint(0, 99, (q.shape[axis],))
        check(OPS.dequantize_per_channel, (scales, zeros, axis))
    bounds = 0, 255, integer
    tokens = torch.rand(*q.shape[:-1], 1) + 0.01
    check(OPS.dequantize_per_token, (tokens, None), *bounds, name="output_dtype")
    if q.shape[-1] % 4 == 0:
        groups = torch.rand(*q.shape[:-1], q.shape[-1] // 4) + 0.01
        check(OPS.dequantize_per_channel_group, (groups, None), *bounds, 4, name="output_dtype")


@each_view
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_fake_quantize_reads_any_layout_and_writes_its_own_float(view, dtype, axis, threads):
    x, grad = view(wide_values(dtype)), view(wide_values(dtype).flip(0))
    dense_x, dense_grad = x.float().contiguous(), grad.float().contiguous()
    channels = 1 if axis is None else x.shape[axis]
    scale, zeros = torch.rand(channels) / 20 + 0.01, torch.randint(0, 99, (channels,))
    parameters = scale, zeros, axis, 0, 255

    result = on_every_isa(lambda: OPS.fake_quantize(x, *parameters))
    assert_same(result, OPS.fake_quantize(dense_x, *parameters).to(dtype), strides=False)
    result = on_every_isa(lambda: OPS.fake_quantize_backward(grad, x, *parameters))
    expected = OPS.fake_quantize_backward(dense_grad, dense_x, *parameters)
    assert_same(result, expected.to(dtype), strides=False)

    learned = scale, zeros.float(), axis, 0, 255
    results = on_every_isa(lambda: OPS.fake_quantize_learnable_backward(grad, x, *learned))
    of_input, *sums = OPS.fake_quantize_learnable_backward(dense_grad, dense_x, *learned)
    assert_same(results[0], of_input.to(dtype), strides=False)
    for result, expected in zip(results[1:], sums, strict=True):  # sums of blocks, in doubles
        torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)


@each_view
@pytest.mark.parametrize("dtype", HALVES)
def test_statistics_of_half_floats(view, dtype, threads):
    values = wide_values(dtype)
    x = view(values.masked_fill(values > 9, torch.inf))
    same = x.float().contiguous()

    def check(call):
        results, expected = on_every_isa(lambda: call(x)), call(same)
        for result, wanted in zip(results, expected, strict=True):
            half = result.dtype is dtype
            assert_same(result, wanted.to(dtype) if half else wanted, strides=False)

    check(stats.aminmax)
    check(lambda x: stats.count_bins(x, -3, -20, 40))
    for axis in range(x.ndim):
        check(lambda x, axis=axis: stats.aminmax_per_channel(x, axis))
    check(lambda x: OPS.choose_qparams.tensor(x, 0, 255, 1e-6, torch.uint8))
    check(lambda x: OPS.choose_qparams_per_token(x, torch.int8))
    check(lambda x: OPS.choose_qparams_per_token_asymmetric(x, torch.int8))


# ---- bytes ---------------------------------------------------------------------------------------


@each_view
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_bytes_are_read_in_any_layout(view, dtype, threads):
    q = view(torch.randint(0, 256, (4, 6, WIDE)).to(torch.uint8).view(dtype))
    same, info = q.contiguous(), torch.iinfo(dtype)
    two = [0.02, 0.05], [7, 9]
    parameters, output = (0.02, 7), (0.05, 9, info.min, info.max)

    def check(call):
        assert_same(on_every_isa(lambda: call(q)), call(same), strides=False)

    unsigned = 0.1, 3, 0, 100, torch.uint8
    check(lambda q: OPS.requantize(q, *parameters, *unsigned))
    check(lambda q: OPS.unary(q, *parameters, "gelu", [], *output, dtype))
    for axis, out in itertools.product(range(q.ndim), [torch.int8, torch.int32]):
        scales = torch.linspace(0.01, 0.1, q.shape[axis])
        of_one = torch.tensor([0.3]), torch.tensor([5]), axis, -100, 100, out
        values = scales, torch.arange(q.shape[axis]) % 9
        check(lambda q, call=(*values, *of_one): OPS.requantize_per_channel(q, *call))
        check(lambda q, call=(*values, *of_one): OPS.requantize_per_channel(q.int(), *call))
    for slopes in (1, q.shape[1]):
        weight = torch.rand(slopes, generator=torch.Generator().manual_seed(0))
        check(lambda q, weight=weight: OPS.prelu(q, *parameters, weight, *output))
    for dim in range(q.ndim):
        check(lambda q, dim=dim: OPS.softmax(q, 0.02, dim, 1 / 256, *output[1:]))
        check(lambda q, dim=dim: OPS.cat([q, q.flip(0)], *two, dim, *output, dtype))
        check(lambda q, dim=dim: OPS.cat([q, q], *two, dim, *unsigned))
