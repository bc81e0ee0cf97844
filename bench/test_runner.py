# SPDX-License-Identifier: BSD-3-Clause
"""`python -m bench`: what a run of benchmarks leaves, also when some of them fail. No time is measured here."""

from __future__ import annotations

import importlib
import signal
from pathlib import Path

import pytest

from bench import __main__ as runner
from bench import compare, figures, latency, measure
from bench.__main__ import Bench
from bench.figures import Run

PRINTS = """
from bench import measure
print("a table\\n")
print(measure.table(["what", "ns"], [["one", "5 [4..6]"]]), flush=True)
"""


@pytest.fixture
def benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the real ones: good, failing, killed, and endless."""
    ends = {
        "good": "",
        "failing": "raise SystemExit(3)",
        "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "endless": "import subprocess; subprocess.run(['sleep', '3600'])",
    }
    (tmp_path / "modules").mkdir()
    for name, end in ends.items():
        (tmp_path / "modules" / f"bench_test_{name}.py").write_text(PRINTS + end)
    monkeypatch.setattr(runner, "BENCHES", {name: Bench(f"bench_test_{name}") for name in ends})
    monkeypatch.setattr(runner, "MODULES", (*runner.MODULES, tmp_path / "modules"))
    return tmp_path / "kept"


def test_a_run_leaves_report_figures_pictures_and_history(benches: Path) -> None:
    assert runner.main(["--keep", str(benches), "good"]) == 0
    (kept,) = figures.history(benches / compare.HISTORY.name)
    assert kept == Run.of((benches / "figures.json").read_text())
    assert [str(one.name) for one in kept.figures] == ["good 1, one: ns"]
    assert (kept.machine, kept.quick) == (measure.machine(), False)
    assert "| one  | 5 [4..6] |" in (benches / "report.txt").read_text()
    assert [path.name for path in (benches / "plots").iterdir()] == ["good-1.svg"]


def test_one_that_fails_loses_neither_its_own_figures_nor_the_others(benches: Path) -> None:
    names = ["failing", "killed", "good"]
    assert runner.main(["--keep", str(benches), *names]) == 1
    (kept,) = figures.history(benches / compare.HISTORY.name)
    assert [one.name.bench for one in kept.figures] == names
    report = (benches / "report.txt").read_text()
    assert "failed: failing: exit code 3\n" in report
    assert f"failed: killed: exit code {-signal.SIGKILL}\n" in report
    assert "failed: good" not in report


def test_one_that_does_not_end_is_ended(benches: Path) -> None:
    assert runner.main(["--keep", str(benches), "--limit", "1", "endless", "good"]) == 1
    report = (benches / "report.txt").read_text()
    assert "failed: endless: took longer than 1 s\n" in report
    assert "failed: good" not in report


NO_BENCHES = {"__main__", "compare", "filter_to_c", "follow_reader", "latency_reader"}


def test_every_module_that_is_a_benchmark_is_run() -> None:
    found = {path.stem for path in (measure.ROOT / "bench").glob("*.py") if "\ndef main(" in path.read_text()}
    assert found - NO_BENCHES == {bench.module.removeprefix("bench.") for bench in runner.BENCHES.values()}
    assert all(hasattr(importlib.import_module(bench.module), "main") for bench in runner.BENCHES.values())


def test_quick_runs_measure(tmp_path: Path) -> None:
    """Some that say most of the whole: a file, memory, the first packet."""
    names = ["offline", "memory", "first_packet"]
    assert runner.main(["--quick", "--keep", str(tmp_path), *names]) == 0, (tmp_path / "report.txt").read_text()
    (kept,) = figures.history(tmp_path / compare.HISTORY.name)
    assert kept.quick
    assert list(dict.fromkeys(one.name.bench for one in kept.figures)) == names


def test_latency_is_measured_in_each_engine_and_drawn(tmp_path: Path) -> None:
    options = ["--quick", "--keep", str(tmp_path), "latency", "--only", "immediate"]
    assert runner.main(options) == 0, (tmp_path / "report.txt").read_text()
    (kept,) = figures.history(tmp_path / compare.HISTORY.name)
    rows = {one.name.row for one in kept.figures if one.name.column == "most" and one.median > 0}
    assert rows == {name for name in latency.READERS if "immediate" in name}
    assert (tmp_path / "plots" / "latency.svg").read_text().startswith("<?xml")
