"""Percentile, MSE and entropy observers, each against its formula computed from the values."""

import numpy as np
import pytest
import torch

import qtensor
from qobserve import (
    EntropyObserver,
    HistogramObserver,
    MinMaxObserver,
    MSEObserver,
    PercentileObserver,
)

CLIPPING = [PercentileObserver, MSEObserver, EntropyObserver]
SYMMETRIC = {"dtype": torch.int8, "qscheme": qtensor.per_tensor_symmetric}


def heavy_tailed():
    return torch.distributions.StudentT(3.0).sample((20_000,))


def error(x, qparams, norm=2.0):
    x = x.double()
    q = (torch.round(x / qparams.scale) + qparams.zero_point).clamp(
        qparams.quant_min, qparams.quant_max
    )
    return ((q - qparams.zero_point) * qparams.scale - x).abs().pow(norm).mean().item()


def span(qparams):
    return qparams.scale * (qparams.quant_max - qparams.quant_min)


def seen(observer, *batches):
    for batch in batches:
        observer(batch)
    return observer


@pytest.mark.parametrize("percentile", [50.0, 99.0, 99.9, 100.0])
def test_a_percentile_leaves_out_that_share_at_both_ends(percentile):
    torch.manual_seed(0)
    x = heavy_tailed()
    found = seen(PercentileObserver(percentile, bins=2**16), x).qparams()
    ends = np.percentile(x.double().numpy(), [(100 - percentile) / 2, (100 + percentile) / 2])
    assert span(found) == pytest.approx(ends[1] - ends[0], rel=0.01)


