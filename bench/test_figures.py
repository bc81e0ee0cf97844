# SPDX-License-Identifier: BSD-3-Clause
"""What is read from the tables of benchmarks, kept and compared. No time is measured here."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as runner
from bench import compare, figures, measure, plots
from bench.figures import Figure, Name, Run


def output(ns: str = "48.3 [48.2..51.3]") -> str:
    header = ["filter", "octets", "FFPF ns", "ratio", "lost"]
    rows = [["none", "64", ns, "3.23", "0 / 0"], ["none", "1500", "1,234.5 [1,200..1,300]", "", "12 %"]]
    twice = measure.table(["a", "b"], [["x", "5 us"], ["x", "6 us"]])
    return f"words\n\n{measure.table(header, rows)}\n\nmore\n\n{twice}\n"


def test_tables_become_figures() -> None:
    found = {str(one.name): one for one in figures.read("live", output())}
    assert found["live 1, none, 64: FFPF ns"] == Figure(Name("live", 1, "none, 64", "FFPF ns"), 48.3, 48.2, 51.3)
    assert found["live 1, none, 1500: FFPF ns"].median == 1234.5
    assert found["live 1, none, 1500: lost"].median == 12
    assert found["live 2, x: b"].median == 5
    assert found["live 2, x (2): b"].median == 6
    assert len(found) == 6  # "0 / 0" and the empty cell are none


def run(at: float, ns: str, machine: str = "m") -> Run:
    return Run(at, machine, "abc", tuple(figures.read("live", output(ns))))


def test_history_is_kept_and_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "history.jsonl"
    assert figures.history(path) == []
    for one in (run(1.0, "48.3 [48.2..51.3]"), run(2.0, "50")):
        figures.keep(path, one)
    assert figures.history(path) == [run(1.0, "48.3 [48.2..51.3]"), run(2.0, "50")]
    path.write_text('{"time": 1}\n')
    with pytest.raises(ValueError, match="no run of benchmarks"):
        figures.history(path)


def test_what_changed_beyond_its_spread_is_told() -> None:
    before = run(1.0, "48.3 [48.2..51.3]")
    report = compare.report([before, run(2.0, "60.0 [58.0..61.0]")], 0.1)
    assert "| live 1, none, 64: FFPF ns | 48.3 [48.2..51.3] | 60 [58..61] | 1.24" in report
    assert report.count("live 1") == 1
    for same in ("60.0 [50.0..61.0]", "51.5 [51.4..51.6]"):  # quartiles meet; less than a tenth
        assert "none became another" in compare.report([before, run(2.0, same)], 0.1)


def test_runs_of_another_machine_are_passed_over() -> None:
    mine, other = run(1.0, "48.3"), run(2.0, "99", machine="other")
    assert compare.pair([mine, other]) is None
    assert compare.pair([mine, other, run(3.0, "70")]) == (mine, run(3.0, "70"))
    assert "nothing to compare" in compare.report([mine], 0.1)
    assert "nothing to compare" in compare.report([], 0.1)


def test_a_picture_for_each_table(tmp_path: Path) -> None:
    drawn = plots.draw(figures.read("live", output()), tmp_path)
    assert [path.name for path in drawn] == ["live-1.svg", "live-2.svg"]
    assert all(path.read_text().startswith("<?xml") for path in drawn)


def test_every_benchmark_of_the_recorded_results_is_read() -> None:
    """The tables of RESULTS.md are what the benchmarks print: each must have figures."""
    text = (measure.ROOT / "bench" / "RESULTS.md").read_text()
    count = sum(1 for _ in figures.tables(text))
    found = figures.read("all", text)
    assert count > 15
    assert {one.name.table for one in found} == set(range(1, count + 1))


def test_a_run_leaves_report_figures_and_history(tmp_path: Path) -> None:
    runner.keep(output(), figures.read("live", output()), tmp_path)
    assert (tmp_path / "report.txt").read_text() == output()
    (kept,) = figures.history(tmp_path / compare.HISTORY.name)
    assert kept == Run.of((tmp_path / "figures.json").read_text())
    assert len(kept.figures) == 6
