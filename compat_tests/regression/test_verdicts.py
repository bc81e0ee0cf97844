# SPDX-License-Identifier: BSD-3-Clause
"""What the matrix makes of two runs: each kind of comparison finds what it is there for, and nothing else does."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from compat_tests.capture_files import (
    BLOCK_STATISTICS,
    PcapFormat,
    PcapngFile,
    Record,
    block,
    interface,
    option,
    section,
)
from compat_tests.harness import FFPF, STOCK, Outcome, Run, Side, Stats
from compat_tests.live import Pair
from compat_tests.regression import cell as cells
from compat_tests.regression import traffic
from compat_tests.regression.cell import Cell, Trial, Verdict, judged
from compat_tests.regression.engines import Served
from compat_tests.regression.journal import Journal
from compat_tests.regression.measure import Measured
from compat_tests.regression.tools import Tool, named

CELL = Cell(traffic.Group("g", (traffic.Capture(Path("g.pcap"), (bytes(60),) * 4),)), 1500, "embedded")
SERVED = Served("embedded", {})
(WRITER,) = named(["tcpdump -w"])
PACKETS = [Record(bytes([number]) * 60, seconds=5, fraction=number * 10) for number in range(5)]


def words(received: int, dropped: int) -> bytes:
    return f"{received} packets received by filter\n{dropped} packets dropped by kernel\n".encode()


def outcome(
    side: Side, packets: Sequence[Record] = PACKETS, received: int = 5, dropped: int = 0, stats: str | None = None
) -> Outcome:
    made = Outcome(side, ("tcpdump",), Path(), stderr=words(received, dropped))
    made.files["out"] = PcapFormat().file(packets)
    if side is FFPF:
        said = stats or f"engine=embedded handles=1 seen={received} filtered=0 delivered={received} dropped=0"
        made.stats.append(Stats.parse(said))
    return made


def verdict_of(stock: Outcome, ffpf: Outcome, tool: Tool = WRITER) -> Verdict:
    return judged(CELL, tool, (stock, ffpf), SERVED, "left")


def test_equal_runs_are_the_same() -> None:
    assert verdict_of(outcome(STOCK), outcome(FFPF)).verdict == "same"


def changed(number: int, **fields: object) -> list[Record]:
    packets = list(PACKETS)
    packets[number] = dataclasses.replace(packets[number], **fields)  # type: ignore[arg-type]
    return packets


@pytest.mark.parametrize(
    ("packets", "detail", "decoded"),
    [
        (PACKETS[:-1], "5 packets .* on stock, 4 ", r"packet 5 of the run .*\(no packet\)"),
        ([*PACKETS, PACKETS[-1]], "5 packets .* on stock, 6 ", "packet 6 of the run"),
        (changed(2, data=bytes(60)), "packet 3 .* differs at octet 0", r"packet 3 of the run \(packet 3 of g.pcap\)"),
        (changed(2, wire_len=61), "packet 3 .* wire 60 on stock, 61 on ffpf", "61 octets on the wire"),
        (changed(2, fraction=21), "packet 3 .* fraction 20 on stock, 21 on ffpf", "packet 3 of the run"),
        ([*PACKETS[:3], PACKETS[4], PACKETS[3]], "packet 4 .* fraction 30 on stock, 40", "packet 4 of the run"),
    ],
    ids=["packet missing", "packet twice", "octet", "length", "time", "order"],
)
def test_what_differs_in_packets_is_found_and_decoded(packets: list[Record], detail: str, decoded: str) -> None:
    found = verdict_of(outcome(STOCK), outcome(FFPF, packets))
    assert found.verdict == "different"
    assert re.search(detail, found.detail)
    assert re.search(decoded, found.decoded, re.S)
    backwards = sum(one.fraction > other.fraction for one, other in itertools.pairwise(packets))
    octets = sum(packet.lengths[1] for packet in packets)
    assert found.ffpf == Measured(len(packets), octets, backwards)


SAID = {  # a number of packets, as the tool says it
    "tcpdump -w": ("stderr", b"N packets received by filter\n"),
    "tcpdump -v": ("stderr", b"N packets dropped by kernel\n"),
    "dumpcap": (
        "stderr",
        b"Packets received/dropped on interface 'left': N/0 (pcap:0/dumpcap:0/flushed:0/ps_ifdrop:0)\n",
    ),
    "tshark": ("stderr", b"N packets captured\n"),
    "softflowd": ("stdout", b"Packets received by libpcap: N\nPackets dropped by libpcap: 0\n"),
    "pypcap": ("stdout", b"ready\nreceived N dropped 0\n"),
    "pcapy-ng": ("stdout", b"ready\nreceived 5 dropped N\n"),
    "pyffpf": ("stdout", b"ready\nreceived N dropped 0\n"),
    "snort DAQ": ("stdout", b"stats 0 hw received N hw dropped 0 received 5\nstop 0\n"),
}


@pytest.mark.parametrize("name", SAID)
def test_statistics_that_a_tool_says_are_compared(name: str) -> None:
    (tool,) = named([name])
    stream, said = SAID[name]
    for number, verdict in ((b"0", "same"), (b"1", "different")):
        stock, ffpf = outcome(STOCK), outcome(FFPF)
        setattr(stock, stream, said.replace(b"N", b"0"))
        setattr(ffpf, stream, said.replace(b"N", number))
        assert verdict_of(stock, ffpf, tool).verdict == verdict


def test_statistics_in_a_pcapng_file_are_compared() -> None:
    """Of a statistics block the times are the tool's own clock; the counts are not."""
    (tool,) = named(["dumpcap"])

    def counted(side: Side, received: int, clock: int) -> Outcome:
        made = outcome(side)
        options = (
            option("<", 2, bytes([clock]) * 8) + option("<", 4, received.to_bytes(8, "little")) + option("<", 0, b"")
        )
        statistics = block("<", BLOCK_STATISTICS, bytes(4) + bytes([clock]) * 8 + options)
        made.files["out"] = PcapngFile().add(section(), interface(), statistics).bytes()
        return made

    assert verdict_of(counted(STOCK, 5, 1), counted(FFPF, 5, 2), tool).verdict == "same"
    assert verdict_of(counted(STOCK, 5, 1), counted(FFPF, 6, 2), tool).verdict == "different"


