# SPDX-License-Identifier: BSD-3-Clause
"""What is read from the tables of benchmarks, kept, drawn and compared. No time is measured here."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from bench import compare, figures, measure, memory, plots
from bench.figures import Figure, Name, Run


def output(ns: str = "48.3 [48.2..51.3]") -> str:
    header = ["filter", "octets", "FFPF ns", "ratio", "lost"]
    rows = [["none", "64", ns, "3.23", "0 / 0"], ["none", "1500", "1,234.5 [1,200..1,300]", "", "12 %"]]
    twice = measure.table(["a", "b"], [["x", "5 us"], ["x", "6 us"]])
    return f"words\n\n{measure.table(header, rows)}\n\nmore\n\n{twice}\n"


def test_memory_of_what_is_gone_is_none() -> None:
    """Children of ffpfd that live for a moment ended the benchmark."""
    nothing = memory.Memory(0, 0, 0, 0)
    ended = subprocess.Popen(["true"])
    while Path(f"/proc/{ended.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert memory.memory_of([ended.pid]) == nothing, "a zombie"
    ended.wait()
    assert memory.processes_below(ended.pid) == [ended.pid]
    assert memory.memory_of([ended.pid]) == nothing
    assert memory.memory_of([os.getpid()]).pss > 1


def test_tables_become_figures() -> None:
    found = {str(one.name): one for one in figures.read("live", output())}
    assert found["live 1, none, 64: FFPF ns"] == Figure(Name("live", 1, "none, 64", "FFPF ns"), 48.3, 48.2, 51.3)
    assert found["live 1, none, 1500: FFPF ns"].median == 1234.5
    assert found["live 1, none, 1500: lost"].median == 12
    assert found["live 2, x: b"].median == 5
    assert found["live 2, x (2): b"].median == 6
    assert len(found) == 6  # "0 / 0" and the empty cell are none


def test_a_number_in_the_first_column_names_its_row() -> None:
    """As in the paper's figures 11 and 12, whose rows are rates and numbers of tools."""
    table = measure.table(["packets/s", "libpcap", "FFPF"], [["50,000", "78 [77..79]", "81"], ["100,000", "60", "70"]])
    assert [str(one.name) for one in figures.read("paper", table)] == [
        "paper 1, 50,000: libpcap", "paper 1, 50,000: FFPF", "paper 1, 100,000: libpcap", "paper 1, 100,000: FFPF",
    ]  # fmt: skip


def test_a_table_is_called_what_stands_above_it() -> None:
    assert figures.titles(output()) == ["words", "more"]


def run(at: float, ns: str, machine: str = "m", bench: str = "live", quick: bool = False) -> Run:
    return Run(at, machine, "abc", tuple(figures.read(bench, output(ns))), quick, (0.5, 1.5))


def test_history_is_kept_and_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "history.jsonl"
    assert figures.history(path) == []
    for one in (run(1.0, "48.3 [48.2..51.3]"), run(2.0, "50")):
        figures.keep(path, one)
    assert figures.history(path) == [run(1.0, "48.3 [48.2..51.3]"), run(2.0, "50")]
    path.write_text('{"time": 1, "machine": "m", "commit": "abc", "figures": [["live", 1, "a", "b", 2, 1, 3]]}\n')
    assert figures.history(path) == [Run(1, "m", "abc", (Figure(Name("live", 1, "a", "b"), 2, 1, 3),))]
    path.write_text('{"time": 1}\n')
    with pytest.raises(ValueError, match="no run of benchmarks"):
        figures.history(path)


def test_what_changed_beyond_its_spread_is_told() -> None:
    before = run(1.0, "48.3 [48.2..51.3]")
    report, changed = compare.compared([before, run(2.0, "60.0 [58.0..61.0]")], 0.1)
    assert "| live 1, none, 64: FFPF ns | 48.3 [48.2..51.3] | 60 [58..61] | 1.24" in report
    assert report.count("live 1") == 1
    assert changed
    for same in ("60.0 [50.0..61.0]", "51.5 [51.4..51.6]"):  # quartiles meet; less than a tenth
        report, changed = compare.compared([before, run(2.0, same)], 0.1)
        assert "none became another" in report
        assert not changed


@pytest.mark.parametrize(
    "other", [run(2.0, "99", machine="other"), run(2.0, "99", quick=True)], ids=["machine", "quick"]
)
def test_runs_of_other_machines_and_quick_ones_are_passed_over(other: Run) -> None:
    mine, now = run(1.0, "48.3"), run(3.0, "70")
    assert figures.earlier([mine, other]) == {}
    assert {peer.time for _, peer in figures.earlier([mine, other, now]).values()} == {1.0}
    assert "| 48.3 [48.3..48.3] | 70 [70..70]" in compare.compared([mine, other, now], 0.1)[0]
    for alone in ([mine], []):
        assert "nothing to compare" in compare.compared(alone, 0.1)[0]


def test_a_run_of_some_benchmarks_hides_no_run_of_all() -> None:
    both = figures.read("live", output("48.3")) + figures.read("hook", output("48.3"))
    every = Run(1.0, "m", "abc", tuple(both))
    now = Run(3.0, "m", "abc", tuple(both))
    found = figures.earlier([every, run(2.0, "50"), now])
    assert {(name.bench, peer.time) for name, (_, peer) in found.items()} == {("live", 2.0), ("hook", 1.0)}


def test_the_exit_code_tells_of_changes_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.jsonl"

    def code(*options: str) -> int:
        monkeypatch.setattr("sys.argv", ["compare", "--history", str(path), *options])
        return compare.main()

    assert code("--exit-code") == 0  # nothing to compare
    for one in (run(1.0, "48.3 [48.2..51.3]"), run(2.0, "60.0 [58.0..61.0]")):
        figures.keep(path, one)
    assert code() == 0
    assert code("--exit-code") == 3
    assert code("--exit-code", "--least", "0.5") == 0
    path.write_text("nonsense\n")
    assert code() == 1


def test_a_picture_for_each_table(tmp_path: Path) -> None:
    drawn = plots.draw(run(1.0, "48.3"), {("live", 1): "what it is"}, tmp_path)
    assert [path.name for path in drawn] == ["live-1.svg", "live-2.svg"]
    assert all(path.read_text().startswith("<?xml") for path in drawn)
    assert "<!-- live, 1: what it is -->" in drawn[0].read_text()
    assert "load average 0.5 to 1.5" in drawn[0].read_text()


def test_every_benchmark_of_the_recorded_results_is_read() -> None:
    """The tables of RESULTS.md are what the benchmarks print: each must have figures."""
    text = (measure.ROOT / "bench" / "RESULTS.md").read_text()
    count = sum(1 for _ in figures.tables(text))
    found = figures.read("all", text)
    assert count > 15
    assert {one.name.table for one in found} == set(range(1, count + 1))
