"""No code under packages/*/src names a legacy part of torch, and the check would see it."""

from pathlib import Path

import check_legacy
import pytest


def test_the_packages_are_free_of_them() -> None:
    assert check_legacy.sources(), "the check looks at no file"
    found = [line for path in check_legacy.sources() for line in check_legacy.findings(path)]
    assert not found, "DESIGN §1 forbids these in code:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import torch.ao.quantization", "torch.ao"),
        ("import torch.jit as j", "torch.jit"),
        ("from torch import ao", "torch.ao"),
        ("from torch.ao.nn.quantized import Linear", "torch.ao"),
        ("from torch import nn\nnn.quantized.Linear", "torch.nn.quantized"),
        ("import torch as t\nt.quantize_per_tensor(x, 1, 0, d)", "torch.quantize_per_tensor"),
        ("from torch import ops as o\no.quantized.linear", "torch.ops.quantized"),
        ("torch.ops.quantized_decomposed.add", "torch.ops.quantized_decomposed"),
        ("torch.backends.quantized.engine = 'x'", "torch.backends.quantized"),
        ("x: torch.quint8", "torch.quint8"),
        ("getattr(torch, 'jit')", "torch.jit"),
        ("getattr(torch.ops, 'quantized', None)", "torch.ops.quantized"),
        ("import_module('torch.ao.quantization')", "torch.ao"),
        ("f'torch.jit{x}'", "torch.jit"),
    ],
)
def test_finds(tmp_path: Path, code: str, name: str) -> None:
    path = tmp_path / "code.py"
    path.write_text(f"import torch\n{code}\n")
    found = check_legacy.findings(path)
    assert found and all(line.endswith(f": {name}") for line in found)


@pytest.mark.parametrize(
    "code",
    [
        '"""Takes the place of torch.ao.quantization."""',
        "# torch.jit is gone",
        "class A:\n    x = 1\n    '''What torch.quint8 was.'''",
        "getattr(torch, 'quint8', None)",
        "torch.ops.qtensor.linear(x)",
        "self.jit = qtensor.quint8",
        "from torch import nn\nnn.Linear",
    ],
)
def test_lets_pass(tmp_path: Path, code: str) -> None:
    path = tmp_path / "code.py"
    path.write_text(f"import torch\n{code}\n")
    assert not check_legacy.findings(path)


def test_reads_cython(tmp_path: Path) -> None:
    path = tmp_path / "code.pyx"
    path.write_text('"""Not torch.jit."""\n\nx = torch.jit  # torch.ao\n')
    assert check_legacy.findings(path) == [f"{path}:3: torch.jit"]
