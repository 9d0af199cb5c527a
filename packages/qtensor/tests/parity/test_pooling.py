"""Pooling and interpolation beside torch's legacy quantized ones."""

import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

import qtensor
from qtensor._ops.interpolate import interpolate_linear, interpolate_nearest
from qtensor._ops.pool import adaptive_avg_pool, avg_pool, max_pool

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def _legacy() -> Iterator[None]:
    if not hasattr(torch, "quantize_per_tensor"):
        pytest.skip("this torch has no legacy quantization")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def quantized(shape, scale, zero_point, memory_format=torch.contiguous_format):
    x = (torch.randn(shape) * 60 * scale).contiguous(memory_format=memory_format)
    return torch.quantize_per_tensor(x, scale, zero_point, torch.quint8)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    [(2, 2, 0, 1, False), (3, 2, 1, 1, False), (3, 2, 1, 1, True), (3, 1, 1, 2, False)],
)
def test_max_pool2d(memory_format, channels, kernel_size, stride, padding, dilation, ceil_mode):
    q = quantized((2, channels, 14, 13), 0.03, 20, memory_format)
    window = [[value] * 2 for value in (kernel_size, stride, padding, dilation)]
    theirs = F.max_pool2d(q, *window, ceil_mode)
    assert torch.equal(max_pool(q.int_repr(), *window, ceil_mode), theirs.int_repr())


@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding", "divisor_override"),
    [(2, 2, 0, None), (3, 2, 1, None), (3, 1, 1, None), (3, 1, 0, 7)],
)
def test_avg_pool2d(channels, count_include_pad, kernel_size, stride, padding, divisor_override):
    q = quantized((2, channels, 14, 13), 0.03, 20)
    window = [[value] * 2 for value in (kernel_size, stride, padding)]
    rule = False, count_include_pad, divisor_override
    theirs = F.avg_pool2d(q, *window, *rule).int_repr()
    ours = avg_pool(q.int_repr(), 20, *window, *rule)
    # Legacy multiplies by a rounded reciprocal, which may turn a tie the other way.
    assert (ours.int() - theirs.int()).abs().max() <= 1
    assert (ours != theirs).float().mean() < 0.02


@pytest.mark.parametrize("output_size", [1, 3, 5])
@pytest.mark.parametrize("channels", [3, 40])
def test_adaptive_avg_pool2d(channels, output_size):
    q = quantized((2, channels, 14, 13), 0.03, 20)
    theirs = F.adaptive_avg_pool2d(q, output_size).int_repr()
    ours = adaptive_avg_pool(q.int_repr(), [output_size] * 2, 20)
    assert (ours.int() - theirs.int()).abs().max() <= 1
    assert (ours != theirs).float().mean() < 0.02


def test_max_pool1d():
    q = quantized((2, 5, 31), 0.03, 20)
    theirs = F.max_pool1d(q, 3, 2, 1, 2)
    assert torch.equal(max_pool(q.int_repr(), [3], [2], [1], [2], False), theirs.int_repr())


def test_three_dimensions():
    q = quantized((2, 5, 6, 7, 8), 0.03, 20)
    for theirs, ours in (
        (F.avg_pool3d(q, 2), avg_pool(q.int_repr(), 20, [2] * 3, [2] * 3, [0] * 3, False, True)),
        (F.adaptive_avg_pool3d(q, 3), adaptive_avg_pool(q.int_repr(), [3] * 3, 20)),
    ):
        # Legacy's rounding of ties depends on the channel.
        assert (ours.int() - theirs.int_repr().int()).abs().max() <= 1


@pytest.mark.parametrize("size", [(28, 26), (9, 30), (5, 5)])
@pytest.mark.parametrize("channels", [3, 16])
def test_nearest(channels, size):
    q = quantized((2, channels, 14, 13), 0.03, 20)
    theirs = F.interpolate(q, size).int_repr()
    assert torch.equal(interpolate_nearest(q.int_repr(), list(size), None, False), theirs)
    exact = F.interpolate(q, size, mode="nearest-exact").int_repr()
    assert torch.equal(interpolate_nearest(q.int_repr(), list(size), None, True), exact)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(28, 26), (9, 30), (5, 5)])
@pytest.mark.parametrize("channels", [3, 16])
def test_bilinear(channels, size, align_corners):
    q = quantized((2, channels, 14, 13), 0.03, 20, torch.channels_last)
    theirs = F.interpolate(q, size, mode="bilinear", align_corners=align_corners).int_repr()
    ours = interpolate_linear(q.int_repr(), 20, list(size), None, align_corners)
    # Legacy may round ties, and values within a float's error of one, the other way.
    assert (ours.int() - theirs.int()).abs().max() <= 1
    assert (ours != theirs).float().mean() < 0.15


def test_mean_over_dimensions():
    q = quantized((2, 5, 7, 9), 0.03, 20)
    theirs = q.mean((2, 3))
    mine = qtensor.QTensor(q.int_repr(), qtensor.QParams(0.03, 20, qtensor.quint8)).mean((2, 3))
    assert (mine.dequantize() - theirs.dequantize()).abs().max() <= 0.0301
