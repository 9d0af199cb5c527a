"""The report as text, rich table, dictionary and plot."""

import json
import re

import pytest

from qflow import LayerReport, Report

CONV = LayerReport(
    "stem", "Conv2d", "ConvReLU2d", "static", "qint8 per channel", 4000, 1100, sqnr=31.25
)
NORM = LayerReport(
    "norm", "LayerNorm", "float", "no row for LayerNorm", bytes_before=64, bytes_after=64
)


@pytest.fixture
def report() -> Report:
    return Report((CONV, NORM), ("the whole model was traced",))


def test_text_is_an_aligned_table_with_totals_and_notes(report: Report) -> None:
    lines = str(report).splitlines()
    assert re.split("  +", lines[0]) == list(Report.COLUMNS)
    column = lines[0].index("became")
    assert lines[1][column:].startswith("ConvReLU2d")
    assert lines[2][column:].startswith("float")
    assert "4,000 → 1,100" in lines[1] and "31.2" in lines[1]
    assert "4,064 → 1,164" in lines[3] and "1 of 2 layers quantized" in lines[3]
    assert lines[4] == "note: the whole model was traced"
    assert all(line == line.rstrip() for line in lines)


def test_it_is_a_sequence_of_rows_found_by_name(report: Report) -> None:
    assert list(report) == [CONV, NORM] and len(report) == 2
    assert report["norm"] is NORM
    with pytest.raises(KeyError, match=re.escape("no layer 'other'; there are ['stem', 'norm']")):
        report["other"]


def test_dictionary_can_be_written_as_json(report: Report) -> None:
    data = json.loads(json.dumps(report.to_dict()))
    assert data["notes"] == ["the whole model was traced"]
    assert data["rows"][0]["name"] == "stem" and data["rows"][0]["sqnr"] == 31.25
    assert data["rows"][1]["sqnr"] is None


def test_rich_shows_every_row(report: Report) -> None:
    console = pytest.importorskip("rich.console").Console(width=140)
    with console.capture() as capture:
        console.print(report)
    text = capture.get()
    for expected in ("stem", "ConvReLU2d", "LayerNorm", "4,064 → 1,164", "note: the whole"):
        assert expected in text


def test_names_with_brackets_are_not_taken_for_rich_markup() -> None:
    console = pytest.importorskip("rich.console").Console(width=140)
    with console.capture() as capture:
        console.print(Report((LayerReport("a[red]b", "Linear", "float", "why"),)))
    assert "a[red]b" in capture.get()


def test_plot_draws_a_bar_for_each_measured_layer(report: Report) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    axes = report.plot()
    assert [bar.get_width() for bar in axes.patches] == [31.25]
    assert report.plot(axes) is axes
    pyplot.close(axes.figure)


def test_plot_without_measured_errors_says_so() -> None:
    with pytest.raises(ValueError, match="no error was measured"):
        Report((NORM,)).plot()
