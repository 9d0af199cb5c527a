"""Export, compile and tracing of quantized modules; saved programs need torch and qtensor only."""

import subprocess
import sys

import pytest
import torch
from torch.export import Dim, export, load, save

import qtensor

from .models import ResidualNet, images


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
