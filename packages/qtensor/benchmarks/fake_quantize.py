"""Times fake quantization, forward and backward, beside torch's own.

python benchmarks/fake_quantize.py
"""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

import qtensor
from quintet_testing.bench import Table, compare, threads

LEGACY = "legacy"
SHAPES = [(16, 256, 56, 56), (1, 64, 56, 56), (256, 256, 3, 3), (2, 4)]

Calls = tuple[str, Callable[[], object], Callable[[], object]]


def _backward(function: Callable[..., Tensor], *args: object) -> Callable[[], object]:
    y = function(*args)
    inputs = [x for x in args if isinstance(x, Tensor) and x.requires_grad]
    grad = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, inputs, grad, retain_graph=True)


def _state(channels: int) -> tuple[Tensor, ...]:
    infinity = torch.full((channels,), float("inf"))
    return infinity, -infinity, torch.ones(channels), torch.zeros(channels, dtype=torch.int32)


def calls(shape: tuple[int, ...]) -> Iterator[Calls]:
    """Name, ours, torch's; channels along axis 0, the only one legacy observes them along."""
    x = torch.randn(shape)
    scale, zero = torch.tensor([0.03]), torch.tensor([128], dtype=torch.int32)
    channels = shape[0]
    scales, zeros = torch.rand(channels) * 0.03 + 0.01, zero.expand(channels).contiguous()
    on = torch.tensor([1])
    leaf, step = x.clone().requires_grad_(), scale.clone().requires_grad_()
    offset = zero.float().requires_grad_()

    for name, ours, legacy, args in (
        (
            "per tensor",
            qtensor.fake_quantize_per_tensor_affine,
            torch.fake_quantize_per_tensor_affine,
            (scale, zero, 0, 255),
        ),
        (
            "per channel",
            qtensor.fake_quantize_per_channel_affine,
            torch.fake_quantize_per_channel_affine,
            (scales, zeros, 0, 0, 255),
        ),
        (
            "learnable",
            qtensor.fake_quantize_learnable_per_tensor_affine,
            torch._fake_quantize_learnable_per_tensor_affine,
            (step, offset, 0, 255, 1.0),
        ),
    ):
        functions = ours, legacy
        yield f"{name}, forward", *(partial(f, x, *args) for f in functions)
        yield f"{name}, backward", *(_backward(f, leaf, *args) for f in functions)
    for name, size, per_channel in (("per tensor", 1, False), ("per channel", channels, True)):
        rule = 0.01, 0, 255, 0, per_channel, False
        functions = qtensor.fused_moving_avg_obs_fake_quant, torch.fused_moving_avg_obs_fake_quant
        yield f"fused, {name}", *(partial(f, x, on, on, *_state(size), *rule) for f in functions)


def main() -> None:
    warnings.simplefilter("ignore")  # the legacy stack warns that it is going away
    table = Table("Fake quantize, float32", peer=LEGACY)
    for count in (1, 2):
        with threads(count):
            for shape in SHAPES:
                label = "x".join(map(str, shape))
                for name, ours, legacy in calls(shape):
                    timings = compare({"ours": ours, LEGACY: legacy}, seconds=0.1)
                    table.add(f"{name} {label}", timings)
    table.print()


if __name__ == "__main__":
    main()
