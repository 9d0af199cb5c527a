"""Running ranges and the parameters that follow, against NumPy, with and without the kernels."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops.running_range import _affine_parameters_reference, _observe_range_reference
from qtensor.statistics import (
    RangeRule,
    RangeScheme,
    affine_parameters,
    follow_range,
    observe_range,
)

NAN, INF = float("nan"), float("inf")
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def unseen(channels):
    return torch.full((channels,), INF), torch.full((channels,), -INF)


def batches(channels, axis):
    random = np.random.default_rng(channels)
    for step in range(4):
        shape = [3, 4]
        shape.insert(axis, channels)
        values = random.standard_normal(shape) * 10.0**step
        values[random.random(shape) < 0.1] = random.choice([NAN, INF, -INF])
        values[(slice(None),) * axis + (step % channels,)] = NAN  # a channel without news
        yield torch.as_tensor(values, dtype=torch.float32)


@pytest.mark.parametrize("constant", [None, 0.01, 1.0])
@pytest.mark.parametrize(("channels", "axis"), [(1, 0), (5, 1), (40, 2)])
def test_each_channel_follows_the_finite_values_of_its_batches(channels, axis, constant):
    low, high = unseen(channels)
    plain = unseen(channels)
    wanted = [[INF, -INF] for _ in range(channels)]
    for x in batches(channels, axis):
        dropped = observe_range(x, axis, low, high, constant)
        assert dropped == (~np.isfinite(x.numpy())).sum()
        assert dropped == _observe_range_reference(x, axis, *plain, constant)
        for channel, bounds in enumerate(wanted):
            values = x.select(axis, channel).numpy()
            values = values[np.isfinite(values)]
            if not values.size:
                continue
            for i, new in enumerate((values.min(), values.max())):
                if np.isinf(bounds[i]):
                    bounds[i] = new
                elif constant is None:
                    bounds[i] = (min, max)[i](bounds[i], new)
                else:
                    bounds[i] = bounds[i] + np.float32(constant) * (new - bounds[i])
        assert torch.stack([low, high], 1).tolist() == [[float(b) for b in w] for w in wanted]
        assert torch.equal(low, plain[0])
        assert torch.equal(high, plain[1])


def test_one_range_in_all():
    low, high = torch.tensor(INF), torch.tensor(-INF)
    assert observe_range(torch.tensor([[3.0, NAN], [-1.0, 2.0]]), None, low, high) == 1
    assert (low.item(), high.item()) == (-1.0, 3.0)
    assert observe_range(torch.full((3,), NAN), None, low, high, 0.5) == 3
    assert (low.item(), high.item()) == (-1.0, 3.0)


RULES = [
    RangeRule(RangeScheme.AFFINE, 0, 255),
    RangeRule(RangeScheme.AFFINE, -8, 7),
    RangeRule(RangeScheme.AFFINE, -(2**31), 2**31 - 1),
    RangeRule(RangeScheme.SYMMETRIC, -127, 127, eps=2.0**-12),
    RangeRule(RangeScheme.SYMMETRIC, 0, 255, zero_point=128),
    RangeRule(RangeScheme.AFFINE, 0, 127, power_of_two=True),
    RangeRule(RangeScheme.SYMMETRIC, -4, 3, power_of_two=True),
    RangeRule(RangeScheme.REAL_ZERO_POINTS, 0, 15),
]


@given(
    st.lists(st.tuples(FLOATS, FLOATS).map(sorted), min_size=1, max_size=9),
    st.sampled_from(RULES),
    st.sampled_from([torch.int64, torch.int32]),
)
def test_parameters_follow_their_formulas(ranges, rule, integers):
    low, high = torch.tensor(ranges).unbind(1)
    low, high = torch.cat([low, torch.tensor([INF])]), torch.cat([high, torch.tensor([-INF])])
    real = rule.scheme == RangeScheme.REAL_ZERO_POINTS
    out = torch.zeros(len(low)), torch.zeros(len(low), dtype=torch.float32 if real else integers)
    scale, zero_point = affine_parameters(low, high, rule, out)
    plain = torch.zeros_like(scale), torch.zeros_like(zero_point)
    _affine_parameters_reference(low, high, rule, *plain)
    assert torch.equal(scale, plain[0])
    assert torch.equal(zero_point, plain[1])
    assert (scale[-1].item(), zero_point[-1].item()) == (1, 0)  # nothing seen
    if real:
        return
    assert bool(((rule.quant_min <= zero_point) & (zero_point <= rule.quant_max)).all())
    for (below, above), s in zip(ranges, scale.tolist(), strict=False):
        below, above = Fraction(min(below, 0.0)), Fraction(max(above, 0.0))
        span = 2 * max(-below, above) if rule.scheme == RangeScheme.SYMMETRIC else above - below
        span = min(span, Fraction(torch.finfo(torch.float32).max))
        wanted = max(float(span / (rule.quant_max - rule.quant_min)), rule.eps)
        if rule.power_of_two:
            assert np.frexp(s)[0] == 0.5
            assert wanted * (1 - 1e-6) <= s < 2 * wanted * (1 + 1e-6)
        else:
            assert s == pytest.approx(wanted, rel=1e-6)


def test_without_out_the_results_are_new():
    scale, zero_point = affine_parameters(torch.tensor(-1.0), torch.tensor(2.0), RULES[1])
    assert (scale.shape, zero_point.dtype) == ((1,), torch.int64)
    wide = affine_parameters(torch.tensor([-1.0]).double(), torch.tensor([2.0]).double(), RULES[1])
    assert wide[0].dtype == torch.float64


def test_autograd_hears_of_the_writes():
    low, high = unseen(1)
    before = low._version
    observe_range(torch.ones(3), None, low, high)
    assert low._version > before


def test_bad_input():
    low, high = unseen(2)
    with pytest.raises(TypeError, match="float dtype"):
        observe_range(torch.ones(3, dtype=torch.int32), None, low, high)
    with pytest.raises(ValueError, match="an axis of x"):
        observe_range(torch.ones(3), 1, low, high)
    with pytest.raises(ValueError, match=r"bounds of 1 value\(s\)"):
        observe_range(torch.ones(3), None, low, high)
    with pytest.raises(ValueError, match="min_val <= max_val"):
        affine_parameters(torch.ones(2), torch.zeros(2), RULES[0])
    with pytest.raises(ValueError, match="min_val <= max_val"):
        affine_parameters(torch.tensor([NAN]), torch.zeros(1), RULES[0])


@pytest.mark.parametrize("constant", [None, 0.25])
@pytest.mark.parametrize("layout", ["contiguous", "strided", "double"])
@pytest.mark.parametrize(("channels", "axis"), [(1, None), (5, 1), (5, -2)])
def test_following_at_once_is_observing_and_then_choosing(channels, axis, layout, constant):
    rule = RangeRule(RangeScheme.AFFINE, -8, 7, eps=2**-12)
    low, high = unseen(channels)
    seen, count = unseen(channels), torch.tensor(0)
    out = torch.empty(channels), torch.empty(channels, dtype=torch.int32)
    for batch in batches(5, 1):
        x = {
            "contiguous": lambda x: x,
            "strided": lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
            "double": lambda x: x.double(),
        }[layout](batch)
        dropped = follow_range(x, axis, low, high, constant, rule, out, count)
        assert dropped == observe_range(x, axis, *seen, constant)
        assert torch.equal(low, seen[0]) and torch.equal(high, seen[1])
        scale, zero_point = affine_parameters(*seen, rule)
        assert torch.equal(out[0], scale) and torch.equal(out[1].long(), zero_point)
    assert count == sum(int(x.isfinite().sum()) for x in batches(5, 1))
    assert out[0]._version > 0


def test_following_refuses_what_its_parts_refuse():
    rule, count = RangeRule(RangeScheme.AFFINE, 0, 15), torch.tensor(0)
    out = torch.ones(1), torch.zeros(1, dtype=torch.int32)
    x = torch.tensor([1.0, NAN])
    with pytest.raises(ValueError, match="min_val <= max_val"):
        follow_range(x, None, torch.tensor(NAN), torch.tensor(NAN), None, rule, out, count)
    with pytest.raises(TypeError, match="float dtype"):
        follow_range(x.long(), None, *unseen(1), None, rule, out, count)
    with pytest.raises(ValueError, match="an axis of x"):
        follow_range(x, 1, *unseen(1), None, rule, out, count)
    with pytest.raises(ValueError, match=r"bounds of 2 value"):
        follow_range(x, 0, *unseen(1), None, rule, out, count)


def test_parameters_of_ranges_that_do_not_fit_together():
    rule = RangeRule(RangeScheme.AFFINE, 0, 15)
    with pytest.raises(ValueError, match=r"min_val of shape \(4,\), max_val of \(3,\)"):
        affine_parameters(torch.zeros(4), torch.ones(3), rule)
    with pytest.raises(ValueError, match=r"\(1,\) and \(2,\) to write into"):
        affine_parameters(torch.zeros(2), torch.ones(2), rule, (torch.ones(1), torch.ones(2)))
