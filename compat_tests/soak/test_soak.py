# SPDX-License-Identifier: BSD-3-Clause
"""The soak in short: a clean one finds nothing, one with a fault finds it; what judges it, by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compat_tests.harness import ROOT
from compat_tests.soak import leaks, report
from compat_tests.soak.kinds import kinds, savefile_of
from compat_tests.soak.numbers import HEAD, Counted, Numbers, Seen, Stay, among, findings
from compat_tests.soak.numbers import heads_of_savefile as heads_of
from compat_tests.soak.scenario import Sample

PACKETS = 100


def run(tmp_path: Path, minutes: float, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, report, and what it said."""
    argv = [sys.executable, "-m", "compat_tests.soak", f"--minutes={minutes}", "--report", str(tmp_path / "report")]
    done = subprocess.run([*argv, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    path = tmp_path / "report" / "report.json"
    assert path.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    return done.returncode, json.loads(path.read_text()), done.stdout


@pytest.mark.live
def test_tools_that_join_and_leave_one_ffpfd_leave_nothing_and_lose_nothing(tmp_path: Path) -> None:
    code, result, said = run(tmp_path, 0.45, "--round=8")
    assert (code, result["findings"]) == (0, []), said
    assert result["restarts"] >= 1 and result["rounds"] >= 2 and result["sent"] > 1000
    assert {kind.name for kind in kinds(tmp_path)} - set(result["tallies"]) == set(), "kinds that never came"
    assert sum(tally["packets"] for tally in result["tallies"].values()) > 1000
    assert (tmp_path / "report" / "soak.svg").exists()


@pytest.mark.live
@pytest.mark.parametrize(
    ("fault", "found"),
    [("descriptor", "'ffpfd: descriptors'"), ("packet", "packets, and {} are counted as delivered")],
)
def test_a_fault_is_found(tmp_path: Path, fault: str, found: str) -> None:
    code, result, said = run(tmp_path, 0.15, "--round=3", "--patience=1", f"--fault={fault}")
    assert code == 1, said
    before, _, behind = found.partition("{}")
    assert any(before in finding and behind in finding for finding in result["findings"]), said


def sample(at: int, **changes: Any) -> Sample:
    rest = Sample(at * 50.0, 0, 0, 0, at * 20, 70, 40_000, 50, 8_000, 1.0, True)
    return replace(rest, **changes)


def test_memory_that_grows_with_every_tool_is_a_finding() -> None:
    steady = [sample(at, memory_kib=40_000 + 900 * (at % 3)) for at in range(60)]
    assert report.memory_findings(steady) == []
    leaking = [sample(at, holder_memory_kib=8_000 + 15 * at * 20) for at in range(60)]  # 15 KiB a tool
    (found,) = report.memory_findings(leaking)
    assert "memory of holder grew from" in found
    (_, holder) = report.growths(leaking)
    assert holder.per_tool_kib == pytest.approx(15)


def test_another_ffpfd_has_another_heap() -> None:
    lives = [sample(at, life=at // 12, memory_kib=40_000 + 20_000 * (at // 12)) for at in range(36)]
    assert [growth.process for growth in report.growths(lives)] == ["ffpfd 1", "ffpfd 2", "ffpfd 3", "holder"]
    assert report.memory_findings(lives) == []


def test_more_of_anything_than_at_first_is_a_leak_but_of_threads_below_what_the_pools_may_have() -> None:
    first = {"ffpfd: descriptors": 70, "ffpfd: threads": 4, "ffpfd: memory, KiB": 40_000, "files: temporary": 3}
    assert leaks.grown(first, first | {"ffpfd: threads": leaks.THREADS, "ffpfd: memory, KiB": 90_000}) == {}
    more = first | {"ffpfd: descriptors": 71, "ffpfd: threads": leaks.THREADS + 1, "files: temporary": 2}
    assert leaks.grown(first, more) == {"ffpfd: descriptors": (70, 71), "ffpfd: threads": (4, leaks.THREADS + 1)}


def test_descriptors_objects_and_processes_of_a_process_are_seen() -> None:
    pid = os.getpid()
    before = leaks.descriptors(pid)
    fd = os.memfd_create("left-over")
    try:
        assert leaks.descriptors(pid) - before == {"/memfd:left-over": 1}
    finally:
        os.close(fd)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert leaks.descendants(leaks.processes(), pid) >= {child.pid}
    assert leaks.memory_kib(pid) > 1000


def test_a_descriptor_that_is_closed_meanwhile_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, one that went hid all that came after it, and what was there all along was a leak the next time."""
    texts: Iterator[str | OSError] = iter(
        ["map_id:\t7\n", OSError("closed"), "pos:\t0\nprog_id:\t9\n", "link_id:\t3\n"]
    )

    def read_text(_: Path) -> str:
        text = next(texts)
        if isinstance(text, OSError):
            raise text
        return text

    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / str(fd) for fd in range(4)]))
    monkeypatch.setattr(Path, "read_text", read_text)
    assert leaks.objects_of(1) == {("map", 7), ("prog", 9), ("link", 3)}


def test_a_savefile_that_was_cut_short_is_read_to_its_last_whole_packet() -> None:
    content = savefile_of(PACKETS)
    with pytest.raises(ValueError, match="that is not cut at 96"):
        heads_of(content[: len(content) // 24 * 24], whole=False)
    assert heads_of(b"", whole=False).shape == (0, 96)
    with pytest.raises(ValueError, match="no savefile"):
        heads_of(b"", whole=True)


def heads(numbers: list[int], stream: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    found = np.zeros((len(numbers), HEAD), np.uint8)
    found[:, 42:47] = np.frombuffer(b"FFPF#", np.uint8)
    found[:, 53] = stream
    found[:, 54:62] = np.array(numbers, ">u8").view(np.uint8).reshape(-1, 8)
    return found


def seen(*batches: list[int], step: int = 1, rest: int = 0) -> Seen:
    found = Seen(step, rest)
    for numbers in batches:
        found.take(heads(numbers))
    return found


def test_what_is_missing_is_counted_and_what_cannot_be_is_said() -> None:
    assert seen([5, 6, 7], [8, 11]).streams == {0: Numbers(5, 11, 5, 2)}
    assert seen([5, 9], [13, 25], step=4, rest=1).streams == {0: Numbers(5, 25, 4, 2)}
    assert seen([5, 6], [6, 7]).wrong == ["stream 0: 6 follows 6"]
    assert seen([5, 4]).wrong == ["stream 0: 4 follows 5"]
    assert seen([4, 6], step=2, rest=1).wrong == ["stream 0: numbers that its filter turns away"]
    foreign = Seen()
    foreign.take(np.zeros((3, HEAD), np.uint8))
    assert foreign.wrong == ["3 packets that nobody sent"] and foreign.count == 0


def test_numbers_that_leave_a_rest() -> None:
    for begin, end, step, rest in ((0, 10, 1, 0), (3, 17, 4, 1), (5, 5, 2, 1), (1, 2, 2, 1), (2, 3, 2, 1)):
        assert among(begin, end, step, rest) == sum(number % step == rest for number in range(begin, end))


LOADED = Stay(before={0: 10}, ready={0: 15}, leave={0: 90}, gone={0: 100}, rested=False)
RESTED = Stay(before={0: 10}, ready={0: 10}, leave={0: 100}, gone={0: 100}, rested=True)


@pytest.mark.parametrize(
    ("numbers", "counted", "stay", "found"),
    [
        ([*range(12, 95)], Counted(85, 83, 0), LOADED, ""),
        ([*range(12, 40), *range(50, 95)], Counted(83, 73, 10), LOADED, ""),
        ([*range(12, 40), *range(50, 95)], Counted(83, 73, 9), LOADED, "misses 10 to 17 packets, and 9 are"),
        ([*range(12, 95)], Counted(85, 83, 8), LOADED, "misses 0 to 7 packets, and 8 are"),
        ([*range(12, 95)], Counted(85, 82, 0), LOADED, "has 83 packets, and 82 are counted as delivered"),
        ([*range(12, 95)], Counted(91, 83, 0), LOADED, "75 to 90 packets came, and 91 are counted as seen"),
        ([*range(9, 95)], Counted(), LOADED, "9 to 94, and it was there from 10 to 100"),
        ([*range(18, 95)], Counted(85, 77, 0), LOADED, "misses 3 to 13 packets, and 0 are"),
        ([*range(10, 100)], Counted(90, 90, 0), RESTED, ""),
        ([*range(10, 99)], Counted(90, 89, 1), RESTED, ""),
        ([*range(10, 99)], Counted(90, 89, 0), RESTED, "misses 1 to 1 packets, and 0 are"),
        ([*range(10, 100)], Counted(89, 90, 0), RESTED, "90 to 90 packets came, and 89 are counted as seen"),
        ([], Counted(90, 0, 90), RESTED, ""),
        ([], Counted(90, 0, 89), RESTED, "misses 90 to 90 packets, and 89 are"),
    ],
)
def test_counters_must_fit_the_numbers(numbers: list[int], counted: Counted, stay: Stay, found: str) -> None:
    what = findings(seen(numbers) if numbers else Seen(), counted, stay)
    assert (what == []) if not found else (len(what) == 2 and found in what[0]), what
