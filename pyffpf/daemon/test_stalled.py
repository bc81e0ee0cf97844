# SPDX-License-Identifier: BSD-3-Clause
"""A tool that is stopped, or reads a little now and then, beside one that reads: unmodified tcpdumps on one capture
under SRP."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests.netns import Netns, wait_until
from pyffpf.daemon.survival import Ffpfd, Sender, numbers, tcpdump, wait_listening

RATE = 20_000
CONFIG = '[buffers]\nbytes = "8 MiB"\nstall_ms = {}\n'  # a second of packets, in each lane


class Trickle:
    """Takes what a tool writes to a FIFO: a little at a time, until it is let go. All of it is in the file `path`."""

    OCTETS, EVERY_S = 32768, 0.05  # 5,600 packets a second: batches are given back all the time

    def __init__(self, fifo: Path, path: Path) -> None:
        os.mkfifo(fifo)
        self._fifo, self._path = fifo, path
        self._let_go = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._fifo.open("rb", buffering=0) as source, self._path.open("wb", buffering=0) as sink:
            while piece := source.read(self.OCTETS):
                sink.write(piece)
                self._let_go.wait(self.EVERY_S)

    def let_go(self) -> None:
        self._let_go.set()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def states(ffpfd: Ffpfd) -> list[str]:
    return [flow.state for flow in ffpfd.status().flows]


@pytest.mark.live
def test_a_stopped_tool_stops_others_for_a_while_and_goes_on_where_it_was(ns: Netns, tmp_path: Path) -> None:
    ffpfd = Ffpfd(ns, tmp_path, CONFIG.format(500))
    ffpfd.start()
    ffpfd.wait_ready()
    stopped = tcpdump(ns, ffpfd.socket, tmp_path, "stopped")
    wait_listening(tmp_path, "stopped")
    reads = tcpdump(ns, ffpfd.socket, tmp_path, "reads")
    wait_listening(tmp_path, "reads")
    with Sender(ns, ns.right, RATE) as sender:
        sender.wait_more(RATE // 10)
        os.kill(stopped.pid, signal.SIGSTOP)
        wait_until(lambda: sorted(states(ffpfd)) == ["live", "parked"], "the stopped one to be left behind", 30)
        left_at = sender.sent
        sender.wait_more(RATE)
        os.kill(stopped.pid, signal.SIGCONT)
        wait_until(lambda: states(ffpfd) == ["live", "live"], "it to be back", 30)
        back_at = sender.sent
        sender.wait_more(RATE // 5)
    last = sender.sent - 1
    for name, process in (("stopped", stopped), ("reads", reads)):
        wait_until(lambda name=name: numbers(tmp_path / f"{name}.pcap")[-1:] == [last], f"packet {last} at {name}", 30)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    ffpfd.stop()

    found = numbers(tmp_path / "stopped.pcap")
    assert all(one < other for one, other in itertools.pairwise(found))  # nothing torn, doubled, or out of order
    assert set(range(back_at, last + 1)) <= set(found)
    found = numbers(tmp_path / "reads.pcap")
    assert all(one < other for one, other in itertools.pairwise(found))
    assert set(range(left_at, last + 1)) <= set(found)  # once the other was left behind, it lost nothing


@pytest.mark.live
def test_a_tool_that_reads_a_little_all_the_time_does_not_stop_others_for_ever(ns: Netns, tmp_path: Path) -> None:
    ffpfd = Ffpfd(ns, tmp_path, CONFIG.format(1500))
    ffpfd.start()
    ffpfd.wait_ready()
    reads = tcpdump(ns, ffpfd.socket, tmp_path, "reads")
    wait_listening(tmp_path, "reads")
    trickle = Trickle(tmp_path / "slow.pcap", tmp_path / "slow.all.pcap")
    slow = tcpdump(ns, ffpfd.socket, tmp_path, "slow")
    wait_listening(tmp_path, "slow")
    with Sender(ns, ns.right, RATE) as sender:
        wait_until(lambda: sorted(states(ffpfd)) == ["live", "parked"], "the slow one to be left behind", 30)
        left_at = sender.sent
        sender.wait_more(RATE)
        assert "it read too slowly" in ffpfd.said()
        trickle.let_go()
        wait_until(lambda: states(ffpfd) == ["live", "live"], "it to be back", 30)
        back_at = sender.sent
        sender.wait_more(RATE // 5)
    last = sender.sent - 1
    for name, process in (("slow.all", slow), ("reads", reads)):
        wait_until(lambda name=name: numbers(tmp_path / f"{name}.pcap")[-1:] == [last], f"packet {last} at {name}", 30)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    trickle.join()
    ffpfd.stop()

    found = numbers(tmp_path / "slow.all.pcap")
    assert all(one < other for one, other in itertools.pairwise(found))  # nothing torn, doubled, or out of order
    assert set(range(back_at, last + 1)) <= set(found)
    assert set(range(left_at, last + 1)) <= set(numbers(tmp_path / "reads.pcap"))
