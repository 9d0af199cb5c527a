"""LSTM and attention in the flows: taken apart, observed and quantized without being asked to."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qflow
import qtensor
from qgraph import Decision, plan_of
from qobserve import MinMaxObserver, QConfig, default_per_channel_weight_observer
from qobserve.nn import quantizable
from qtensor.nn import quantized as nnq

QCONFIG = QConfig(MinMaxObserver, default_per_channel_weight_observer)
MAPPING = qflow.QConfigMapping().set_global(QCONFIG)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    yield


def snr(expected: Tensor, actual: Tensor) -> float:
    """In dB."""
    return float(20 * torch.log10(expected.norm() / (expected - actual).norm()))


class Tagger(nn.Module):
    """A layer, two recurrent ones in both directions, a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = qflow.QuantStub(), qflow.DeQuantStub()
        self.lead = nn.Linear(6, 8)
        self.lstm = nn.LSTM(8, 16, 2, bidirectional=True)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(self.lead(self.quant(x)))
        result: Tensor = self.dequant(self.head(y))
        return result


class Encoder(nn.Module):
    """An encoder layer as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        y, _ = self.attention(x, x, x, key_padding_mask=padding, need_weights=False)
        x = self.norm1(x + y)
        y = self.norm2(x + self.down(torch.relu(self.up(x))))
        return y


def test_eager() -> None:
    model, x = Tagger().eval(), torch.randn(9, 3, 6)
    model.qconfig = QCONFIG
    prepared = qflow.prepare(model)
    assert type(prepared.lstm) is quantizable.LSTM and type(model.lstm) is nn.LSTM
    prepared(x)
    quantized = qflow.convert(prepared)
    assert type(quantized.lstm) is nnq.LSTM
    assert not any(hasattr(module, "qconfig") for module in quantized.modules())
    with qtensor.fallback("error"), torch.no_grad():
        assert snr(model(x), quantized(x)) > 25
        assert quantized(torch.randn(4, 2, 6)).shape == (4, 2, 3)


def test_eager_without_custom_modules() -> None:
    model = nn.Sequential(nn.LSTM(4, 4)).eval()
    model.qconfig = QCONFIG
    prepared = qflow.prepare(model, prepare_custom_config_dict={}, allow_list=set())
    assert type(prepared[0]) is nn.LSTM
    assert type(qflow.convert(prepared)[0]) is nn.LSTM


def test_a_model_that_is_an_lstm() -> None:
    model: Any = nn.LSTM(4, 8).eval()
    model.qconfig = QCONFIG
    prepared = qflow.prepare(model)
    prepared(torch.randn(3, 2, 4))
    assert type(qflow.convert(prepared)) is nnq.LSTM


def test_eager_training() -> None:
    model, x = Tagger().train(), torch.randn(9, 3, 6)
    model.qconfig = qflow.get_default_qat_qconfig("x86")
    trained = qflow.prepare_qat(model)
    optimizer = torch.optim.SGD(trained.parameters(), 0.01)
    for _ in range(2):
        trained(x).square().mean().backward()
        optimizer.step()
    quantized = qflow.convert(trained.eval())
    assert type(quantized.lstm) is nnq.LSTM
    with qtensor.fallback("error"), torch.no_grad():
        assert snr(trained(x), quantized(x)) > 15


def in_graph(model: nn.Module, *inputs: Tensor) -> tuple[Any, nn.Module]:
    """``model`` prepared and calibrated, and converted."""
    prepared = qflow.prepare_fx(model.eval(), MAPPING, inputs)
    with torch.no_grad():
        prepared(*inputs)
    return prepared, qflow.convert_fx(prepared)


@pytest.mark.parametrize("strict", [False, True])
def test_graph_of_an_lstm(strict: bool) -> None:
    model, x = Tagger(), torch.randn(9, 3, 6)
    prepared, quantized = in_graph(model, x)
    assert type(prepared.lstm) is quantizable.LSTM
    with qtensor.fallback("error"), torch.no_grad():
        y = quantized(x)
        assert snr(model(x), y) > 25
    assert sum(node.target == "dequantize" for node in quantized.graph.nodes) == 1
    sizes = {0: torch.export.Dim("steps", min=2), 1: torch.export.Dim("batch", min=2)}
    program = torch.export.export(quantized, (x,), dynamic_shapes=(sizes,), strict=strict)
    names = [str(node.target) for node in program.graph.nodes]
    assert names.count("qtensor.lstm.default") == 4
    assert torch.equal(program.module()(x), y)
    x = torch.randn(17, 5, 6)
    assert torch.equal(program.module()(x), quantized(x))


def test_graph_of_an_encoder_layer() -> None:
    model, x = Encoder(), torch.randn(4, 10, 16)
    padding = torch.arange(10).expand(4, 10) >= torch.tensor([[10], [9], [8], [7]])
    prepared, quantized = in_graph(model, x, padding)
    assert plan_of(prepared).nodes["attention"].decision is Decision.STATIC
    with qtensor.fallback("error"), torch.no_grad():
        y = quantized(x, padding)
        assert snr(model(x, padding), y) > 25
    program = torch.export.export(quantized, (x, padding))
    assert torch.equal(program.module()(x, padding), y)


class Returns(nn.Module):
    """What a recurrent layer returns, or a part of it."""

    def __init__(self, part: Callable[[Any], Any]) -> None:
        super().__init__()
        self.lstm, self.part = nn.LSTM(4, 8, 2), part

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        return self.part(self.lstm(x, (h, c)))


@pytest.mark.parametrize(
    "part",
    [
        lambda result: result,
        lambda result: result[1],
        lambda result: result[1][0][-1],
        lambda result: (result[0], result[1][1]),
        lambda result: torch.cat([result[0][-1:], result[1][0]]),
    ],
)
def test_states_and_parts_of_a_result(part: Callable[[Any], Any]) -> None:
    model = Returns(part)
    inputs = torch.randn(5, 3, 4), torch.randn(2, 3, 8) / 2, torch.randn(2, 3, 8)
    _, quantized = in_graph(model, *inputs)
    with torch.no_grad():
        flat, expected = (torch.utils._pytree.tree_leaves(m(*inputs)) for m in (quantized, model))
    for result, wanted in zip(flat, expected, strict=True):
        assert type(result) is Tensor and snr(wanted, result) > 20


def test_parts_of_a_part_share_its_parameters() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 8)

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.lstm(x)[0].chunk(2, -1)
            return torch.cat([second, first], -1)

    x = torch.randn(5, 3, 4)
    prepared, quantized = in_graph(Halves(), x)
    assert plan_of(prepared).nodes["cat"].decision is Decision.SHARED
    with qtensor.fallback("error"), torch.no_grad():
        assert snr(prepared(x), quantized(x)) > 20


class Masked(nn.Module):
    """Attention whose mask of floats is computed of a quantized tensor, as encoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.lead = nn.Linear(1, 1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        padding = self.lead(1.0 - kept.unsqueeze(-1)).squeeze(-1) * -50.0
        causal = torch.full((5, 5), float("-inf")).triu(1)
        y: Tensor = self.attention(x, x, x, padding, attn_mask=causal)[0]
        return y


@pytest.mark.parametrize("quantized_mask", [False, True])
def test_masks_of_floats_are_read_as_they_are(quantized_mask: bool) -> None:
    model = Masked().eval()
    nn.init.ones_(model.lead.weight)
    nn.init.zeros_(model.lead.bias)
    x, kept = torch.randn(3, 5, 8), (torch.arange(5) < torch.tensor([[5], [4], [3]])).float()
    mapping = qflow.QConfigMapping().set_object_type(nn.MultiheadAttention, QCONFIG)
    if quantized_mask:
        mapping.set_global(QCONFIG)
    prepared = qflow.prepare_fx(model, mapping, (x, kept))
    with torch.no_grad():
        prepared(x, kept)
        quantized = qflow.convert_fx(prepared)
        plan = plan_of(prepared).nodes["attention"]
        assert plan.decision is Decision.STATIC and plan.inputs == ("x",)
        assert type(quantized.get_submodule("attention")) is nnq.MultiheadAttention
        assert snr(model(x, kept), quantized(x, kept)) > 25


def test_projections_stay_float() -> None:
    model = nn.Sequential(nn.LSTM(8, 8, proj_size=4))
    prepared, quantized = in_graph(model, torch.randn(5, 3, 8))
    assert any("projects" in node.why for node in plan_of(prepared).nodes.values())
    assert type(quantized.get_submodule("0")) is nn.LSTM


def test_graph_training() -> None:
    model, x = Tagger().train(), torch.randn(9, 3, 6)
    mapping = qflow.get_default_qat_qconfig_mapping("x86")
    trained = qflow.prepare_qat_fx(model, mapping, (x,))
    trained(x).sum().backward()
    quantized = qflow.convert_fx(trained.eval())
    assert type(quantized.lstm) is nnq.LSTM
    with torch.no_grad():
        assert snr(trained(x), quantized(x)) > 15


def test_dynamic_qconfigs_leave_them_float() -> None:
    mapping = qflow.QConfigMapping().set_global(qflow.default_dynamic_qconfig)
    x = torch.randn(9, 3, 6)
    quantized = qflow.convert_fx(qflow.prepare_fx(Tagger().eval(), mapping, (x,)))
    assert type(quantized.lstm) is nn.LSTM


def test_torchs_encoder_layer() -> None:
    """Its own fast path is left, so that the attention inside, once quantized, is what runs."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    layer.self_attn.qconfig = QCONFIG
    layer.self_attn = quantizable.MultiheadAttention.from_float(layer.self_attn)
    x = torch.randn(3, 10, 16)
    with torch.no_grad():
        expected = layer(x)
        called = []
        layer.self_attn.register_forward_hook(lambda *_: called.append(True))
        torch.testing.assert_close(layer(x), expected)
    assert called


def test_default_custom_config() -> None:
    config = qflow.get_default_custom_config_dict()
    observed = config["float_to_observed_custom_module_class"]
    assert observed[nn.MultiheadAttention] is quantizable.MultiheadAttention
    quantized = config["observed_to_quantized_custom_module_class"]
    assert quantized == {
        quantizable.LSTM: nnq.LSTM,
        quantizable.MultiheadAttention: nnq.MultiheadAttention,
    }
