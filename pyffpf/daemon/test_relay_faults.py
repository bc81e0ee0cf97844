# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of packets that a worker hands on when something stands still, moves, dies or is taken away. Needs root
and eBPF."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from compat_tests.netns import Netns, wait_until
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.status import Status
from pyffpf.daemon.survival import Ffpfd as SurvivingFfpfd
from pyffpf.daemon.test_kernel import Ffpfd
from pyffpf.daemon.test_relay import numbered, read
from pyffpf.daemon.test_worker import CONFIG, GROUP, flow_at, graph_at, is_gone, text_of, workers
from pyffpf.daemon.testing import Tool
from pyffpf.errors import Denied, DeviceGone
from pyffpf.remote_flow import RemoteFlow

STALL = CONFIG.replace("[limits]", "stall_ms = 1000\n[limits]")
ONCE = "once=(dedup,window=10s)"


@pytest.fixture
def ns() -> Iterator[Netns]:
    with network() as made:
        yield made


@pytest.fixture
def running(ns: Netns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ffpfd]:
    with started(ns, tmp_path_factory, STALL) as made:
        yield made


class Sent:
    """Packets that say which they are, each once."""

    def __init__(self, ns: Netns) -> None:
        self._ns, self.count = ns, 0

    def more(self, packets: int, octets: int = 100) -> list[bytes]:
        made = numbered(packets, self.count, octets)
        self.count += packets
        self._ns.send(self._ns.right, made)
        return made


def until_read(reader: RemoteFlow) -> None:
    """All that comes without a pause."""
    while reader.read_batch(timeout=0.02):
        pass


def until(what: Callable[[], bool], sent: Sent, reader: RemoteFlow) -> None:
    """Sends, and reads, till then."""

    def look() -> bool:
        sent.more(200, 1000)
        until_read(reader)
        return what()

    wait_until(look, "what was waited for", 60)


def test_a_reader_that_stands_still_is_left_and_no_other_loses_for_it(ns: Netns, running: Ffpfd) -> None:
    """It is told, what it lost is counted, and the worker, which was held up, was not left behind."""
    with (
        flow_at(ns, running.path, text_of(ns, ONCE)) as still,
        graph_at(running.path) as graph,
        graph.flow(text_of(ns, ONCE)) as reads,
    ):
        sent = Sent(ns)
        for flow in (still, reads):
            flow.begin()
        first = sent.more(5)
        assert read(still, 5) == read(reads, 5) == first

        def left() -> bool:
            return still["once"].counters.dropped.get("evicted", 0) > 0

        until(left, sent, reads)
        with pytest.raises(Denied, match="left: it read too slowly, or not at all"):
            while True:
                still.read_batch(timeout=5)
        counters = still["once"].counters
        assert counters.packets_in == counters.packets_out + counters.filtered + sum(counters.dropped.values())
        lost, rounds = -1, 0

        def goes_on() -> bool:
            """Many packets, none of which is lost: the worker, which looks now and then, has seen what was read."""
            nonlocal lost, rounds
            until_read(reads)
            sent.more(100, 1000)
            until_read(reads)
            before, lost = lost, sum(reads["once"].counters.dropped.values())
            rounds = rounds + 1 if lost == before else 0
            return rounds == 10

        wait_until(goes_on, "ten rounds without a loss", 60)
        assert all("worker" not in flow.program or flow.state == "live" for flow in status(running).flows)


def test_it_goes_on_where_its_group_has_moved(ns: Netns, running: Ffpfd) -> None:
    """Because of a tool that stood still."""
    with (
        flow_at(ns, running.path, text_of(ns, ONCE)) as reads,
        graph_at(running.path) as graph,
        graph.flow(f'(device,{ns.left}) -> (BPF,"ip")') as still,
    ):
        sent = Sent(ns)
        for flow in (still, reads):
            flow.begin()
        for moves in (1, 2):
            until(partial(has_moved, running, moves), sent, reads)
            wait_until(lambda: not reads.read_batch(timeout=0.1), "all to be read")
            some = sent.more(50)
            assert read(reads, 50) == some
            while still.read_batch(timeout=0.1):  # it comes back, and stands still once more
                pass
        counters = reads["once"].counters
        assert counters.packets_in == counters.packets_out + sum(counters.dropped.values())


def has_moved(running: Ffpfd, times: int) -> bool:
    return status(running).groups[0].moves >= times


def status(running: Ffpfd) -> Status:
    with running.connect() as tool:
        assert isinstance(tool, Tool)
        return tool.status()


def test_whoever_reads_is_told_that_the_worker_was_killed(ns: Netns, running: Ffpfd) -> None:
    """Behind the last packet that it handed on."""
    with flow_at(ns, running.path, text_of(ns, ONCE)) as flow:
        flow.begin()
        sent = Sent(ns).more(8)
        wait_until(lambda: flow["once"].counters.packets_out == 8, "the packets")
        os.kill(workers(running)[0].pid, signal.SIGKILL)
        assert read(flow, 8) == sent
        with pytest.raises(Denied, match="the process that handed these packets on has ended"):
            flow.read_batch(timeout=20)

        def is_told() -> bool:
            try:
                flow.check()
            except Denied as denied:
                return (
                    str(denied)
                    == f"ffpfd has ended the flow: the worker of group {GROUP}, which ran nodes of it, has ended"
                )
            return False

        wait_until(is_told, "ffpfd to say so, too")
        with graph_at(running.path) as graph, graph.flow(text_of(ns, ONCE)) as again:
            again.begin()
            sent = Sent(ns).more(3)
            assert read(again, 3) == sent


