"""The documents are true: examples run, links lead somewhere, generated pages are current."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import documents
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Where a document may point to. Package registries are not among them: which one to use, and
# which of torch's builds, is for the reader's own pip configuration to say.
HOSTS = {"arxiv.org", "doi.org", "docs.pytorch.org", "github.com"}


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("path", _tracked("*.md"), ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document's Python blocks, one after another, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "example"}
    text = path.read_text(encoding="utf-8")
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        lines_before = "\n" * text.count("\n", 0, block.start(1))  # so that errors tell the line
        exec(compile(lines_before + block[1], str(path), "exec"), namespace)


@pytest.mark.parametrize("path", _tracked("*.md"), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```|^    .*?$|`[^`]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    missing = [
        target
        for target in targets
        if not urlsplit(target).scheme and not (path.parent / target).exists()
    ]
    assert not missing, f"{path.relative_to(ROOT)} links to what is not there: {missing}"


@pytest.mark.parametrize("path", documents.PAGES)
def test_generated_pages_are_current(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == documents.PAGES[path](), (
        f"{path} is not what the code says; run `python tools/documents.py`"
    )


def test_no_registry_is_named() -> None:
    found = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture
            continue
        hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s'\"<>)\]]+", text)}
        found += [f"{path.relative_to(ROOT)}: {host}" for host in sorted(hosts - HOSTS - {None})]
        if re.search(r"--(extra-)?index-url|--find-links", text) and path != Path(__file__):
            found.append(f"{path.relative_to(ROOT)}: an option that picks a registry")
    assert not found, "\n".join(found)
