# SPDX-License-Identifier: BSD-3-Clause
"""Fast reader preference over the window: the board never waits for the host, which counts what it missed."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

import pyffpf
from compat_tests.netns import wait_until
from ixp_driver.control import BoardStatus, Session
from ixp_driver.host.cost import MODES
from ixp_driver.host.counting import set_mode
from ixp_driver.host.running import RunningBoard, running

PBUF_BYTES = 65536  # of the board: many times less than the capture has
LOOPS = 10
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where boards of this test are found, also by this process."""
    monkeypatch.setenv("FFPF_IXP_DIR", str(tmp_path))
    monkeypatch.setenv("FFPF_ENGINE", "embedded")
    return tmp_path


def status() -> BoardStatus:
    with Session("ixp0") as session:
        return session.status()


def played(board: RunningBoard) -> None:
    """Waits until the board's port has ended."""
    assert board.process.poll() is None
    wait_until(lambda: status().ports[0].state == "ended", "the port to end", WAIT_S)


def packets_of(path: Path) -> list[bytes]:
    with pyffpf.open(path) as capture:
        return [bytes(packet.data) for packet in capture]


def first(capture: pyffpf.Capture) -> list[bytes]:
    """One packet: from it on the reader is there, and late."""
    batch = capture.read_batch(1)
    assert batch is not None
    return [bytes(packet.data) for packet in batch]


@pytest.mark.parametrize("mode", MODES)
def test_a_late_reader_misses_packets_and_knows_how_many(folder: Path, imix: Path, mode: str) -> None:
    whole = packets_of(imix) * LOOPS
    with running(folder, f"pcap:{imix},loops={LOOPS}", bms="frp", params=[f"pbuf_bytes={PBUF_BYTES}"]) as board:
        set_mode(board, mode)
        with pyffpf.open("ixp0") as capture:
            got = first(capture)
            played(board)
            assert status().ports[0].no_room == 0  # it waited for nobody
            got += [bytes(packet.data) for packet in capture]
            stats = capture.statistics
    rest = iter(whole)
    assert all(packet in rest for packet in got)  # each whole, in order
    assert stats.delivered == len(got)
    assert stats.drops["lapped"] > 0
    assert stats.seen == len(whole) == stats.delivered + stats.dropped
    assert stats.dropped == stats.drops["lapped"]


def test_under_srp_the_same_reader_misses_none(folder: Path, imix: Path) -> None:
    whole = packets_of(imix) * LOOPS
    with (
        running(folder, f"pcap:{imix},loops={LOOPS}", bms="srp", params=[f"pbuf_bytes={PBUF_BYTES}"]),
        pyffpf.open("ixp0") as capture,
    ):
        got = first(capture)
        time.sleep(0.2)
        assert status().ports[0].state == "runs"  # it waits for this reader
        got += [bytes(packet.data) for packet in capture]
        assert capture.statistics.dropped == 0
    assert got == whole


def test_packets_read_in_place_are_told_when_they_were_overwritten(folder: Path, imix: Path) -> None:
    with running(folder, f"pcap:{imix},loops={LOOPS}", bms="frp", params=[f"pbuf_bytes={PBUF_BYTES}"]) as board:
        set_mode(board, MODES[0])  # the window itself is what is read
        with pyffpf.open("ixp0") as capture:
            batch = capture.read_batch(copy=False)
            assert batch is not None
            read = len(batch)
            assert read
            with pytest.raises(pyffpf.Lapped) as lapped, batch:
                assert batch.octets is not None
                played(board)
            assert list(lapped.value.rows) == list(range(read))
            late = sum(len(batch) for batch in capture.batches())
            stats = capture.statistics
    assert stats.drops["lapped"] >= read  # regression: they stayed delivered too
    assert stats.seen == len(packets_of(imix)) * LOOPS == stats.delivered + stats.dropped
    assert stats.delivered == late


def test_modes_change_while_packets_are_read_in_place(folder: Path, imix: Path) -> None:
    """What a copier takes over the window is whole, whatever way packets were read in before; counts add up."""
    whole = packets_of(imix) * LOOPS
    got: list[bytes] = []
    with (
        running(folder, f"pcap:{imix},loops={LOOPS}", bms="frp", params=["pbuf_bytes=262144"]) as board,
        pyffpf.open("ixp0") as capture,
    ):
        for number in itertools.count():
            set_mode(board, MODES[number // 3 % len(MODES)])
            taken, lost = [], set()
            batch = capture.read_batch(50, copy=False)
            if batch is None:
                break
            try:
                with batch:
                    taken = [bytes(packet.data) for packet in batch]
            except pyffpf.Lapped as lapped:
                lost = set(lapped.rows)
            got += [packet for row, packet in enumerate(taken) if row not in lost]
        stats = capture.statistics
    rest = iter(whole)
    assert all(packet in rest for packet in got)
    assert stats.delivered == len(got)
    assert stats.seen == len(whole) == stats.delivered + stats.dropped