@pytest.mark.parametrize("percentile", [90.0, 99.9, 100.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_symmetric_percentile_is_that_of_the_magnitudes(percentile, sign):
    torch.manual_seed(0)
    x = sign * heavy_tailed().abs()
    x = torch.cat([x, -0.1 * x])
    found = seen(PercentileObserver(percentile, bins=2**16, **SYMMETRIC), x).qparams()
    bound = np.percentile(x.double().abs().numpy(), percentile)
    assert span(found) == pytest.approx(2 * bound, rel=0.01)


@pytest.mark.parametrize("norm", [1.0, 2.0, 2.4, 4.0])
@pytest.mark.parametrize("arguments", [{"quant_min": 0, "quant_max": 15}, SYMMETRIC], ids=str)
def test_no_other_shrinking_has_a_smaller_error(norm, arguments):
    torch.manual_seed(0)
    x = heavy_tailed()
    least = error(x, seen(MSEObserver(norm, **arguments), x).qparams(), norm)
    for share in np.linspace(0.02, 1, 50):
        whole = seen(MinMaxObserver(**arguments), x.aminmax()[0] * share, x.aminmax()[1] * share)
        assert least <= 1.01 * error(x, whole.qparams(), norm)


def test_the_histogram_observer_is_never_clearly_worse_than_mse():
    torch.manual_seed(0)
    for x in (heavy_tailed(), torch.randn(20_000).relu(), torch.rand(20_000) + 3):
        for arguments in ({}, {"quant_min": 0, "quant_max": 15}, SYMMETRIC):
            ours = seen(HistogramObserver(**arguments), x).qparams()
            mse = seen(MSEObserver(**arguments), x).qparams()
            assert error(x, ours) <= 1.01 * error(x, mse)


def divergence(x, qparams, edges):
    """The cost in EntropyObserver's docstring, one bin at a time."""
    counts = np.histogram(x, edges)[0].astype(float)
    counts[(edges[:-1] <= 0) & (edges[1:] >= 0)] = 0
    middles = (edges[:-1] + edges[1:]) / 2
    q = np.round(middles / qparams.scale) + qparams.zero_point
    level = np.clip(q, qparams.quant_min, qparams.quant_max)
    low, high = (
        (bound - qparams.zero_point) * qparams.scale
        for bound in (qparams.quant_min - 0.5, qparams.quant_max + 0.5)
    )
    inside = np.flatnonzero((middles >= low) & (middles <= high))
    first, last = inside[0], inside[-1]
    p = counts[first : last + 1].copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[last + 1 :].sum()
    kept, level = counts[first : last + 1], level[first : last + 1]
    q = np.zeros_like(kept)
    for value in np.unique(level):
        here = (level == value) & (kept > 0)
        q[here] = kept[level == value].sum() / max(here.sum(), 1)
    chance = (np.sum(kept > 0) - len(np.unique(level[kept > 0]))) / (2 * p.sum())
    p, q = p / p.sum(), q / q.sum()
    terms = [a * np.log(a / max(b, 1e-12)) for a, b in zip(p, q, strict=True) if a > 0]
    return sum(terms) - chance


@pytest.mark.parametrize("arguments", [{"quant_min": 0, "quant_max": 15}, SYMMETRIC], ids=str)
def test_no_other_shrinking_loses_less_information(arguments):
    torch.manual_seed(0)
    x = heavy_tailed()
    observer = seen(EntropyObserver(bins=512, **arguments), x)
    edges, values = observer.density().edges.numpy(), x.double().numpy()
    least = divergence(values, observer.qparams(), edges)
    for share in np.linspace(0.1, 1, 10):
        other = seen(MinMaxObserver(**arguments), share * x.min(), share * x.max()).qparams()
        assert least <= divergence(values, other, edges) + 1e-3


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(
    "sample",
    [
        lambda: torch.randn(20_000),
        lambda: torch.randn(20_000).relu(),
        lambda: torch.rand(20_000),
        lambda: torch.distributions.StudentT(3.0).sample((20_000,)),
        lambda: torch.cat([torch.randn(10_000) - 6, 0.3 * torch.randn(10_000) + 3]),
        lambda: torch.cat([torch.randn(20_000), torch.tensor([40.0])]),
        lambda: torch.softmax(4 * torch.randn(2_000, 10), -1),
        lambda: torch.softmax(16 * torch.randn(400, 50), -1),
        lambda: torch.softmax(6 * torch.randn(10_000, 2), -1),
    ],
    ids=[
        *("normal", "relu", "uniform", "heavy tails", "bimodal", "outlier"),
        *("softmax", "saturated softmax", "softmax of two"),
    ],
)
def test_keeping_information_costs_no_accuracy_whatever_the_bits(sample, bits):
    torch.manual_seed(0)
    x, arguments = sample(), {"quant_min": 0, "quant_max": 2**bits - 1}
    whole = error(x, seen(MinMaxObserver(**arguments), x).qparams())
    assert error(x, seen(EntropyObserver(**arguments), x).qparams()) <= 1.01 * whole


@pytest.mark.parametrize("kind", CLIPPING)
@pytest.mark.parametrize("arguments", [{}, SYMMETRIC], ids=["affine", "symmetric"])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-30, -1e30])
def test_one_value_only(kind, arguments, value):
    x = torch.full((10,), value)
    found = seen(kind(**arguments), x).qparams()
    whole = seen(MinMaxObserver(**arguments), x).qparams()
    assert error(x, found) <= 1.001 * error(x, whole)


@pytest.mark.parametrize("kind", CLIPPING)
def test_merging_is_exact(kind):
    torch.manual_seed(0)
    x = torch.randn(4, 1000) * torch.tensor([[1.0], [5.0], [0.1], [20.0]])
    first, second = seen(kind(), *x[:1]), seen(kind(), *x[1:])
    second.merge(first)
    assert second.qparams() == seen(kind(), *x).qparams()


def test_bad_arguments():
    for percentile in (0.0, 101.0, float("nan")):
        with pytest.raises(ValueError, match="percentile"):
            PercentileObserver(percentile)
    with pytest.raises(ValueError, match="norm"):
        MSEObserver(norm=0.0)
