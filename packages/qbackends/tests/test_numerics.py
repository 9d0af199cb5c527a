"""Models quantized from end to end: close to float, and equal to the reference within a step."""

import copy
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qtensor
from qbackends import get_backend_config
from qgraph import Decision, convert, plan_of, prepare
from qobserve import MinMaxObserver, QConfig, QConfigMapping, default_per_channel_weight_observer
from qtensor.nn import quantized as nnq


class Block(nn.Module):
    """A residual block, with a depthwise convolution in it."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride > 1:
            down = nn.Conv2d(channels, channels, 1, stride, bias=False)
            self.down = nn.Sequential(down, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.down is None else self.down(x)
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16), Block(16, 2))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.stem(x), 2)
        x = F.adaptive_avg_pool2d(self.blocks(x), 1)
        return self.head(self.dropout(torch.flatten(x, 1)))


class Branches(nn.Module):
    """Concatenation, chunks, permutation, averages, an island of float, and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.AvgPool2d(2)
        self.linear = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        both = torch.cat([self.left(x), torch.relu(self.right(x))], dim=1)
        tokens = self.pool(both).flatten(2).permute(0, 2, 1)
        hidden = F.hardtanh(self.linear(tokens), -2.0, 2.0)
        first, second = hidden.chunk(2, dim=1)
        return {"out": self.out(self.norm(first + second)), "hidden": hidden}


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU6()
        )
        self.weight = nn.Parameter(torch.randn(5, 32) / 6)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.layers(x), self.weight)


MODELS = {
    "resnet": (ResNet, (8, 3, 16, 16)),
    "branches": (Branches, (8, 3, 8, 8)),
    "mlp": (MLP, (32, 12)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    kind, shape = MODELS[name]
    model = kind()
    x = torch.randn(shape)
    for _ in range(3):  # statistics for the batch norms
        model(torch.randn(shape))
    return model.eval(), x


def mapping(high: int = 255) -> QConfigMapping:
    activation = MinMaxObserver.with_args(quant_min=0, quant_max=high)
    return QConfigMapping().set_global(QConfig(activation, default_per_channel_weight_observer))


def outputs(result: Any) -> list[Tensor]:
    return list(result.values()) if isinstance(result, dict) else [result]


@pytest.mark.parametrize("backend", ["x86", "fbgemm"])
@pytest.mark.parametrize("name", MODELS)
def test_close_to_float_and_to_the_reference(name: str, backend: str) -> None:
    model, x = made(name)
    highest = 255 if backend == "x86" else 127
    prepared = prepare(model, mapping(highest), (x,), backend_config=get_backend_config(backend))
    prepared(x)
    reference, quantized = convert(prepared, to_reference=True), convert(prepared)
    with qtensor.fallback("error"), torch.no_grad():
        triples = zip(outputs(model(x)), outputs(reference(x)), outputs(quantized(x)), strict=True)
    for expected, simulated, actual in triples:
        assert (actual - expected).norm() < 0.08 * expected.norm()
        # Roundings differ where float sums fall between two integers, and travel on from there.
        assert (actual - simulated).norm() < 0.04 * expected.norm()
    for module in quantized.modules():
        if hasattr(module, "output_qparams"):
            assert module.output_qparams.quant_max == highest


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3, 2, 1, groups=2)])
def test_a_single_layer_equals_its_reference_within_one_step(layer: nn.Conv2d) -> None:
    x = torch.randn(4, layer.in_channels, 9, 9)
    backend = get_backend_config("x86")
    prepared = prepare(nn.Sequential(layer).eval(), mapping(), (x,), backend_config=backend)
    prepared(x)
    quantized = convert(prepared)
    difference = (quantized(x) - convert(prepared, to_reference=True)(x)).abs()
    step = quantized.get_submodule("0").scale
    assert difference.max() <= 1.001 * step
    assert (difference > 0.5 * step).double().mean() < 0.001