def test_whose_right_has_ended_sees_no_later_packet(ns: Netns, running: Ffpfd) -> None:
    with (
        flow_at(ns, running.path, text_of(ns, ONCE)) as flow,
        graph_at(running.path) as graph,
        graph.flow(text_of(ns, ONCE)) as other,
    ):
        for one in (flow, other):
            one.begin()
        sent = Sent(ns)
        first = sent.more(4)
        assert read(flow, 4) == read(other, 4) == first
        moves = status(running).groups[0].moves
        with running.connect() as administrator:
            administrator.ask("revoke", flow=flow.parts[0].id, reason="enough of it")
        later = sent.more(4)
        assert read(other, 4) == later
        with pytest.raises(Denied):
            while True:
                assert not flow.read_batch(timeout=20)
        assert status(running).groups[0].moves == moves + 1


def test_what_comes_while_it_is_paused_is_not_handed_on(ns: Netns, running: Ffpfd) -> None:
    """Though another flow has the node on; and what it reads late goes back to the kernel all the same."""
    with (
        flow_at(ns, running.path, text_of(ns, ONCE)) as pauses,
        graph_at(running.path) as graph,
        graph.flow(text_of(ns, ONCE)) as other,
    ):
        sent = Sent(ns)
        for flow in (pauses, other):
            flow.begin()
        first = sent.more(6)
        wait_until(lambda: pauses["once"].counters.packets_out == 6, "the packets")
        pauses.pause()
        more = sent.more(6)
        assert read(other, 12) == first + more
        assert read(pauses, 6) == first
        pauses.activate()
        last = sent.more(6)
        assert read(other, 6) == last == read(pauses, 6)


@pytest.mark.live
def test_it_is_read_while_ffpfd_is_killed_and_the_next_one_goes_on_with_it(ns: Netns, tmp_path: Path) -> None:
    ffpfd = SurvivingFfpfd(ns, tmp_path, '[buffers]\nbytes = "512 KiB"\nstall_ms = 1000\n')
    ffpfd.start()
    ffpfd.wait_ready()
    text = text_of(ns, ONCE)
    sent = Sent(ns)
    with flow_at(ns, ffpfd.socket, text) as flow:
        flow.begin()
        (worker,) = workers(ffpfd)
        for life in (1, 2):
            some = sent.more(20)
            assert read(flow, 20) == some
            ffpfd.kill()
            some = sent.more(20)
            assert read(flow, 20) == some
            ffpfd.start()
            ffpfd.wait_ready(adoptions=life)
            some = sent.more(20)
            assert read(flow, 20) == some
        assert flow["once"].counters.packets_in == flow["once"].counters.packets_out == sent.count
        with (
            graph_at(ffpfd.socket) as graph,
            graph.flow(text) as joined,
            graph_at(ffpfd.socket) as apart,
            apart.flow(f"(device,{ns.left})") as still,  # nothing drives its graph
        ):
            for one in (joined, still):
                one.begin()
            some = sent.more(20)
            assert read(joined, 20) == read(flow, 20) == some

            def moved() -> bool:
                until_read(flow)
                return ffpfd.status().groups[0].moves > 0

            until(moved, sent, joined)  # the lanes of all, with those that the worker writes to
            for one in (joined, flow):
                wait_until(lambda one=one: not one.read_batch(timeout=0.1), "all to be read")
            some = sent.more(20)
            assert read(joined, 20) == read(flow, 20) == some
    wait_until(lambda: is_gone(worker.pid), "the end of the worker")
    ffpfd.stop()


def test_nobody_waits_for_a_reader_under_frp(ns: Netns, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It finds out what it lost."""
    with (
        started(ns, tmp_path_factory, STALL.replace("[limits]", 'bms = "frp"\n[limits]')) as running,
        flow_at(ns, running.path, text_of(ns, ONCE)) as still,
        graph_at(running.path) as graph,
        graph.flow(text_of(ns, ONCE)) as reads,
    ):
        sent = Sent(ns)
        for flow in (still, reads):
            flow.begin()
        first = sent.more(5)
        assert read(still, 5) == read(reads, 5) == first
        for _ in range(20):
            some = sent.more(100, 1000)
            assert read(reads, 100) == some
        assert read(still, 50)[-1] == some[-1]
        counters = still["once"].counters
        assert counters.dropped["lapped"] > 0
        assert counters.packets_in == counters.packets_out + sum(counters.dropped.values()) == sent.count


def test_an_interface_that_goes_is_told(ns: Netns, running: Ffpfd) -> None:
    with flow_at(ns, running.path, text_of(ns, ONCE)) as flow:
        flow.begin()
        sent = Sent(ns).more(3)
        assert read(flow, 3) == sent
        ns.ip("link", "del", ns.left)
        with pytest.raises(DeviceGone):
            while True:
                assert not flow.read_batch(timeout=20)
