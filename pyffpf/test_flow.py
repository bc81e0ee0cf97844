# SPDX-License-Identifier: BSD-3-Clause
"""Flows from Python: states, reading, errors, threads and processes. Packets are counted by hand, not by FFPF."""

from __future__ import annotations

import gc
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyffpf
from compat_tests.netns import Netns
from pyffpf.compose import bpf, device, packetcount
from pyffpf.errors import BadGraph, Busy, WrongState
from pyffpf.flow import Flow
from pyffpf.graph import Graph, default_graph
from pyffpf.graph_text import check_text
from pyffpf.testing_flows import TCP, UDP, frames, is_tcp, savefile, text


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return savefile(tmp_path)


@pytest.fixture
def graph() -> Iterator[Graph]:
    with Graph() as made:
        yield made


# ---- reading ----


def test_packets_of_a_flow(graph: Graph, capture: Path) -> None:
    with graph.flow(text(capture, "(BPF,tcp)")) as flow:
        assert flow.state == "active"
        got = [bytes(packet) for packet in flow]
    assert got == [frame for frame in frames() if is_tcp(frame)]
    assert flow.state == "closed"


def test_a_composed_flow_reads_the_same(graph: Graph, capture: Path) -> None:
    part = device(capture) >> (bpf("udp") | bpf("tcp port 80")) >> packetcount(name="all")
    with graph.flow(part) as flow:
        assert [packet.len for packet in flow] == [len(frame) for frame in frames()]
        assert flow["all"].mbuf["packets"] == TCP + UDP


def test_batches_have_times_and_results(graph: Graph, capture: Path) -> None:
    with graph.flow(text(capture, "(sampler,2)")) as flow:
        batches = list(flow.batches(5))
    assert all(1 <= len(batch) <= 5 for batch in batches)
    rows = np.concatenate([batch.rows for batch in batches])
    with pyffpf.open(capture) as source:
        expected = source.read_batch()
    assert expected is not None
    assert rows["ts_ns"].tolist() == expected["ts_ns"][1::2].tolist()
    assert rows["len"].tolist() == expected["len"][1::2].tolist()
    assert b"".join(bytes(batch.view(n)) for batch in batches for n in range(len(batch))) == b"".join(frames()[1::2])


