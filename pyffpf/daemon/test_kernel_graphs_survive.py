# SPDX-License-Identifier: BSD-3-Clause
"""Graphs over kills of ffpfd, as it is run, under load: what they count and deliver has no gap."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_tests.netns import Netns, wait_until
from fpl.graph import kept
from fpl.graph.node import Node
from pyffpf.daemon.survival import (
    ETHERTYPE,
    HEADER_BYTES,
    NUMBER,
    Ffpfd,
    Sender,
    check_unbroken,
    tcpdump,
    wait_listening,
)
from pyffpf.daemon.survival import frame as numbered
from pyffpf.daemon.test_kernel import IPV4, frames
from pyffpf.remote_flow import RemoteFlow
from pyffpf.remote_graph import RemoteGraph
from pyffpf.shared_flow import SharedFlow, graphs

OURS = f"ether proto {ETHERTYPE}"
OCTETS = 100
RATE = 5000

pytestmark = pytest.mark.live


@pytest.fixture
def ns() -> Iterator[Netns]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Netns() as made:
        wait_until(lambda: made.is_up(made.left), "the interface")
        yield made


@pytest.fixture
def ffpfd(ns: Netns, tmp_path: Path) -> Iterator[Ffpfd]:
    made = Ffpfd(ns, tmp_path)
    made.start()
    made.wait_ready(adoptions=0)
    yield made
    made.stop()


def flow_at(ffpfd: Ffpfd, nodes: list[Node], source: str = "") -> SharedFlow:
    with ffpfd.ns.entered():
        flow = SharedFlow(source or ffpfd.ns.left, socket=ffpfd.socket)
    flow.instantiate(nodes)
    return flow


def graphs_of(ffpfd: Ffpfd) -> int:
    with ffpfd.ns.entered():
        return len(graphs(ffpfd.socket))


def monitor(source: str) -> list[Node]:
    return [
        Node("device", source), Node("BPF", OURS, (0,)), Node("packetcount", "", (1,), name="n"),
        Node("bytecount", "", (1,), name="b"),
        Node("histogram", f"of=len bins=4 from=0 to={4 * OCTETS}", (1,), name="h"),
        Node("topk", "k=4 of=eth.src", (1,), name="k"),
    ]  # fmt: skip


class Reading:
    """Reads the numbers of what a flow delivers, until the last has come; a context manager."""

    def __init__(self, flow: RemoteFlow) -> None:
        self.found: list[int] = []
        self._flow, self._end = flow, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.is_set():
            batch = self._flow.read_batch(timeout=0.05)
            assert batch is not None
            self.found += [NUMBER.unpack_from(data, HEADER_BYTES)[0] for data in batch.datas]

    def __enter__(self) -> Reading:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def check_unbroken(self, last: int) -> None:
        wait_until(lambda: self.found[-1:] == [last], f"packet {last}", 20)
        odd = [(one, other) for one, other in itertools.pairwise(self.found) if other != one + 1]
        assert not odd and self.found[0] == 0, f"{len(odd)} gaps from {self.found[0]}: {odd[:10]}"


def test_nothing_is_missed_over_kills(ns: Netns, ffpfd: Ffpfd, tmp_path: Path) -> None:
    text = f'(device,{ns.left}) -> (BPF,"{OURS}") -> n=(packetcount) -> (BPF,"greater 50")'
    with ns.entered():
        graph = RemoteGraph(socket=ffpfd.socket, promisc=False)
        delivers = RemoteFlow(text, graph=graph).instantiate().activate()
    with graph, contextlib.closing(delivers), flow_at(ffpfd, monitor(ns.left)) as counts:
        counts.activate()
        idle = flow_at(ffpfd, monitor(ns.left))
        dies = flow_at(ffpfd, [Node("device", ns.left), Node("sampler", "2", (0,))])
        dies.activate()
        with Reading(delivers) as reading, Sender(ns, ns.right, RATE) as sender:
            for turn in range(3):
                sender.wait_more(RATE // 10)
                ffpfd.kill()
                if turn == 0:
                    dies.close()
                sender.wait_more(RATE // 10)
                ffpfd.start()
                ffpfd.wait_ready(adoptions=turn + 1)
                wait_until(lambda: graphs_of(ffpfd) == 3, "the dead one's flow to go")
                # as any other flow of the source: new ones join, old ones are steered
                with flow_at(ffpfd, [*monitor(ns.left), Node("first_n", "3", (1,), name="f")]) as joins:
                    joins.activate()
                    assert [state.shared for state in joins.counters()] == [True] * 6 + [False]
                    sender.wait_more(RATE // 50)
                    assert joins.counters()[6].came
                    assert int(joins.mbuf("n")["packets"]) >= int(counts.mbuf("n")["packets"]) - RATE
                idle.activate()
                idle.pause()
                delivers.check()
        sent = sender.sent
        wait_until(lambda: int(counts.mbuf("n")["packets"]) == sent, f"{sent} packets to be counted")
        states = counts.counters()
        assert [(state.came, state.out) for state in states[2:]] == [(sent, sent)] * 4
        assert states[1].out == sent
        assert int(counts.mbuf("b")["bytes"]) == OCTETS * sent
        assert counts.mbuf("h")["counts"].tolist() == [0, sent, 0, 0]
        assert int(counts.mbuf("k")["total"]) == sent
        assert delivers["n"].mbuf["packets"] == sent
        with ns.entered():
            with Reading(delivers) as rest:
                reading.found += rest.found
            reading.check_unbroken(sent - 1)
        for flow in (counts, delivers):
            flow.pause()
        ns.send(ns.right, (numbered(number) for number in range(20)))
        assert int(counts.mbuf("n")["packets"]) == sent, "who pauses counts no more"
        idle.close()
    wait_until(lambda: not ffpfd.status().sources, "the source to be closed")


def damage_format(document: dict[str, Any]) -> None:
    """A later version's, of nodes."""
    for source in document["sources"]:
        engine = json.loads(source["engine"])
        engine["stage"]["format"] = kept.FORMAT + 1
        source["engine"] = json.dumps(engine)


