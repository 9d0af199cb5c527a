"""Run by torchrun: calibrates with a part of the data, synchronises and saves the statistics.

torchrun processes.py RESULT PARTITIONS; a partition lists the batches of each process by number.
"""

import json
import sys

import torch
import torch.distributed as dist
from torch import nn

from qobserve import (
    HistogramObserver,
    MinMaxObserver,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
    sync,
)


def model():
    observers = nn.Sequential(
        MinMaxObserver(),
        HistogramObserver(bins=300),
        PerChannelMinMaxObserver(ch_axis=1),
        HistogramObserver(),
        PlaceholderObserver(),
    )
    return nn.Sequential(observers, nn.Linear(4, 4))


def batches():
    generator = torch.Generator().manual_seed(3)
    scales = [0.1, 5.0, 1.0, 300.0, 0.0, 2.0]
    return [scale * torch.randn(50, 4, generator=generator) for scale in scales]


def calibrate(observed, data):
    for batch in data:
        for observer in observed[0]:
            observer(batch)


def statistics(observed):
    return [
        {**observer.state_dict(), "counts": (int(observer.count), int(observer.nonfinite_count))}
        for observer in observed[0][:4]
    ]


class Counting:
    """Counts the collectives."""

    def __init__(self):
        self.calls, self.all_reduce = 0, dist.all_reduce

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.all_reduce(*args, **kwargs)


def refused(error, observers, *words):
    try:
        sync(observers)
    except error as raised:
        assert all(word in str(raised) for word in words), raised
        return
    raise AssertionError(f"no {error.__name__}")


def main(result, partitions):
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    for number, parts in enumerate(partitions):
        observed, counting = model(), Counting()
        calibrate(observed, [batches()[i] for i in parts[rank]])
        dist.all_reduce = counting
        sync(observed)
        dist.all_reduce = counting.all_reduce
        assert counting.calls == 4
        torch.save(statistics(observed), f"{result}-{number}-{rank}")

    refused(RuntimeError, observed, "0.0 has been synchronised before")
    refused(RuntimeError, [MinMaxObserver() if rank else HistogramObserver()], "different")
    channels = PerChannelMinMaxObserver()
    channels(torch.ones(2 + rank, 3))
    refused(ValueError, [channels], "one process saw 3 channels, another 2")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
