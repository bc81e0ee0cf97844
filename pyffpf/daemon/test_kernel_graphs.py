# SPDX-License-Identifier: BSD-3-Clause
"""Graphs in ffpfd as it is run, on a veth pair of a network namespace. Needs root and eBPF."""

from __future__ import annotations

import itertools
import os
import random
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from compat_tests.capture_files import PcapFormat, stamped
from compat_tests.captures import mixed
from compat_tests.live import replay
from compat_tests.netns import Netns, wait_until
from fpl.classify import bpf
from fpl.classify.testing import Oracle, Packet
from fpl.graph.node import Node
from pyffpf.cli.control import ControlError
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.metrics import StatusCollector
from pyffpf.daemon.test_kernel import IPV4, IPV6, Ffpfd, frames
from pyffpf.daemon.testing_users import as_user
from pyffpf.errors import BadGraph
from pyffpf.shared_flow import SharedFlow, graphs

CONFIG = """
[daemon]
netfilter = true
[buffers]
bytes = "512 KiB"
[limits]
nodes = 8
[classes.bytecount]
level = "userspace"
[[allow]]
groups = ["4242"]
"""
GROUP = 4242


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def running(ns: Netns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ffpfd]:
    with started(ns, tmp_path_factory, CONFIG) as made:
        yield made


def counting(source: str, text: str = "ip", **more: Any) -> list[Node]:
    return [Node("device", source), Node("BPF", text, (0,)), Node("packetcount", "", (1,), name="n", **more)]


def flow_at(running: Ffpfd, **more: Any) -> SharedFlow:
    with running.ns.entered():
        return SharedFlow(running.ns.left, socket=running.path, **more)


def by_user(running: Ffpfd, uid: int, work: Callable[[SharedFlow], Any]) -> Any:
    """work() with a flow of this user, of the group, in a process of its own."""

    def run() -> Any:
        with SharedFlow(running.ns.left, socket=running.path) as flow:
            return work(flow)

    with running.ns.entered():
        return as_user(uid, run, GROUP)


def count(flow: SharedFlow) -> int:
    return int(flow.mbuf("n")["packets"])


def test_the_kernel_counts_behind_a_filter(ns: Netns, running: Ffpfd) -> None:
    with flow_at(running) as flow:
        states = flow.instantiate(counting(ns.left))
        assert [state.level for state in states] == ["kernel"] * 3
        assert (flow.delivered, flow.descriptors) == ([], {})
        ns.send(ns.right, frames(IPV4, 5))
        assert count(flow) == 0
        flow.activate()
        ns.send(ns.right, frames(IPV4, 40) + frames(IPV6, 2))
        wait_until(lambda: count(flow) == 40, "40 packets")
        flow.pause()
        ns.send(ns.right, frames(IPV4, 5))
        flow.activate()
        ns.send(ns.right, frames(IPV4, 1))
        wait_until(lambda: count(flow) == 41, "one packet more")
        by_position = flow.counters()
        assert [(state.came, state.out) for state in by_position] == [(None, None), (43, 41), (41, 41)]


def test_two_users_of_a_group_run_a_prefix_once(ns: Netns, running: Ffpfd) -> None:
    """Each user is a process of its own."""

    def run(flow: SharedFlow) -> dict[str, Any]:
        flow.instantiate(counting(ns.left))
        flow.activate()
        before = count(flow)
        ns.send(ns.right, frames(IPV4, 10))
        wait_until(lambda: count(flow) >= before + 10, "ten packets")
        nodes = flow.counters()
        return {"uid": os.getuid(), "numbers": [state.number for state in nodes],
                "shared": [state.shared for state in nodes], "counts": [count(flow), nodes[1].came, nodes[2].came],
                "flows": len(graphs(running.path))}  # fmt: skip

    ns.sender(ns.right)  # opened by root, kept for both
    with flow_at(running, group=str(GROUP)) as kept:
        kept.instantiate(counting(ns.left))
        kept.activate()
        first, second = (by_user(running, uid, run) for uid in (4300, 4301))
        assert isinstance(first, dict), first
        assert (first["uid"], second["uid"]) == (4300, 4301)
        assert first["numbers"] == second["numbers"] == [state.number for state in kept.counters()]
        assert first["shared"] == second["shared"] == [True, True, True]
        assert first["counts"] == [10, 10, 10]
        assert second["counts"] == [20, 20, 20]
        assert first["flows"] == second["flows"] == 2
        assert kept.counters()[2].came == 20


