# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd killed under load: running captures lose nothing, and the next one serves old and new clients alike."""

from __future__ import annotations

import collections
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from compat_tests.netns import Netns, wait_until
from pyffpf.cli.control import ControlError
from pyffpf.daemon.survival import (
    Ffpfd,
    Sender,
    bpf_objects,
    check_unbroken,
    descriptors,
    exists,
    frame,
    holder_pid,
    numbers,
    tcpdump,
    wait_listening,
)
from pyffpf.daemon.testing import Tool

T = TypeVar("T")
# ffpfd, but it kills itself when a group's move has come to a step
DIES = """
import os, signal, sys
from pyffpf.cli import ffpfd

def all_sources(config):
    from pyffpf._core import ffi, lib  # starts threads: not before rights are dropped
    from pyffpf.daemon.kernel_capture import KernelSource

    @ffi.callback("int(void *, const char *)")
    def on_step(_, name):
        if ffi.string(name) == b"STEP":
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    class Dies(KernelSource):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._on_step = on_step
            lib.ffpf_kernel_on_step(self.handle, on_step, ffi.NULL)

    from pyffpf.daemon import kernel_engine
    kernel_engine.KernelSource = Dies
    return made(config)

made, ffpfd.all_sources = ffpfd.all_sources, all_sources
sys.exit(ffpfd.main())
"""
KILLS = int(os.environ.get("FFPF_TEST_KILLS", "5"))  # of ffpfd
CLIENT_KILLS = int(os.environ.get("FFPF_TEST_CLIENT_KILLS", "50"))
AT_ONCE = 5
NOTHING = bytes.fromhex("0600000000000000")  # BPF's ret #0
RATE = 5000


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.mark.live
def test_no_packet_is_lost_over_kills(ns: Netns, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ffpfd = Ffpfd(ns, tmp_path)
    ffpfd.start()
    ffpfd.wait_ready(adoptions=0)
    old = tcpdump(ns, ffpfd.socket, tmp_path, "old", "ether", "proto", "0x88b5")
    wait_listening(tmp_path, "old")
    with Sender(ns, ns.right, RATE) as sender:
        sender.wait_more(RATE // 10)
        between = []
        for turn in range(KILLS):
            # Comes while ffpfd is there, is not, or takes over: asks this one, the next, or nobody.
            between.append(tcpdump(ns, ffpfd.socket, tmp_path, f"between{turn}", "-c", "20", engine="auto"))
            time.sleep(chance.random() * 0.6)
            if turn % 4 == 3:
                ffpfd.stop(signal.SIGUSR1)
            else:
                ffpfd.kill()
            sender.wait_more(RATE // 20)
            ffpfd.start()
            if chance.random() < 0.5:  # killed again, perhaps while it takes over
                time.sleep(chance.random() * 0.6)
                ffpfd.kill()
                ffpfd.start()
            status = ffpfd.wait_ready()
            assert "tcpdump" in [flow.program for flow in status.flows] and status.adoptions > turn, ffpfd.said()
            new = tcpdump(ns, ffpfd.socket, tmp_path, f"new{turn}", "-c", "20")
            assert new.wait(30) == 0, (tmp_path / f"new{turn}.err").read_text()
        for turn, process in enumerate(between):
            assert process.wait(30) == 0, (tmp_path / f"between{turn}.err").read_text()
        sender.wait_more(RATE // 10)
    wait_until(lambda: len(ffpfd.status().flows) == 1, "nobody's flows to be closed", 20)
    check_unbroken(tmp_path, "old", old, sender.sent - 1)
    ffpfd.stop()


@pytest.mark.live
@pytest.mark.parametrize("step", ["marked", "moved"])
def test_killed_while_a_group_moves(ns: Netns, tmp_path: Path, step: str) -> None:
    """Since a right ended: who lost it sees nothing later, the other tool of the group loses nothing."""
    ffpfd = Ffpfd(ns, tmp_path)
    ffpfd.start("-c", DIES.replace("STEP", step))
    ffpfd.wait_ready(adoptions=0)
    stays = tcpdump(ns, ffpfd.socket, tmp_path, "stays")
    wait_listening(tmp_path, "stays")
    goes = tcpdump(ns, ffpfd.socket, tmp_path, "goes")
    wait_listening(tmp_path, "goes")
    with Sender(ns, ns.right, RATE) as sender:
        wait_until(lambda: numbers(tmp_path / "goes.pcap"), "a packet")
        last = max(flow.id for flow in ffpfd.status().flows)
        with ffpfd.connect("ends it") as tool, pytest.raises(ControlError):
            assert isinstance(tool, Tool)
            tool.do("revoke", flow=last, reason="enough")
        ended_at = sender.sent
        sender.wait_more(RATE // 10)
        ffpfd.start()
        status = ffpfd.wait_ready(adoptions=1)
        assert [(group.flows, group.moves) for group in status.groups] == [(1, 1)]
        sender.wait_more(RATE // 10)
    check_unbroken(tmp_path, "stays", stays, sender.sent - 1)
    assert goes.wait(20) != 0
    assert 0 < numbers(tmp_path / "goes.pcap")[-1] <= ended_at
    assert "is moved" not in ffpfd.said(), "what was prepared is finished, not moved again"
    ffpfd.stop()


def settled(number: Callable[[], T]) -> T:
    """What number() gives once it has given it ten times in a row."""
    last, times = number(), 1
    while times < 10:
        time.sleep(0.02)
        now = number()
        last, times = now, times + 1 if now == last else 1
    return last


@pytest.mark.live
def test_killed_clients_leave_nothing(ns: Netns, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ffpfd = Ffpfd(ns, tmp_path)
    ffpfd.start()
    ffpfd.wait_ready()
    with ffpfd.connect("stays") as staying, Sender(ns, ns.right, RATE):
        assert isinstance(staying, Tool)
        with staying.open(ns.left) as flow:
            staying.set_filter(flow["flow"], NOTHING).close()  # a reader that does not read would be given more buffers

        def only_who_stays() -> bool:
            return [flow.program for flow in ffpfd.status().flows] == ["stays"]

        holder = holder_pid(ffpfd.socket.with_name("holder.sock"))
        pids = (ffpfd.pid, holder)
        wait_until(only_who_stays, "the first flow")
        before = settled(lambda: [descriptors(pid) for pid in pids])  # without what asking for the status took
        seen: set[tuple[str, int]] = set()
        for turn in range(0, CLIENT_KILLS, AT_ONCE):
            clients = [tcpdump(ns, ffpfd.socket, tmp_path, f"c{turn}.{n}", "udp", "or", "arp") for n in range(AT_ONCE)]
            for client in clients:
                time.sleep(chance.random() * 0.3)
                seen |= bpf_objects(ffpfd.pid)
                client.kill()
            for client in clients:
                client.wait(20)
        wait_until(only_who_stays, "the end of the killed clients' flows", 60)
        more: list[collections.Counter[str]] = []

        def none_more() -> bool:
            more[:] = [after - then for after, then in zip(map(descriptors, pids), before, strict=True)]
            return not any(more)

        try:
            wait_until(none_more, "their descriptors to be closed", 20)
        except AssertionError as error:
            error.add_note(f"there are more than before, in ffpfd and its holder: {more}")
            raise
        held = bpf_objects(ffpfd.pid)
        gone = seen - held
        assert len(gone) > CLIENT_KILLS // 5, "hardly a client had come so far as to have a flow"
        wait_until(lambda: not any(exists(*one) for one in gone), "their maps and programs to go", 20)
        assert all(exists(*one) for one in held)
    ffpfd.stop()
    wait_until(lambda: not any(exists(*one) for one in seen | held), "everything to go", 20)


@pytest.mark.live
def test_what_is_shown_is_true(ns: Netns, tmp_path: Path) -> None:
    """Status and metrics of a running ffpfd, over a number of packets that is known; also after it was replaced."""
    metrics = tmp_path / "metrics.sock"
    ffpfd = Ffpfd(ns, tmp_path, f'[metrics]\nsocket = "{metrics}"\n')
    ffpfd.start()
    ffpfd.wait_ready()
    ours = tcpdump(ns, ffpfd.socket, tmp_path, "ours", "ether", "proto", "0x88b5")
    nothing = tcpdump(ns, ffpfd.socket, tmp_path, "nothing", "udp")
    for name in ("ours", "nothing"):
        wait_listening(tmp_path, name)
    ns.send(ns.right, (frame(number) for number in range(1000)))
    wait_until(lambda: len(numbers(tmp_path / "ours.pcap")) == 1000, "all packets", 20)
    ffpfd.kill()
    ffpfd.start()
    status = ffpfd.wait_ready(adoptions=1)
    (source,), (group,) = status.sources, status.groups
    assert (source.packets, group.records, group.flows) == (1000, 1000, 2)
    assert {program.name for program in source.programs} >= {"hook", "classify", "store"}
    assert all(program.instructions > 0 for program in source.programs)
    by_pid = {flow.pid: flow for flow in status.flows}
    assert (by_pid[ours.pid].seen, by_pid[ours.pid].delivered, by_pid[ours.pid].waiting) == (1000, 1000, 0)
    assert (by_pid[nothing.pid].seen, by_pid[nothing.pid].filtered) == (1000, 1000)
    for flow in status.flows:
        assert flow.seen == flow.filtered + flow.delivered + flow.waiting + sum(flow.dropped.values())
    nothing.kill()
    wait_until(lambda: len(ffpfd.status().flows) == 1, "the killed flow to go", 20)
    shown = scrape(metrics)
    labels = {"source": ns.left, "group": group.name}
    assert shown[sample("ffpf_packets_seen_total", **labels)] == 2000
    assert shown[sample("ffpf_packets_filtered_total", **labels)] == 1000
    assert shown[sample("ffpf_packets_delivered_total", **labels)] == 1000
    assert shown[sample("ffpf_flows", level="kernel", **labels)] == 1
    assert shown[sample("ffpf_adoptions")] == 1
    assert shown[sample("process_start_time_seconds")] == pytest.approx(status.started_at)
    ffpfd.stop()
    assert not metrics.exists()


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def scrape(path: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(20)
        asking.connect(str(path))
        asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
    families = openmetrics.text_string_to_metric_families(reply.partition("\r\n\r\n")[2])  # type: ignore[no-untyped-call]
    return {sample(one.name, **one.labels): one.value for family in families for one in family.samples}