@pytest.mark.parametrize(
    ("stats", "why"),
    [
        ("engine=shared handles=1 seen=5 filtered=0 delivered=5 dropped=0", "engine shared, not embedded"),
        ("engine=embedded handles=1 seen=5 filtered=0 delivered=4 dropped=0", "seen != filtered"),
        ("engine=embedded handles=0 seen=0 filtered=0 delivered=0 dropped=0", "no handle was FFPF's"),
    ],
)
def test_a_run_that_was_not_ffpfs_fails(stats: str, why: str) -> None:
    found = verdict_of(outcome(STOCK), outcome(FFPF, stats=stats))
    assert found.verdict == "failed"
    assert why in found.detail


@pytest.mark.parametrize(("stock", "ffpf", "verdict"), [(-6, -6, "crashed"), (-11, 0, "crashed"), (0, -6, "different")])
def test_a_tool_that_crashes_on_stock_has_nothing_to_compare(stock: int, ffpf: int, verdict: str) -> None:
    """As argus, which frees what it may not on some packets of ARP. What crashes on FFPF alone is a difference."""
    runs = outcome(STOCK), outcome(FFPF)
    for run, code in zip(runs, (stock, ffpf), strict=True):
        run.returncode = code
    assert verdict_of(*runs).verdict == verdict


def test_where_stock_lost_packets_the_others_are_compared() -> None:
    lossy = outcome(STOCK, [*PACKETS[:2], *PACKETS[3:]], dropped=1)
    found = verdict_of(lossy, outcome(FFPF))
    assert (found.verdict, found.detail) == ("losses", "lost on stock: 1, on ffpf: 0")
    for packets, why in (
        ([PACKETS[1], PACKETS[0], *PACKETS[2:]], "stand in another order"),
        ([*PACKETS, PACKETS[0]], "another number of times"),
        (changed(0, data=bytes([9]) * 60), "2 packets are missing on stock, which lost 1"),
        (PACKETS[1:], "1 packets are missing on ffpf, which lost 0"),
    ):
        found = verdict_of(outcome(STOCK, [*PACKETS[:2], *PACKETS[3:]], dropped=1), outcome(FFPF, packets))
        assert found.verdict == "different"
        assert why in found.detail


def test_what_did_not_reach_the_engine_is_not_its_loss() -> None:
    """As what a board's port lost; but no more than that may lack."""
    for lost, verdict in ((1, "losses"), (0, "different")):
        found = judged(CELL, WRITER, (outcome(STOCK), outcome(FFPF, PACKETS[1:])), SERVED, "left", lost)
        assert found.verdict == verdict
    found = judged(CELL, WRITER, (outcome(STOCK), outcome(FFPF, PACKETS[2:])), SERVED, "left", 1)
    assert found.verdict == "different"
    assert "2 packets are missing on ffpf, which lost 1" in found.detail


