"""What the benchmarks share: kaiming-normal weights, and torch's own quantized tensors."""

import argparse
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

import qtensor._isa  # noqa: F401  # names the instruction set in the table's title

AMAX = (127, 255)
"""The largest activation. At 255 fbgemm's 16-bit sums may saturate: fast, but not right."""


def kaiming_weight(*shape: int) -> tuple[Tensor, Tensor]:
    """A kaiming-normal weight, quantized symmetrically per channel: integers and scales."""
    weight = torch.empty(*shape)
    torch.nn.init.kaiming_normal_(weight)
    scales = weight.flatten(1).abs().amax(1) / 127
    integers = (weight / scales.view(-1, *[1] * (len(shape) - 1))).round()
    return integers.to(torch.int8), scales


def peer_weight(integers: Tensor, scales: Tensor) -> Tensor:
    """The same weight as a tensor of torch's own quantized type."""
    zero_points = torch.zeros(len(scales), dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(integers, scales.double(), zero_points, 0)


def peer_input(integers: Tensor, scale: float, zero_point: int) -> Tensor:
    """The same activations as a tensor of torch's own quantized type."""
    return torch._make_per_tensor_quantized_tensor(integers, scale, zero_point)


def thread_counts(description: str) -> Iterable[int]:
    """Reads the command line and sets torch up; returns the numbers of threads to measure with."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    counts: list[int] = parser.parse_args().threads
    warnings.simplefilter("ignore")  # torch announces that its quantized types will go
    torch.backends.quantized.engine = "fbgemm"
    torch.manual_seed(0)
    return counts
