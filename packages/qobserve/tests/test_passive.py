"""Observers that keep no statistics, and a user's own."""

import pickle

import pytest
import torch

import qtensor
from qobserve import (
    FixedQParamsObserver,
    MinMaxObserver,
    NoopObserver,
    ObserverBase,
    PlaceholderObserver,
    RecordingObserver,
    ReuseInputObserver,
    default_affine_fixed_qparams_observer,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_observer,
    default_symmetric_fixed_qparams_observer,
)


def test_fixed_parameters_stay():
    observer = FixedQParamsObserver(0.25, 3, quant_max=127)
    observer(torch.tensor([100.0]))
    assert observer.qparams() == qtensor.QParams(0.25, 3, qtensor.quint8, None, 0, 127)
    assert observer.has_seen_data
    loaded = FixedQParamsObserver(1.0, 0, quant_max=127)
    loaded.load_state_dict(observer.state_dict())
    assert loaded.qparams() == observer.qparams()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scale": 0.0}, ValueError, "positive, finite scale"),
        ({"scale": float("nan")}, ValueError, "positive, finite scale"),
        ({"zero_point": 256}, ValueError, "zero_point within 0 … 255, got 256"),
        ({"quant_max": 300}, ValueError, "0 … 300"),
        ({"dtype": torch.float16}, TypeError, "float16"),
        ({"qscheme": qtensor.per_channel_affine}, ValueError, "per-tensor"),
        ({"is_dynamic": True}, ValueError, "dynamic"),
    ],
)
def test_fixed_parameters_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        FixedQParamsObserver(**{"scale": 1.0, "zero_point": 0, **arguments})


def test_ranges_known_beforehand():
    assert default_fixed_qparams_range_0to1_observer().qparams() == qtensor.QParams(1 / 256, 0)
    assert default_fixed_qparams_range_neg1to1_observer().qparams() == qtensor.QParams(2 / 256, 128)
    assert default_affine_fixed_qparams_observer is default_fixed_qparams_range_0to1_observer
    assert default_symmetric_fixed_qparams_observer is default_fixed_qparams_range_neg1to1_observer


@pytest.mark.parametrize(
    "kind", [PlaceholderObserver, NoopObserver, ReuseInputObserver, RecordingObserver]
)
def test_passive_observers_have_no_parameters(kind):
    x = torch.randn(3)
    observer = kind()
    assert observer(x) is x
    with pytest.raises(RuntimeError, match=f"{kind.__name__} has no quantization parameters"):
        observer.calculate_qparams()


def test_a_placeholder_passes_on_what_it_was_given():
    observer = PlaceholderObserver(
        dtype=torch.int8,
        custom_op_name="op",
        quant_min=-5,
        quant_max=5,
        eps=0.5,
        qscheme=qtensor.per_channel_symmetric,
        is_dynamic=True,
    )
    assert (observer.dtype, observer.qscheme) == (qtensor.qint8, qtensor.per_channel_symmetric)
    assert (observer.quant_min, observer.quant_max, observer.eps) == (-5, 5, 0.5)
    assert (observer.custom_op, observer.is_dynamic) == ("op", True)
    assert PlaceholderObserver().dtype == torch.float32


def test_the_older_spelling_of_dynamic():
    with pytest.warns(FutureWarning, match="is_dynamic=True"):
        observer = PlaceholderObserver(dtype=torch.float32, compute_dtype=torch.uint8)
    assert observer.is_dynamic


def test_recording_keeps_copies():
    observer = RecordingObserver()
    x = torch.zeros(2)
    observer(x)
    x += 1
    observer(x)
    assert [value.tolist() for value in observer.get_tensor_value()] == [[0, 0], [1, 1]]


class Largest(ObserverBase):
    """What a user may write: no scheme, no range of integers, no native code."""

    def __init__(self, dtype=torch.int8, bound=1.0):
        super().__init__(dtype=dtype)
        self.bound = bound

    def forward(self, x):
        self.bound = max(self.bound, x.abs().max().item())
        return x

    def calculate_qparams(self):
        return torch.tensor([self.bound / 127]), torch.tensor([0])


def test_a_users_own_observer():
    observer = Largest.with_args(bound=2.0)()
    observer(torch.tensor([-254.0]))
    assert observer.qparams() == qtensor.QParams(2.0, 0, qtensor.qint8)
    assert observer.has_seen_data


def test_an_observer_must_say_what_it_does():
    class Nothing(ObserverBase):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing(dtype=torch.int8)


def test_parameters_of_what_is_not_quantized():
    with pytest.raises(TypeError, match="int16"):
        MinMaxObserver(dtype=torch.int16).qparams()


class TestFactories:
    def test_arguments_are_filled_in_and_may_be_overridden(self):
        narrow = MinMaxObserver.with_args(quant_min=0, quant_max=127)
        assert narrow().quant_max == 127
        assert narrow(quant_max=15).quant_max == 15
        assert narrow.with_args(quant_max=7)().quant_max == 7
        assert narrow() is not narrow()

    def test_callables_are_called_every_time(self):
        made = []
        factory = Largest.with_callable_args(bound=lambda: made.append(1) or len(made))
        assert (factory().bound, factory().bound) == (1, 2)
        assert factory(bound=9.0).bound == 9.0
        assert factory.with_args(bound=8.0)().bound == 8.0
        assert len(made) == 2

    def test_equality_is_by_constructor_and_arguments(self):
        one, two = (MinMaxObserver.with_args(eps=0.5) for _ in range(2))
        assert one == two
        assert hash(one) == hash(two)
        assert one != MinMaxObserver.with_args(eps=0.25)
        assert one != Largest.with_args(eps=0.5)
        assert one != "MinMaxObserver"

    def test_they_pickle_and_name_themselves(self):
        factory = MinMaxObserver.with_args(dtype=qtensor.qint8)
        assert pickle.loads(pickle.dumps(factory)) == factory
        assert repr(factory) == "MinMaxObserver(dtype=qtensor.qint8)"
