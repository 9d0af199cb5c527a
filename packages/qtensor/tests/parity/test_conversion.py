"""Functions and exported operators beside torch's. Where torch's differ, the test says how."""

import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import qtensor

pytestmark = pytest.mark.parity

ops = torch.ops.qtensor
BYTES = [(torch.uint8, 0, 255), (torch.int8, -128, 127), (torch.uint8, 0, 127)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def legacy() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("torch.ao.quantization.fx._decomposed")
        except ImportError:
            pytest.skip("this torch has no decomposed operators")
    return torch.ops.quantized_decomposed


def legacy_dtype(name: str) -> Any:
    if not hasattr(torch, "quantize_per_tensor"):
        pytest.skip("this torch has no legacy quantization")
    return getattr(torch, name)


@pytest.mark.parametrize("dtype, low, high", BYTES)
def test_per_tensor(legacy, dtype, low, high):
    x = torch.randn(6, 500) * 4
    scale, zero = torch.tensor(0.05), torch.tensor(7)
    bounds = torch.tensor(low), torch.tensor(high)
    for overload, args in (
        ("default", (0.05, 7, low, high)),
        ("tensor", (scale, zero, low, high)),
        ("tensor2", (scale, zero, *bounds)),
    ):
        q = getattr(ops.quantize_per_tensor, overload)(x, *args, dtype)
        assert torch.equal(q, getattr(legacy.quantize_per_tensor, overload)(x, *args, dtype))
        for half in (None, torch.float16):
            back = getattr(ops.dequantize_per_tensor, overload)(q, *args, dtype, out_dtype=half)
            theirs = getattr(legacy.dequantize_per_tensor, overload)
            theirs = theirs(q, *args, dtype, out_dtype=half)
            # With out_dtype legacy computes in that, so rounds more than once.
            torch.testing.assert_close(back, theirs, rtol=2e-3 if half else 0, atol=0)


@pytest.mark.parametrize("dtype, low, high", BYTES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_per_channel(legacy, dtype, low, high, axis):
    x = torch.randn(4, 5, 6) * 4
    scales, zeros = torch.rand(x.shape[axis]) * 0.1 + 0.02, torch.randint(0, 9, (x.shape[axis],))
    args = scales, zeros, axis, low, high, dtype
    q = ops.quantize_per_channel(x, *args)
    assert torch.equal(q, legacy.quantize_per_channel(x, *args))
    torch.testing.assert_close(
        ops.dequantize_per_channel(q, *args), legacy.dequantize_per_channel(q, *args)
    )
    fake = scales, zeros, axis, low, high
    torch.testing.assert_close(
        ops.fake_quant_per_channel(x, *fake), legacy.fake_quant_per_channel(x, *fake)
    )


@pytest.mark.parametrize("shift", [0, 3, -3])
def test_chosen_parameters(legacy, shift):
    """Legacy's scales are float64 tensors that hold float32 values; ours are float32."""
    x = torch.randn(7, 40) + shift
    for name in ("choose_qparams", "choose_qparams_symmetric"):
        for dtype, low, high in BYTES[:2]:
            args = x, low, high, 1e-6, dtype
            scale, zero = getattr(ops, name).tensor(*args)
            theirs = getattr(legacy, name).tensor(*args)
            assert torch.equal(scale.double(), theirs[0].double())
            assert torch.equal(zero, theirs[1])
    scales, zeros = ops.choose_qparams_per_token(x, torch.int8)
    theirs = legacy.choose_qparams_per_token(x, torch.int8)
    assert torch.equal(scales, theirs[0])
    assert torch.equal(zeros.float(), theirs[1])
    scales, zeros = ops.choose_qparams_per_token_asymmetric(x, torch.int8)
    theirs = legacy.choose_qparams_per_token_asymmetric(x, torch.int8)
    assert torch.equal(scales.double(), theirs[0])
    # Legacy may start from the upper end of the range, and then rounds the other way.
    assert (zeros - theirs[1]).abs().max() <= 1


def test_per_token_and_group(legacy):
    x = torch.randn(7, 40)
    scales, zeros = ops.choose_qparams_per_token_asymmetric(x, torch.int8)
    args = scales, zeros, -128, 127, torch.int8
    q = ops.quantize_per_token(x, *args)
    assert torch.equal(q, legacy.quantize_per_token(x, *args))
    back = legacy.dequantize_per_token(q, *args, torch.float32)
    torch.testing.assert_close(ops.dequantize_per_token(q, *args), back)
    scales, zeros = torch.rand(7, 5) * 0.3 + 0.1, torch.randint(-3, 3, (7, 5))
    args = scales, zeros, -8, 7, torch.int8, 8
    q = ops.quantize_per_channel_group(x, *args)
    assert torch.equal(q, legacy.quantize_per_channel_group(x, *args))
    back = legacy.dequantize_per_channel_group(q, *args, torch.float32)
    torch.testing.assert_close(ops.dequantize_per_channel_group(q, *args), back)


def test_legacy_rounds_ties_of_tokens_by_the_zero_point(legacy):
    """It adds zero points before rounding; per tensor and channel it adds them after."""
    x, scale = torch.tensor([[0.5, 1.5]]), torch.ones(1, 1)
    args = scale, torch.tensor([[1]]), -8, 7, torch.int8
    assert ops.quantize_per_token(x, *args).tolist() == [[1, 3]]
    assert legacy.quantize_per_token(x, *args).tolist() == [[2, 2]]


@pytest.mark.parametrize("name", ["quint8", "qint8"])
@pytest.mark.parametrize("reduce_range", [False, True])
def test_quantize_per_tensor_dynamic(name, reduce_range):
    """Legacy computes the scale in float64: the last bit may differ."""
    x = torch.randn(500) + 0.5
    theirs = torch.quantize_per_tensor_dynamic(x, legacy_dtype(name), reduce_range)
    ours = qtensor.quantize_per_tensor_dynamic(x, getattr(torch, name), reduce_range)
    torch.testing.assert_close(ours.q_scale(), theirs.q_scale(), rtol=2e-7, atol=0)
    assert ours.q_zero_point() == theirs.q_zero_point()
    steps = ours.int_repr().int() - theirs.int_repr().int()
    assert steps.abs().max() <= 1
    assert steps.count_nonzero() <= 2


def test_lists():
    legacy_dtype("quint8")
    tensors = [torch.randn(3), torch.randn(2, 2)]
    scales, zeros = torch.tensor([0.1, 0.2]), torch.tensor([3, 4])
    theirs = torch.quantize_per_tensor(tensors, scales, zeros, torch.quint8)
    ours = qtensor.quantize_per_tensor(tensors, scales, zeros, torch.quint8)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.int_repr(), other.int_repr())


def test_four_bits():
    """Legacy takes 4 bits per channel with real zero points only, and shows the packed bytes."""
    x, scales, zeros = torch.randn(4, 8), torch.rand(4) * 0.2 + 0.1, torch.rand(4) * 15
    theirs = torch.quantize_per_channel(x, scales, zeros, 0, legacy_dtype("quint4x2"))
    ours = qtensor.quantize_per_channel(x, scales, zeros, 0, torch.quint4x2)
    assert torch.equal(ours._packed.flatten(), theirs.int_repr())
