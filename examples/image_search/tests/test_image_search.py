"""Handwritten digits: int8 finds what float finds, and needs nothing above qtensor."""

import importlib.util
import io

import pytest
import torch
from image_search import Index, quantize_layers
from sklearn.datasets import load_digits
from torch import Tensor, nn


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    return images, torch.tensor(data.target)


@pytest.fixture(scope="module")
def encoder(digits: tuple[Tensor, Tensor]) -> nn.Sequential:
    """Trained to tell the digits apart; its last layer but one is the encoding."""
    torch.manual_seed(0)
    images, labels = digits
    encoder = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 32),
    )
    classifier = nn.Sequential(encoder, nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(classifier.parameters(), lr=3e-3)
    for _ in range(4):
        for batch in torch.randperm(1500).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(classifier(images[batch]), labels[batch]).backward()
            optimizer.step()
    return encoder.eval()


@torch.no_grad()
def test_int8_finds_what_float_finds(digits: tuple[Tensor, Tensor], encoder: nn.Sequential) -> None:
    images, labels = digits
    stored, queries = images[:1500], images[1500:]
    int8 = quantize_layers(encoder, stored[:256])
    index = Index(int8(stored))
    found = labels[index.search(int8(queries), k=5)[1]]

    exact = nn.functional.normalize(encoder(stored)), nn.functional.normalize(encoder(queries))
    expected = labels[torch.topk(exact[1] @ exact[0].t(), 5).indices]

    def precision(neighbours: Tensor) -> float:
        return (neighbours == labels[1500:, None]).float().mean().item()

    assert precision(expected) > 0.85, "the float encoder has not learned"
    assert precision(found) > precision(expected) - 0.01


def test_layers_are_int8(digits: tuple[Tensor, Tensor], encoder: nn.Sequential) -> None:
    int8 = quantize_layers(encoder, digits[0][:64])
    names = [module._get_name() for module in int8]
    assert names == [
        "Quantize",
        "QuantizedConvReLU2d",
        "MaxPool2d",
        "QuantizedConvReLU2d",
        "Flatten",
        "QuantizedLinear",
        "DeQuantize",
    ]


def test_an_index_is_saved_and_loaded(digits: tuple[Tensor, Tensor]) -> None:
    vectors = digits[0].flatten(1)
    file = io.BytesIO()
    torch.save(Index(vectors).state_dict(), file)
    assert len(file.getvalue()) < vectors.numel() * vectors.element_size() / 3
    file.seek(0)
    loaded = Index(torch.zeros_like(vectors))
    loaded.load_state_dict(torch.load(file, weights_only=True))
    ours, original = loaded.search(vectors[:9]), Index(vectors).search(vectors[:9])
    assert torch.equal(ours[0], original[0]) and torch.equal(ours[1], original[1])
    assert ours[1][:, 0].tolist() == list(range(9))


def test_a_layer_can_be_exported(digits: tuple[Tensor, Tensor], encoder: nn.Sequential) -> None:
    images = digits[0][:8]
    int8 = quantize_layers(encoder, images)
    program = torch.export.export(int8, (images,))
    assert torch.equal(program.module()(images), int8(images))


@pytest.mark.parametrize("package", ["qobserve", "qgraph", "qbackends", "qflow"])
def test_nothing_above_qtensor_is_installed(package: str) -> None:
    assert importlib.util.find_spec(package) is None
