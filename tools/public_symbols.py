"""The public names of each package, held in packages/<package>/public_symbols.txt.

    python tools/public_symbols.py           # say what differs from the committed lists
    python tools/public_symbols.py --update  # write the lists anew

Public is what a module re-exports (``from ._x import name as name``), lists in ``__all__``, or
defines itself without a leading underscore; in every module whose path has no underscore either.
Read from the source, so that nothing needs to be installed.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def packages() -> list[Path]:
    """The folders of the packages."""
    return sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))


def public_symbols(package: Path) -> list[str]:
    """The full dotted names of what a package offers."""
    source = package / "src"
    names = set()
    for path in source.glob("**/*.py"):
        module = path.relative_to(source).with_suffix("").parts
        module = module[:-1] if module[-1] == "__init__" else module
        if not any(part.startswith("_") for part in module):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names |= {".".join((*module, name)) for name in _public_names(tree)}
    return sorted(names)


def _public_names(tree: ast.Module) -> list[str]:
    defined = [name for statement in tree.body for name in _defined(statement)]
    listed = [name for statement in tree.body for name in _listed(statement)]
    return listed or [name for name in defined if not name.startswith("_")]


def _defined(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.ImportFrom(names=names):
            if any(alias.name == "*" for alias in names):
                raise ValueError("a star import hides which names are public; list them")
            yield from (alias.name for alias in names if alias.asname == alias.name)
        case ast.Import(names=names):
            yield from (alias.name for alias in names if alias.asname == alias.name)
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(name)):
            yield name


def _listed(statement: ast.stmt) -> list[str]:
    """The names in an ``__all__ = […]`` statement."""
    match statement:
        case ast.Assign(targets=[ast.Name("__all__")], value=value):
            return list(ast.literal_eval(value))
    return []


def differences(package: Path) -> list[str]:
    """Lines with + for public names not in the committed list, and - for those lost."""
    committed_file = package / "public_symbols.txt"
    committed = set(committed_file.read_text().split()) if committed_file.exists() else set()
    present = set(public_symbols(package))
    return [f"+ {name}" for name in sorted(present - committed)] + [
        f"- {name}" for name in sorted(committed - present)
    ]


def main(arguments: list[str]) -> int:
    """Report or update; the exit status says whether the lists were current."""
    if arguments == ["--update"]:
        for package in packages():
            text = "\n".join(public_symbols(package)) + "\n"
            (package / "public_symbols.txt").write_text(text)
        return 0
    changed = [line for package in packages() for line in differences(package)]
    print("\n".join(changed) or "the public symbols are as committed")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
