"""Handwritten digits: how much of what quantization loses is trained back.

    python packages/qflow/tests/end_to_end/digits_training.py

Five models, each trained on four fifths of scikit-learn's 1 797 images and tested on the rest, are
quantized after training with every observer, and trained for quantization from three seeds.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

import qflow
import qobserve
from qobserve.nn.intrinsic.qat import freeze_bn_stats
from qtensor import per_tensor_symmetric, qint8

FOLDS, SEEDS, BATCH = 5, 3, 48
FLOAT_EPOCHS, TRAINED_EPOCHS = 15, 10
OBSERVERS: dict[str, Any] = {
    "min/max": qobserve.MinMaxObserver,
    "histogram": qobserve.HistogramObserver,
    "percentile": qobserve.PercentileObserver,
    "mse": qobserve.MSEObserver,
    "entropy": qobserve.EntropyObserver,
}
Split = tuple[Tensor, Tensor]


class Network(nn.Module):
    """A residual network for 8×8 images: (batch, 1, 8, 8) to logits (batch, 10)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.down = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()
        )
        self.classifier = nn.Linear(2 * width * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(self.bn1(self.conv1(x)) + x)
        return self.classifier(torch.flatten(self.down(x), 1))


def load_images() -> Split:
    """All images, (1797, 1, 8, 8) in [0, 1], and their labels, (1797,)."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return images, torch.tensor(labels)


def folds(images: Tensor, labels: Tensor) -> Iterator[Split]:
    """Index tensors (train, held out); every image is held out once."""
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for train_on, held_out in splitter.split(images, labels):
        yield torch.from_numpy(train_on), torch.from_numpy(held_out)


def train(
    model: nn.Module, images: Tensor, labels: Tensor, rate: float, epochs: int, seed: int
) -> None:
    """Train ``model`` on ``images`` (count, 1, 8, 8), shifted by up to a pixel."""
    torch.manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, nesterov=True, weight_decay=5e-4)
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps * epochs)
    padded = F.pad(images, (1, 1, 1, 1))
    for _ in range(epochs):
        for chosen in torch.randperm(len(images))[: steps * BATCH].split(BATCH):
            row, column = torch.randint(0, 3, (2,)).tolist()
            batch = padded[chosen][:, :, row : row + 8, column : column + 8]
            loss = F.cross_entropy(model(batch), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def float_model(images: Tensor, labels: Tensor) -> nn.Module:
    """A float model, in eval mode."""
    torch.manual_seed(0)
    model = Network()
    train(model, images, labels, 0.1, FLOAT_EPOCHS, 0)
    return model.eval()


def bounds(bits: int) -> tuple[dict[str, int], dict[str, int]]:
    """The integers of activations, and of weights."""
    half = 2 ** (bits - 1)
    activations = {"quant_min": 0, "quant_max": 2 * half - 1}
    return activations, {"quant_min": -half, "quant_max": half - 1}


def after_training(model: nn.Module, images: Tensor, observer: Any, bits: int) -> nn.Module:
    """A quantized copy of ``model``, calibrated on ``images``."""
    of_activations, of_weights = bounds(bits)
    qconfig = qobserve.QConfig(
        activation=observer.with_args(**of_activations),
        weight=qobserve.default_per_channel_weight_observer.with_args(**of_weights),
    )
    mapping = qobserve.QConfigMapping().set_global(qconfig)
    prepared = qflow.prepare_fx(model, mapping, (images[:1],))
    with torch.inference_mode():
        for batch in images[:512].split(128):
            prepared(batch)
    return qflow.convert_fx(prepared)


def learnt(bits: int) -> qobserve.QConfig:
    """Scales and zero points are learnt (LSQ), beginning with those of min/max observers."""
    of_activations, of_weights = bounds(bits)
    fake_quantize = qobserve._LearnableFakeQuantize.with_args(use_grad_scaling=True)
    observer = qobserve.MovingAverageMinMaxObserver
    return qobserve.QConfig(
        activation=fake_quantize.with_args(observer=observer, **of_activations),
        weight=fake_quantize.with_args(
            observer=observer, dtype=qint8, qscheme=per_tensor_symmetric, **of_weights
        ),
    )


def by_training(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    qconfig: qobserve.QConfig,
    rate: float,
    epochs: int,
    seed: int,
) -> nn.Module:
    """A quantized copy of ``model``, trained further for it; statistics rest in the last epoch."""
    mapping = qobserve.QConfigMapping().set_global(qconfig)
    prepared = qflow.prepare_qat_fx(copy.deepcopy(model).train(), mapping, (images[:1],))
    with torch.no_grad():
        for batch in images[:480].split(BATCH):  # the first ranges
            prepared(batch)
    for module in prepared.modules():
        if isinstance(module, qobserve._LearnableFakeQuantize):
            module.enable_param_learning()
    train(prepared, images, labels, rate, epochs, seed)
    prepared.apply(qflow.disable_observer).apply(freeze_bn_stats)
    train(prepared, images, labels, rate / 20, 1, seed + SEEDS)
    return qflow.convert_fx(prepared.eval())


def predictions(model: nn.Module, images: Tensor) -> Tensor:
    """The digits, (count,), that ``model`` sees in ``images`` (count, 1, 8, 8)."""
    with torch.inference_mode():
        return model(images).argmax(1)


def run(low_bits: int) -> dict[str, Any]:
    """Predictions for all images, each by the models of the fold that did not see it.

    Returns:
        ``"labels"``, ``"float"`` and ``"int8"``, (1797,), the last trained at 8 bits; at
        ``low_bits`` ``"calibrated"``, (1797,) for each observer, and ``"trained"``, (seeds, 1797).
    """
    torch.set_num_threads(1)
    images, labels = load_images()
    result: dict[str, Any] = {
        "labels": labels,
        "float": torch.empty_like(labels),
        "int8": torch.empty_like(labels),
        "calibrated": {name: torch.empty_like(labels) for name in OBSERVERS},
        "trained": torch.empty(SEEDS, len(labels), dtype=labels.dtype),
    }
    for train_on, held_out in folds(images, labels):
        seen, unseen = (images[train_on], labels[train_on]), images[held_out]
        model = float_model(*seen)
        result["float"][held_out] = predictions(model, unseen)
        for name, observer in OBSERVERS.items():
            quantized = after_training(model, seen[0], observer, low_bits)
            result["calibrated"][name][held_out] = predictions(quantized, unseen)
        int8 = by_training(model, *seen, qobserve.get_default_qat_qconfig("x86"), 0.002, 1, 0)
        result["int8"][held_out] = predictions(int8, unseen)
        for seed in range(SEEDS):
            low = by_training(model, *seen, learnt(low_bits), 0.1, TRAINED_EPOCHS, seed)
            result["trained"][seed, held_out] = predictions(low, unseen)
    return result


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """How many are right, in per cent."""
    return 100 * (predicted == labels).double().mean().item()


def main() -> None:
    """Print the accuracies at 4, 3 and 2 bits."""
    for bits in (4, 3, 2):
        result = run(bits)
        labels = result["labels"]
        print(f"float: {accuracy(result['float'], labels):.2f} %")
        print(f"int8, trained: as float on {accuracy(result['int8'], result['float']):.2f} %")
        for name, predicted in result["calibrated"].items():
            print(f"{bits} bits, {name}: {accuracy(predicted, labels):.2f} %")
        for predicted in result["trained"]:
            print(f"{bits} bits, trained: {accuracy(predicted, labels):.2f} %")


if __name__ == "__main__":
    main()