def test_a_replayed_capture_is_counted_as_in_python(ns: Netns, running: Ffpfd, tmp_path: Path) -> None:
    rng = random.Random(4)
    packets = [frame for _ in range(10) for frame in mixed(rng)]
    capture = tmp_path / "mixed.pcap"
    capture.write_bytes(PcapFormat().file(stamped(packets)))
    nodes = [
        Node("device", ns.left), Node("BPF", "tcp", (0,)), Node("BPF", "port 443 or port 53", (0,)),
        Node("sampler", "3", (1, 2)), Node("BPF", "greater 200", (3,)), Node("packetcount", "", (3,)),
        Node("packetcount", "", (4,)), Node("sampler", "1/2 random seed=5", (4,), 8),
    ]  # fmt: skip
    with flow_at(running) as flow:
        flow.instantiate(nodes)
        flow.activate()
        replay(ns, capture)
        wait_until(lambda: flow.counters()[1].came == len(packets), "all packets")
        states = flow.counters()
        judges = [Oracle(node.insns) if node.insns else None for node in flow.nodes]
        counts = [[0, 0] for _ in nodes]
        for packet in packets:
            out = [True]
            for position, node in enumerate(nodes[1:], 1):
                comes = any(out[number] for number in node.inputs)
                judge = judges[position]
                counts[position][0] += comes
                kept = comes and (judge is None or bool(judge(Packet(packet))))
                if node.argument == "3":
                    kept = comes and counts[position][0] % 3 == 0
                counts[position][1] += kept
                out.append(kept)
        assert [[state.came, state.out] for state in states[1:7]] == counts[1:7]
        assert [int(flow.mbuf(5)["packets"]), int(flow.mbuf(6)["packets"]), int(flow.mbuf(7)["seen"])] == [
            n for n, _ in counts[5:8]
        ]
        assert 0 < (states[7].out or 0) < counts[7][0]


def test_counting_costs_a_sleeping_application_nothing(ns: Netns, running: Ffpfd) -> None:
    """It is not woken, for any of 100,000 packets."""
    with flow_at(running) as flow:
        flow.instantiate(counting(ns.left))
        flow.activate()
        read, write = os.pipe()
        application = os.fork()
        if application == 0:
            os.read(read, 1)
            usage = resource.getrusage(resource.RUSAGE_SELF)
            asleep = usage.ru_nvcsw <= 2 and count(flow) == 100_000
            os._exit(0 if asleep else 1)
        try:
            frame = frames(IPV4, 1)[0]
            ns.send(ns.right, itertools.repeat(frame, 100_000))
            wait_until(lambda: count(flow) == 100_000, "all packets")
        finally:
            os.write(write, b".")
            _, status = os.waitpid(application, 0)
            os.close(read)
            os.close(write)
        assert status == 0


@pytest.mark.parametrize(("source", "head"), [("any", 20), ("netfilter:input", 0)])
def test_sources_whose_packets_begin_elsewhere(ns: Netns, running: Ffpfd, source: str, head: int) -> None:
    """At the network header; lengths are those of records."""
    nodes = [
        Node("device", source), Node("BPF", "udp port 4321", (0,)),
        Node("histogram", "of=dport bins=1 from=4321 to=4322", (1,)),
        Node("topk", "k=1 of=ip.dst by=bytes", (1,)), Node("first_n", "2", (1,)), Node("packetcount", "", (4,)),
    ]  # fmt: skip
    with ns.entered(), SharedFlow(source, socket=running.path) as flow, socket.socket(type=socket.SOCK_DGRAM) as sender:
        assert {state.level for state in flow.instantiate(nodes)} == {"kernel"}
        flow.activate()
        sender.bind(("127.0.0.1", 0))
        for _ in range(10):
            sender.sendto(b"x" * 72, ("127.0.0.1", 4321))
        wait_until(lambda: (flow.counters()[1].out or 0) >= 10, "ten packets")
        states = flow.counters()
        ten = states[1].out
        assert ten == 10
        assert flow.mbuf(2)["counts"].tolist() == [10]
        assert flow.mbuf(3)["total"] == 10 * (20 + 8 + 72 + head)
        assert states[5].came == 2


