"""What the observers of ranges keep of what they see."""

import copy
import itertools
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import qtensor
from qobserve import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
)

RANGES = [
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
]
RUNNING = [*RANGES, HistogramObserver]
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("kind", RUNNING)
def test_input_passes_through(kind):
    x = torch.randn(2, 3, 4)
    kept = x.clone()
    assert kind()(x) is x
    assert torch.equal(x, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "channels_last", "strided"])
def test_the_range_is_that_of_all_batches(dtype, layout):
    batches = [torch.randn(2, 4, 3, 6).mul(7).to(dtype) for _ in range(3)]
    batches = [
        {
            "contiguous": lambda x: x,
            "transposed": lambda x: x.transpose(1, 3),
            "channels_last": lambda x: x.to(memory_format=torch.channels_last),
            "strided": lambda x: x[..., ::2],
        }[layout](x)
        for x in batches
    ]
    tensor, channel = MinMaxObserver(), PerChannelMinMaxObserver(ch_axis=1)
    for x in batches:
        tensor(x)
        channel(x)
    everything = torch.cat(batches).float()
    assert tensor.min_val == everything.min()
    assert tensor.max_val == everything.max()
    assert torch.equal(channel.min_val, everything.amin((0, 2, 3)))
    assert torch.equal(channel.max_val, everything.amax((0, 2, 3)))
    assert tensor.count == channel.count == everything.numel()


@pytest.mark.parametrize("axis", range(-3, 3))
def test_any_axis_may_hold_the_channels(axis):
    x = torch.randn(2, 3, 4)
    observer = PerChannelMinMaxObserver(ch_axis=axis)
    observer(x)
    others = [dim for dim in range(3) if dim != axis % 3]
    assert torch.equal(observer.min_val, x.amin(others))


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=8))
def test_a_moving_average_follows_its_recurrence(values):
    observer = MovingAverageMinMaxObserver(averaging_constant=0.25)
    for value in values:
        observer(torch.tensor([value, value / 2]))
    low, high = min(values[0], values[0] / 2), max(values[0], values[0] / 2)
    for value in values[1:]:
        low += 0.25 * (min(value, value / 2) - low)
        high += 0.25 * (max(value, value / 2) - high)
    tolerance = 1e-5 * max(map(abs, values)) + 1e-40
    assert observer.min_val.item() == pytest.approx(low, abs=tolerance)
    assert observer.max_val.item() == pytest.approx(high, abs=tolerance)


def test_a_moving_average_per_channel():
    observer = MovingAveragePerChannelMinMaxObserver(averaging_constant=0.5)
    observer(torch.tensor([[0.0, 2.0], [-1.0, 0.0]]))
    observer(torch.tensor([[1.0, 4.0], [-5.0, -4.0]]))
    assert observer.min_val.tolist() == [0.5, -3.0]
    assert observer.max_val.tolist() == [3.0, -2.0]


@pytest.mark.parametrize("kind", RUNNING)
def test_empty_batches_change_nothing(kind):
    observer = kind()
    observer(torch.empty(0, 3))
    assert not observer.has_seen_data
    assert observer.count == 0


@pytest.mark.parametrize("kind", RUNNING)
def test_unseen_observers_say_so(kind):
    observer = kind()
    assert not observer.has_seen_data
    assert [value.tolist() for value in observer.calculate_qparams()] == [[1.0], [0]]
    observer(torch.ones(2, 2))
    assert observer.has_seen_data
    observer.reset()
    assert not observer.has_seen_data
    assert observer.count == 0
    observer(torch.full((3, 2), 5.0))  # another number of channels
    assert observer.max_val.max() == 5.0


@pytest.mark.parametrize("kind", RUNNING)
def test_nan_and_infinity_are_left_out_and_reported_once(kind):
    clean = torch.tensor([[-1.0, 2.0, 0.5], [3.0, 4.0, 3.5]])
    dirty = torch.tensor([[-1.0, NAN, 2.0, 0.5], [INF, 3.0, 4.0, 3.5]])
    observer, expected = kind(), kind()
    observer.name = "encoder.layer.3"
    with pytest.warns(UserWarning, match=r"encoder\.layer\.3: 2 of 8 values .* NaN or infinite"):
        observer(dirty)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        observer(torch.tensor([[-INF] * 4] * 2))
    expected(clean)
    assert torch.equal(observer.min_val, expected.min_val)
    assert torch.equal(observer.max_val, expected.max_val)
    assert observer.qparams() == expected.qparams()
    assert (observer.count, observer.nonfinite_count) == (6, 10)


@pytest.mark.parametrize("kind", RUNNING)
def test_nothing_but_nan_is_nothing_seen(kind):
    observer = kind()
    with pytest.warns(UserWarning, match=f"{kind.__name__}: 2 of 2 values"):
        observer(torch.tensor([[NAN, NAN]]))
    assert not observer.has_seen_data


