# SPDX-License-Identifier: BSD-3-Clause
"""States of flows in ffpfd: each move in each state, and flows whose process is closed or killed in each of them. Needs
root and eBPF."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from compat_tests.netns import Netns, wait_until
from compat_tests.shared import ask_status
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.test_kernel import IPV4, Ffpfd, frames
from pyffpf.errors import FfpfError, WrongState
from pyffpf.remote_flow import RemoteFlow
from pyffpf.remote_graph import RemoteGraph
from pyffpf.test_flow import MAY

CONFIG = """
[buffers]
bytes = "512 KiB"
[daemon]
admin_group = "0"
"""
WAY = ("created", "populated", "instantiated", "active", "paused")


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
    with ns.entered(), RemoteGraph(socket=running.path, promisc=False) as made:
        yield made


def text(ns: Netns) -> str:
    return f"(device,{ns.left}) -> ip=(BPF,ip) -> n=(packetcount)"


def in_state(graph: RemoteGraph, ns: Netns, state: str) -> RemoteFlow:
    flow = graph.flow(deliver=["ip"])
    steps: list[Callable[[], object]] = [
        lambda: flow.populate(text(ns)),
        flow.instantiate,
        flow.activate,
        flow.pause,
    ]
    for step in steps[: WAY.index(state)] if state in WAY else []:
        step()
    if state == "closed":
        flow.close()
    assert flow.state == state
    return flow


MOVES: dict[str, Callable[[RemoteFlow, Netns], object]] = {
    "populate": lambda flow, ns: flow.populate(text(ns)),
    "instantiate": lambda flow, _ns: flow.instantiate(),
    "activate": lambda flow, _ns: flow.activate(),
    "pause": lambda flow, _ns: flow.pause(),
    "read": lambda flow, _ns: flow[1].read_batch(timeout=0),
    "counters": lambda flow, _ns: flow[0].counters,
}


@pytest.mark.parametrize("state", MAY)
@pytest.mark.parametrize("move", MOVES)
def test_the_state_table_is_that_of_flows_in_a_process(ns: Netns, graph: RemoteGraph, state: str, move: str) -> None:
    flow = in_state(graph, ns, state)
    if move in MAY[state]:
        MOVES[move](flow, ns)
    elif move == "read" and state == "created":
        with pytest.raises((IndexError, WrongState)):  # there is no node yet
            MOVES[move](flow, ns)
    else:
        with pytest.raises(WrongState, match=state):
            MOVES[move](flow, ns)
        assert flow.state == state
    flow.close()
    flow.close()
    assert flow.state == "closed"


@pytest.mark.parametrize("state", WAY)
def test_nothing_is_left_of_a_process_that_is_killed(ns: Netns, running: Ffpfd, state: str) -> None:
    """In whatever state its flow is: ffpfd has it no more, and a flow of others goes on."""
    with ns.entered(), RemoteGraph(socket=running.path, promisc=False) as graph, graph.flow(text(ns)) as other:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with RemoteGraph(socket=running.path, promisc=False) as own:
                    in_state(own, ns, state)
                    os.write(writing, b"!")
                    signal.pause()
            finally:
                os._exit(1)
        os.close(writing)
        assert os.read(reading, 1) == b"!"
        os.close(reading)
        open_ones = len(ask_status(running.path).graphs)
        assert open_ones == (1 if WAY.index(state) < WAY.index("instantiated") else 2)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        wait_until(lambda: len(ask_status(running.path).graphs) == 1, "the flow to be gone", 20)
        before = int(other["n"].mbuf["packets"])
        ns.send(ns.right, frames(IPV4, 5))
        wait_until(lambda: int(other["n"].mbuf["packets"]) == before + 5, "packets of the other flow", 20)


@pytest.mark.parametrize("state", WAY)
def test_what_was_opened_is_closed_with_the_graph(ns: Netns, running: Ffpfd, state: str) -> None:
    with ns.entered(), RemoteGraph(socket=running.path, promisc=False) as graph:
        flow = in_state(graph, ns, state)
    assert flow.state == "closed"
    with pytest.raises(WrongState, match="closed"):
        flow.activate()
    with ns.entered():
        wait_until(lambda: not ask_status(running.path).graphs, "the flow to be gone", 20)


def test_memory_is_filled_before_a_flow_starts(ns: Netns, graph: RemoteGraph) -> None:
    """A blacklist, as the paper has it: the program lets pass what the application wrote into its memory before."""
    program = "IF (MEM.B[PKT.B[29]] != 0) THEN RETURN 1; FI RETURN 0;"  # the last octet of IPv4's source
    flow = graph.flow(share=False)
    flow.populate(f'(device,{ns.left}) -> (FPL-2,"{program}",256) -> n=(packetcount)')
    flow.instantiate()
    flow[1].mbuf[[5, 7]] = 1
    packets = [bytes(12) + b"\x08\x00" + bytes([0x45]) + bytes(14) + bytes([last]) + bytes(40) for last in range(10)]
    ns.send(ns.right, packets)  # before it is active: none counts
    flow.activate()
    ns.send(ns.right, packets)
    wait_until(lambda: int(flow["n"].mbuf["packets"]) == 2, "the two", 20)
    flow[1].mbuf[7] = 0
    ns.send(ns.right, packets)
    wait_until(lambda: int(flow["n"].mbuf["packets"]) == 3, "the one that is left", 20)
    assert flow[1].level == "kernel"
    flow.close()


def test_a_shared_flows_memory_is_not_to_be_written(ns: Netns, graph: RemoteGraph) -> None:
    with graph.flow(text(ns)) as flow, pytest.raises((FfpfError, ValueError)):
        flow["n"].mbuf["packets"] = 1
