"""Calibration over two processes: as if one had seen everything."""

import itertools
import json
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn

from qobserve import (
    FixedQParamsObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    ObserverBase,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
    sync,
)

from . import processes

HALVES = [[0, 1, 2], [3, 4, 5]]
ALL_OR_NOTHING = [[5, 0, 3, 1, 4, 2], []]


def test_two_processes_are_as_one(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result, partitions = str(tmp_path / "result"), [HALVES, ALL_OR_NOTHING]
    run = subprocess.run(
        [*torchrun, processes.__file__, result, json.dumps(partitions)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    whole = processes.model()
    processes.calibrate(whole, processes.batches())
    for number, rank in itertools.product(range(len(partitions)), range(2)):
        shared = torch.load(f"{result}-{number}-{rank}")
        for found, wanted in zip(shared, processes.statistics(whole), strict=True):
            assert found.keys() == wanted.keys()
            assert found.pop("counts") == wanted.pop("counts")
            for name, statistic in found.items():
                assert torch.equal(statistic, wanted[name]), name


@pytest.fixture
def one_process(tmp_path):
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_without_processes():
    with pytest.raises(RuntimeError, match="init_process_group"):
        sync(processes.model())


def test_a_moving_average_has_no_sum(one_process):
    observer = MovingAverageMinMaxObserver()
    observer.name = "encoder"
    with pytest.raises(TypeError, match=r"encoder averages over batches, .* order"):
        sync(nn.Sequential(observer))


@pytest.mark.parametrize("copies", [1, 20])
def test_the_collectives_are_four_however_many_the_observers(one_process, monkeypatch, copies):
    calls = []
    all_reduce = dist.all_reduce
    monkeypatch.setattr(
        dist, "all_reduce", lambda *args: (calls.append(args), all_reduce(*args))[1]
    )
    kinds = MinMaxObserver, PerChannelMinMaxObserver, HistogramObserver
    observers = [kind() for _ in range(copies) for kind in kinds]
    for observer in observers:
        observer(torch.randn(4, 5))
    sync(nn.Sequential(*observers))
    assert len(calls) == 4


class Own(ObserverBase):
    synced = False

    def forward(self, x):
        return x

    def calculate_qparams(self):
        return torch.ones(1), torch.zeros(1)

    def sync(self, group):
        self.synced = True


def test_a_users_own_observer_takes_part(one_process):
    own = Own(torch.uint8)
    sync([own, MinMaxObserver()])
    assert own.synced


def test_statistics_that_nobody_would_combine_are_refused(one_process):
    class Largest(ObserverBase):
        def __init__(self):
            super().__init__(torch.uint8)
            self.register_buffer("largest", torch.zeros(()))

        forward = Own.forward
        calculate_qparams = Own.calculate_qparams

    with pytest.raises(TypeError, match=r"Largest \(0\), a Largest, keeps statistics .* sync"):
        sync([Largest()])
    sync([FixedQParamsObserver(0.5, 3), PlaceholderObserver(), MinMaxObserver()])
