# SPDX-License-Identifier: BSD-3-Clause
"""The judge itself: it fails where it must. Without these, a library that is not loaded would pass every comparison."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from compat_tests import harness, pcapfile
from compat_tests.harness import FFPF, STOCK, Case, Expect, Outcome, Stats

GOOD = "engine=embedded handles=1 seen=5 filtered=2 delivered=3 dropped=0 filter=jit program=x pid=1"


def savefile(*packets: bytes) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(struct.pack("<IIII", 1, i, len(p), len(p)) + p for i, p in enumerate(packets))


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "three.pcap"
    path.write_bytes(savefile(bytes(60), bytes(range(60)), bytes(64)))
    return path


def outcome(**changes: object) -> Outcome:
    base = Outcome(FFPF, ("tool",), Path(), stats=[Stats.parse(GOOD)])
    return replace(base, **changes)  # type: ignore[arg-type]


def test_stock_compared_with_stock_fails(capture: Path) -> None:
    argv = ["tcpdump", "-nn", "-r", str(capture)]
    first, second = harness.run(argv, STOCK), harness.run(argv, STOCK)
    assert not harness.differences(first, second)
    with pytest.raises(AssertionError, match="FFPF did not serve this run"):
        harness.assert_same(first, second)


def test_a_preload_that_is_not_loaded_fails(capture: Path) -> None:
    absent = harness.Side("ffpf", Path("/nonexistent/libffpfpcap.so"))
    argv = ["tcpdump", "-nn", "-r", str(capture)]
    with pytest.raises(AssertionError, match=r"FFPF did not serve this run|stderr"):
        harness.assert_same(harness.run(argv, STOCK), harness.run(argv, absent))


def test_a_batch_of_stock_fails(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "FFPF", STOCK)
    with pytest.raises(AssertionError, match="1 of 1 differ"):
        harness.assert_all_same([Case(("tcpdump", "-nn", "-r", str(capture)))])


def test_an_empty_batch_fails() -> None:
    with pytest.raises(AssertionError, match="empty batch"):
        harness.assert_all_same([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"returncode": 1}, "exit code 0 on stock, 1 on ffpf"),
        ({"stdout": b"a\nb\n"}, "stdout: 0 lines on stock, 2 on ffpf"),
        ({"stderr": b"x"}, "stderr: 0 lines on stock, 1 on ffpf"),
        ({"files": {"out": b""}}, "file out: only on ffpf"),
        ({"stats": []}, "did not serve"),
        ({"stats": [Stats.parse(GOOD.replace("seen=5", "seen=6"))]}, "seen != filtered"),
        ({"stats": [Stats.parse(GOOD.replace("embedded", "system"))]}, "engine system, not embedded"),
        ({"stats": [Stats.parse(GOOD.replace("handles=1", "handles=0"))]}, "no handle was FFPF's"),
    ],
)
def test_every_difference_fails(change: dict[str, object], words: str) -> None:
    harness.assert_same(outcome(side=STOCK, stats=[]), outcome())
    with pytest.raises(AssertionError, match=words):
        harness.assert_same(outcome(side=STOCK, stats=[]), outcome(**change))


@pytest.mark.parametrize(("expect", "words"), [(Expect(seen=4), "seen=5, not 4"), (Expect(delivered=2), "delivered=3")])
def test_counters_that_were_asked_for_are_checked(expect: Expect, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        harness.assert_served(outcome(), expect)


@pytest.mark.parametrize("lost", ["handles", "seen", "filtered", "delivered", "dropped", "engine"])
def test_a_stats_line_without_a_counter_fails(lost: str) -> None:
    with pytest.raises(AssertionError, match=f"no {lost}="):
        Stats.parse(GOOD.replace(f"{lost}=", "other="))


def test_a_hang_fails(capture: Path) -> None:
    run = harness.Run(["sleep", "600"], STOCK)
    with pytest.raises(AssertionError, match=r"no end after 0\.1 s"):
        run.finish(timeout=0.1)
    assert not run.base.exists()


def test_the_first_difference_is_named() -> None:
    base = [bytes(60), bytes(60), bytes(60)]
    assert "packet 2 at octet 100: differs at octet 7" in harness.first_difference(
        savefile(*base), savefile(base[0], bytes(7) + b"\1" + bytes(52), base[2])
    )
    assert "captured 60 on stock, 61 on ffpf" in harness.first_difference(
        savefile(*base), savefile(base[0], base[1], bytes(61))
    )
    assert "3 packets (252 octets) on stock, 2" in harness.first_difference(savefile(*base), savefile(*base[:2]))
    assert "line 2" in harness.first_difference(b"a\nb\n", b"a\nc\n")
    assert len(list(pcapfile.records(savefile(*base)))) == 3
