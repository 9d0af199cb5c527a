"""No public name is added or lost by accident."""

from pathlib import Path

import public_symbols
import pytest


@pytest.mark.parametrize("package", public_symbols.packages(), ids=lambda path: path.name)
def test_the_committed_list_is_current(package: Path) -> None:
    changed = public_symbols.differences(package)
    assert not changed, (
        f"the public names of {package.name} differ from packages/{package.name}/"
        "public_symbols.txt:\n" + "\n".join(changed) + "\nIf that is meant, run "
        "`python tools/public_symbols.py --update`, and say in the CHANGELOG what changed."
    )


def test_what_counts_as_public(tmp_path: Path) -> None:
    source = tmp_path / "src" / "p"
    (source / "_hidden").mkdir(parents=True)
    (source / "__init__.py").write_text(
        "import torch\nfrom ._hidden import a as a, b, c as d\nE = 1\n_f = 2\ndef g(): ...\n"
    )
    (source / "_hidden" / "__init__.py").write_text("def a(): ...\n")
    (source / "listed.py").write_text("__all__ = ['x']\ndef x(): ...\ndef y(): ...\n")
    assert public_symbols.public_symbols(tmp_path) == ["p.E", "p.a", "p.g", "p.listed.x"]
