"""Fake quantization beside torch's. Where torch's differs, the test says how."""

import math

import pytest
import torch

import qtensor

pytestmark = pytest.mark.parity

legacy_learnable = getattr(torch, "_fake_quantize_learnable_per_tensor_affine", None)
legacy_fused = getattr(torch, "fused_moving_avg_obs_fake_quant", None)

RANGES = [(0, 255), (-128, 127), (-127, 127), (0, 127), (-8, 7)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    if not hasattr(torch, "fake_quantize_per_tensor_affine"):
        pytest.skip("this torch has no fake quantization")
    torch.manual_seed(0)


def with_gradient(call, x, *args):
    x = x.clone().requires_grad_()
    y = call(x, *args)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    return y.detach(), gradient


@pytest.mark.parametrize("low, high", RANGES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 3e-5])
@pytest.mark.parametrize("tensors", [False, True])
def test_per_tensor(low, high, scale, tensors):
    x = torch.randn(10_007) * 80 * scale
    x[:200] = (torch.arange(200) - 100 + 0.5) * scale
    given = (torch.tensor([scale]), torch.tensor([3], dtype=torch.int32)) if tensors else (scale, 3)
    ours = with_gradient(qtensor.fake_quantize_per_tensor_affine, x, *given, low, high)
    theirs = with_gradient(torch.fake_quantize_per_tensor_affine, x, *given, low, high)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("axis", [0, 1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_per_channel(axis, memory_format):
    x = (torch.randn(6, 33, 5, 7) * 2).contiguous(memory_format=memory_format)
    scales = torch.rand(x.shape[axis]) * 0.1 + 0.01
    zero_points = (torch.rand(scales.shape) * 100).int()
    args = x, scales, zero_points, axis, 0, 255
    ours = with_gradient(qtensor.fake_quantize_per_channel_affine, *args)
    theirs = with_gradient(torch.fake_quantize_per_channel_affine, *args)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == x.stride()


def test_real_zero_points():
    """Torch rounds less often on the way, so the last bit of an output may differ."""
    x, scales = torch.randn(6, 500) * 2, torch.rand(6) * 0.1 + 0.01
    args = x, scales, torch.rand(6) * 100, 0, 0, 255
    ours = with_gradient(qtensor.fake_quantize_per_channel_affine, *args)
    theirs = with_gradient(torch.fake_quantize_per_channel_affine, *args)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-6, atol=1e-5)
    assert torch.equal(ours[1], theirs[1])


def test_torch_puts_large_values_of_channels_at_the_wrong_end():
    """Above 2^63 it converts to int64 first, and x86 makes the smallest integer of that."""
    x = torch.tensor([[3e38, math.inf, 1e9]])
    args = torch.tensor([0.5]), torch.tensor([0], dtype=torch.int32), 0, 0, 7
    ours = qtensor.fake_quantize_per_channel_affine(x, *args)
    assert ours.tolist() == [[3.5, 3.5, 3.5]]
    theirs = torch.fake_quantize_per_channel_affine(x, *args)
    assert theirs[0, 2].item() == 3.5


def test_nan_gives_the_lower_bound_and_no_gradient():
    x = torch.tensor([math.nan, 1.0])
    for function in (qtensor, torch):
        y, gradient = with_gradient(function.fake_quantize_per_tensor_affine, x, 0.5, 3, 0, 7)
        assert y.tolist() == [-1.5, 1.0]
        assert gradient.tolist() == [0, 1]


@pytest.mark.skipif(legacy_learnable is None, reason="this torch has no learnable fake quantize")
@pytest.mark.parametrize("low, high", RANGES)
def test_learnable(low, high):
    leaves = torch.randn(5000) * 5, torch.tensor([0.1]), torch.tensor([3.2])
    results = []
    for call in (qtensor.fake_quantize_learnable_per_tensor_affine, legacy_learnable):
        inputs = [leaf.clone().requires_grad_() for leaf in leaves]
        y = call(*inputs, low, high, 0.3)
        y.backward(torch.cos(y.detach()))
        results.append((y.detach(), *(leaf.grad for leaf in inputs)))
    ours, theirs = results
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    for one, other in zip(ours[2:], theirs[2:], strict=True):  # torch sums in float32
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(legacy_learnable is None, reason="this torch has no learnable fake quantize")
def test_torch_rounds_learnt_zero_points_differently_in_backward():
    """Towards zero after adding a half: -2.7 is -3 forward and -2 backward, where 7 - (-2) = 9
    stands in for the gradient of a value clamped to 7 - (-3) = 10 steps."""
    gradients = []
    for call in (qtensor.fake_quantize_learnable_per_tensor_affine, legacy_learnable):
        scale, zero = torch.tensor([1.0], requires_grad=True), torch.tensor([-2.7])
        call(torch.tensor([100.0]), scale, zero.requires_grad_(), -8, 7, 1.0).sum().backward()
        gradients.append(scale.grad.item())
    assert gradients == [10, 9]


def fused_state(channels):
    inf = torch.full((channels,), math.inf)
    return inf, -inf, torch.ones(channels), torch.zeros(channels, dtype=torch.int32)


@pytest.mark.skipif(legacy_fused is None, reason="this torch has no fused fake quantize")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("low, high", RANGES)
def test_fused(per_channel, low, high):
    on = torch.tensor([1])
    ours, theirs = fused_state(6 if per_channel else 1), fused_state(6 if per_channel else 1)
    for _ in range(3):
        x = torch.randn(6, 50) + 0.5
        rule = 0.1, low, high, 0, per_channel, False
        y = qtensor.fused_moving_avg_obs_fake_quant(x, on, on, *ours, *rule)
        z = legacy_fused(x, on, on, *theirs, *rule)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
        # Legacy computes the scale in float64, unlike its observers: the last bit may differ.
        torch.testing.assert_close(ours[2], theirs[2], rtol=2e-7, atol=0)
        assert torch.equal(ours[3], theirs[3])
        torch.testing.assert_close(y, z, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(legacy_fused is None, reason="this torch has no fused fake quantize")
def test_fused_symmetric_parameters_are_those_of_the_observers():
    """Legacy trains with max(-min / 128, max / 127), but converts with max(-min, max) / 127.5."""
    on, x = torch.tensor([1]), torch.tensor([-1.0, 2.0])
    ours, theirs = fused_state(1), fused_state(1)
    for call, state in (
        (qtensor.fused_moving_avg_obs_fake_quant, ours),
        (legacy_fused, theirs),
    ):
        call(x, on, on, *state, 0.1, -128, 127, 0, False, True)
    torch.testing.assert_close(ours[2], torch.tensor([2 / 127.5]))
    torch.testing.assert_close(theirs[2], torch.tensor([2 / 127]))
    assert ours[3].item() == theirs[3].item() == 0