def damage_text(document: dict[str, Any]) -> None:
    for graph in document["graphs"]:
        graph["text"] = 7


@pytest.mark.parametrize("damage", [damage_format, damage_text])
def test_graphs_that_are_not_understood_end_and_captures_go_on(
    ns: Netns, ffpfd: Ffpfd, tmp_path: Path, damage: Any
) -> None:
    capture = tcpdump(ns, ffpfd.socket, tmp_path, "stays")
    wait_listening(tmp_path, "stays")
    delivering = [*monitor(ns.left), Node("BPF", "greater 50", (1,))]
    with flow_at(ffpfd, delivering) as lost, Sender(ns, ns.right, RATE) as sender:
        lost.activate()
        sender.wait_more(RATE // 20)
        ffpfd.kill()
        ffpfd.start("-c", DAMAGES.replace("DAMAGE", damage.__name__))
        ffpfd.wait_ready(adoptions=1)
        assert lost.next_event() == {"event": "adopted"}
        said = lost.next_event()
        assert (said["event"], said["flow"]) == ("revoked", lost.id)
        assert "to be instantiated again: " in said["reason"], said
        before = int(lost.mbuf("n")["packets"])
        with flow_at(ffpfd, delivering) as again:
            again.activate()
            sender.wait_more(RATE // 20)
            assert int(again.mbuf("n")["packets"]) > 0
        assert int(lost.mbuf("n")["packets"]) == before, "nodes that ended count no more"
        sender.wait_more(RATE // 20)
    check_unbroken(tmp_path, "stays", capture, sender.sent - 1)
    ns.send(ns.right, frames(IPV4, 1))


# ffpfd, but what the one before left is not what it was
DAMAGES = """
import json, sys
from pyffpf.cli import ffpfd
from pyffpf.daemon import saved

def damaged(document, loads=saved.loads):
    from pyffpf.daemon.test_kernel_graphs_survive import DAMAGE  # starts threads: not before rights are dropped
    parsed = json.loads(document)
    DAMAGE(parsed)
    return loads(json.dumps(parsed).encode())

saved.loads = damaged
sys.exit(ffpfd.main())
"""
