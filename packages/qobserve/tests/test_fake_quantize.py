"""Fake-quantize modules against the plain formula, and how they are switched, saved and loaded."""

import io
import warnings

import pytest
import torch
from torch import nn

import qobserve
import qtensor
from qobserve import (
    FakeQuantize,
    FakeQuantizeBase,
    FixedQParamsFakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    default_embedding_fake_quant,
    default_fake_quant,
    default_fixed_qparams_range_0to1_fake_quant,
    default_fused_per_channel_wt_fake_quant,
    default_per_channel_weight_fake_quant,
)


def plain(x, scale, zero_point, low, high):
    """What quantizing and dequantizing give, and which values are not clamped."""
    # A symmetric range ends halfway between two integers: divide as the kernels do.
    rounded = torch.round(x * (1 / scale)).double() + zero_point.double()
    scale, zero_point = scale.double(), zero_point.double()
    inside = (rounded >= low) & (rounded <= high)
    return (rounded.clamp(low, high) - zero_point) * scale, inside


@pytest.mark.parametrize("kind", [FakeQuantize, FusedMovingAvgObsFakeQuantize])
def test_rounds_by_the_averaged_range(kind):
    torch.manual_seed(0)
    fake_quantize = kind(MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
    observer = MovingAverageMinMaxObserver()
    for _ in range(3):
        x = torch.randn(5, 7, requires_grad=True)
        y = fake_quantize(x)
        observer(x)
        scale, zero_point = observer.calculate_qparams()
        expected, inside = plain(x, scale, zero_point, 0, 255)
        torch.testing.assert_close(y.double(), expected, rtol=1e-6, atol=1e-6)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(gradient.bool(), inside)
        assert torch.equal(fake_quantize.scale, scale)
        assert torch.equal(fake_quantize.zero_point.long(), zero_point)
    for given, expected in zip(fake_quantize.calculate_qparams(), (scale, zero_point), strict=True):
        assert torch.equal(given, expected)


def test_per_channel():
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 2, 2)
    fake_quantize = default_fused_per_channel_wt_fake_quant()
    y = fake_quantize(weight)
    scale = 2 * weight.abs().amax((1, 2, 3)) / 255
    assert torch.equal(fake_quantize.scale, scale)
    shape = (-1, 1, 1, 1)
    expected, _ = plain(weight, scale.reshape(shape), torch.zeros(shape[1:]), -128, 127)
    torch.testing.assert_close(y.double(), expected, rtol=1e-6, atol=1e-6)


def test_embedding_rows_have_real_zero_points():
    table = torch.rand(6, 8) * 3 + 1
    fake_quantize = default_embedding_fake_quant()
    y = fake_quantize(table)
    assert fake_quantize.zero_point.dtype == torch.float32
    step = (table.amax(1) - table.amin(1)) / 255
    assert ((y - table).abs().amax(1) <= 0.51 * step).all()


def test_switches():
    model = nn.Sequential(default_fake_quant(), nn.ReLU())
    x = torch.rand(10)
    model.apply(qobserve.disable_fake_quant)
    assert torch.equal(model(x), x)
    assert model[0].has_seen_data
    model.apply(qobserve.enable_fake_quant)
    model.apply(qobserve.disable_observer)
    scale = model[0].scale.clone()
    assert not torch.equal(model(10 * x), 10 * x)
    assert torch.equal(model[0].scale, scale)
    model.apply(qobserve.enable_observer)
    model(10 * x)
    assert model[0].scale > scale


def test_a_module_may_run_twice_before_its_first_backward():
    fake_quantize = FakeQuantize(MinMaxObserver, quant_min=0, quant_max=3)
    x = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    first = fake_quantize(x)
    second = fake_quantize(100 * x)
    first.sum().backward()
    assert torch.equal(x.grad, torch.ones(3))
    second.sum().backward()


def test_fixed_parameters():
    fake_quantize = default_fixed_qparams_range_0to1_fake_quant()
    y = fake_quantize(torch.tensor([-1.0, 0.3, 2.0]))
    assert torch.equal(y, torch.tensor([0.0, 77 / 256, 255 / 256]))
    assert fake_quantize.qparams() == qtensor.QParams(1 / 256, 0)
    with pytest.raises(TypeError, match="needs a FixedQParamsObserver, got MinMaxObserver"):
        FixedQParamsFakeQuantize(MinMaxObserver)


