# SPDX-License-Identifier: BSD-3-Clause
"""What an interface's socket brings up: all that any active flow wants, and nothing that none does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns
from graph.graph_engine import LAST, Engine, checked
from source.live_frames import TAGGINGS, number_of, numbered

pytestmark = pytest.mark.live

N = 60
SNAP_LEN = 2048  # the ring of immediate mode has a frame of that size for each packet
COUNT = "(packetcount,,8)"

# Flows behind (device,LEFT), and which numbers each wants. "twin" is the same node as "odd"; "device" reads the
# interface's own node.
KINDS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "odd": (f' -> (BPF,"ether[17] & 1 = 1") -> {COUNT}', lambda n: n % 2 == 1),
    "twin": (f' -> (BPF,"ether[17]  & 1 = 1") -> (bytecount) -> {COUNT}', lambda n: n % 2 == 1),
    "four": (f' -> (BPF,"ether[17] & 3 = 0") -> {COUNT}', lambda n: n % 4 == 0),
    "all": (f" -> {COUNT}", lambda n: True),
    "device": ("", lambda n: True),
}
ONE_FILTER = ({"odd"}, {"twin"}, {"odd", "twin"}, {"four"})


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def flow(engine: Engine, ns: Netns, rest: str, *, active: bool = True) -> Any:
    with ns.entered():
        return engine.flow(f"(device,{ns.left}){rest}", active=active)


def close(engine: Engine, flow: Any) -> None:
    checked(lib.ffpf_graph_flow_close(flow, engine.err), engine.err)


def is_filtered(engine: Engine) -> bool:
    """Whether the first instance, the device, has a filter on its socket."""
    instance = ffi.new("struct ffpf_engine_instance *")
    checked(lib.ffpf_engine_instance_at(engine.engine, 0, instance, engine.err), engine.err)
    return b"socket" in ffi.string(instance.reason)


@pytest.mark.parametrize("immediate", [0, 1], ids=["blocks", "frames"])
def test_what_the_one_filter_does_not_want_is_not_brought_up(ns: Netns, immediate: int) -> None:
    engine = Engine(immediate=immediate, snap_len=SNAP_LEN)
    f = flow(engine, ns, KINDS["odd"][0])
    assert is_filtered(engine)
    ns.send(ns.right, (numbered(i) for i in range(N)))
    assert [number_of(octets) for octets, _, _ in engine.read(f, N // 2)] == [*range(1, N, 2)]
    device, bpf = engine.counters(f, 0), engine.counters(f, 1)
    assert (device.out, device.filtered) == (N // 2, 0)
    assert (getattr(bpf, "in"), bpf.out) == (N // 2, N // 2)
    assert engine.word(f, 2) == N // 2


@pytest.mark.parametrize("immediate", [0, 1], ids=["blocks", "frames"])
def test_what_the_ring_held_when_the_filter_came_is_counted(ns: Netns, immediate: int) -> None:
    """Brought up, and then turned away: filtered at the device. The rest is older than the flow: paused."""
    engine = Engine(immediate=immediate, snap_len=SNAP_LEN)
    f = flow(engine, ns, KINDS["odd"][0], active=False)
    ns.send(ns.right, (numbered(i) for i in range(N)))
    engine.activate(f)
    ns.send(ns.right, [numbered(N), numbered(N + 1)])
    assert [number_of(octets) for octets, _, _ in engine.read(f, 1)] == [N + 1]
    counters = engine.counters(f, 0)
    paused = counters.dropped[lib.FFPF_NODE_DROP_PAUSED]
    assert (counters.out, counters.filtered, paused) == (1, N // 2, N // 2)


def test_who_reads_the_device_gets_all(ns: Netns) -> None:
    """Also when it begins to in the middle: the flow is active, and its filter is on the socket."""
    engine = Engine(immediate=1, snap_len=SNAP_LEN)
    f = flow(engine, ns, KINDS["odd"][0])
    engine.read_begin(f)
    assert is_filtered(engine)
    engine.read_begin(f, 0)
    assert not is_filtered(engine)
    ns.send(ns.right, (numbered(i) for i in range(N)))
    assert [number_of(octets) for octets, _, _ in engine.read(f, N, 0)] == [*range(N)]
    assert [number_of(octets) for octets, _, _ in engine.read(f, N // 2)] == [*range(1, N, 2)]
    bpf = engine.counters(f, 1)
    assert (getattr(bpf, "in"), bpf.filtered) == (N, N // 2)


@pytest.mark.parametrize("text", ["vlan", "not vlan", "vlan and ether[17] = 1", "ether[17] = 1", "inbound", "outbound"])
def test_socket_and_node_agree(ns: Netns, text: str) -> None:
    """Tags that the kernel takes out, and directions: each filter alone, and beside a flow that wants all."""
    frames = [numbered(i, tags=tags) for i, tags in enumerate(TAGGINGS.values())]
    found = []
    for beside in (False, True):
        engine = Engine(immediate=1, snap_len=SNAP_LEN)
        f = flow(engine, ns, f' -> (BPF,"{text}") -> {COUNT}')
        if beside:
            flow(engine, ns, f" -> {COUNT}")
        assert is_filtered(engine) is not beside
        engine.read_begin(f)
        ns.send(ns.left, [numbered(1)])
        ns.send(ns.right, frames)
        engine.run(0, 100)
        found.append([octets for octets, _, _ in engine.read(f, len(frames) + 1, wait_ms=0)])
    assert found[0] == found[1] != []


def test_what_has_other_forms_or_ends_is_not_filtered(ns: Netns) -> None:
    with ns.entered():
        engine = Engine()
        engine.flow("(device,any) -> (BPF,tcp) -> (packetcount)")
        assert not is_filtered(engine)
        engine = Engine()
        engine.flow(f'(device,{ns.left}) | [(device,{ns.right}) -> (BPF,"vlan")]')
        assert not is_filtered(engine)
        engine = Engine()
        engine.flow(f'(device,{ns.left}) -> (BPF,"")')
        assert not is_filtered(engine)


@pytest.mark.parametrize("immediate", [0, 1], ids=["blocks", "frames"])
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(list(KINDS)), st.integers(0, 12), st.integers(0, 20)), min_size=2, max_size=8
    )
)
@settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flows_that_come_and_go_lose_nothing(ns: Netns, immediate: int, changes: list[tuple[str, int, int]]) -> None:
    """Each change starts or stops a flow, then frames are sent, and some of them pass: a filter comes and goes while
    packets are in the ring, and in the middle of the reader's batch. A flow gets, in order and once, what it wants of
    all that was sent while it was active."""
    engine = Engine(immediate=immediate, snap_len=SNAP_LEN, batch=4, timeout_ms=2)
    flows: dict[str, Any] = {}
    active: dict[str, set[int]] = {}  # what each must get since it was started
    sent = 0

    def stop(kind: str) -> None:
        got: list[int] = []
        while not active[kind] <= set(got):
            packets = engine.read(flows[kind], 1)
            assert packets, f"{kind}: {sorted(active[kind] - set(got))} did not come"
            got += [number_of(octets) for octets, _, _ in packets]
        assert got == sorted(set(got)) and all(KINDS[kind][1](n) for n in got)
        assert set(got) - active[kind] <= set(range(sent))
        del active[kind]
        if kind == "device":
            close(engine, flows.pop(kind))
        else:
            engine.pause(flows[kind])
            engine.read(flows[kind], sent, wait_ms=0)  # what was queued before

    keeper = flow(engine, ns, f" -> {COUNT}", active=False)  # so that the device stays, and is the first instance
    for kind, frames, passing in [*changes, *((kind, 0, 0) for kind in KINDS)]:
        if kind in active:
            stop(kind)
        elif frames:
            if kind not in flows:
                flows[kind] = flow(engine, ns, KINDS[kind][0], active=False)
                engine.read_begin(flows[kind], LAST)
            engine.activate(flows[kind])
            active[kind] = set()
        assert is_filtered(engine) == (set(active) in ONE_FILTER)
        ns.send(ns.right, (numbered(i) for i in range(sent, sent + frames)))
        for other, wanted in active.items():
            wanted |= {n for n in range(sent, sent + frames) if KINDS[other][1](n)}
        sent += frames
        if passing and active:
            engine.run(passing, 0)
    assert not active and engine.counters(keeper, 0).out <= sent