def test_packets_that_meet_within_each_other_have_memories_of_their_own(ns: Netns, running: Ffpfd) -> None:
    """In netfilter's hooks a processor has two lanes: one packet may come while another is judged."""
    counts = "PERCPU MEM MERGE sum; IF UDP_DPORT == 4322 THEN MEM[0]++; FI RETURN 0;"
    nodes = [Node("device", "netfilter:input"), Node("FPL-2", counts, (0,), 64, name="n")]
    with ns.entered(), SharedFlow("netfilter:input", socket=running.path) as flow:
        _, state = flow.instantiate(nodes)
        assert (state.level, state.lanes) == ("kernel", 2 * bpf.possible_cpus()), state.reason
        flow.activate()
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for _ in range(10):
                sender.sendto(b"x", ("127.0.0.1", 4322))
        wait_until(lambda: int(flow.mbuf("n").view("u4")[0]) == 10, "ten packets")


def test_a_filter_that_is_code_is_a_node_as_others(ns: Netns, running: Ffpfd) -> None:
    with flow_at(running) as flow, running.connect() as tool:
        states = flow.instantiate(counting(ns.left, "(len & 7) * 3 = 12"))
        assert [state.level for state in states] == ["kernel"] * 3
        flow.activate()
        ns.send(ns.right, frames(IPV4, 4, 60) + frames(IPV4, 3, 64))
        wait_until(lambda: count(flow) == 4, "four packets")
        (source,) = tool.status().sources
        assert [program.name for program in source.programs] == ["hook", "classify", "code", "graph", "store"]


def test_a_flow_is_what_its_text_says(ns: Netns, running: Ffpfd) -> None:
    with flow_at(running) as flow:
        flow.populate(f'(device,{ns.left}) -> (BPF,"ip") | (BPF,"ip6") -> n=(packetcount) -> (sampler,2,4)')
        assert flow.explain().splitlines()[1:] == [
            "(BPF,ip): kernel: in tables", "(BPF,ip6): kernel: in tables", "n: kernel", "(sampler,2): kernel",
        ]  # fmt: skip
        assert flow.delivered == [4]
        flow.activate()
        ns.send(ns.right, frames(IPV4, 5) + frames(IPV6, 5) + frames(0x88B5, 5))
        wait_until(lambda: count(flow) == 10, "ten packets")
        assert flow.mbuf(4)["seen"] == 10
        with pytest.raises(BadGraph, match="1:"):
            flow.populate("(device,a -> (packetcount)")


def test_explain_says_how_the_kernel_runs_filters_and_programs(ns: Netns, running: Ffpfd) -> None:
    with flow_at(running) as flow:
        flow.populate(
            f'(device,{ns.left}) -> a=(FPL-2,"RETURN IS_IP && UDP_DPORT == 9;") | b=(FPL-2,"RETURN UDP_DPORT == 9;") '
            '| c=(FPL-2,"MEM[0]++; RETURN 1;",8) -> (packetcount)'
        )
        a, b, c, _ = flow.explain().splitlines()[1:]
        assert a == "a: kernel: in tables"
        assert re.fullmatch(r"b: kernel: as code of \d+ instructions: it computes with fields", b)
        assert c == "c: kernel: in the program of all nodes: it has memory, or calls functions"
        flow.activate()
        ns.send(ns.right, frames(IPV4, 5))
        wait_until(lambda: flow.counters()[3].out == 5, "five packets")
        assert [state.out for state in flow.counters()[1:4]] == [0, 0, 5]


def test_refusals_have_reasons(ns: Netns, running: Ffpfd) -> None:
    with flow_at(running) as flow:
        with pytest.raises(ControlError, match=r"has no graph yet: it is populated"):
            flow.activate()
        with pytest.raises(ControlError, match=r"node 1 \(packetcount\): its inputs must be earlier nodes"):
            flow.instantiate([Node("device", ns.left), Node("packetcount", "", (2,))])
        flow.instantiate(counting(ns.left))
        with pytest.raises(ControlError, match="has a graph: it is paused"):
            flow.instantiate(counting(ns.left))

    def too_many(flow: SharedFlow) -> str:
        try:
            flow.instantiate([Node("device", ns.left), *(Node("packetcount", "", (n,)) for n in range(8))])
        except ControlError as refused:
            return str(refused)
        return ""

    assert by_user(running, 4300, too_many) == (
        "ffpfd refuses: user 4300 has 0 nodes in graphs, wants 9 more, and may have 8"
    )


