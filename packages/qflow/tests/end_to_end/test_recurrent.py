"""A recurrent network and an encoder on handwritten digits, read as sequences of eight rows."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qflow
import qtensor
from qtensor.nn import quantized as nnq

datasets = pytest.importorskip("sklearn.datasets")
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

TRAINED = 1200  # images; the others are only looked at when all is done


class Reader(nn.Module):
    """Reads the rows from top to bottom and back, and decides on what both ways end with."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = qflow.QuantStub(), qflow.DeQuantStub()
        self.lstm = nn.LSTM(8, 48, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(8 * 96, 10)

    def forward(self, rows: Tensor) -> Tensor:
        y, _ = self.lstm(self.quant(rows))
        result: Tensor = self.dequant(self.classifier(y.flatten(1)))
        return result


class Encoder(nn.Module):
    """One encoder layer over the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.lead = nn.Linear(8, 48)
        self.places = nn.Parameter(torch.randn(8, 48) / 10)
        self.attention = nn.MultiheadAttention(48, 4, batch_first=True)
        self.norm = nn.LayerNorm(48)
        self.up, self.down = nn.Linear(48, 96), nn.Linear(96, 48)
        self.classifier = nn.Linear(8 * 48, 10)

    def forward(self, rows: Tensor) -> Tensor:
        x = self.lead(rows) + self.places
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        x = x + self.down(F.relu(self.up(x)))
        result: Tensor = self.classifier(x.flatten(1))
        return result


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    pixels, labels = datasets.load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    rows = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 8, 8)
    return rows[order], torch.tensor(labels)[order]


@pytest.fixture(scope="module", params=[Reader, Encoder])
def model(request: pytest.FixtureRequest, digits: tuple[Tensor, Tensor]) -> Iterator[nn.Module]:
    rows, labels = digits
    torch.manual_seed(0)
    made: nn.Module = request.param()
    optimizer = torch.optim.Adam(made.parameters(), 0.005)
    for _ in range(8):
        for chosen in torch.randperm(TRAINED).split(60):
            loss = F.cross_entropy(made(rows[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    yield made.eval()


def in_graph(model: nn.Module, rows: Tensor) -> nn.Module:
    prepared = qflow.prepare_fx(model, qflow.get_default_qconfig_mapping("x86"), (rows[:2],))
    prepared(rows)
    return qflow.convert_fx(prepared)


def by_swapping(model: nn.Module, rows: Tensor) -> nn.Module:
    if not isinstance(model, Reader):
        pytest.skip("eager models need stubs, which only the reader has")
    model = copy.deepcopy(model)
    model.qconfig = qflow.get_default_qconfig("x86")
    prepared = qflow.prepare(model)
    prepared(rows)
    return qflow.convert(prepared)


@pytest.mark.parametrize("flow", [in_graph, by_swapping])
def test_agreement_with_float(
    model: nn.Module,
    digits: tuple[Tensor, Tensor],
    flow: Callable[[nn.Module, Tensor], nn.Module],
) -> None:
    rows, labels = digits
    with torch.no_grad():
        quantized = flow(model, rows[:300])
        kinds = {type(module) for module in quantized.modules()}
        assert kinds & {nnq.LSTM, nnq.MultiheadAttention}
        expected = model(rows[TRAINED:]).argmax(1)
        with qtensor.fallback("error"):
            actual = quantized(rows[TRAINED:]).argmax(1)
    assert (expected == labels[TRAINED:]).float().mean() > 0.9
    assert (actual == expected).float().mean() >= 0.99
