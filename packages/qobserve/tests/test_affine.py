"""Scale and zero point, against their definition computed in float64 or exactly."""

from fractions import Fraction

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

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
AFFINE, SYMMETRIC = qtensor.per_tensor_affine, qtensor.per_tensor_symmetric
EPS = torch.finfo(torch.float32).eps

# dtype, scheme, quant_min, quant_max, zero point where the scheme fixes it
CHOICES = [
    (qtensor.quint8, AFFINE, 0, 255, None),
    (qtensor.quint8, AFFINE, 0, 127, None),
    (qtensor.quint8, AFFINE, 3 - 3, 1, None),
    (qtensor.qint8, AFFINE, -128, 127, None),
    (qtensor.qint8, AFFINE, -1, 6, None),
    (qtensor.quint8, SYMMETRIC, 0, 255, 127),
    (qtensor.quint8, SYMMETRIC, 0, 127, 63),
    (qtensor.qint8, SYMMETRIC, -128, 127, 0),
    (qtensor.qint8, SYMMETRIC, -127, 127, 0),
    (torch.int16, AFFINE, -32768, 32767, None),
    (torch.uint16, AFFINE, 0, 65535, None),
    (qtensor.qint32, SYMMETRIC, -(2**31), 2**31 - 1, 0),
]


def observed(observer, values):
    observer(torch.tensor(values, dtype=torch.float32))
    return observer


@given(st.lists(FLOATS, min_size=1, max_size=6), st.sampled_from(CHOICES))
def test_scale_and_zero_point_follow_their_definition(values, choice):
    dtype, qscheme, quant_min, quant_max, fixed = choice
    observer = observed(
        MinMaxObserver(dtype=dtype, qscheme=qscheme, quant_min=quant_min, quant_max=quant_max),
        values,
    )
    scale, zero_point = observer.calculate_qparams()
    low, high = Fraction(min(0.0, *values)), Fraction(max(0.0, *values))
    span = high - low if fixed is None else 2 * max(-low, high)
    # A span that float32 does not hold is cut to its largest number.
    span = min(span, Fraction(torch.finfo(torch.float32).max))
    wanted = max(span / (quant_max - quant_min), Fraction(EPS))
    assert scale.shape == zero_point.shape == (1,)
    assert scale.dtype == torch.float32
    assert zero_point.dtype == torch.int64
    assert scale.item() == pytest.approx(float(wanted), rel=1e-6)
    if fixed is not None:
        assert zero_point.item() == fixed
    else:
        wanted_zero_point = quant_min - low / Fraction(scale.item())
        wanted_zero_point = min(max(wanted_zero_point, quant_min), quant_max)
        # Half a step of rounding, and that of the quotient in float32.
        tolerance = Fraction(1, 2) + (quant_max - quant_min) * Fraction(1, 2**22)
        assert abs(zero_point.item() - wanted_zero_point) <= tolerance


@given(
    st.lists(FLOATS, min_size=1, max_size=8),
    st.sampled_from(CHOICES),
    st.sampled_from([MinMaxObserver, MovingAverageMinMaxObserver, HistogramObserver]),
)
def test_zero_is_exactly_representable(values, choice, kind):
    dtype, qscheme, quant_min, quant_max, _ = choice
    observer = observed(
        kind(dtype=dtype, qscheme=qscheme, quant_min=quant_min, quant_max=quant_max), values
    )
    scale, zero_point = observer.calculate_qparams()
    assert quant_min <= zero_point.item() <= quant_max
    assert 0 < scale.item() < float("inf")


