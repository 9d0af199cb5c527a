"""The guard blocks the legacy parts of torch for us, and for nobody inside torch."""

import importlib
import sys
from collections.abc import Iterator

import pytest
import torch
import torch.export
import torch.fx

from quintet_testing.guard import guarded
from quintet_testing.legacy import ATTRIBUTES, NAMES, legacy_part


@pytest.fixture
def guard() -> Iterator[None]:
    with guarded():
        yield


def _owner(dotted: str) -> object:
    owner: object = torch
    for name in dotted.split(".")[1:]:
        owner = getattr(owner, name)
    return owner


STATEMENTS = [
    "import torch.ao",
    "import torch.ao.quantization as q",
    "import torch.ao.quantization.quantize_fx",
    "import torch.jit",
    "import torch.quantization",
    "import torch.backends.quantized",
    "import torch.nn.quantized.dynamic",
    "from torch import ao",
    "from torch import nn, jit",
    "from torch import quint8",
    "from torch import quantize_per_tensor",
    "from torch.ao.nn.quantized import Linear",
    "from torch.nn import intrinsic",
    "from torch.backends import quantized",
    "__import__('torch.ao')",
    "import importlib; importlib.import_module('torch.ao.quantization')",
    "import importlib.util; importlib.util.find_spec('torch.ao.missing')",
    "import importlib._bootstrap as b; b._gcd_import('torch.ao.missing')",
]


@pytest.mark.usefixtures("guard")
@pytest.mark.parametrize("statement", STATEMENTS)
def test_importing_a_legacy_part_raises(statement: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="legacy part of torch"):
        exec(statement, {"__name__": "ours"})


@pytest.mark.usefixtures("guard")
@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in ATTRIBUTES.items() for name in names]
)
def test_reading_a_legacy_part_raises(owner: str, name: str) -> None:
    module = _owner(owner)
    with pytest.raises(AttributeError, match="legacy part of torch"):
        getattr(module, name)
    assert getattr(module, name, None) is None
    assert not hasattr(module, name)


@pytest.mark.usefixtures("guard")
def test_generated_code_is_refused_too() -> None:
    with pytest.raises(AttributeError):
        eval("torch.quint8", {"torch": torch})


@pytest.mark.usefixtures("guard")
def test_code_that_was_specialized_before_is_refused() -> None:
    def read() -> object:
        return torch.float32

    for _ in range(100):  # Python 3.11 specializes attribute reads of plain modules
        read()
    code = read.__code__.replace(co_names=("torch", "quint8"))
    with pytest.raises(AttributeError):
        eval(code, {"torch": torch, "__name__": "ours"})


@pytest.mark.usefixtures("guard")
def test_torch_keeps_its_own_parts() -> None:
    source = "from torch import ao; import torch.ao.quantization; part = torch.quint8, torch.jit"
    namespace = {"__name__": "torch.pretended"}
    exec(source, namespace)
    assert "torch.jit" in str(namespace["part"])


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(x).relu().mean((2, 3)))


@pytest.mark.usefixtures("guard")
@pytest.mark.parametrize("strict", [False, True])
def test_export_works(strict: bool) -> None:
    x = torch.randn(2, 3, 8, 8)
    model = Model().eval()
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (x,), dynamic_shapes=batch, strict=strict)
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.usefixtures("guard")
def test_fx_and_compile_work() -> None:
    x = torch.randn(2, 3, 8, 8)
    model = Model().eval()
    expected = model(x)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), expected)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), expected)


def test_everything_is_restored() -> None:
    before = {name: type(_owner(name)) for name in ATTRIBUTES}
    state = __import__, importlib.import_module, list(sys.meta_path)
    with guarded():
        pass
    assert {name: type(_owner(name)) for name in ATTRIBUTES} == before
    assert state == (__import__, importlib.import_module, sys.meta_path)


def test_legacy_parts_are_told_by_whole_names() -> None:
    assert legacy_part("torch.ao.quantization.observer") == "torch.ao"
    assert legacy_part("torch.ops.quantized.linear") == "torch.ops.quantized"
    assert legacy_part("torch.quint8") == "torch.quint8"
    for name in ("torch", "torch.ops.qtensor", "torch.aot", "torch.nn.Linear", "qtensor.jit"):
        assert legacy_part(name) is None
    assert "torch.ops.quantized_decomposed" in NAMES
