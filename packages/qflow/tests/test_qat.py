"""Quantization-aware training, eager and FX: what is trained is what is converted."""

import copy

import pytest
import torch
from torch import Tensor, nn

import qflow
from qgraph import Decision, plan_of
from qobserve.nn import qat as nnqat
from qobserve.nn.intrinsic import qat as nniqat
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq


class Network(nn.Module):
    """A convolution with batch norm and ReLU, a residual one without ReLU, and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = qflow.QuantStub(), qflow.DeQuantStub()
        self.conv1 = nn.Conv2d(3, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.sum = nnq.FloatFunctional()
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(8 * 16, 6)
        self.relu2 = nn.ReLU()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(self.quant(x))))
        x = self.sum.add(self.bn2(self.conv2(x)), x)
        x = self.relu2(self.linear(self.flatten(x)))
        return self.dequant(self.head(x))


FUSED = [["conv1", "bn1", "relu1"], ["conv2", "bn2"], ["linear", "relu2"]]


@pytest.fixture
def batch() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(16, 3, 6, 6)


def train(model: nn.Module, batch: Tensor, steps: int = 5) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    losses = []
    for _ in range(steps):
        loss = (model(batch) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def eager(model: nn.Module) -> nn.Module:
    fused = qflow.fuse_modules_qat(model, FUSED)
    fused.qconfig = qflow.get_default_qat_qconfig("x86")
    return qflow.prepare_qat(fused)


def graph(model: nn.Module, batch: Tensor) -> nn.Module:
    mapping = qflow.get_default_qat_qconfig_mapping("x86")
    return qflow.prepare_qat_fx(copy.deepcopy(model), mapping, (batch,))


def test_eager(batch: Tensor) -> None:
    model = Network()
    before = copy.deepcopy(model.state_dict())
    prepared = eager(model)
    assert type(prepared.conv1) is nniqat.ConvBnReLU2d
    assert type(prepared.conv2) is nniqat.ConvBn2d
    assert type(prepared.linear) is nniqat.LinearReLU
    assert type(prepared.head) is nnqat.Linear
    losses = train(prepared, batch)
    assert losses[-1] < losses[0]
    expected = prepared.eval()(batch)
    converted = qflow.convert(prepared)
    assert type(converted.conv1) is nni.quantized.ConvReLU2d
    assert type(converted.conv2) is nnq.Conv2d
    assert type(converted.sum) is nnq.QFunctional
    # The weights' ranges are averages, which conversion moves by one more step.
    step = float(converted.head.scale)
    assert (converted(batch) - expected).abs().max() <= 3 * step
    precomputed = qflow.convert(prepared, use_precomputed_fake_quant=True)
    assert (precomputed(batch) - expected).abs().max() <= 1.01 * step
    for name, value in model.state_dict().items():  # the float model is as it was
        assert torch.equal(value, before[name])


def test_graph(batch: Tensor) -> None:
    model = Network()
    prepared = graph(model, batch)
    assert type(prepared.conv1) is nniqat.ConvBnReLU2d
    assert type(prepared.linear) is nniqat.LinearReLU
    assert prepared.conv1.weight_fake_quant.name == "conv1.weight"
    losses = train(prepared, batch)
    assert losses[-1] < losses[0]
    expected = prepared.eval()(batch)
    converted = qflow.convert_fx(prepared)
    step = float(converted.head.scale)
    assert (converted(batch) - expected).abs().max() <= 1.01 * step
    reference = qflow.convert_to_reference_fx(prepared)
    assert (reference(batch) - expected).abs().max() <= 1.01 * step
    assert not any("qat" in type(module).__module__ for module in converted.modules())
    decisions = plan_of(converted).counts()
    assert decisions[Decision.STATIC] == 5


def test_both_flows_train_alike(batch: Tensor) -> None:
    model = Network()
    losses = train(eager(model), batch), train(graph(model, batch), batch)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_graph_trains_the_given_parameters(batch: Tensor) -> None:
    model = Network().train()
    mapping = qflow.get_default_qat_qconfig_mapping("x86")
    prepared = qflow.prepare_qat_fx(model, mapping, (batch,))
    assert prepared.conv1.weight is model.conv1.weight
    assert prepared.conv1.bn.running_mean is model.bn1.running_mean


def test_what_has_no_trained_form_is_not_fused(batch: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6(), nn.Dropout()).train()
    prepared = graph(model, batch)
    assert type(prepared.get_submodule("0")) is nniqat.ConvBn2d
    train(prepared, batch, 2)
    expected = prepared.eval()(batch)
    converted = qflow.convert_fx(prepared)
    assert (converted(batch) - expected).abs().max() <= 0.05
    with pytest.raises(NotImplementedError, match=r"nothing fuses .* for quantization-aware"):
        qflow.fuse_modules_qat(model, ["0", "1", "2"])


def test_weights_of_transposed_convolutions_have_channels_along_axis_1(batch: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2)).train()
    wrapped = qflow.QuantWrapper(copy.deepcopy(model))
    wrapped.qconfig = qflow.get_default_qat_qconfig("x86")
    for prepared, name in ((graph(model, batch), "2"), (qflow.prepare_qat(wrapped), "module.2")):
        train(prepared, batch, 2)
        expected = prepared.eval()(batch)
        converted = (qflow.convert_fx if name == "2" else qflow.convert)(prepared)
        layer = converted.get_submodule(name)
        assert type(layer) is nnq.ConvTranspose2d and layer.weight().q_per_channel_axis() == 1
        assert (converted(batch) - expected).norm() < 0.05 * expected.norm()


def test_a_frozen_batch_norm_stays_frozen(batch: Tensor) -> None:
    model = Network().train()
    model.bn1.eval()
    for prepared in (eager(model), graph(model, batch)):
        assert prepared.conv1.freeze_bn and not prepared.conv2.freeze_bn
        before = prepared.conv1.bn.running_mean.clone()
        train(prepared.train(), batch, 1)
        assert torch.equal(prepared.conv1.bn.running_mean, before)


def test_embeddings_train(batch: Tensor) -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2)).train()
    mapping = qflow.get_default_qat_qconfig_mapping("x86")
    mapping.set_object_type(nn.Embedding, qflow.default_embedding_qat_qconfig)
    indices = torch.arange(10).reshape(2, 5)
    prepared = qflow.prepare_qat_fx(model, mapping, (indices,))
    assert type(prepared.get_submodule("0")) is nnqat.Embedding
    prepared(indices).sum().backward()
    expected = prepared.eval()(indices)
    converted = qflow.convert_fx(prepared)
    assert type(converted.get_submodule("0")) is nnq.Embedding
    torch.testing.assert_close(converted(indices), expected, atol=0.02, rtol=0)


def test_dynamic_quantization_trains_with_rounded_inputs() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).train()
    mapping = qflow.QConfigMapping().set_global(qflow.default_dynamic_qat_qconfig)
    x = torch.randn(6, 4)
    prepared = qflow.prepare_qat_fx(model, mapping, (x,))
    assert sum("input_fake_quantize" in name for name, _ in prepared.named_children()) == 2
    train(prepared, x, 3)
    expected = prepared.eval()(x)
    converted = qflow.convert_fx(prepared)
    assert type(converted.get_submodule("2")) is nnq.dynamic.Linear
    assert not any(isinstance(module, qflow.FakeQuantizeBase) for module in converted.modules())
    torch.testing.assert_close(converted(x), expected, atol=0.05, rtol=0)


def test_calling_it_wrongly(batch: Tensor) -> None:
    model = Network().eval()
    mapping = qflow.get_default_qat_qconfig_mapping("x86")
    with pytest.raises(ValueError, match=r"prepare_qat_fx expects a model in training mode"):
        qflow.prepare_qat_fx(model, mapping, (batch,))
    with pytest.raises(ValueError, match=r"prepare_qat expects a model in training mode"):
        qflow.prepare_qat(model)
    with pytest.raises(ValueError, match="holds a batch norm that is not folded"):
        nnq.Conv2d.from_float(nni.ConvBn2d(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))


def test_in_one_call(batch: Tensor) -> None:
    model = qflow.fuse_modules_qat(Network().train(), FUSED)
    model.qconfig = qflow.get_default_qat_qconfig("x86")
    quantized = qflow.quantize_qat(model, train, (batch,))
    assert quantized(batch).shape == (16, 4) and not quantized.training


def test_defaults_as_dictionaries() -> None:
    with pytest.warns(FutureWarning, match="use get_default_qat_qconfig_mapping in place of"):
        as_dictionary = qflow.get_default_qat_qconfig_dict("fbgemm")
    assert as_dictionary[""] == qflow.get_default_qat_qconfig("fbgemm")
    with pytest.warns(FutureWarning, match="use get_default_qconfig_mapping in place of"):
        assert qflow.get_default_qconfig_dict()[""] == qflow.get_default_qconfig("x86")


def test_linear_layers_train_for_quantization_at_run_time():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    model[0].qconfig = qflow.default_dynamic_qat_qconfig
    x = torch.randn(16, 6)
    prepared = qflow.prepare_qat(model.train())
    assert type(prepared[0]) is nnqat.dynamic.Linear
    assert type(prepared[2]) is nn.Linear  # without a qconfig
    losses = train(prepared, x)
    assert losses[-1] < losses[0]
    trained = prepared.eval()(x)
    converted = qflow.convert(prepared)
    assert type(converted[0]) is nnq.dynamic.Linear
    assert torch.nn.functional.cosine_similarity(converted(x), trained).min() > 0.99


def test_what_is_fused_trains_for_quantization_at_run_time_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Unflatten(-1, (1, 8)), nn.Conv1d(1, 2, 3))
    model = qflow.fuse_modules_qat(model.train(), ["0", "1"])
    model.qconfig = qflow.default_dynamic_qat_qconfig
    prepared, x = qflow.prepare_qat(model), torch.randn(16, 6)
    assert type(prepared[0]) is nniqat.LinearReLU
    train(prepared, x)
    trained = prepared.eval()(x)
    converted = qflow.convert(prepared)
    assert type(converted[0]) is nni.quantized.dynamic.LinearReLU
    assert type(converted[3]) is nnq.dynamic.Conv1d
    cosine = torch.nn.functional.cosine_similarity(converted(x).flatten(1), trained.flatten(1))
    assert cosine.min() > 0.99