@given(
    st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from([PerChannelMinMaxObserver, MovingAveragePerChannelMinMaxObserver]),
    st.sampled_from([qtensor.per_channel_affine, qtensor.per_channel_symmetric]),
    st.sampled_from([qtensor.quint8, qtensor.qint8]),
)
def test_zero_is_exactly_representable_in_every_channel(values, kind, qscheme, dtype):
    observer = observed(kind(dtype=dtype, qscheme=qscheme), values)
    scales, zero_points = observer.calculate_qparams()
    assert scales.shape == zero_points.shape == (len(values),)
    assert bool(((zero_points >= dtype.quant_min) & (zero_points <= dtype.quant_max)).all())
    assert bool((torch.isfinite(scales) & (scales > 0)).all())


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=6))
def test_each_channel_is_as_a_tensor_of_its_own(values):
    x = torch.tensor(values)[:, None] * torch.tensor([-1.0, 0.5])
    per_channel = PerChannelMinMaxObserver()
    per_channel(x)
    scales, zero_points = per_channel.calculate_qparams()
    for row, scale, zero_point in zip(x, scales, zero_points, strict=True):
        alone = MinMaxObserver()
        alone(row)
        assert [scale, zero_point] == [*alone.calculate_qparams()]


def test_embedding_tables_have_real_zero_points():
    observer = PerChannelMinMaxObserver(qscheme=qtensor.per_channel_affine_float_qparams)
    table = torch.tensor([[1.0, 3.0, 2.0], [-4.0, -4.0, -4.0]])
    observer(table)
    scales, zero_points = observer.calculate_qparams()
    torch.testing.assert_close(scales, torch.tensor([2.0 / 255, 1.0]))
    torch.testing.assert_close(zero_points, torch.tensor([-127.5, 4.0]))
    assert observer.qparams().qscheme == qtensor.per_channel_affine_float_qparams


@pytest.mark.parametrize(
    ("dtype", "whole", "half"),
    [
        (qtensor.quint8, (0, 255), (0, 127)),
        (qtensor.qint8, (-128, 127), (-64, 63)),
        (torch.int16, (-32768, 32767), (-32768, 32767)),
    ],
)
def test_the_integers_in_use(dtype, whole, half):
    observer = MinMaxObserver(dtype=dtype)
    assert (observer.quant_min, observer.quant_max) == whole
    observer = MinMaxObserver(dtype=dtype, reduce_range=True)
    assert (observer.quant_min, observer.quant_max) == half


def test_the_middle_of_all_unsigned_integers_is_128():
    observer = observed(MinMaxObserver(qscheme=SYMMETRIC), [-1.0])
    assert observer.qparams() == qtensor.QParams(observer.qparams().scale, 128)


def test_eps_is_the_smallest_scale():
    assert observed(MinMaxObserver(eps=2**-12), [1e-9]).qparams().scale == 2**-12


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_storage_dtypes_stand_for_quantized_ones(dtype):
    assert MinMaxObserver(dtype=dtype).dtype.storage == dtype


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"quant_min": 0}, ValueError, "quant_min and quant_max together, got 0 and None"),
        ({"quant_min": 0, "quant_max": 0}, ValueError, "got 0 … 0"),
        ({"quant_min": 5, "quant_max": 9}, ValueError, "with 0 between"),
        ({"quant_min": 0, "quant_max": 256}, ValueError, "within 0 … 255"),
        ({"quant_min": 0, "quant_max": 1, "reduce_range": True}, ValueError, "a single integer"),
        ({"eps": 0.0}, ValueError, "a positive eps"),
        ({"dtype": torch.float32}, TypeError, "float32"),
        ({"dtype": "int8"}, TypeError, "'int8'"),
        ({"qscheme": "affine"}, TypeError, "quantization scheme"),
        ({"qscheme": qtensor.per_channel_affine}, ValueError, "needs a per-tensor scheme"),
        ({"qscheme": SYMMETRIC, "reduce_range": True}, ValueError, "zero point 128"),
    ],
)
def test_impossible_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        MinMaxObserver(**arguments)


def test_a_range_that_is_none_is_rejected():
    observer = MinMaxObserver()
    observer.load_state_dict(
        {"min_val": torch.tensor(2.0), "max_val": torch.tensor(1.0), "eps": torch.tensor([1e-7])}
    )
    with pytest.raises(ValueError, match="min_val <= max_val"):
        observer.calculate_qparams()
