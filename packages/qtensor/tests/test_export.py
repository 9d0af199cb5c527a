"""Export, compile and tracing of quantized modules; saved programs need torch and qtensor only."""

import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim, export, load, save

import qtensor
from qtensor import nn as qnn

from .models import ResidualNet, filled, images


@pytest.fixture(scope="module")
def model():
    return ResidualNet().eval()


@pytest.fixture(autouse=True)
def no_fallback():
    with qtensor.fallback("error"):
        yield


@pytest.mark.parametrize("strict", [False, True])
def test_export_records_plain_operators_and_reloads(model, strict, tmp_path):
    batch = {"x": {0: Dim("batch", min=1, max=64)}}
    program = export(model, (images(),), dynamic_shapes=batch, strict=strict)
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {name.partition(".")[0] for name in operators} == {"aten", "qtensor"}
    for buffer in program.state_dict.values():
        assert type(buffer) in (torch.Tensor, torch.nn.Parameter)

    save(program, tmp_path / "model.pt2")
    inputs = {batch: images(batch) for batch in (1, 2, 5)}
    expected = {batch: model(x) for batch, x in inputs.items()}
    again = load(tmp_path / "model.pt2").module()
    for size, x in inputs.items():
        assert torch.equal(again(x), expected[size])

    torch.save((inputs, expected), tmp_path / "data.pt")
    subprocess.run([sys.executable, "-W", "error", "-c", FRESH, tmp_path], check=True)


FRESH = """
import sys
import torch
import qtensor

folder = sys.argv[1]
model = torch.export.load(f"{folder}/model.pt2").module()
inputs, expected = torch.load(f"{folder}/data.pt", weights_only=True)
assert all(torch.equal(model(x), expected[size]) for size, x in inputs.items())
assert not {"qobserve", "qgraph", "qbackends", "qflow"} & set(sys.modules)
"""


def test_compile_without_graph_breaks(model):
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for batch in (2, 3):
        assert torch.equal(compiled(images(batch)), model(images(batch)))


def test_compiled_weights_are_not_frozen(model):
    torch._dynamo.reset()
    changing = ResidualNet().eval()
    compiled = torch.compile(changing, backend="aot_eager", fullgraph=True)
    before = compiled(images())
    changing.fc.qweight.neg_()
    assert torch.equal(compiled(images()), changing(images()))
    assert not torch.equal(compiled(images()), before)


class Branches(torch.nn.Module):
    """Joins what two modules give, and asks a tensor what it is."""

    def __init__(self):
        super().__init__()
        self.quant = qnn.quantized.Quantize(0.05, 128, qtensor.quint8)
        self.left = filled(qnn.quantized.Linear(4, 3))
        self.right = filled(qnn.quantized.Linear(4, 3), seed=1)

    def forward(self, x):
        x = self.quant(x)
        x = torch.cat([self.left(x), self.right(x)], dim=1)
        return x.dequantize() if x.is_quantized else x


@pytest.mark.parametrize("how", ["export", "strict export", "compile"])
def test_tensors_of_several_modules_and_questions(how):
    torch._dynamo.reset()
    model, x = Branches(), torch.linspace(-1, 1, 8).reshape(2, 4)
    if how == "compile":
        traced = torch.compile(model, backend="aot_eager", fullgraph=True)
    else:
        traced = export(model, (x,), strict=how == "strict export").module()
    assert torch.equal(traced(x), model(x))


def test_a_quantized_tensor_may_become_fake():
    q = qtensor.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, qtensor.quint8)
    fake = FakeTensorMode().from_tensor(q)
    assert isinstance(fake, qtensor.QTensor) and type(fake.int_repr()).__name__ == "FakeTensor"
    assert fake.is_quantized and fake.qparams == q.qparams
