"""Whatever parameters an observer chooses: zero stays zero, and the scale is what was asked for."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import qtensor
from qobserve import (
    EntropyObserver,
    FixedQParamsObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    MSEObserver,
    PercentileObserver,
    PerChannelMinMaxObserver,
)

PER_TENSOR = [
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    HistogramObserver,
    PercentileObserver,
    MSEObserver,
    EntropyObserver,
]
PER_CHANNEL = [PerChannelMinMaxObserver, MovingAveragePerChannelMinMaxObserver]
DTYPES = [qtensor.quint8, qtensor.qint8, qtensor.quint4x2, torch.int16, torch.uint16]
CASES = [
    (kind, scheme, dtype)
    for kinds, schemes in (
        (PER_TENSOR, (qtensor.per_tensor_affine, qtensor.per_tensor_symmetric)),
        (PER_CHANNEL, (qtensor.per_channel_affine, qtensor.per_channel_symmetric)),
    )
    for kind, scheme, dtype in itertools.product(kinds, schemes, DTYPES)
]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=4)


@settings(max_examples=4)
@given(rows=ROWS, power_of_two_scale=st.booleans())
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_zero_is_one_of_the_integers(case, rows, power_of_two_scale):
    kind, qscheme, dtype = case
    arguments = {"bins": 64} if issubclass(kind, HistogramObserver) else {}
    observer = kind(
        dtype=dtype, qscheme=qscheme, power_of_two_scale=power_of_two_scale, **arguments
    )
    for row in rows:
        observer(torch.tensor([row]).t())
    scale, zero_point = observer.calculate_qparams()
    assert bool((scale > 0).all() and scale.isfinite().all())
    assert zero_point.dtype == torch.int64
    assert bool(((observer.quant_min <= zero_point) & (zero_point <= observer.quant_max)).all())
    quantized = torch.round(torch.zeros_like(scale) / scale) + zero_point
    assert bool(((quantized - zero_point) * scale == 0).all())
    if power_of_two_scale:
        assert bool((torch.frexp(scale).mantissa == 0.5).all())


def test_fixed_parameters_must_hold_zero():
    with pytest.raises(ValueError, match="zero_point"):
        FixedQParamsObserver(0.1, 256)


@given(st.lists(FLOATS, min_size=1, max_size=5))
def test_a_power_of_two_is_the_next_one_above(values):
    plain, powers = MinMaxObserver(), MinMaxObserver(power_of_two_scale=True)
    for observer in (plain, powers):
        observer(torch.tensor(values))
    scale, found = plain.qparams().scale, powers.qparams().scale
    assert found / 2 < scale <= found
    assert math.frexp(found)[0] == 0.5


@pytest.mark.parametrize("qscheme", [qtensor.per_tensor_affine, qtensor.per_tensor_symmetric])
def test_the_histogram_finds_the_best_power_of_two(qscheme):
    torch.manual_seed(0)
    x = torch.distributions.StudentT(3.0).sample((20_000,))
    observer = HistogramObserver(
        dtype=torch.int8, qscheme=qscheme, power_of_two_scale=True, quant_min=-8, quant_max=7
    )
    observer(x)
    chosen = observer.qparams()

    def error(qparams):
        q = (torch.round(x / qparams.scale) + qparams.zero_point).clamp(-8, 7)
        return float((((q - qparams.zero_point) * qparams.scale - x) ** 2).mean())

    for factor, zero_point in itertools.product((0.25, 0.5, 1.0, 2.0, 4.0), range(-8, 8)):
        if qscheme == qtensor.per_tensor_affine or zero_point == 0:
            other = chosen.replace(scale=chosen.scale * factor, zero_point=zero_point)
            assert error(chosen) <= 1.01 * error(other)


def test_real_zero_points_have_no_powers_of_two():
    with pytest.raises(ValueError, match="powers of two"):
        PerChannelMinMaxObserver(
            qscheme=qtensor.per_channel_affine_float_qparams, power_of_two_scale=True
        )
