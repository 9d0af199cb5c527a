"""Run by torchrun: trains with fake quantization under DDP and saves gradients and parameters.

torchrun training.py RESULT
"""

import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import qobserve
from qobserve.nn import qat as nnqat
from qobserve.nn.intrinsic import qat as nniqat
from qtensor.nn import intrinsic as nni

STEPS = 3
MAPPING = {nn.Linear: nnqat.Linear, nni.ConvBnReLU2d: nniqat.ConvBnReLU2d}


def model(frozen):
    """With frozen observers and statistics, two processes are to be as one."""
    torch.manual_seed(0)
    conv, bn, relu = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
    whole = nn.Sequential(
        qobserve.QuantStub(), nni.ConvBnReLU2d(conv, bn, relu), nn.Flatten(), nn.Linear(16, 3)
    )
    whole.qconfig = qobserve.get_default_qat_qconfig("x86")
    prepared = qobserve.prepare_qat(whole, MAPPING, allow_list={qobserve.QuantStub})
    prepared(data())  # every process begins with the ranges of all the data
    if frozen:
        prepared.apply(qobserve.disable_observer)
        prepared.apply(nniqat.freeze_bn_stats)
    return prepared


def data():
    return torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def train(trained, batch):
    optimizer = torch.optim.SGD(trained.parameters(), 0.1)
    for _ in range(STEPS):
        loss = (trained(batch) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main(result):
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    for frozen in (True, False):
        prepared = model(frozen)
        train(DistributedDataParallel(prepared), data().chunk(2)[rank])
        gradients = [parameter.grad for parameter in prepared.parameters()]
        torch.save((gradients, prepared.state_dict()), f"{result}-{frozen}-{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
