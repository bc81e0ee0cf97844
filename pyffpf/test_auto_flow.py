# SPDX-License-Identifier: BSD-3-Clause
"""Flow(text) and Graph() without an engine: ffpfd where it is and grants the sources, else this process; FFPF_ENGINE.

On a veth pair of a network namespace, with ffpfd as it is run. Needs root and eBPF."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest

import pyffpf
from compat_tests import capture_packets as packets
from compat_tests.capture_files import PcapFormat, stamped
from compat_tests.netns import Netns, wait_until
from pyffpf import Flow, Graph, aio
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.test_kernel import IPV4, Ffpfd, frames
from pyffpf.daemon.testing_users import as_user
from pyffpf.errors import BadGraph, NoServer, NotPermitted, NotSupported, WrongState
from pyffpf.graph import default_graph
from pyffpf.joined_graph import JoinedGraph
from pyffpf.shared_flow import SharedFlow

CONFIG = """
[daemon]
admin_group = "0"
[[allow]]
groups = ["4243"]
"""
GROUP, STRANGER = 4243, 4299


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def running(ns: Netns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ffpfd]:
    with started(ns, tmp_path_factory, CONFIG) as made:
        yield made


@pytest.fixture
def inside(ns: Netns, running: Ffpfd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Netns]:
    """In the namespace, with ffpfd where programs look for it."""
    monkeypatch.setenv("FFPF_SOCKET", str(running.path))
    monkeypatch.delenv("FFPF_ENGINE", raising=False)
    with ns.entered():
        yield ns


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    path = tmp_path / "some.pcap"
    path.write_bytes(PcapFormat().file(stamped([packets.ethernet(packets.tcp4(b"x"))] * 7)))
    return path


def test_ffpfd_has_it_where_it_grants_the_source(inside: Netns) -> None:
    with Flow(f"(device,{inside.left}) -> n=(packetcount)") as flow:
        assert (flow.engine, flow.graph, flow["n"].level) == ("shared", default_graph(), "kernel")
        inside.send(inside.right, frames(IPV4, 9))
        wait_until(lambda: int(flow["n"].mbuf["packets"]) == 9, "9 packets")
    assert flow.state == "closed" and not default_graph().closed


def test_what_was_granted_is_what_it_runs_in(inside: Netns, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffpfd is asked once, and let go of by whoever closes the flow, in whatever state it is."""
    asked: list[SharedFlow] = []

    def ask(graph: JoinedGraph, source: str, really: Any = JoinedGraph.open) -> SharedFlow:
        asked.append(really(graph, source))
        return asked[-1]

    monkeypatch.setattr(JoinedGraph, "open", ask)
    for steps in range(3):
        flow = Flow(f"(device,{inside.left}) -> (packetcount)")
        assert (flow.state, flow.engine) == ("populated", "shared")
        for step in (flow.instantiate, flow.activate)[:steps]:
            step()
        flow.close()
    assert len(asked) == 3
    for one in asked:
        with pytest.raises(OSError, match="Bad file descriptor"):
            one.next_event()


def test_files_hooks_and_wrong_texts_are_of_the_process(inside: Netns, savefile: Path) -> None:
    with Graph() as graph:
        graph.hook("mine")
        texts = [f'(device,"{savefile}")', "(device,hook:mine)", f'(device,"{savefile}") | (device,{inside.left})']
        for text in texts:
            with graph.flow(text) as flow:
                assert flow.engine == "embedded", text
        assert graph.flow().engine == "embedded"  # there is no text yet
        with pytest.raises(BadGraph, match="1:"):
            graph.flow(f"(device,{inside.left}) -> ")


def test_what_only_the_process_can_read_is_refused_where_ffpfd_is_demanded(inside: Netns, savefile: Path) -> None:
    with (
        pytest.raises(NotSupported, match="read by the process itself"),
        Flow(f'(device,"{savefile}")', engine="shared"),
    ):
        pass


