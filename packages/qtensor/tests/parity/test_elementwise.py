"""The elementwise and embedding operators beside torch's legacy quantized ones.

Where legacy differs, the test says how: its vectorised kernels use fused multiply-adds, and so
may round a tie, or the last bit of a float, differently.
"""

import warnings
from collections.abc import Iterator

import pytest
import torch

from qtensor._ops.add import add
from qtensor._ops.embedding import embedding
from qtensor._ops.quantize import (
    dequantize_per_channel,
    dequantize_per_tensor,
    quantize_per_channel,
    quantize_per_tensor,
)

pytestmark = pytest.mark.parity

LEGACY = {torch.uint8: "quint8", torch.int8: "qint8", torch.int32: "qint32"}
FULL = {dtype: (torch.iinfo(dtype).min, torch.iinfo(dtype).max) for dtype in LEGACY}


@pytest.fixture(autouse=True)
def _legacy() -> Iterator[None]:
    if not hasattr(torch, "quantize_per_tensor"):
        pytest.skip("this torch has no legacy quantization")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def legacy_dtype(dtype):
    return getattr(torch, LEGACY[dtype])


def quantized(shape, scale, zero_point, memory_format=torch.channels_last):
    x = (torch.randn(shape) * 60 * scale).contiguous(memory_format=memory_format)
    return torch.quantize_per_tensor(x, scale, zero_point, torch.quint8)


@pytest.mark.parametrize("dtype", LEGACY)
@pytest.mark.parametrize("scale", [0.03, 1.0, 7.3e-5])
def test_quantize_per_tensor(dtype, scale):
    x = torch.randn(10_007) * 100 * scale
    zero_point = 3
    ours = quantize_per_tensor(x, scale, zero_point, *FULL[dtype], dtype)
    theirs = torch.quantize_per_tensor(x, scale, zero_point, legacy_dtype(dtype))
    assert torch.equal(ours, theirs.int_repr())
    # Legacy computes q * scale - zero_point * scale, fused.
    back = dequantize_per_tensor(ours, scale, zero_point)
    torch.testing.assert_close(back, theirs.dequantize(), rtol=1e-6, atol=1e-6 * scale)


def test_legacy_quantizes_nan_to_an_arbitrary_integer():
    x = torch.tensor([float("nan")] * 40)
    assert quantize_per_tensor(x, 0.1, 7, 0, 255, torch.uint8).tolist() == [0] * 40


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
@pytest.mark.parametrize("axis", [0, 1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_quantize_per_channel(dtype, axis, memory_format):
    x = (torch.randn(6, 33, 5, 7) * 2).contiguous(memory_format=memory_format)
    scales = torch.rand(x.shape[axis]) * 0.1 + 0.01
    zero_points = torch.randint(0, 100, scales.shape)
    ours = quantize_per_channel(x, scales, zero_points, axis, *FULL[dtype], dtype)
    # Legacy quantizes channels_last tensors along the axes 0 and 1 only.
    theirs = torch.quantize_per_channel(
        x.contiguous(), scales, zero_points, axis, legacy_dtype(dtype)
    )
    assert torch.equal(ours, theirs.int_repr())
    back = dequantize_per_channel(ours, scales, zero_points, axis)
    torch.testing.assert_close(back, theirs.dequantize(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("zero_points", [(128, 120, 100), (0, 0, 0), (255, 3, 17)])
def test_add(relu, zero_points):
    a, b = (
        quantized((2, 16, 9, 9), scale, zp)
        for scale, zp in zip((0.03, 0.04), zero_points, strict=False)
    )
    arguments = (a.int_repr(), 0.03, zero_points[0], b.int_repr(), 0.04, zero_points[1])
    ours = add(*arguments, 0.05, zero_points[2], 0, 255, 0.0 if relu else None)
    legacy = torch.ops.quantized.add_relu if relu else torch.ops.quantized.add
    theirs = legacy(a, b, 0.05, zero_points[2]).int_repr()
    # Legacy dequantizes with a fused multiply-add and divides afterwards: ties go either way.
    difference = (ours.int() - theirs.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.05


def test_embedding():
    table = torch.randn(100, 48)
    lowest, highest = table.aminmax(dim=1)
    scales = (highest - lowest) / 255
    zero_points = -lowest / scales
    weight = quantize_per_channel(table, scales, zero_points, 0, 0, 255, torch.uint8)
    theirs = torch.quantize_per_channel(table, scales, zero_points, axis=0, dtype=torch.quint8)
    assert torch.equal(weight, theirs.int_repr())
    indices = torch.randint(0, 100, (7, 11))
    packed = torch.ops.quantized.embedding_bag_prepack(theirs)
    expected = torch.ops.quantized.embedding_byte(packed, indices)
    # Legacy computes q * scale + bias with the bias -zero_point * scale rounded beforehand.
    ours = embedding(weight, scales, zero_points, indices)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