def test_any_node_can_be_read(graph: Graph, capture: Path) -> None:
    with graph.flow(text(capture, "a=(BPF,tcp) -> b=(sampler,3)")) as flow:
        for node in flow.nodes:
            node.begin()
        assert graph.run().ended
        counts = [sum(len(batch) for batch in node.batches()) for node in flow.nodes]
        assert counts == [TCP + UDP, TCP, TCP // 3]
        assert flow["a"].reader["let_through"] == TCP == flow["a"].reader["delivered"]


def test_wait_for_packets(graph: Graph, capture: Path) -> None:
    with graph.flow(text(capture, "(BPF,udp)")) as flow:
        assert flow.begin().wait(5) >= 5
        batch = flow.read_batch(5)
        assert batch is not None and len(batch) == 5
        assert flow.wait(1000, timeout=20) == UDP - 5


def test_callbacks(graph: Graph, capture: Path) -> None:
    calls: list[int] = []
    with graph.flow(text(capture, "u=(BPF,udp)")) as flow:
        flow["u"].on_packets(lambda batch: calls.append(len(batch)), 5)
        graph.run()
    assert sum(calls) == UDP and calls[0] >= 5


def test_a_callback_that_raises_ends_the_run(graph: Graph, capture: Path) -> None:
    def fail(batch: pyffpf.Batch) -> None:
        raise ZeroDivisionError("in the callback")

    with graph.flow(text(capture, "(BPF,udp)")) as flow:
        flow.on_packets(fail)
        with pytest.raises(ZeroDivisionError, match="in the callback"):
            graph.run()
        assert graph.run().ended  # it is gone


def test_a_callback_that_has_enough(graph: Graph, capture: Path) -> None:
    seen: list[int] = []

    def once(batch: pyffpf.Batch) -> bool:
        seen.append(len(batch))
        return False

    with graph.flow(text(capture, "(BPF,tcp)")) as flow:
        flow.on_packets(once)
        graph.run()
    assert len(seen) == 1


# ---- states ----

MOVES: dict[str, Callable[[Flow], object]] = {
    "populate": lambda flow: flow.populate("(device,hook:x)"),
    "instantiate": lambda flow: flow.instantiate(),
    "activate": lambda flow: flow.activate(),
    "pause": lambda flow: flow.pause(),
    "read": lambda flow: flow.read_batch(timeout=0),
    "counters": lambda flow: flow[0].counters,
}
MAY = {
    "created": {"populate"},
    "populated": {"populate", "instantiate"},
    "instantiated": {"activate", "read", "counters"},
    "active": {"pause", "read", "counters"},
    "paused": {"activate", "read", "counters"},
    "closed": set(),
}  # fmt: skip


def in_state(graph: Graph, state: str) -> Flow:
    flow = graph.flow()
    way = ["created", "populated", "instantiated", "active", "paused"]
    steps = [lambda: flow.populate("(device,hook:x) -> (packetcount)"), flow.instantiate, flow.activate, flow.pause]
    for step in steps[: way.index(state)] if state in way else []:
        step()
    if state == "closed":
        flow.close()
    assert flow.state == state
    return flow


@pytest.mark.parametrize("state", MAY)
@pytest.mark.parametrize("move", MOVES)
def test_the_state_table(graph: Graph, state: str, move: str) -> None:
    graph.hook("x")
    flow = in_state(graph, state)
    if move in MAY[state]:
        MOVES[move](flow)
    elif move == "counters" and state == "created":
        with pytest.raises(IndexError):
            MOVES[move](flow)
    else:
        with pytest.raises(WrongState, match=state):
            MOVES[move](flow)
        assert flow.state == state
    flow.close()
    flow.close()
    assert flow.state == "closed"


def test_steps_can_be_chained(graph: Graph, capture: Path) -> None:
    flow = Flow(text(capture, "(packetcount)"), name="mine", graph=graph).instantiate().activate()
    assert repr(flow) == "<Flow 'mine' active>" and flow.name == "mine"
    assert graph.run() == (TCP + UDP, True)
    assert flow["packetcount"].counters.packets_in == TCP + UDP
    flow.close()


def test_pause(graph: Graph) -> None:
    hook = graph.hook("h")
    with graph.flow("(device,hook:h) -> (packetcount)") as flow:
        hook.handle(frames()[:3])
        flow.pause()
        hook.handle(frames()[:5])
        flow.activate()
        hook.handle(frames()[0])
        assert flow["packetcount"].mbuf["packets"] == 4


def test_a_failure_leaves_it_populated(graph: Graph, tmp_path: Path) -> None:
    flow = graph.flow(f'(device,"{tmp_path}/none.pcap") -> (packetcount)')
    with pytest.raises((BadGraph, OSError), match=r"none\.pcap"):
        flow.instantiate()
    assert flow.state == "populated"
    with pytest.raises((BadGraph, OSError)), flow:
        pass
    assert flow.state == "closed"


def test_a_graph_closes_its_flows(capture: Path) -> None:
    with Graph() as graph:
        flow = graph.flow(text(capture, "(packetcount)")).instantiate()
        assert graph.flows == [flow]
    assert flow.state == "closed" and graph.closed
    with pytest.raises(WrongState, match="closed"):
        graph.flow("(device,x)")
    with pytest.raises(WrongState):
        graph.run()


def test_who_forgets_to_close_is_warned(graph: Graph, capture: Path) -> None:
    graph.flow(text(capture, "(packetcount)")).instantiate()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    assert not graph.instances() or told  # the collector ran when the name went, or just now


# ---- errors ----


@pytest.mark.parametrize(
    ("wrong", "column", "words"),
    [
        ("(device,a) ->", 14, "1:19"),
        ("(device,a) -> (FPL-9,x)", 16, "FPL-9"),
        ("(device,a) -> (sampler,none)", 24, "none"),
        ("(device,a) -> [(BPF,tcp)", 15, "bracket|closed|\\["),
    ],
)
def test_errors_have_a_place_and_a_caret(graph: Graph, wrong: str, column: int, words: str) -> None:
    graph.hook("h")
    wrong = wrong.replace("device,a", "device,hook:h")
    shift = len("hook:h") - 1
    flow = graph.flow()
    with pytest.raises(BadGraph, match=words) as caught:
        flow.populate(wrong).instantiate()
    assert (caught.value.line, caught.value.column) == (1, column + shift)
    shown = str(caught.value).splitlines()
    assert wrong in shown[1] and shown[2].index("^") - shown[1].index("(") == column + shift - 1
    flow.close()


def test_text_in_its_one_form() -> None:
    assert check_text('( device , "eth0" )|(device,eth1)->(sampler,2,4)') == (
        "(device,eth0) | (device,eth1) -> (sampler,2,4)"
    )
    with pytest.raises(BadGraph, match="1:"):
        check_text("device -> ")


def test_nodes_by_name_class_and_place(graph: Graph, capture: Path) -> None:
    with graph.flow(text(capture, "a=(BPF,tcp) -> (BPF,ip) -> (packetcount)")) as flow:
        assert [flow[key].number for key in ("a", "packetcount", "device", 2, -1)] == [1, 3, 0, 2, 3]
        assert flow[2].inputs == (1,) and repr(flow["a"]) == "<Node 1 a=(BPF,tcp)>"
        with pytest.raises(KeyError, match="2 nodes of the class 'BPF'"):
            _ = flow["BPF"]
        with pytest.raises(KeyError, match="there are device, a, BPF, packetcount"):
            _ = flow["nothing"]
        with pytest.raises(IndexError, match="it has 4"):
            _ = flow[4]


# ---- processes, threads, time ----


def test_time_is_kept(graph: Graph) -> None:
    graph.hook("h")
    with graph.flow("(device,hook:h) -> (packetcount)") as flow:
        began = time.monotonic()
        assert graph.run(seconds=0.05) == (0, False)
        batch = flow.read_batch(timeout=0.05)
        assert batch is not None and len(batch) == 0
        assert flow.wait(1, timeout=0.05) == 0
        assert time.monotonic() - began >= 0.15
    with pytest.raises(ValueError, match="over already"):
        graph.run(seconds=-1)


def test_another_thread_feeds_while_one_waits(graph: Graph) -> None:
    hook = graph.hook("h")
    with graph.flow("(device,hook:h) -> (BPF,tcp)") as flow:
        flow.begin()

        def feed() -> None:
            for frame in frames():
                hook.handle(frame)
            hook.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        assert sum(1 for _ in flow) == TCP
        feeder.join()


def test_another_thread_closes_while_one_waits(graph: Graph) -> None:
    graph.hook("h")
    flow = graph.flow("(device,hook:h) -> (packetcount)").instantiate().activate()
    closer = threading.Timer(0.2, flow.close)
    closer.start()
    with pytest.raises(WrongState, match="closed"):
        flow.read_batch()
    closer.join()


def test_a_forked_process_has_a_graph_of_its_own(capture: Path) -> None:
    flow = Flow(text(capture, "(packetcount)")).instantiate().activate()
    mine = default_graph()
    child = os.fork()
    if child == 0:
        try:
            refused = 1
            for use in (flow.pause, flow.explain, flow.graph.run, lambda: flow.read_batch(timeout=0), lambda: flow[1]):
                try:
                    use()
                    refused = 0
                except Busy as error:
                    refused &= "of which this one is a child" in str(error)
            with Flow(text(capture, "(packetcount)")) as own:
                own.graph.run()
                fine = own.graph is not mine and own[1].mbuf["packets"] == TCP + UDP
            os._exit(0 if refused and fine else 1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert mine.run().packets == TCP + UDP
    flow.close()


@pytest.mark.live
def test_an_interface() -> None:
    with (
        Netns() as ns,
        ns.entered(),
        Graph(immediate=True, snaplen=2048) as graph,
        graph.flow(f"(device,{ns.left}) -> (BPF,tcp) -> (packetcount)") as flow,
    ):
        flow.begin()
        ns.send(ns.right, frames())
        got: list[Any] = []
        end = time.monotonic() + 20
        while len(got) < TCP and time.monotonic() < end:
            batch = flow.read_batch(timeout=0.2)
            assert batch is not None
            got += [bytes(packet) for packet in batch]
        assert got == [frame for frame in frames() if is_tcp(frame)]
        assert flow["packetcount"].mbuf["packets"] == TCP


def test_flows_explain_where_their_nodes_run(capture: Path) -> None:
    with Flow(text(capture, "n=(packetcount)")) as flow:
        lines = flow.explain().splitlines()
        assert lines[0].startswith("(device,")
        assert lines[-1] == f"n: userspace: {flow['n'].serving.reason}"
