"""Observing and fake-quantizing in one call, against the formulas written out in NumPy."""

import numpy as np
import pytest
import torch

import qtensor

INF = float("inf")
ON, OFF = torch.tensor([1]), torch.tensor([0])
EPS = np.float32(2.0**-23)


def buffers(channels=1):
    return (
        torch.full((channels,), INF),
        torch.full((channels,), -INF),
        torch.ones(channels),
        torch.zeros(channels, dtype=torch.int32),
    )


def fused(x, state, *, observe=ON, fake=ON, bounds=(0, 255), axis=None, symmetric=False, c=0.25):
    rule = c, *bounds, axis or 0, axis is not None, symmetric
    return qtensor.fused_moving_avg_obs_fake_quant(x, observe, fake, *state, *rule)


def expected_parameters(low, high, bounds, symmetric):
    low, high = min(np.float32(low), np.float32(0)), max(np.float32(high), np.float32(0))
    levels = np.float32(bounds[1] - bounds[0])
    if symmetric:
        scale = max(np.float32(2) * max(-low, high) / levels, EPS)
        return scale, 0 if bounds[0] < 0 else (bounds[0] + bounds[1] + 1) // 2
    scale = max((high - low) / levels, EPS)
    return scale, int(np.clip(bounds[0] - np.rint(low / scale), *bounds))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bounds", [(0, 255), (-128, 127), (0, 127), (-8, 7)])
@pytest.mark.parametrize("shift", [0.0, 5.0, -5.0])
def test_per_tensor(symmetric, bounds, shift):
    torch.manual_seed(0)
    state, low, high = buffers(), None, None
    for _ in range(4):
        x = torch.randn(3, 50) + shift
        y = fused(x, state, bounds=bounds, symmetric=symmetric)
        batch = x.numpy().min(), x.numpy().max()
        if low is None:
            low, high = batch
        else:
            low = low + np.float32(0.25) * (batch[0] - low)
            high = high + np.float32(0.25) * (batch[1] - high)
        scale, zero_point = expected_parameters(low, high, bounds, symmetric)
        assert [t.item() for t in state] == [low, high, scale, zero_point]
        plain = qtensor.fake_quantize_per_tensor_affine(x, float(scale), zero_point, *bounds)
        assert torch.equal(y, plain)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_per_channel_is_each_channel_by_itself(axis):
    torch.manual_seed(0)
    state = tuple(t[:0].clone() for t in buffers())  # sized by the first batch
    single = None
    for _ in range(3):
        x = torch.randn(4, 5, 6)
        y = fused(x, state, axis=axis, bounds=(-128, 127), symmetric=True)
        single = single or [buffers() for _ in range(x.shape[axis])]
        for channel, own in enumerate(single):
            part = fused(x.select(axis, channel), own, bounds=(-128, 127), symmetric=True)
            assert torch.equal(y.select(axis, channel), part)
            assert [t[channel].item() for t in state] == [t.item() for t in own]


def test_switches():
    x = torch.tensor([0.0, 1.3, 15.0])
    state = buffers()
    assert torch.equal(fused(x, state, observe=OFF, fake=OFF), x)
    assert state[0].item() == INF
    assert state[2].item() == 1  # nothing seen: as it was
    assert fused(x, state, observe=OFF).tolist() == [0, 1, 15]  # with the parameters there are
    seen = fused(x, state, fake=OFF, bounds=(0, 15))
    assert torch.equal(seen, x)
    assert seen.data_ptr() != x.data_ptr()
    assert [t.item() for t in state] == [0, 15, 1, 0]
    assert fused(100 * x, state, observe=OFF, bounds=(0, 15)).tolist() == [0, 15, 15]


def test_gradient():
    x = torch.tensor([-1.0, 0.4, 3.0], requires_grad=True)
    state = buffers()
    fused(x.detach() / 2, state)
    fused(x, state, observe=OFF).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]
    x.grad = None
    fused(x, state, fake=OFF).sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_a_module_may_run_twice_before_backward():
    state = buffers()
    a, b = torch.randn(9, requires_grad=True), (5 * torch.randn(9)).requires_grad_()
    (fused(a, state) + fused(b, state)).sum().backward()
    assert a.grad.tolist() == [1] * 9


def test_values_that_are_not_finite_are_not_observed():
    state = buffers()
    fused(torch.tensor([float("nan"), INF, 1.0, -INF, -2.0]), state)
    assert [t.item() for t in state[:2]] == [-2, 1]
    fused(torch.tensor([float("nan")]), state)
    assert [t.item() for t in state[:2]] == [-2, 1]


class _Fused(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name, value in zip(("low", "high", "scale", "zero"), buffers(), strict=True):
            self.register_buffer(name, value)
        self.register_buffer("observe", torch.tensor([1]))
        self.register_buffer("fake", torch.tensor([1]))

    def forward(self, x):
        state = self.low, self.high, self.scale, self.zero
        return fused(x, state, observe=self.observe, fake=self.fake)


@pytest.mark.parametrize("observe", [0, 1])
@pytest.mark.parametrize("fake", [0, 1])
def test_compiled(observe, fake):
    eager, compiled = _Fused(), _Fused()
    run = torch.compile(compiled, backend="aot_eager", fullgraph=True)
    for step in range(3):
        x = torch.linspace(-1, step + 1, 11)
        if step:
            for model in (eager, compiled):
                model.observe.fill_(observe)
                model.fake.fill_(fake)
        assert torch.equal(eager(x), run(x))
        for one, other in zip(eager.buffers(), compiled.buffers(), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("strict", [True, False])
def test_exported(strict):
    program = torch.export.export(_Fused(), (torch.randn(5),), strict=strict)
    x, eager = torch.randn(5), _Fused()
    module = program.module()
    assert torch.equal(module(x), eager(x))
    assert torch.equal(dict(module.named_buffers())["scale"], eager.scale)


def test_bad_input():
    x = torch.randn(2, 3)
    with pytest.raises(ValueError, match="an axis of input"):
        fused(x, buffers(3), axis=2)
    with pytest.raises(ValueError, match=r"scale to have 3 value\(s\).*got shape \(2,\)"):
        fused(x, buffers(2), axis=1)
    with pytest.raises(ValueError, match="quant_min < quant_max"):
        fused(x, buffers(), bounds=(5, 5))
    with pytest.raises(TypeError, match="floating-point input"):
        fused(x.int(), buffers())
