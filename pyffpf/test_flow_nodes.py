# SPDX-License-Identifier: BSD-3-Clause
"""Nodes of flows from Python: memory of filters, sharing, hooks. Packets are counted by hand, not by FFPF."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyffpf.compose import packetcount, ref, sampler
from pyffpf.errors import FfpfError, NotSupported, WrongState
from pyffpf.graph import Graph
from pyffpf.testing_flows import TCP, UDP, frames, savefile, text


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return savefile(tmp_path)


@pytest.fixture
def graph() -> Iterator[Graph]:
    with Graph() as made:
        yield made


# ---- memory ----


def test_memory_is_read_and_written_while_it_runs(graph: Graph) -> None:
    hook = graph.hook("h")
    flow = graph.flow("(device,hook:h) -> count=(packetcount,,8)").instantiate()
    memory = flow["count"].mbuf
    memory["packets"] = 100  # before it is activated
    with flow:
        hook.handle(frames()[:7])
        assert memory["packets"] == 107
        memory["packets"] = 0
        hook.handle(frames()[:2])
        assert memory["packets"] == 2 == flow["count"].mbuf["packets"]
        with pytest.raises(NotSupported):
            _ = flow[0].mbuf


def test_memory_outlives_the_flow_and_the_graph() -> None:
    graph = Graph()
    hook = graph.hook("h")
    with graph.flow("(device,hook:h) -> (packetcount)") as flow:
        memory = flow["packetcount"].mbuf
        part = memory["packets"][...]
        hook.handle(frames())
    graph.close()
    del graph, hook, flow
    gc.collect()
    assert memory["packets"] == part == TCP + UDP
    memory["packets"] = 1
    del memory
    gc.collect()
    assert part == 1


def test_reports(graph: Graph, capture: Path) -> None:
    with graph.flow(text(capture, "(topk,k=2 of=ip.dst)")) as flow:
        graph.run()
        report = flow["topk"].report()
        assert "192.0.2.1" in json.dumps(report)
        assert "192.0.2.1" in flow["topk"].report_text()


# ---- sharing ----


def test_equal_prefixes_run_once(graph: Graph, capture: Path) -> None:
    one = graph.flow(text(capture, "(sampler,2) -> (BPF,tcp)")).instantiate()
    other = graph.flow(text(capture, '(sampler,"2") -> (BPF,udp)')).instantiate()
    alone = graph.flow(text(capture, "(sampler,2) -> (BPF,udp)"), share=False).instantiate()
    for flow in (one, other, alone):
        flow.activate()
    graph.run()
    assert [node.instance for node in one.nodes[:2]] == [node.instance for node in other.nodes[:2]]
    assert not {node.instance for node in alone.nodes} & {node.instance for node in one.nodes}
    assert one["sampler"].serving.flows == 2
    assert one["sampler"].counters.packets_in == TCP + UDP
    names = [instance.class_name for instance in graph.instances()]
    assert names.count("sampler") == 2 and names.count("BPF") == 3
    for flow in (one, other, alone):
        flow.close()
    assert graph.instances() == []


def test_a_flow_continues_from_another_flows_node(graph: Graph, capture: Path) -> None:
    with (
        graph.flow(text(capture, "web=(BPF,tcp)"), name="first") as first,
        graph.flow(ref("first.web") >> sampler(10) >> packetcount()) as second,
    ):
        graph.run()
        assert second["packetcount"].mbuf["packets"] == TCP // 10
        assert second[0].instance == first["web"].instance


def test_the_law_of_counters(graph: Graph, capture: Path) -> None:
    with graph.flow(text(capture, "(BPF,tcp) -> (sampler,4)")) as flow:
        graph.run()
        for node in flow.nodes:
            counted = node.counters
            assert counted.packets_in == counted.packets_out + counted.filtered + sum(counted.dropped.values())
        assert [node.counters.packets_out for node in flow.nodes] == [TCP + UDP, TCP, TCP // 4]


def test_the_picture(graph: Graph, capture: Path) -> None:
    with (
        graph.flow(text(capture, "(sampler,2) -> (BPF,tcp) | (BPF,icmp) -> (bytecount,,8)")),
        graph.flow(text(capture, "(sampler,2) -> (BPF,udp) -> (packetcount,,8)")) as flow,
    ):
        graph.run()
        shape = flow.picture()
    names = [instance.class_name for instance in shape.instances]
    assert names.count("sampler") == 1 and names.count("BPF") == 3 and len(shape.flows) == 2
    assert f"in {TCP + UDP}" in shape.dot()


# ---- hooks ----


def test_a_hook_feeds_packets_of_ones_own(graph: Graph) -> None:
    with graph.hook("mine") as hook, graph.flow("(device,hook:mine) -> (BPF,tcp)") as flow:
        flow.begin()
        hook.handle(frames(), ts_ns=list(range(1000, 1000 + TCP + UDP)))
        hook.handle(frames()[-1], ts_ns=2**40, wire_len=9000)
        hook.close()
        with pytest.raises(WrongState, match="'mine' is closed"):
            hook.handle(b"")
        batch = flow.read_batch()
        assert batch is not None and len(batch) == TCP + 1
        assert batch["ts_ns"][-1] == 2**40 and batch["len"][-1] == 9000
        assert flow.read_batch() is None  # the end
    with pytest.raises(ValueError, match="2 packets with 1 times"), graph.hook("other") as hook:
        hook.handle([b"a", b"b"], ts_ns=[1])


def test_wrong_hooks(graph: Graph) -> None:
    graph.hook("h")
    with pytest.raises(FfpfError, match="h"):
        graph.hook("h")
    with pytest.raises(FfpfError):
        graph.hook("not a name")
