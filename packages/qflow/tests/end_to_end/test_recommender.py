"""A recommender: bags of what somebody liked, and an item; tables of 8 and 4 bits."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qflow
import qtensor
from qtensor.nn import quantized as nnq

pytestmark = pytest.mark.end_to_end

ITEMS, LIKED, TRAINED = 50, 6, 2000
Sample = tuple[Tensor, Tensor, Tensor]


class Recommender(nn.Module):
    """The logit of whether somebody who liked these will like that."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.liked = nn.EmbeddingBag(ITEMS, 20, mode=mode, padding_idx=0)
        self.item = nn.Embedding(ITEMS, 20)
        self.quant, self.dequant = qflow.QuantStub(), qflow.DeQuantStub()
        self.head = nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, liked: Tensor, item: Tensor) -> Tensor:
        a, b = self.liked(liked), self.item(item)
        logit: Tensor = self.dequant(self.head(self.quant(torch.cat([a, b], 1))))
        return logit.squeeze(1)


@pytest.fixture(scope="module")
def sample() -> Sample:
    generator = torch.Generator().manual_seed(0)
    popular = torch.randn(ITEMS, generator=generator)
    liked = torch.randint(ITEMS, (TRAINED + 1000, LIKED), generator=generator)
    item = torch.randint(ITEMS, (len(liked),), generator=generator)
    return liked, item, (popular[liked].amax(1) + popular[item] > 1.3).float()


def train(model: nn.Module, sample: Sample, epochs: int, rate: float) -> None:
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(epochs):
        for chosen in torch.randperm(TRAINED).split(100):
            liked, item, wanted = (part[chosen] for part in sample)
            loss = F.binary_cross_entropy_with_logits(model(liked, item), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.fixture(scope="module", params=["mean", "max"])
def model(request: pytest.FixtureRequest, sample: Sample) -> nn.Module:
    torch.manual_seed(0)
    made = Recommender(request.param)
    train(made, sample, 6, 0.02)
    return made.eval()


def without_data(model: nn.Module, sample: Sample) -> nn.Module:
    tables = dict.fromkeys((nn.Embedding, nn.EmbeddingBag), qflow.float_qparams_weight_only_qconfig)
    return qflow.quantize_dynamic(model, {**tables, nn.Linear: qflow.default_dynamic_qconfig})


def calibrated(model: nn.Module, sample: Sample) -> nn.Module:
    model = _configured(model, qflow.get_default_qconfig("x86"))
    prepared = qflow.prepare(model)
    prepared(*(part[:500] for part in sample[:2]))
    return qflow.convert(prepared)


def trained(model: nn.Module, sample: Sample) -> nn.Module:
    model = _configured(model, qflow.get_default_qat_qconfig("x86")).train()
    model.liked.qconfig = model.item.qconfig = qflow.default_embedding_qat_qconfig  # type: ignore[union-attr, assignment]  # any attribute may be set
    prepared = qflow.prepare_qat(model)
    train(prepared, sample, 1, 0.001)
    return qflow.convert(prepared.eval())


def in_graph(model: nn.Module, sample: Sample) -> nn.Module:
    inputs = tuple(part[:500] for part in sample[:2])
    mapping = qflow.get_default_qconfig_mapping("x86")
    for kind in (nn.Embedding, nn.EmbeddingBag):
        mapping.set_object_type(kind, qflow.float_qparams_weight_only_qconfig_4bit)
    prepared = qflow.prepare_fx(model, mapping, inputs)
    prepared(*inputs)
    return qflow.convert_fx(prepared)


def _configured(model: nn.Module, qconfig: qflow.QConfig) -> nn.Module:
    model = copy.deepcopy(model)
    model.qconfig = qconfig  # type: ignore[assignment]  # any attribute may be set
    model.liked.qconfig = model.item.qconfig = qflow.float_qparams_weight_only_qconfig  # type: ignore[union-attr, assignment]  # likewise
    return model


@pytest.mark.parametrize(
    ("flow", "agreement"),
    [(without_data, 0.99), (calibrated, 0.98), (trained, 0.94), (in_graph, 0.95)],
)
def test_agreement_with_float(
    model: nn.Module,
    sample: Sample,
    flow: Callable[[nn.Module, Sample], nn.Module],
    agreement: float,
) -> None:
    torch.manual_seed(0)
    quantized = flow(model, sample)
    kinds = {type(module) for module in quantized.modules()}
    assert kinds >= {nnq.EmbeddingBag, nnq.Embedding} and not kinds & {nn.Linear, nn.Embedding}
    liked, item, wanted = (part[TRAINED:] for part in sample)
    with torch.no_grad(), qtensor.fallback("error"):
        expected, actual = model(liked, item) > 0, quantized(liked, item) > 0
    assert (expected == wanted.bool()).float().mean() > 0.85
    assert (expected == actual).float().mean() >= agreement
