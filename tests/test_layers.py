"""Imports go one way only, and only to what DESIGN §2 allows from outside."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = ("qtensor", "qobserve", "qgraph", "qbackends", "qflow")
# Behind an extra: only ever imported where it is used, inside a function.
OPTIONAL = {"qbackends": {"onnx"}, "qflow": {"matplotlib", "rich", "typer"}}


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]


@pytest.mark.parametrize("package", LAYERS)
def test_imports_go_down_only(root: Path, package: str) -> None:
    below = set(LAYERS[: LAYERS.index(package) + 1])
    allowed = below | {"torch"} | sys.stdlib_module_names | OPTIONAL.get(package, set())
    wrong = [
        f"{path.relative_to(root)} imports {name}"
        for path in sorted((root / "packages" / package / "src").glob("**/*.py"))
        for name in _imported(ast.parse(path.read_text(encoding="utf-8")))
        if name not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def _offered(root: Path, package: str) -> Iterator[str]:
    """What the package's ``__init__`` imports from its own modules under the same name."""
    init = root / "packages" / package / "src" / package / "__init__.py"
    for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            same = (alias.name for alias in node.names if alias.asname == alias.name)
            yield from (f"{package}.{name}" for name in same)


@pytest.mark.parametrize("package", LAYERS)
def test_private_modules_stay_private(root: Path, package: str) -> None:
    """Another package's underscored modules and names are not ours to use.

    But for names it offers: the legacy API has one with an underscore.
    """
    offered = {name for owner in LAYERS for name in _offered(root, owner)}
    wrong = []
    for path in sorted((root / "packages" / package / "src").glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.ImportFrom(module=str(module), names=names, level=0):
                    dotted = [f"{module}.{alias.name}" for alias in names]
                case ast.Import(names=names):
                    dotted = [alias.name for alias in names]
                case _:
                    continue
            for name in dotted:
                owner, *rest = name.split(".")
                if owner not in LAYERS or owner == package or name in offered:
                    continue
                if any(part.startswith("_") for part in rest):
                    wrong.append(f"{path.relative_to(root)}:{node.lineno} imports {name}")
    assert not wrong, "\n".join(wrong)
