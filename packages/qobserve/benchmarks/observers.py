"""Times observers, fake-quantize modules and a calibration beside torch's legacy ones.

python benchmarks/observers.py
"""

import argparse
import copy
import warnings
from collections.abc import Callable, Iterator

import torch
from _resnet import AddReLU, ConvNorm, resnet50
from torch import Tensor, nn

import qobserve
import qtensor._isa  # noqa: F401  # names the instruction set in the table's title
from quintet_testing.bench import Table, compare, threads

LEGACY = "legacy"
SHAPES = (16, 256, 56, 56), (8, 16)  # bound by memory, and by what a call costs

Call = Callable[[], object]
OBSERVERS = {
    "MinMax": ("MinMaxObserver", {}),
    "MinMax, per channel": ("PerChannelMinMaxObserver", {"ch_axis": 1}),
    "moving average": ("MovingAverageMinMaxObserver", {}),
    "moving average, per channel": ("MovingAveragePerChannelMinMaxObserver", {"ch_axis": 1}),
    "histogram": ("HistogramObserver", {}),
}
FAKE_QUANTIZE = {
    "fake quantize": "default_fake_quant",
    "fake quantize, per channel": "default_per_channel_weight_fake_quant",
    "fused fake quantize": "default_fused_act_fake_quant",
    "fused fake quantize, per channel": "default_fused_per_channel_wt_fake_quant",
}


def observers(legacy, x: Tensor) -> Iterator[tuple[str, Call, Call]]:
    """Name, ours, legacy; after a first batch, as in the middle of a calibration."""
    for label, (name, arguments) in OBSERVERS.items():
        ours, theirs = (getattr(module, name)(**arguments) for module in (qobserve, legacy))
        yield label, lambda ours=ours: ours(x), lambda theirs=theirs: theirs(x)


def fake_quantize(legacy, x: Tensor) -> Iterator[tuple[str, Call, Call]]:
    """The same, forward with its observer and backward alone."""
    grad = torch.randn_like(x)
    for label, name in FAKE_QUANTIZE.items():
        modules = [getattr(module, name)() for module in (qobserve, legacy)]
        yield f"{label}, forward", *(lambda module=module: module(x) for module in modules)
        leaf = x.detach().requires_grad_()
        outputs = [module(leaf) for module in modules]
        backward = [
            lambda y=y, leaf=leaf: torch.autograd.grad(y, leaf, grad, retain_graph=True)
            for y in outputs
        ]
        yield f"{label}, backward", *backward


def calibration(legacy, batch: int) -> tuple[str, dict[str, Call]]:
    """A forward pass of ResNet-50 in float, and with histogram observers behind every layer."""
    model = resnet50().eval()
    candidates = {"float": model}
    for name, observer in (
        ("ours", qobserve.HistogramObserver),
        (LEGACY, legacy.HistogramObserver),
    ):
        prepared = copy.deepcopy(model)
        prepared.qconfig = qobserve.QConfig(activation=observer, weight=None)
        allow_list = {qobserve.QuantStub, ConvNorm, AddReLU, nn.Linear}
        candidates[name] = qobserve.prepare(prepared, allow_list, inplace=True)
    x = torch.randn(batch, 3, 224, 224)

    def call(model: nn.Module) -> Call:
        return torch.no_grad()(lambda: model(x))

    return (
        f"calibrate ResNet-50, {batch} images",
        {name: call(model) for name, model in candidates.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--batch", type=int, default=4, help="images in the calibration")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the legacy stack warns that it is going away
    from torch.ao import quantization as legacy

    torch.manual_seed(0)
    table = Table("Observers and fake-quantize modules", peer=LEGACY)
    for count in arguments.threads:
        with threads(count):
            for shape in SHAPES:
                x, label = torch.randn(shape), "x".join(map(str, shape))
                for name, ours, theirs in (*observers(legacy, x), *fake_quantize(legacy, x)):
                    table.add(f"{name} {label}", compare({"ours": ours, LEGACY: theirs}))
            name, candidates = calibration(legacy, arguments.batch)
            timings = compare(candidates)
            over = timings["ours"] / timings["float"]
            table.add(name, timings, over_float=f"{over:.2f}")
    table.print()


if __name__ == "__main__":
    main()