def test_what_float32_cannot_hold_counts_as_infinite():
    observer = MinMaxObserver()
    with pytest.warns(UserWarning, match="1 of 2 values"):
        observer(torch.tensor([1e300, 1.0], dtype=torch.float64))
    assert observer.max_val == 1.0


def test_a_channel_without_values_has_the_parameters_of_an_observer_without():
    observer = PerChannelMinMaxObserver()
    with pytest.warns(UserWarning, match="NaN"):
        observer(torch.tensor([[NAN], [2.55]]))
    scales, zero_points = observer.calculate_qparams()
    assert (scales[0], zero_points[0]) == (1, 0)
    assert scales[1] == pytest.approx(0.01)


@given(st.lists(st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=2), max_size=6))
def test_merging_is_as_seeing_everything(rows):
    for kind, division in itertools.product(
        [MinMaxObserver, PerChannelMinMaxObserver], range(len(rows) + 1)
    ):
        whole, first, second = (
            kind(**({"ch_axis": 1} if "Per" in kind.__name__ else {})) for _ in range(3)
        )
        for index, row in enumerate(rows):
            whole(torch.tensor([row]))
            (first if index < division else second)(torch.tensor([row]))
        first.merge(second)
        assert torch.equal(first.min_val, whole.min_val)
        assert torch.equal(first.max_val, whole.max_val)
        assert first.count == whole.count


def test_what_cannot_be_merged():
    with pytest.raises(TypeError, match="cannot merge HistogramObserver into MinMaxObserver"):
        MinMaxObserver().merge(HistogramObserver())
    with pytest.raises(TypeError, match="depends on their order"):
        MovingAverageMinMaxObserver().merge(MovingAverageMinMaxObserver())
    two, three = PerChannelMinMaxObserver(), PerChannelMinMaxObserver()
    two(torch.ones(2, 1))
    three(torch.ones(3, 1))
    with pytest.raises(ValueError, match="expected 2 channels along axis 0, as before, got 3"):
        two.merge(three)


def test_channels_that_do_not_fit():
    observer = PerChannelMinMaxObserver(ch_axis=1)
    observer.name = "conv"
    with pytest.raises(ValueError, match=r"conv: no channel axis 1 in shape \(3,\)"):
        observer(torch.ones(3))
    observer(torch.ones(1, 3))
    with pytest.raises(ValueError, match="conv: expected 3 channels"):
        observer(torch.ones(1, 4))


@pytest.mark.parametrize(
    "kind", [MovingAverageMinMaxObserver, HistogramObserver, PerChannelMinMaxObserver]
)
def test_dynamic_where_it_makes_no_sense(kind):
    with pytest.raises(ValueError, match="dynamic"):
        kind(is_dynamic=True)


@pytest.mark.parametrize("kind", RUNNING)
def test_state_dicts_round_trip(kind):
    observer, loaded = kind(), kind()
    observer(torch.randn(3, 5))
    loaded.load_state_dict(observer.state_dict())
    assert loaded.has_seen_data
    assert loaded.qparams() == observer.qparams()
    loaded.load_state_dict(kind().state_dict())
    assert not loaded.has_seen_data


@pytest.mark.parametrize("kind", RANGES)
def test_the_oldest_state_dicts_load(kind):
    observer = kind()
    plural = "s" if "PerChannel" in kind.__name__ else ""
    empty = {f"min_val{plural}": torch.tensor([]), f"max_val{plural}": torch.tensor([])}
    observer.load_state_dict(empty)
    assert not observer.has_seen_data
    seen = torch.tensor([1.0, 2.0] if plural else 1.0)
    observer.load_state_dict({name: seen for name in empty})
    assert torch.equal(observer.max_val, seen)


@pytest.mark.parametrize("kind", RUNNING)
def test_copies_are_independent(kind):
    observer = kind()
    observer(torch.ones(2, 2))
    other = copy.deepcopy(observer)
    other(torch.full((2, 2), 9.0))
    assert observer.max_val.max() == 1.0


@pytest.mark.parametrize("kind", RUNNING)
def test_calibration_under_inference_mode(kind):
    observer = kind()
    with torch.inference_mode():
        observer(torch.randn(3, 4))
    observer(torch.randn(3, 4))
    assert observer.has_seen_data


def test_parameters_as_one_object():
    observer = PerChannelMinMaxObserver(
        ch_axis=1,
        dtype=torch.int8,
        qscheme=qtensor.per_channel_symmetric,
        quant_min=-127,
        quant_max=127,
    )
    observer(torch.tensor([[127.0, -254.0]]))
    qparams = observer.qparams()
    assert qparams.axis == 1
    assert qparams.scale.tolist() == [1.0, 2.0]
    assert (qparams.dtype, qparams.quant_min) == (qtensor.qint8, -127)
