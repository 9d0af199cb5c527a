"""On the activations of a trained network, our histogram observer loses no more than theirs."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qflow

legacy = pytest.importorskip("torch.ao.quantization")
datasets = pytest.importorskip("sklearn.datasets")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the old stack warns about itself
]


@pytest.fixture(scope="module")
def activations() -> dict[str, Tensor]:
    """What each layer puts out for 600 images, of a network trained on the others."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    labels = torch.tensor(labels)
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(512, 64), nn.Hardswish(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(5):
        for chosen in torch.randperm(1197).split(60):
            optimizer.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    network.eval()
    found, x = {}, images[1197:]
    with torch.no_grad():
        for index, layer in enumerate(network):
            x = layer(x)
            found[f"{index} {type(layer).__name__}"] = x
        found["probabilities"] = x.softmax(1)
    return found


def squared_error(x: Tensor, observer: nn.Module) -> float:
    scale, zero_point = (value.double() for value in observer.calculate_qparams())
    q = torch.round(x.double() / scale) + zero_point
    q = q.clamp(observer.quant_min, observer.quant_max)
    return float((((q - zero_point) * scale - x) ** 2).mean())


@pytest.mark.parametrize("quant_max", [255, 127, 15])
def test_on_every_layer(activations: dict[str, Tensor], quant_max: int) -> None:
    ratios = {}
    for name, x in activations.items():
        observers = [
            module.HistogramObserver(quant_min=0, quant_max=quant_max) for module in (qflow, legacy)
        ]
        for observer in observers:
            for batch in x.split(100):
                observer(batch)
        ours, theirs = (squared_error(x, observer) for observer in observers)
        ratios[name] = ours / theirs
    assert max(ratios.values()) <= 1.01, ratios