def test_losses_of_ffpf_alone_are_a_difference() -> None:
    stats = "engine=embedded handles=1 seen=5 filtered=0 delivered=4 dropped=1"
    found = verdict_of(outcome(STOCK), outcome(FFPF, PACKETS[1:], dropped=1, stats=stats))
    assert (found.verdict, found.detail.splitlines()[0]) == ("different", "lost on stock: 0, on ffpf: 1")


@pytest.mark.parametrize("dropped", [0, 1])
def test_a_last_packet_that_comes_with_the_next_one_is_no_equality(dropped: int) -> None:
    """Unless packets were lost, of which it may be one."""
    stats = f"engine=embedded handles=1 seen=5 filtered=0 delivered={5 - dropped} dropped={dropped}"
    outcomes = (outcome(STOCK), outcome(FFPF, stats=stats))

    class Ended(Pair):
        def finish(self, seconds: float = 20) -> tuple[Outcome, Outcome]:
            return outcomes

    run = Run(["true"], STOCK)
    trial = Trial(WRITER, "left", Ended(WRITER.case, (run, run)))
    trial.attempt(trial.finish_late)
    run.discard()
    assert trial.failed == ("" if dropped else "FFPF lost nothing, and handed over the last packet when the next came")


SAME, LOSSES, CRASHED, DIFFERENT, FAILED = cells.VERDICTS


@pytest.mark.parametrize(
    ("tool", "turns", "verdict", "said"),
    [
        ("tcpdump -w", [SAME], SAME, ""),
        ("tcpdump -w", [DIFFERENT, SAME], SAME, "alone; beside the others different: turn 0"),
        ("tcpdump -w", [LOSSES, LOSSES, SAME], LOSSES, "turn 1; the same at 375 packets/s"),
        ("tcpdump -w", [DIFFERENT, DIFFERENT, SAME], DIFFERENT, "turn 1"),
        ("ngrep", [DIFFERENT, DIFFERENT, SAME], LOSSES, "turn 1; the same at 375 packets/s"),
        ("ngrep", [DIFFERENT, DIFFERENT, DIFFERENT, SAME], LOSSES, "turn 1; the same at 100 packets/s"),
        ("ngrep", [DIFFERENT] * 4, DIFFERENT, "at 100 packets/s, alone: turn 3"),
        ("tcpdump -w", [LOSSES] * 4, LOSSES, "at 100 packets/s, alone: turn 3"),
        ("tcpdump -w", [FAILED, FAILED], FAILED, "turn 1"),
        ("argus", [CRASHED, SAME], SAME, "alone; beside the others crashed: turn 0"),
        ("argus", [CRASHED, CRASHED], CRASHED, "turn 1"),
    ],
)
def test_what_is_not_the_same_is_run_again(
    monkeypatch: pytest.MonkeyPatch, tool: str, turns: list[str], verdict: str, said: str
) -> None:
    """Alone, then slowly: only what stock loses by itself excuses a difference."""
    left = iter([Verdict(CELL, tool, kind, detail="" if kind == SAME else f"turn {i}") for i, kind in enumerate(turns)])
    monkeypatch.setattr(cells, "run_once", lambda cell, chosen: iter([next(left)]))
    (found,) = cells.run_cell(CELL, named([tool]))
    assert (found.verdict, found.detail, found.cell) == (verdict, said, CELL)
    assert not list(left)


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "verdicts.jsonl"
    first = Verdict(
        CELL, "tcpdump -w", "different", Measured(1, 60, 0), Measured(), "<detail>", "decoded", "again", 1499
    )
    with Journal(path, resume=False) as journal:
        journal.add([first], 7.5)
    path.write_text(path.read_text() + '{"cell": "half of a line')
    with Journal(path, resume=True) as journal:
        assert journal.of([CELL]) == {CELL: [first]}
        assert journal.of([dataclasses.replace(CELL, pps=5)]) == {}
        second = dataclasses.replace(first, tool="ngrep")
        journal.add([first, second], 9.5)
    with Journal(path, resume=True) as journal:
        assert journal.of([CELL]) == {CELL: [first, second]}
        assert journal.seconds == 9.5
    with Journal(path, resume=False) as journal:
        assert journal.of([CELL]) == {}