def test_explain_says_what_the_kernel_cannot_run(ns: Netns, running: Ffpfd) -> None:
    with flow_at(running) as flow:
        flow.instantiate([*counting(ns.left), Node("bytecount", "", (1,)), Node("rate", "1s", (1,))])
        assert flow.explain().splitlines()[2:] == [
            "n: kernel",
            "(bytecount): userspace: the administrator keeps bytecount in userspace",
            "(rate,1s): userspace: the kernel has no rate",
        ]
        assert flow.delivered == [1]
        assert flow.facts["lanes"] >= 1
        assert "ibuf:0" in flow.descriptors


def test_a_flow_that_delivers_is_a_reader_as_any_other(ns: Netns, running: Ffpfd) -> None:
    with flow_at(running) as flow, running.connect() as tool:
        flow.instantiate([*counting(ns.left, deliver=True)])
        flow.activate()
        ns.send(ns.right, frames(IPV4, 30) + frames(IPV6, 5))
        wait_until(lambda: count(flow) == 30, "30 packets")
        (shown,) = [one for one in tool.status().flows if one.id == flow.id]
        assert (shown.filtered, shown.waiting) == (5, 30)
        with pytest.raises(ControlError, match="decided by its graph"):
            flow._ask("filter", insns=None)


def test_status_has_nodes_as_they_stand(ns: Netns, running: Ffpfd) -> None:
    """Two flows share a prefix; metrics have it once, and what nodes that are gone had counted."""
    with flow_at(running) as one, running.connect() as tool:
        one.instantiate([*counting(ns.left, "udp"), Node("rate", "1s", (2,))])
        one.activate()
        with flow_at(running) as other:
            other.instantiate(counting(ns.left, "udp"))
            udp = bytes.fromhex("ffffffffffff02000000000108004500001c00000000401100000a0000010a000002") + bytes(40)
            ns.send(ns.right, [udp] * 9)
            wait_until(lambda: count(one) == 9, "nine packets")
            status = tool.status()
            shown = {graph.id: graph for graph in status.graphs}
            assert sorted(shown) == sorted([one.id, other.id])
            nodes = shown[one.id].nodes
            assert [(node.kind, node.argument, node.inputs, node.level) for node in nodes] == [
                ("device", ns.left, [], "kernel"), ("BPF", "udp", [0], "kernel"), ("packetcount", "", [1], "kernel"),
                ("rate", "1s", [2], "userspace"),
            ]  # fmt: skip
            assert [(node.came, node.out) for node in nodes[2:]] == [(9, 9), (None, None)]
            assert nodes[2].mbuf_bytes == 8 and nodes[3].reason == "the kernel has no rate"
            assert [node.shared for node in shown[other.id].nodes] == [True] * 3
            assert (shown[one.id].state, shown[other.id].state) == ("active", "paused")
            (source,) = status.sources
            before = source.nodes
            assert before["packetcount"] == [9, 9]
        families = {family.name: family for family in StatusCollector(status).collect()}
        running_nodes = {tuple(one.labels.values()): one.value for one in families["ffpf_nodes"].samples}
        assert running_nodes == {(ns.left, "kernel"): 2, (ns.left, "userspace"): 1}
        came = {one.labels["class"]: one.value for one in families["ffpf_node_packets_in"].samples}
        assert came["packetcount"] == 9
        with flow_at(running) as more:
            more.instantiate(counting(ns.left, "ip6"))
        (source,) = tool.status().sources
        assert source.nodes == before, "what has gone is still counted"


def test_nothing_is_left_when_flows_end(ns: Netns, running: Ffpfd) -> None:
    with flow_at(running) as first:  # what ffpfd keeps from its first flow on is no leak
        first.instantiate(counting(ns.left, deliver=True))
    with ns.entered():
        wait_until(lambda: graphs(running.path) == [], "the end of the first flow")
    time.sleep(0.5)  # its connection is closed soon after
    before = running.descriptors()
    for _ in range(2):
        with ExitStack() as stack:
            for number in range(3):
                flow = stack.enter_context(flow_at(running))
                flow.instantiate(counting(ns.left, f"ip[{number}] = 1", deliver=True))
                flow.activate()
        wait_until(lambda: running.descriptors() == before, "all descriptors closed")
    with ns.entered():
        assert graphs(running.path) == []
