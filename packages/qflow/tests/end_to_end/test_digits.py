"""A small network on real handwritten digits keeps its accuracy in int8."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qflow

datasets = pytest.importorskip("sklearn.datasets")
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


class Network(nn.Module):
    """A residual add, a depthwise convolution, BatchNorm, functional and module ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 24, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(24)
        self.depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False)
        self.norm2 = nn.BatchNorm2d(24)
        self.pointwise = nn.Conv2d(24, 24, 1)
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(24 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.stem(x)))
        x = F.relu(self.pointwise(F.relu6(self.norm2(self.depthwise(x)))) + x)
        return self.classifier(torch.flatten(F.max_pool2d(x, 2), 1))


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    pixels, labels = datasets.load_digits(return_X_y=True)
    # The last third comes from other writers than the rest; mixed, all writers are in both parts.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return images[order], torch.tensor(labels)[order]


@pytest.fixture(scope="module")
def network(digits: tuple[Tensor, Tensor]) -> Network:
    images, labels = digits
    torch.manual_seed(0)
    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(8):
        for chosen in torch.randperm(1200).split(60):
            loss = F.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def accuracy(model: nn.Module, digits: tuple[Tensor, Tensor]) -> float:
    images, labels = (part[1200:] for part in digits)
    with torch.inference_mode():
        return 100 * (model(images).argmax(1) == labels).double().mean().item()


@pytest.mark.parametrize("backend", ["x86", "fbgemm"])
def test_static_loses_less_than_a_point(
    backend: str, network: Network, digits: tuple[Tensor, Tensor]
) -> None:
    before = copy.deepcopy(network.state_dict())
    quantized, report = qflow.quantize_model(network, digits[0][:256].split(64), backend)
    expected = accuracy(network, digits)
    assert expected > 95
    assert accuracy(quantized, digits) > expected - 1
    assert report.bytes_after < 0.35 * report.bytes_before
    assert all(row.quantized for row in report if row.bytes_before)
    assert all(row.sqnr is None or row.sqnr > 15 for row in report)
    for name, value in network.state_dict().items():  # the float model is as it was
        assert torch.equal(value, before[name])


def test_the_exported_program_computes_the_same(
    network: Network, digits: tuple[Tensor, Tensor]
) -> None:
    images = digits[0]
    quantized, _ = qflow.quantize_model(network, images[:256].split(64))
    shapes = ({0: torch.export.Dim("images", min=1)},)
    program = torch.export.export(quantized, (images[:2],), dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    loaded = torch.export.load(buffer).module()
    assert torch.equal(loaded(images[:50]), quantized(images[:50]))
