# SPDX-License-Identifier: BSD-3-Clause
"""Flows in ffpfd as it is run, from Python, on a veth pair of a network namespace. Needs root and eBPF."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compat_tests.netns import Netns, wait_until
from fpl.fpl2.packets import ethernet, ip4, tcp
from fpl.graph.node import Node as GraphNode
from pyffpf import Flow
from pyffpf.compose import device, node
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.test_kernel import IPV4, IPV6, Ffpfd, frames
from pyffpf.daemon.testing import open_to_all
from pyffpf.daemon.testing_users import as_user
from pyffpf.errors import BadGraph, Busy, Denied, NoServer, NoSuchDevice, NotSupported, WrongState
from pyffpf.remote_flow import RemoteFlow
from pyffpf.remote_graph import RemoteGraph
from pyffpf.remote_plan import plan

CONFIG = """
[buffers]
bytes = "512 KiB"
stall_ms = 200
[limits]
nodes = 12
[daemon]
admin_group = "0"
[[allow]]
groups = ["4243"]
"""
GROUP = 4243


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def running(ns: Netns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ffpfd]:
    with started(ns, tmp_path_factory, CONFIG) as made:
        yield made


@pytest.fixture
def graph(ns: Netns, running: Ffpfd) -> Iterator[RemoteGraph]:
    """Of ffpfd. Reads nothing of the namespace but the names that flows give."""
    with ns.entered(), graph_at(running) as made:
        yield made


def graph_at(running: Ffpfd, **more: Any) -> RemoteGraph:
    return RemoteGraph(socket=running.path, promisc=False, **more)


def read(node: Any, packets: int) -> list[bytes]:
    """So many packets of a node."""
    found: list[bytes] = []
    while len(found) < packets:
        batch = node.read_batch(timeout=20)
        assert len(batch), f"{len(found)} packets instead of {packets}"
        found += batch.datas
    return found


def kinds(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(packet[12:14], "big") for packet in packets]


# ---- the plan


def test_a_plan_has_a_part_for_each_source_and_leaves_here_what_comes_from_several() -> None:
    nodes = [
        GraphNode("device", "eth0"), GraphNode("BPF", "tcp", (0,)), GraphNode("device", "live:eth1"),
        GraphNode("sampler", "2", (1, 2)), GraphNode("packetcount", "", (1,)),
    ]  # fmt: skip
    made = plan(nodes)
    assert [(part.source, part.positions) for part in made.parts] == [("eth0", (0, 1, 4)), ("eth1", (2,))]
    assert made.parts[0].nodes[2].inputs == (1,)
    assert [node.deliver for part in made.parts for node in part.nodes] == [None, True, None, True]
    assert (made.ends, made.part_of(3), made.part_of(4)) == ((3, 4), None, 0)
    assert [node.private for node in plan(nodes, private=True).parts[0].nodes] == [False, True, True]


@pytest.mark.parametrize("device", ["/tmp/a.pcap", "file:a.pcap", "hook:mine", "-"])
def test_devices_of_the_process_are_none_of_ffpfds(device: str) -> None:
    with pytest.raises(NotSupported, match="read by the process itself"):
        plan([GraphNode("device", device)])


def test_there_are_two_engines() -> None:
    with pytest.raises(ValueError, match="no engine 'both'; there are auto, shared, embedded"):
        Flow("(device,lo)", engine="both")


def test_no_ffpfd_is_no_server(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFPF_SOCKET", str(tmp_path / "nobody"))
    flow = Flow("(device,lo) -> (packetcount)", engine="shared")
    with pytest.raises(NoServer, match="ffpfd is not running"):
        flow.instantiate()
    assert flow.state == "populated"
    flow.close()


# ---- in ffpfd


def test_the_kernel_counts_and_python_reads_its_memory(ns: Netns, graph: RemoteGraph) -> None:
    with graph.flow(f'(device,{ns.left}) -> ip=(BPF,"ip") -> n=(packetcount)') as flow:
        assert [node.level for node in flow.nodes] == ["kernel"] * 3
        ns.send(ns.right, frames(IPV4, 20) + frames(IPV6, 5))
        wait_until(lambda: int(flow["n"].mbuf["packets"]) == 20, "20 packets")
        flow.pause()
        ns.send(ns.right, frames(IPV4, 5))
        flow.activate()
        ns.send(ns.right, frames(IPV4, 1))
        wait_until(lambda: int(flow["n"].mbuf["packets"]) == 21, "one packet more")
        counters = flow["ip"].counters
        assert (counters.packets_in, counters.packets_out, counters.filtered) == (26, 21, 5)
        assert flow["n"].report() == {"packets": 21}
        assert flow["n"].report_text() == "packets 21\n"
        with pytest.raises(ValueError, match="read-only"):
            flow["n"].mbuf["packets"] = 0
        with pytest.raises(NotSupported, match=r"packets of n stay in the kernel: name it in deliver"):
            flow.read_batch()
        with pytest.raises(WrongState, match="is active: populate has no meaning"):
            flow.populate("(device,lo)")
    assert flow.state == "closed"
    with pytest.raises(WrongState, match="is closed"):
        flow.read_batch()


def test_figure_7_runs_in_the_kernel(ns: Netns, graph: RemoteGraph, root: Path) -> None:
    """Its text as the file has it, in lines. Packets are delivered as they came, with the tag that one has."""
    setup = b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;client_port=4588-4589\r\n\r\n"
    before, data, other = (ethernet(ip4(6, tcp(6970, port, payload * 20))) for port, payload in (
        (4588, b"1"), (4588, b"2"), (4590, b"3")))  # fmt: skip
    tagged = ethernet(ip4(6, tcp(6970, 4588, b"4" * 20)), tags=((0x8100, 7),))
    program = node("FPL-2", (root / "docs" / "examples" / "figure_7.fpl").read_text(), mbuf=256, name="dynamic")
    with graph.flow(device(ns.left) >> program) as flow:
        dynamic = flow["dynamic"]
        assert dynamic.level == "kernel"
        ns.send(ns.right, [before, ethernet(ip4(6, tcp(3056, 554, setup))), data, other, tagged])
        assert read(flow, 2) == [data, tagged]
        assert dynamic.mbuf.view("u4")[:2].tolist() == [1, 4588]


def test_packets_of_the_last_stage_come_here(ns: Netns, graph: RemoteGraph) -> None:
    with graph.flow(f'(device,{ns.left}) -> (BPF,"ip6")') as flow:
        ns.send(ns.right, frames(IPV4, 5) + frames(IPV6, 30))
        batch = flow.read_batch(timeout=20)
        assert batch is not None
        assert batch["result"].tolist() == [262144] * len(batch)
        assert kinds(batch.datas + read(flow, 30 - len(batch))) == [IPV6] * 30
        assert flow.read_batch(timeout=0.05) is not None
        reader = flow.reader
        assert (reader["let_through"], reader["delivered"], reader["dropped_ibuf"]) == (30, 30, 0)


def test_cooked_packets_of_any_are_judged_here_as_in_the_kernel(ns: Netns, graph: RemoteGraph) -> None:
    """A BPF node behind one that the kernel has not sees the cooked header."""
    with graph.flow(
        '(device,any) -> kernel=(BPF,"ip6 and inbound") -> (distinct) -> here=(BPF,"ip6 and inbound")'
    ) as f:
        assert [node.level for node in f.nodes] == ["kernel", "kernel", "userspace", "userspace"]
        f.begin()
        ns.send(ns.right, frames(IPV4, 3) + frames(IPV6, 6))
        assert len(read(f, 6)) == 6
        assert f["kernel"].counters.packets_out == f["here"].counters.packets_out == f["distinct"].counters.packets_in


def test_several_delivered_nodes_are_told_apart(ns: Netns, graph: RemoteGraph) -> None:
    text = f'(device,{ns.left}) -> four=(BPF,"ip") | six=(BPF,"ip6") -> n=(packetcount)'
    with graph.flow(text, deliver=("four", "six")) as flow:
        four, six = flow["four"].begin(), flow["six"].begin()
        ns.send(ns.right, frames(IPV4, 4) + frames(IPV6, 6) + frames(0x88B5, 3))
        assert kinds(read(six, 6)) == [IPV6] * 6
        assert kinds(read(four, 4)) == [IPV4] * 4
        assert int(flow["n"].mbuf["packets"]) == 10


def test_what_the_kernel_cannot_run_runs_here_behind_what_it_can(ns: Netns, graph: RemoteGraph) -> None:
    text = f'(device,{ns.left}) -> ip=(BPF,"ip") -> (distinct,of=ip.src) -> (dedup) -> (packetcount)'
    with graph.flow(text) as flow:
        assert [node.level for node in flow.nodes] == ["kernel", "kernel", "userspace", "userspace", "userspace"]
        assert "kernel has no distinct" in flow[2].serving.reason
        ns.send(ns.right, frames(IPV4, 10) + frames(IPV6, 5))
        wait_until(lambda: graph.run(0, 0.05).packets >= 0 and flow[2].counters.packets_in == 10, "ten packets")
        assert flow["distinct"].report()
        assert flow["packetcount"].mbuf["packets"] == flow[3].counters.packets_out
        assert flow["ip"].counters.packets_out == 10


def test_a_later_flow_continues_from_a_node_by_its_name(ns: Netns, graph: RemoteGraph) -> None:
    first = graph.flow(f'(device,{ns.left}) -> ip=(BPF,"ip") -> s=(sampler,2) -> (packetcount)', name="one")
    with first, graph.flow("s -> (bytecount)") as by_name, graph.flow("one.ip | one.s -> n=(packetcount)") as both:
        ns.send(ns.right, frames(IPV4, 10) + frames(IPV6, 4))
        wait_until(lambda: int(both["n"].mbuf["packets"]) == 10, "ten packets")
        assert by_name["s"].instance == first["s"].instance == both["s"].instance
        assert first["s"].counters.packets_in == 10
        assert by_name["bytecount"].counters.packets_in == 5
        assert [node.level for node in by_name.nodes] == ["kernel"] * 4
        graph.flow(f"(device,{ns.left}) -> end=(sampler,5)")
        assert len(graph.flow("end -> (packetcount)").nodes) == len(graph.flow("end").nodes) + 1 == 3
        assert len(graph.flow("s -> (packetcount)").nodes) == 4  # they are one
        graph.flow(f"(device,{ns.left}) -> s=(sampler,3)")
        with pytest.raises(BadGraph, match="s: several flows have such a node"):
            graph.flow("s -> (packetcount)")


def test_two_sources_join_here(ns: Netns, graph: RemoteGraph) -> None:
    text = f'[(device,{ns.left}) -> (BPF,"ip and inbound")] | [(device,{ns.right}) -> (BPF,"ip and outbound")]'
    with graph.flow(text + " -> n=(packetcount)") as flow:
        assert [node.level for node in flow.nodes] == ["kernel"] * 4 + ["userspace"]
        ns.send(ns.right, frames(IPV4, 8))
        wait_until(lambda: graph.run(0, 0.05).packets >= 0 and int(flow["n"].mbuf["packets"]) == 16, "both ways")


def test_a_flow_that_shares_nothing_has_writable_mbufs(ns: Netns, graph: RemoteGraph) -> None:
    text = f'(device,{ns.left}) -> (BPF,"ip") -> n=(packetcount)'
    with graph.flow(text, share=False) as own, graph.flow(text) as shared:
        own["n"].mbuf["packets"] = 100
        ns.send(ns.right, frames(IPV4, 3))
        wait_until(lambda: int(shared["n"].mbuf["packets"]) == 3, "three packets")
        assert int(own["n"].mbuf["packets"]) == 103
        assert own["n"].instance != shared["n"].instance


def test_a_memory_for_each_processor_is_read_as_one_and_written_by_nobody(ns: Netns, graph: RemoteGraph) -> None:
    """Packets are received on the processor that sent them; what the application writes, it is told, goes nowhere."""
    program = node("FPL-2", "PERCPU MEM MERGE sum; MEM[0]++; RETURN 0;", mbuf=64, name="n")
    processors = sorted(os.sched_getaffinity(0))

    def count(flow: RemoteFlow) -> int:
        return int(flow["n"].mbuf.view("u4")[0])

    with graph.flow(device(ns.left) >> program, share=False) as flow:
        assert flow["n"].level == "kernel"
        with pytest.raises(NotSupported, match=r"each CPU has an MBuf of its own here \(PERCPU\)"):
            flow["n"].mbuf[0] = 1
        held, sent = flow["n"].mbuf, 0
        try:
            for processor in processors:
                os.sched_setaffinity(0, {processor})
                sent += ns.send(ns.right, frames(IPV4, 10 + processor))
        finally:
            os.sched_setaffinity(0, processors)
        wait_until(lambda: count(flow) == sent, "packets of all processors")
        assert (held.tolist(), flow["n"].mbuf.nbytes) == ([0] * 64, 64)
        assert [one.mbuf_bytes for one in graph.instances() if one.class_name == "FPL-2"] == [64]


def test_refusals_are_exceptions_with_ffpfds_words(ns: Netns, graph: RemoteGraph) -> None:
    flow = graph.flow("(device,nothere)")
    with pytest.raises(NoSuchDevice, match="nothere"):
        flow.instantiate()
    with pytest.raises(BadGraph, match="syntax error"):
        graph.flow(f'(device,{ns.left}) -> (BPF,"no such filter")').instantiate()
    with pytest.raises(BadGraph, match="zero") as wrong:
        graph.flow(f"(device,{ns.left}) -> (sampler,zero)")
    assert wrong.value.offset == len(f"(device,{ns.left}) -> (sampler,")
    with pytest.raises(BadGraph, match="other: no flow of this graph has such a node"):
        graph.flow("other -> (packetcount)")
    assert flow.state == "populated"


def by_user(running: Ffpfd, uid: int, work: Callable[[RemoteGraph], Any]) -> Any:
    def run() -> Any:
        with graph_at(running) as graph:
            return work(graph)

    with running.ns.entered():
        return as_user(uid, run, GROUP)


def test_two_users_share_what_runs(ns: Netns, running: Ffpfd) -> None:
    """Users without any right of their own, in processes of their own."""

    def run(graph: RemoteGraph) -> Any:
        with graph.flow(f'(device,{ns.left}) -> ip=(BPF,"ip") -> n=(packetcount)') as flow:
            before = int(flow["n"].mbuf["packets"])
            ns.send(ns.right, frames(IPV4, 10))
            wait_until(lambda: int(flow["n"].mbuf["packets"]) == before + 10, "ten packets")
            picture = graph.picture().dot()
            reasons = [one.reason for one in graph.instances()]
            return os.getuid(), before, flow["ip"].counters.packets_out, "#" in picture, reasons

    text = f'(device,{ns.left}) -> ip=(BPF,"ip") -> n=(packetcount)'
    with ns.entered(), graph_at(running, group=str(GROUP)) as kept, kept.flow(text) as flow:
        assert by_user(running, 4310, run)[:4] == [4310, 0, 10, True]
        uid, before, counted, _, reasons = by_user(running, 4311, run)
        assert (uid, before, counted) == (4311, 10, 20)
        assert reasons[1:] == [f"the hook of ffpfd runs it{how}, for other flows too" for how in (", in tables", "")]
        assert int(flow["n"].mbuf["packets"]) == 20


def test_histogram_and_topk_of_the_kernel_tell_what_those_of_userspace_do(ns: Netns, graph: RemoteGraph) -> None:
    text = f'(device,{ns.left}) -> (BPF,"ip") -> (histogram,of=len bins=4 from=0 to=2000) | (topk,k=3 of=ip.src)'
    with graph.flow(text) as flow:
        ns.send(ns.right, frames(IPV4, 12))
        wait_until(lambda: int(flow["topk"].mbuf["total"] + flow["topk"].mbuf["none"]) == 12, "twelve packets")
        assert sum(one["count"] for one in flow["histogram"].report()["bins"]) == 12
        assert flow["topk"].report()["packets"] + flow["topk"].report()["none"] == 12
        assert np.all(flow["histogram"].mbuf["counts"][1:] == 0)


def revoke(running: Ffpfd, flow: RemoteFlow) -> None:
    with running.connect() as administrator:
        administrator.ask("revoke", flow=flow.parts[0].id, reason="enough of it")


def test_a_revoked_flow_says_why(ns: Netns, running: Ffpfd, graph: RemoteGraph) -> None:
    with graph.flow(f"(device,{ns.left}) -> (packetcount)") as counting:
        graph.run(0, 0.01)
        revoke(running, counting)
        with pytest.raises(Denied, match="ffpfd has ended the flow: enough of it"):
            graph.run(0, 20)
    with graph.flow(f'(device,{ns.left}) -> (BPF,"ip")') as delivering:
        delivering.read_batch(timeout=0)
        revoke(running, delivering)
        with pytest.raises(Denied):
            delivering.read_batch(timeout=20)


def test_a_reader_that_was_left_behind_goes_on(ns: Netns, graph: RemoteGraph) -> None:
    """Its lanes move: it reads the old ones to their end, and asks ffpfd where they go on."""
    one, all_ip = f'(device,{ns.left}) -> (BPF,"ip")', f'(device,{ns.left}) -> (BPF,"ip or ip6")'
    with graph.flow(one) as slow, graph_like(graph) as other, other.flow(all_ip) as quick:
        slow.begin()
        events: list[Any] = []

        def moved() -> bool:
            ns.send(ns.right, frames(IPV4, 500))
            while batch := quick.read_batch(timeout=0.05):
                assert len(batch)
            events.extend(slow.parts[0].pending_events())
            return any(event["event"] == "moved" for event in events)

        wait_until(moved, "the slow one to be left behind", 60)
        seen = 0
        while batch := slow.read_batch(timeout=0.5):
            seen += len(batch)
        assert seen > 0
        ns.send(ns.right, frames(IPV4, 9))
        assert len(read(slow, 9)) == 9


def graph_like(graph: RemoteGraph) -> RemoteGraph:
    return RemoteGraph(socket=graph.socket, promisc=False)


def test_a_thread_that_waits_hears_of_the_close(ns: Netns, graph: RemoteGraph) -> None:
    flow = graph.flow(f'(device,{ns.left}) -> (BPF,"ip6")').instantiate().activate()
    closer = threading.Timer(0.2, flow.close)
    closer.start()
    with pytest.raises(WrongState, match="closed"):
        flow.read_batch(timeout=20)
    closer.join()


def test_runs_count_what_the_hook_was_given(ns: Netns, graph: RemoteGraph) -> None:
    with graph.flow(f'(device,{ns.left}) -> (BPF,"ip6") -> (packetcount)') as flow:
        assert graph.run(1, 0.01).packets == 0
        ns.send(ns.right, frames(IPV4, 12))
        assert graph.run(12, 20) == (12, False)
        assert graph.run(1, 0.01).packets == 0
        assert int(flow[2].mbuf["packets"]) == 0


def test_a_forked_process_leaves_the_flow_to_its_maker(ns: Netns, graph: RemoteGraph) -> None:
    with graph.flow(f'(device,{ns.left}) -> ip=(BPF,"ip")') as flow:

        def child() -> str:
            try:
                flow["ip"].counters  # noqa: B018
            except Busy as refusal:
                flow.close()
                return str(refusal)
            return ""

        assert "belongs to the process that this one was forked from" in as_user(0, child, 0)
        assert flow.state == "active"
        ns.send(ns.right, frames(IPV4, 3))
        assert len(read(flow, 3)) == 3


def test_under_frp_a_slow_reader_loses_packets_and_all_are_accounted_for(ns: Netns, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    made = Ffpfd(ns, tmp_path, CONFIG.replace("[buffers]", '[buffers]\nbms = "frp"'))
    try:
        with ns.entered(), graph_at(made) as graph, graph.flow(f'(device,{ns.left}) -> ip=(BPF,"ip")') as flow:
            flow.begin()
            ns.send(ns.right, frames(IPV4, 500) * 40)
            wait_until(lambda: flow["ip"].counters.packets_in == 20_000, "all packets")
            seen = 0
            while batch := flow.read_batch(timeout=0.2):
                seen += len(batch)
            counters = flow["ip"].counters
            assert 0 < seen < 20_000
            assert counters.dropped["lapped"] > 0
            assert counters.packets_out == seen
            assert counters.packets_in == counters.packets_out + counters.filtered + sum(counters.dropped.values())
        made.stop()
    finally:
        made.clear_up()


def test_a_class_of_ones_own_is_none_of_ffpfds() -> None:
    class Mine(Flow):
        pass

    with pytest.raises(ValueError, match="RemoteFlow"):
        Mine("(device,lo)", engine="shared")
