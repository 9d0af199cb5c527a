"""Find the legacy parts of torch in the code of the packages (DESIGN §1), without running it.

    python tools/check_legacy.py [FILE …]

Docstrings and comments may name them; imports, attribute chains, ``getattr`` with a literal name
and other strings may not. The quantized dtypes are the exception for ``getattr``: that is how a
caller's ``torch.quint8`` is recognized as long as torch has it. Cython files are read as text.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from quintet_testing.legacy import DTYPES, NAMES, legacy_part

ROOT = Path(__file__).resolve().parents[1]
_IN_TEXT = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, sorted(NAMES)))})(?!\w)")

Finding = tuple[int, str]


def findings(path: Path) -> list[str]:
    """What ``path`` names of the legacy stack, as ``file:line: name``."""
    source = path.read_text(encoding="utf-8")
    found = _in_python(source) if path.suffix != ".pyx" else _in_cython(source)
    return [f"{path}:{line}: {name}" for line, name in sorted(set(found))]


def _in_python(source: str) -> Iterator[Finding]:
    tree = ast.parse(source)
    aliases = _aliases(tree)
    docstrings = _docstrings(tree)
    for node in ast.walk(tree):
        if id(node) in docstrings:
            continue
        for name in _names(node, aliases):
            if part := legacy_part(name):
                yield getattr(node, "lineno", 0), part
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, match) for match in _IN_TEXT.findall(node.value))


def _in_cython(source: str) -> Iterator[Finding]:
    without_docstrings = re.sub(
        r'""".*?"""', lambda text: "\n" * text.group().count("\n"), source, flags=re.DOTALL
    )
    for number, line in enumerate(without_docstrings.splitlines(), start=1):
        yield from ((number, match) for match in _IN_TEXT.findall(line.partition("#")[0]))


def _names(node: ast.AST, aliases: dict[str, str]) -> Iterator[str]:
    """The dotted names that a node reads or imports."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.Attribute():
            yield _dotted(node, aliases)
        case ast.Call(func=ast.Name("getattr" | "hasattr"), args=[owner, ast.Constant(name), *_]):
            if name not in DTYPES:
                yield f"{_dotted(owner, aliases)}.{name}"


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _aliases(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for: ``from torch import nn as n`` maps n to torch.nn."""
    aliases = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                aliases |= {alias.asname: alias.name for alias in names if alias.asname}
            case ast.ImportFrom(module=str(module), names=names, level=0):
                aliases |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
    return aliases


def _docstrings(tree: ast.AST) -> set[int]:
    """The nodes of bare strings, which are documentation wherever they stand."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def sources() -> list[Path]:
    """The files that the check is for."""
    files = ROOT.glob("packages/*/src/**/*")
    return sorted(file for file in files if file.suffix in {".py", ".pyi", ".pyx"})


def main(arguments: list[str]) -> int:
    """Print the findings; the exit status says whether there are any."""
    paths = [Path(argument) for argument in arguments] or sources()
    found = [line for path in paths for line in findings(path)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
