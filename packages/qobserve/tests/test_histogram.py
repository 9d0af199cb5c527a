"""The histogram: exact counts on a dyadic grid, and the range of least error."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import qtensor
from qobserve import HistogramObserver, MinMaxObserver
from qobserve._dyadic import DyadicBins

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
AFFINE, SYMMETRIC = qtensor.per_tensor_affine, qtensor.per_tensor_symmetric


def seen(*batches, **arguments):
    observer = HistogramObserver(**arguments)
    for batch in batches:
        observer(torch.as_tensor(batch, dtype=torch.float32))
    return observer


def assert_same(a, b):
    assert torch.equal(a.histogram, b.histogram)
    assert torch.equal(a.min_val, b.min_val)
    assert torch.equal(a.max_val, b.max_val)


def squared_error(x, qparams):
    """The mean squared error of quantizing ``x``, in float64."""
    x = x.double()
    q = torch.round(x / qparams.scale) + qparams.zero_point
    q = q.clamp(qparams.quant_min, qparams.quant_max)
    return (((q - qparams.zero_point) * qparams.scale - x) ** 2).mean().item()


@given(st.lists(FLOATS, min_size=1, max_size=20), st.sampled_from([2, 3, 16, 2048]))
def test_every_value_is_counted_in_its_bin(values, bins):
    observer = seen(values, bins=bins)
    grid = DyadicBins.covering(min(values), max(values), 4 * bins)
    counts = [0] * (4 * bins)
    for value in values:
        counts[math.floor(value / 2.0**grid.exponent) - grid.first] += 1
    assert observer.histogram.tolist() == counts
    assert observer.histogram.dtype == torch.int64


@given(FLOATS, FLOATS, st.sampled_from([2, 5, 2048]))
def test_the_grid_is_the_finest_that_covers(a, b, bins):
    low, high = min(a, b), max(a, b)
    exponent, first, used = DyadicBins.covering(low, high, bins)
    assert first * 2.0**exponent <= low
    assert high < (first + used) * 2.0**exponent
    assert 1 <= used <= bins
    finer = math.floor(high / 2.0 ** (exponent - 1)) - math.floor(low / 2.0 ** (exponent - 1)) + 1
    at_the_limit_of_float32 = math.frexp(max(-low, high))[1] - 24 >= exponent or exponent == -149
    assert finer > bins or at_the_limit_of_float32


@given(st.lists(FLOATS, min_size=1, max_size=24), st.randoms(use_true_random=False))
def test_order_and_batches_do_not_matter(values, random):
    whole = seen(values, bins=64, quant_min=0, quant_max=15)
    shuffled = random.sample(values, len(values))
    cut = random.randrange(len(values) + 1)
    assert_same(whole, seen(shuffled[:cut], shuffled[cut:], bins=64, quant_min=0, quant_max=15))


@given(st.lists(FLOATS, min_size=1, max_size=24), st.data())
def test_merging_is_exact(values, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), min_size=2, max_size=2)))
    parts = values[: cuts[0]], values[cuts[0] : cuts[1]], values[cuts[1] :]
    merged = HistogramObserver(bins=32, quant_min=0, quant_max=15)
    for part in data.draw(st.permutations(parts)):
        merged.merge(seen(part, bins=32, quant_min=0, quant_max=15))
    whole = seen(values, bins=32, quant_min=0, quant_max=15)
    assert_same(merged, whole)
    assert merged.count == whole.count


def test_counts_do_not_stick():
    observer = seen([0.0, 1.0])
    observer.histogram[0] = 2**40
    observer(torch.zeros(3))
    assert observer.histogram[0] == 2**40 + 3


def test_what_cannot_be_merged():
    with pytest.raises(ValueError, match="cannot merge 16 bins into 2048"):
        HistogramObserver().merge(HistogramObserver(bins=16))


def test_bad_arguments():
    with pytest.raises(ValueError, match="expected 2 … 1048576 bins, got 1"):
        HistogramObserver(bins=1)
    with pytest.raises(ValueError, match="per-tensor"):
        HistogramObserver(qscheme=qtensor.per_channel_affine)


SAMPLES = {
    "normal": lambda: torch.randn(4_000),
    "uniform": lambda: torch.rand(4_000) * 3 - 1,
    "one-sided": lambda: torch.randn(4_000).relu(),
    "far from zero": lambda: torch.randn(4_000) * 0.1 + 5,
    "heavy-tailed": lambda: torch.distributions.StudentT(2.5).sample((4_000,)),
    "bimodal": lambda: torch.cat([torch.randn(2_000) - 8, 0.2 * torch.randn(2_000) + 3]),
    "one outlier": lambda: torch.cat([torch.randn(4_000), torch.tensor([50.0])]),
    "constant": lambda: torch.full((100,), 3.0),
    "zero": lambda: torch.zeros(100),
    "tiny": lambda: torch.randn(1000) * 1e-30,
    "as small as eps": lambda: torch.randn(1000) * 1e-6,
    "huge": lambda: torch.randn(1000) * 1e37,
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"reduce_range": True},
        {"dtype": qtensor.qint8, "qscheme": SYMMETRIC},
        {"quant_min": 0, "quant_max": 15},
    ],
    ids=["quint8", "0…127", "symmetric", "0…15"],
)
def test_no_grid_around_the_chosen_one_is_clearly_better(name, arguments):
    torch.manual_seed(0)
    x = SAMPLES[name]()
    observer = HistogramObserver(**arguments)
    observer(x)
    chosen = observer.qparams()
    best = squared_error(x, chosen)
    whole = MinMaxObserver(**arguments)
    whole(x)
    assert best <= 1.01 * squared_error(x, whole.qparams())
    for factor in torch.linspace(0.25, 2, 15).tolist():
        zero_points = [chosen.zero_point]
        if observer.qscheme == AFFINE:
            zero_points = range(
                max(chosen.quant_min, chosen.zero_point - 3),
                min(chosen.quant_max, chosen.zero_point + 3) + 1,
            )
        for zero_point in zero_points:
            scale = max(chosen.scale * factor, observer.eps.item())
            other = chosen.replace(scale=scale, zero_point=zero_point)
            assert best <= 1.02 * squared_error(x, other) + 1e-300


def test_more_integers_than_bins_keep_the_whole_range():
    observer = seen([-1.0, 5.0], bins=100)
    whole = MinMaxObserver()
    whole(torch.tensor([-1.0, 5.0]))
    assert observer.qparams() == whole.qparams()


def test_a_large_tensor_is_counted_in_pieces():
    x = torch.randn(3, 70_001).t()
    observer = seen(x)
    assert observer.histogram.sum() == x.numel()
    in_parts = seen(*x.split(10_000))
    assert_same(observer, in_parts)
    assert observer.qparams() == in_parts.qparams()