def test_what_it_stands_for():
    fake_quantize = default_fake_quant()
    assert fake_quantize.dtype == qtensor.quint8
    assert (fake_quantize.quant_min, fake_quantize.quant_max) == (0, 127)
    assert not fake_quantize.has_seen_data and not fake_quantize.is_dynamic
    assert qobserve.default_dynamic_fake_quant().is_dynamic
    assert "quant_max=127" in repr(fake_quantize)
    assert default_fake_quant.with_args(quant_max=63)().quant_max == 31


def test_refusals():
    with pytest.raises(TypeError, match=r"Moving.*got MinMaxObserver"):
        FusedMovingAvgObsFakeQuantize(MinMaxObserver)
    with pytest.raises(ValueError, match="quant_min < quant_max"):
        FakeQuantize(MinMaxObserver, quant_min=0, quant_max=300)
    with pytest.raises(TypeError, match="expected an observer with a qscheme"):
        FakeQuantize(lambda is_dynamic: nn.Identity())


def test_not_finite_values_are_reported_by_name():
    fake_quantize = FakeQuantize(MinMaxObserver)
    fake_quantize.name = "conv1"
    with pytest.warns(UserWarning, match="conv1: 1 of 2 values"):
        y = fake_quantize(torch.tensor([1.0, float("nan")]))
    assert torch.equal(y, torch.tensor([1.0, 0.0]))


def test_state_dict_carries_channels_and_switches():
    source = default_per_channel_weight_fake_quant()
    source(torch.randn(3, 4))
    source.disable_observer()
    buffer = io.BytesIO()
    torch.save(source.state_dict(), buffer)
    buffer.seek(0)
    target = default_per_channel_weight_fake_quant()
    target.load_state_dict(torch.load(buffer, weights_only=True))
    weight = torch.randn(3, 4)
    assert torch.equal(target(weight), source(weight))
    assert torch.equal(target.calculate_qparams()[0], source.scale)
    assert set(source.state_dict()) == {
        "fake_quant_enabled",
        "observer_enabled",
        "scale",
        "zero_point",
        "activation_post_process.eps",
        "activation_post_process.min_val",
        "activation_post_process.max_val",
    }


def test_a_users_own():
    class Halves(FakeQuantizeBase):
        def forward(self, x):
            return torch.round(2 * x) / 2 if self.fake_quant_enabled else x

        def calculate_qparams(self):
            return torch.tensor([0.5]), torch.tensor([0])

    halves = Halves.with_args()()
    assert torch.equal(halves(torch.tensor([0.3])), torch.tensor([0.5]))
    halves.apply(qobserve.disable_fake_quant)
    assert torch.equal(halves(torch.tensor([0.3])), torch.tensor([0.3]))


@pytest.mark.slow
def test_compiled_gives_the_same():
    weight = torch.randn(3, 4)
    for factory in (default_fake_quant, default_per_channel_weight_fake_quant):
        eager, other = factory(), factory()
        compiled = torch.compile(other, backend="aot_eager")
        for scale in (1.0, 2.0):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's own
                assert torch.equal(compiled(scale * weight), eager(scale * weight))
        assert torch.equal(other.scale, eager.scale)


def test_per_channel_axis():
    fake_quantize = FakeQuantize(
        MovingAveragePerChannelMinMaxObserver,
        quant_min=-8,
        quant_max=7,
        dtype=qtensor.qint8,
        qscheme=qtensor.per_channel_symmetric,
        ch_axis=1,
    )
    x = torch.randn(5, 3)
    assert fake_quantize(x).shape == x.shape
    assert fake_quantize.qparams().axis == 1 and len(fake_quantize.scale) == 3


def test_the_channel_axis_is_that_of_the_observer():
    fake_quantize = default_per_channel_weight_fake_quant()
    fake_quantize.ch_axis = 1
    x = torch.randn(2, 3)
    fake_quantize(x)
    assert fake_quantize.activation_post_process.ch_axis == 1 and fake_quantize.scale.shape == (3,)
