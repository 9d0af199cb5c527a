"""Learned step size quantization: gradients against autograd of the plain formula."""

import pytest
import torch

import qobserve
import qtensor
from qobserve import (
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from qobserve import _LearnableFakeQuantize as LearnableFakeQuantize


def straight_through(x):
    return x + (torch.round(x) - x).detach()


def plain(x, scale, zero_point, low, high):
    """The formula, written so that autograd gives the gradients of the paper."""
    z = straight_through(zero_point).clamp(low, high)
    return (straight_through(x / scale + z).clamp(low, high) - z) * scale


def per_tensor(**kwargs):
    return LearnableFakeQuantize(MovingAverageMinMaxObserver, 0, 15, **kwargs)


def per_channel(**kwargs):
    return LearnableFakeQuantize(
        MovingAveragePerChannelMinMaxObserver,
        -8,
        7,
        channel_len=3,
        dtype=qtensor.qint8,
        qscheme=qtensor.per_channel_affine,
        **kwargs,
    )


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("make", [per_tensor, per_channel])
def test_gradients(make, scaled):
    torch.manual_seed(0)
    fake_quantize = make(use_grad_scaling=scaled).enable_param_learning()
    per_axis = fake_quantize.scale.numel() > 1
    with torch.no_grad():
        fake_quantize.scale.copy_(torch.rand_like(fake_quantize.scale) * 0.1 + 0.1)
        fake_quantize.zero_point.copy_(torch.rand_like(fake_quantize.zero_point) * 4)
    x = torch.randn(3, 50, requires_grad=True)
    grad = torch.randn(3, 50)
    y = fake_quantize(x)
    given = torch.autograd.grad(y, (x, fake_quantize.scale, fake_quantize.zero_point), grad)

    leaves = [t.detach().double() for t in (x, fake_quantize.scale, fake_quantize.zero_point)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    shaped = [leaves[0], *(leaf[:, None] if per_axis else leaf for leaf in leaves[1:])]
    low, high = fake_quantize.quant_min, fake_quantize.quant_max
    y_plain = plain(*shaped, low, high)
    torch.testing.assert_close(y.double(), y_plain, rtol=1e-5, atol=1e-5)
    expected = torch.autograd.grad(y_plain, leaves, grad.double())
    factor = (x.numel() * high) ** -0.5 if scaled else 1.0
    for got, want, by in zip(given, expected, (1.0, factor, factor), strict=True):
        torch.testing.assert_close(got.double(), want * by, rtol=1e-4, atol=1e-4)


def test_phases():
    fake_quantize = per_tensor()
    x = torch.rand(20) - 0.2
    fake_quantize.enable_static_observation()
    assert torch.equal(fake_quantize(x), x)
    fake_quantize.enable_static_estimate()
    y = fake_quantize(x)
    observer = MovingAverageMinMaxObserver(quant_min=0, quant_max=15)
    observer(x)
    scale, zero_point = observer.calculate_qparams()
    assert torch.equal(fake_quantize.scale.detach(), scale)
    assert torch.equal(fake_quantize.calculate_qparams()[1], zero_point)
    expected = qtensor.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 15)
    torch.testing.assert_close(y, expected)
    assert not fake_quantize.scale.requires_grad
    fake_quantize.enable_param_learning()
    assert fake_quantize.scale.requires_grad and fake_quantize.zero_point.requires_grad
    fake_quantize(10 * x)
    assert torch.equal(fake_quantize.scale.detach(), scale)


def test_learns_a_better_scale():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(1000), torch.tensor([20.0, -20.0])])
    fake_quantize = LearnableFakeQuantize(
        qobserve.MinMaxObserver,
        -4,
        3,
        dtype=qtensor.qint8,
        qscheme=qtensor.per_tensor_symmetric,
        use_grad_scaling=True,
    )

    def error():
        return (fake_quantize(x) - x).abs().mean()

    before = error().item()
    optimizer = torch.optim.Adam(fake_quantize.enable_param_learning().parameters(), 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert error().item() < 0.5 * before
    assert fake_quantize.zero_point.item() == 0


def test_a_scale_stays_positive():
    fake_quantize = per_tensor(scale=-1.0).enable_param_learning()
    assert fake_quantize(torch.ones(3)).isfinite().all()
    assert fake_quantize.calculate_qparams()[0] > 0


def test_refusals():
    with pytest.raises(ValueError, match="channel_len to be the number of channels"):
        LearnableFakeQuantize(MovingAveragePerChannelMinMaxObserver)
    with pytest.raises(ValueError, match="channel_len to be -1"):
        per_tensor(channel_len=3)
    with pytest.raises(ValueError, match="zero points of"):
        LearnableFakeQuantize(
            MovingAveragePerChannelMinMaxObserver,
            channel_len=2,
            qscheme=qtensor.per_channel_affine_float_qparams,
        )


def test_state_dict():
    source, target = per_channel(), per_channel()
    source(torch.randn(3, 5))
    source.enable_param_learning()
    target.load_state_dict(source.state_dict())
    x = torch.randn(3, 5)
    assert torch.equal(source(x), target(x))
    assert target.has_seen_data