def test_what_is_quantized_in_the_resnet() -> None:
    model, x = made("resnet")
    prepared = prepare(model, mapping(), (x,), backend_config=get_backend_config("x86"))
    plan = plan_of(prepared)
    assert [n.kind for n in plan.operators()] == [
        "ConvReLU2d",
        "max_pool2d",
        "ConvHardtanh2d",
        "ConvAddReLU2d",
        "ConvHardtanh2d",
        "Conv2d",
        "ConvAddReLU2d",
        "adaptive_avg_pool2d",
        "flatten",
        "Dropout",
        "Linear",
    ]
    assert Decision.FLOAT not in plan.counts()
    prepared(x)
    quantized = convert(prepared)
    # One quantize at the entry, one dequantize at the exit.
    assert sum(isinstance(m, nnq.Quantize) for m in quantized.modules()) == 1
    assert sum(n.target == "dequantize" for n in quantized.graph.nodes) == 1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("strict", [False, True])
def test_export_with_a_dynamic_batch(name: str, strict: bool) -> None:
    model, x = made(name)
    prepared = prepare(model, mapping(), (x,), backend_config=get_backend_config("x86"))
    prepared(x)
    quantized = convert(prepared)
    dynamic = ({0: torch.export.Dim("batch", min=2)},)
    program = torch.export.export(quantized, (x,), dynamic_shapes=dynamic, strict=strict)
    namespaces = {
        node.target.namespace
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload)
    }
    assert namespaces <= {"aten", "qtensor"} and "qtensor" in namespaces
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    loaded = torch.export.load(buffer).module()
    for batch in (x, torch.cat([x, x])):
        for expected, actual in zip(outputs(quantized(batch)), outputs(loaded(batch)), strict=True):
            assert torch.equal(expected, actual)


def test_a_saved_program_needs_only_torch_and_qtensor(tmp_path: Path) -> None:
    model, x = made("resnet")
    prepared = prepare(model, mapping(), (x,), backend_config=get_backend_config("x86"))
    prepared(x)
    quantized = convert(prepared)
    torch.export.save(torch.export.export(quantized, (x,)), tmp_path / "model.pt2")
    torch.save({"x": x, "y": quantized(x)}, tmp_path / "tensors.pt")
    script = """
import sys, torch, qtensor
folder = sys.argv[1]
tensors = torch.load(folder + "/tensors.pt")
result = torch.export.load(folder + "/model.pt2").module()(tensors["x"])
assert torch.equal(result, tensors["y"])
assert not {"qobserve", "qgraph", "qbackends", "qflow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_state_dict_of_ordinary_tensors_goes_into_a_skeleton() -> None:
    model, x = made("resnet")
    backend = get_backend_config("x86")
    prepared = prepare(model, mapping(), (x,), backend_config=backend)
    skeleton = copy.deepcopy(prepared)
    prepared(x)
    quantized = convert(prepared)
    buffer = io.BytesIO()
    torch.save(quantized.state_dict(), buffer)
    buffer.seek(0)
    with pytest.warns(UserWarning, match="seen no data"):
        empty = convert(skeleton)
    empty.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(empty(x), quantized(x))


def test_linear_followed_by_batch_norm_over_another_dimension_is_not_folded() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    model(torch.randn(8, 5, 6))
    model.eval()
    x = torch.randn(8, 5, 6)
    prepared = prepare(model, mapping(), (x,), backend_config=get_backend_config("x86"))
    torch.testing.assert_close(prepared(x), model(x))


def test_signed_activations() -> None:
    model, x = made("resnet")
    qconfig = QConfig(
        MinMaxObserver.with_args(dtype=qtensor.qint8), default_per_channel_weight_observer
    )
    prepared = prepare(
        model,
        QConfigMapping().set_global(qconfig),
        (x,),
        backend_config=get_backend_config("x86"),
    )
    prepared(x)
    quantized = convert(prepared)
    assert (quantized(x) - model(x)).norm() < 0.08 * model(x).norm()
