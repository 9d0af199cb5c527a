"""The benchmark harness: candidates take turns, and the table says what was measured."""

import pytest
import torch

from quintet_testing.bench import Table, compare, machine, threads


def test_candidates_take_turns() -> None:
    calls: list[str] = []
    timings = compare(
        {"ours": lambda: calls.append("ours"), "peer": lambda: calls.append("peer")},
        seconds=0,
        sample_seconds=0,
    )
    assert set(timings) == {"ours", "peer"} and all(time > 0 for time in timings.values())
    # The order turns around every round: ours, peer, peer, ours, ours, …
    assert calls[-4:] in (["ours", "peer", "peer", "ours"], ["peer", "ours", "ours", "peer"])


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_the_table_shows_ratio_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("linear", peer="fbgemm")
    table.add("1x2x3", {"ours": 1e-3, "fbgemm": 2e-3}, operations=5e9, steps="T=2")
    table.add("4x5x6", {"ours": 4e-6, "fbgemm": 2e-6})
    table.print()
    shown = capsys.readouterr().out
    for cell in ("1x2x3", "1.00 ms", "2.00", "0.50", "5000", "T=2", machine().split(",")[0]):
        assert cell in shown
    assert table.geometric_mean() == pytest.approx(1)


def test_a_table_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="fbgemm"):
        Table("linear", peer="fbgemm").add("1x2x3", {"ours": 1.0})
