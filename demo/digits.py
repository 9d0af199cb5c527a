"""Handwritten digits: a small ResNet, quantized statically, exported, run in another process.

scikit-learn ships 1 797 real 8×8 images. Five models are trained, each on four fifths of them
and tested on the rest, so that the accuracies count every image exactly once. The first fold's
model is also exported, saved and measured in a process that imports only torch and qtensor.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

import qflow

FOLDS = 5
EPOCHS = 8
BATCH = 48
LEARNING_RATE = 0.1
CALIBRATION_IMAGES = 512
LATENCY_BATCH = 256  # large enough that arithmetic, not call overhead, takes the time
Split = tuple[Tensor, Tensor]
REPOSITORY = Path(__file__).resolve().parents[1]


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut, which is projected where the shape changes."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, out_channels, height/stride, …)."""
        hidden = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(hidden)) + self.shortcut(x))


class DepthwiseBlock(nn.Module):
    """A depthwise 3×3 convolution and a pointwise one, with a residual add."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU6()
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same shape."""
        hidden = self.relu1(self.bn1(self.depthwise(x)))
        return self.relu2(self.bn2(self.pointwise(hidden)) + x)


class SmallResNet(nn.Module):
    """A ResNet for 8×8 images: (batch, 1, 8, 8) to logits (batch, 10)."""

    def __init__(self, widths: tuple[int, int, int] = (64, 128, 192)) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = nn.Conv2d(1, first, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.stages = nn.Sequential(
            ResidualBlock(first, first),
            ResidualBlock(first, second, stride=2),
            DepthwiseBlock(second),
            ResidualBlock(second, third, stride=2),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(third, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, 8, 8) to (batch, 10)."""
        x = self.stages(self.relu(self.bn(self.stem(x))))
        return self.classifier(torch.flatten(self.pool(x), 1))


@dataclass(frozen=True)
class DigitsResult:
    """What the demonstration measured.

    Attributes:
        labels: (images,) what was written.
        predictions: (images,) for ``"float"`` and ``"int8"``, each by the model of the fold that
            did not see the image.
        file_bytes: the size of the exported program of the first fold's model.
        seconds: for one batch of ``LATENCY_BATCH`` images on one thread, from those files.
        report: what became of each layer of the first fold's model.
    """

    labels: Tensor
    predictions: dict[str, Tensor]
    file_bytes: dict[str, int]
    seconds: dict[str, float]
    report: qflow.Report

    def accuracy(self, model: str) -> float:
        """Images classified correctly by ``"float"`` or ``"int8"``, in per cent."""
        return 100 * (self.predictions[model] == self.labels).double().mean().item()

    @property
    def speedup(self) -> float:
        """How many times as fast as float int8 is."""
        return self.seconds["float"] / self.seconds["int8"]


def load_images() -> tuple[Tensor, Tensor]:
    """All images, (1797, 1, 8, 8) in [0, 1], and their labels, (1797,)."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return images, torch.tensor(labels)


def folds(images: Tensor, labels: Tensor) -> Iterator[Split]:
    """Index tensors (train, held out); every image is held out once."""
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for train, held_out in splitter.split(images, labels):
        yield torch.from_numpy(train), torch.from_numpy(held_out)


def train(images: Tensor, labels: Tensor, seed: int) -> SmallResNet:
    """A model trained on ``images`` (count, 1, 8, 8), in eval mode and channels_last."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = SmallResNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps * EPOCHS
    )
    padded = F.pad(images, (1, 1, 1, 1))
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images))[: steps * BATCH].split(BATCH):
            # Shifting by a pixel is all the augmentation that digits need.
            row, column = torch.randint(0, 3, (2,)).tolist()
            batch = padded[chosen][:, :, row : row + 8, column : column + 8]
            batch = batch.contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(batch), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def trained(images: Tensor, labels: Tensor, splits: Sequence[Split]) -> Iterator[SmallResNet]:
    """The model of each split, in order.

    As many are trained at once as there are cores, each on one thread: batches this small keep no
    second thread busy.
    """
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        futures = [
            processes.submit(train, images[train_on], labels[train_on], seed)
            for seed, (train_on, _) in enumerate(splits)
        ]
        for future in futures:
            yield future.result()


def quantize(model: nn.Module, calibration: Tensor) -> nn.Module:
    """``model`` in int8 for x86, calibrated on ``calibration`` (count, 1, 8, 8)."""
    mapping = qflow.get_default_qconfig_mapping("x86")
    prepared = qflow.prepare_fx(model, mapping, (calibration[:1],))
    with torch.inference_mode():
        for batch in calibration.split(128):
            prepared(batch)
    return qflow.convert_fx(prepared)


def export(model: nn.Module, path: Path) -> int:
    """Save ``model`` for any number of images at ``path``; the size of the file in bytes."""
    images = torch.zeros(2, 1, 8, 8)
    shapes = ({0: torch.export.Dim("images", min=1)},)
    program = torch.export.export(model, (images,), dynamic_shapes=shapes)
    with warnings.catch_warnings():
        # Said of weights in channels_last; the process that loads them shows that they are whole.
        warnings.filterwarnings("ignore", message="No complete tensor found")
        torch.export.save(program, path)
    return path.stat().st_size


def evaluate_in_new_process(files: dict[str, Path], images: Tensor) -> dict[str, Any]:
    """Logits and seconds per batch of the ``"float"`` and the ``"int8"`` file.

    The process that computes them imports neither this file nor the quantization packages.
    """
    folder = files["int8"].parent
    data, result = folder / "held_out.pt", folder / "evaluated.json"
    copies = -(-LATENCY_BATCH // len(images))
    latency_images = images.repeat(copies, 1, 1, 1)[:LATENCY_BATCH].clone()
    torch.save({"images": images, "latency_images": latency_images}, data)
    arguments = map(str, (files["float"], files["int8"], data, result))
    command = [sys.executable, "-m", "demo.evaluate_exported", *arguments]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    evaluated: dict[str, Any] = json.loads(result.read_text())
    return evaluated


def run(folder: Path, advance: Callable[[str], object]) -> DigitsResult:
    """Train, quantize, export and measure.

    Args:
        folder: where the files go.
        advance: called with what comes next, :data:`STEPS` times.
    """
    images, labels = load_images()
    predictions = {name: torch.empty_like(labels) for name in ("float", "int8")}
    splits = list(folds(images, labels))
    models = []
    advance(f"digits: training {FOLDS} models")
    for model, (train_on, held_out) in zip(trained(images, labels, splits), splits, strict=True):
        advance(f"digits: trained and quantized {len(models) + 1} of {FOLDS} models")
        calibration = images[train_on[:CALIBRATION_IMAGES]]
        quantized = quantize(model, calibration)
        for name, network in (("float", model), ("int8", quantized)):
            with torch.inference_mode():
                predictions[name][held_out] = network(images[held_out]).argmax(1)
        models.append((model, quantized, held_out, calibration))
    model, quantized, held_out, calibration = models[0]

    advance("digits: exporting, and measuring in a new process")
    files = {"float": folder / "digits_float.pt2", "int8": folder / "digits_int8.pt2"}
    file_bytes = {
        "float": export(model, files["float"]),
        "int8": export(quantized, files["int8"]),
    }
    evaluated = evaluate_in_new_process(files, images[held_out])
    with torch.inference_mode():
        in_memory = quantized(images[held_out])
    if not torch.equal(torch.tensor(evaluated["logits"]["int8"]), in_memory):
        raise RuntimeError("the saved int8 program and the model in memory disagree")
    for name, logits in evaluated["logits"].items():
        # What is claimed for the first fold is what the saved files answered.
        predictions[name][held_out] = torch.tensor(logits).argmax(1)
    _, report = qflow.quantize_model(model, calibration.split(128))
    return DigitsResult(labels, predictions, file_bytes, evaluated["seconds"], report)


STEPS = FOLDS + 2


def confusion_matrix(labels: Tensor, predictions: Tensor) -> Tensor:
    """(10, 10): how many images of digit ``row`` were taken for digit ``column``."""
    return torch.bincount(labels * 10 + predictions, minlength=100).reshape(10, 10)


def plot(result: DigitsResult, path: Path) -> None:
    """Draw both models' confusion matrices and the error of each layer into ``path``."""
    figure, axes = plt.subplots(1, 3, figsize=(17, 5.2), width_ratios=(1, 1, 1.2))
    for axis, name in zip(axes, ("float", "int8"), strict=False):
        matrix = confusion_matrix(result.labels, result.predictions[name])
        axis.imshow(matrix.clamp(min=0.5).log(), cmap="Blues")
        for row, column in matrix.nonzero().tolist():
            colour = "white" if row == column else "black"
            count = str(int(matrix[row, column]))
            axis.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
        axis.set(xlabel="predicted", ylabel="written", xticks=range(10), yticks=range(10))
        axis.set_title(f"{name}: {result.accuracy(name):.2f} % of {len(result.labels)} images")
    result.report.plot(axes[2])
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