def test_no_ffpfd_is_the_process_itself(ns: Netns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFPF_SOCKET", str(tmp_path / "nobody"))
    monkeypatch.delenv("FFPF_ENGINE", raising=False)
    with ns.entered(), Flow(f"(device,{ns.left}) -> (packetcount)", graph=Graph(immediate=True)) as flow:
        assert (flow.engine, flow["packetcount"].level) == ("embedded", "userspace")
        ns.send(ns.right, frames(IPV4, 3))
        assert flow.graph.run(3, 20).packets == 3
    monkeypatch.setenv("FFPF_ENGINE", "shared")
    with pytest.raises(NoServer, match=r"^FFPF_ENGINE=shared: ffpfd is not running"), Flow("(device,lo)"):
        pass
    with pytest.raises(NoServer, match=r"^FFPF_ENGINE=shared: lo: .*nobody"):
        pyffpf.open("lo")


def test_the_environment_says_which(inside: Netns, savefile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"(device,{inside.left}) -> (packetcount)"
    monkeypatch.setenv("FFPF_ENGINE", "embedded")
    with Flow(text) as flow, pyffpf.open(inside.left) as capture:
        assert (flow.engine, capture.engine) == ("embedded", "embedded")
    with Flow(text, engine="shared") as flow:
        assert flow.engine == "shared"  # the call has the last word
    monkeypatch.setenv("FFPF_ENGINE", "shared")
    with Flow(text) as flow, Flow(f'(device,"{savefile}")') as other, pyffpf.open(inside.left) as capture:
        assert (flow.engine, other.engine, capture.engine) == ("shared", "embedded", "shared")
    with Flow() as empty:
        assert empty.engine == "shared" and empty.populate(text).state == "populated"
    monkeypatch.setenv("FFPF_ENGINE", "both")
    with pytest.raises(ValueError, match="FFPF_ENGINE: there is no engine 'both'; there are auto, shared, embedded"):
        Flow(text)


def test_who_is_refused_and_has_no_right_of_his_own_hears_both_reasons(inside: Netns) -> None:
    def work() -> list[str]:
        flow = Flow(f"(device,{inside.left}) -> (packetcount)")
        said = [flow.engine]
        try:
            flow.instantiate()
        except NotPermitted as error:
            said.append(str(error))
        flow.close()
        try:
            with Flow(f"(device,{inside.left}) -> (packetcount)", engine="shared"):
                pass
        except pyffpf.Denied as error:
            said.append(str(error))
        return said

    engine, here, there = as_user(STRANGER, work)
    assert engine == "embedded"
    assert "; ffpfd: " in here and there in here
    assert "^" in here.splitlines()[-1]  # and where in the text
    assert as_user(STRANGER, lambda: Flow(f"(device,{inside.left})").engine, GROUP) == "shared"


def test_names_lead_to_the_engine_that_has_the_node(inside: Netns, savefile: Path) -> None:
    with (
        Graph() as graph,
        graph.flow(f'(device,{inside.left}) -> ip=(BPF,"ip")', name="live") as live,
        graph.flow(f'(device,"{savefile}") -> tcp=(BPF,tcp)', name="file") as file,
        graph.flow("ip -> n=(packetcount)") as behind_live,
        graph.flow("file.tcp -> n=(packetcount)") as behind_file,
    ):
        assert [flow.engine for flow in graph.flows] == ["shared", "embedded", "shared", "embedded"]
        assert behind_live.nodes[1].instance == live["ip"].instance
        assert behind_file[0].instance == file["tcp"].instance
        found = {one.id: one for one in graph.instances()}
        assert len(found) == len(graph.instances()) == 6
        assert [found[node.instance].class_name for node in file.nodes] == ["device", "BPF"]
        assert found[behind_file["n"].instance].inputs == (file["tcp"].instance,)
        live.begin()
        inside.send(inside.right, frames(IPV4, 5))
        wait_until(lambda: int(behind_live["n"].mbuf["packets"]) == 5, "5 packets")
        graph.run(seconds=0.2)
        assert int(behind_file["n"].mbuf["packets"]) == 7
        batch = live.read_batch(timeout=20)
        assert batch is not None and len(batch) > 0
        assert len(graph.picture().flows) == 4


def test_a_run_goes_on_while_ffpfd_counts(inside: Netns, savefile: Path) -> None:
    with (
        Graph() as graph,
        graph.flow(f'(device,"{savefile}") -> (packetcount)') as file,
        graph.flow(f"(device,{inside.left}) -> (packetcount)"),
    ):
        inside.send(inside.right, frames(IPV4, 2))
        assert graph.run(seconds=0.3).ended is False
        assert int(file["packetcount"].mbuf["packets"]) == 7


def test_a_closed_graph_takes_no_flows(inside: Netns) -> None:
    graph = Graph()
    graph.close()
    with pytest.raises(WrongState, match="the graph is closed"):
        graph.flow(f"(device,{inside.left})")


def test_nodes_in_ffpfd_are_read_as_captures_are(inside: Netns) -> None:
    async def some(source: Any) -> int:
        async for batch in aio.batches(source):
            return len(batch)
        return 0

    with Flow(f'(device,{inside.left}) -> ip=(BPF,"ip") -> (packetcount)', deliver=["ip"]) as flow:
        assert flow.engine == "shared"
        flow["ip"].begin()
        ways: list[Callable[[Any], int]] = [
            lambda node: len(next(node.headers(14))),
            lambda node: len(next(node.columns("eth.type"))["eth.type"]),
            lambda node: node.count(1).packets,
            lambda node: asyncio.run(some(node)),
            lambda node: pyarrow.RecordBatchReader.from_stream(node).read_next_batch().num_rows,
        ]
        for way in ways:
            inside.send(inside.right, frames(IPV4, 1))
            assert way(flow["ip"]) == 1
        inside.send(inside.right, frames(IPV4, 3))
        flow["ip"].wait(3, timeout=20)
        threading.Timer(0.2, flow["ip"].stop).start()
        assert flow["ip"].counts("eth.type")["packets"].tolist() == [3]
