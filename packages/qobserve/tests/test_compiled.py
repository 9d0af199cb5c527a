"""Observers under torch.compile: the same statistics."""

import pytest
import torch

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
NAN = float("nan")


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()


def batches():
    torch.manual_seed(0)
    return [scale * torch.randn(4, 6) for scale in (1.0, 3.0, 0.1, 7.0, 2.0, 9.0)]


def assert_same(observer, wanted):
    for name, value in wanted.named_buffers():
        assert torch.equal(observer.get_buffer(name), value), name


@pytest.mark.parametrize("kind", RANGES)
def test_ranges_compile_to_one_graph(kind):
    observer, wanted = kind(), kind()
    for x in batches()[:1]:  # which says how many channels there are
        observer(x)
        wanted(x)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compiled = torch.compile(observer, fullgraph=True, backend="eager", dynamic=False)
    for x in batches()[1:]:
        assert torch.equal(compiled(x), x)
        wanted(x)
    assert_same(observer, wanted)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1


@pytest.mark.parametrize("kind", [HistogramObserver, *RANGES])
def test_compiled_from_the_first_batch(kind):
    observer, wanted = kind(), kind()
    compiled = torch.compile(observer, backend="eager")
    for x in batches():
        compiled(x)
        wanted(x)
    assert_same(observer, wanted)


def test_a_compiled_observer_reports_nan_when_asked_for_parameters():
    observer = MinMaxObserver()
    compiled = torch.compile(observer, fullgraph=True, backend="eager")
    compiled(torch.tensor([1.0, NAN]))
    assert (observer.count, observer.nonfinite_count) == (1, 1)
    with pytest.warns(UserWarning, match="1 of 2 values"):
        observer.calculate_qparams()


def test_input_that_requires_grad_is_observed_without_history():
    x = torch.randn(3, 4, requires_grad=True)
    for kind in (HistogramObserver, *RANGES):
        observer = kind()
        observer(x).sum().backward()
        assert not observer.max_val.requires_grad
        assert observer.max_val.max() == x.max()
