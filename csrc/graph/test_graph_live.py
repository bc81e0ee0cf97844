# SPDX-License-Identifier: BSD-3-Clause
"""Flows over interfaces: several devices by time, filters on what the kernel takes out of packets, pauses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyffpf._core import lib

from compat_tests.netns import Netns
from graph.graph_engine import Engine
from source.live_frames import TAGGINGS, number_of, numbered

pytestmark = pytest.mark.live

N = 200
SNAP_LEN = 2048  # the ring of immediate mode has a frame of that size for each packet


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def flow(engine: Engine, ns: Netns, text: str, *, active: bool = True) -> object:
    with ns.entered():
        return engine.flow(text.replace("LEFT", ns.left).replace("RIGHT", ns.right), active=active)


@pytest.mark.parametrize("immediate", [0, 1], ids=["blocks", "frames"])
def test_two_interfaces_come_in_the_order_of_time(ns: Netns, immediate: int) -> None:
    """Each frame leaves one end and comes in at the other, a little later."""
    engine = Engine(immediate=immediate, snap_len=SNAP_LEN)
    f = flow(engine, ns, "(device,LEFT) | (device,RIGHT) -> (packetcount,,8)")
    ns.send(ns.right, (numbered(i) for i in range(N)))
    packets = engine.read(f, 2 * N)
    assert [time for _, time, _ in packets] == sorted(time for _, time, _ in packets)
    assert sorted(number_of(octets) for octets, _, _ in packets) == sorted([*range(N), *range(N)])
    assert engine.word(f, 2) == 2 * N
    assert engine.counters(f, 0).out == engine.counters(f, 1).out == N


def test_filters_see_what_the_sockets_filter_would(ns: Netns) -> None:
    """Tags that the kernel took out, the direction, and what lies behind a tag; the tag is back in what is read."""
    engine = Engine(immediate=1, snap_len=SNAP_LEN)
    frames = [numbered(i, tags=tags) for i, tags in enumerate(TAGGINGS.values())]
    tagged = [tags for tags in TAGGINGS.values() if tags]
    behind = "ether[14:4] = 0 or ether[14:4] = 1"
    tests = {"": len(frames), "vlan": len(tagged), "not vlan": len(frames) - len(tagged), "inbound": len(frames),
             "outbound": 0, behind: sum(1 for tags in list(TAGGINGS.values())[:2] if len(tags) < 2)}  # fmt: skip
    flows = {text: flow(engine, ns, f'(device,LEFT) -> (BPF,"{text}") -> (packetcount,,8)') for text in tests}
    assert lib.ffpf_engine_instance_count(engine.engine) == 1 + 2 * len(tests)
    engine.read_begin(flows[""], 0)
    ns.send(ns.right, frames)
    assert [octets for octets, _, _ in engine.read(flows[""], len(frames), 0)] == frames
    assert {text: engine.word(f, 2) for text, f in flows.items()} == tests


def test_what_comes_while_nobody_is_active_does_not_count(ns: Netns) -> None:
    engine = Engine(immediate=1, snap_len=SNAP_LEN)
    f = flow(engine, ns, "(device,LEFT) -> (packetcount,,8)", active=False)
    ns.send(ns.right, (numbered(i) for i in range(5)))
    engine.activate(f)
    ns.send(ns.right, (numbered(i) for i in range(5, 12)))
    assert [number_of(octets) for octets, _, _ in engine.read(f, 7)] == [*range(5, 12)]
    engine.pause(f)
    assert engine.read(f, 1) == []  # at once: nothing will come
    ns.send(ns.right, (numbered(i) for i in range(3)))
    engine.activate(f)
    ns.send(ns.right, [numbered(20)])
    assert [number_of(octets) for octets, _, _ in engine.read(f, 1)] == [20]
    counters = engine.counters(f, 0)
    assert (counters.out, counters.dropped[lib.FFPF_NODE_DROP_PAUSED]) == (8, 8)
    assert engine.word(f, 1) == 8


def test_running_without_reading_stops_when_it_was_told(ns: Netns) -> None:
    engine = Engine(immediate=1, snap_len=SNAP_LEN)
    f = flow(engine, ns, "(device,LEFT) -> (packetcount,,8)")
    assert engine.run(0, 20) == 0
    ns.send(ns.right, (numbered(i) for i in range(N)))
    assert engine.run(N // 2, 5000) == N // 2
    assert engine.word(f, 1) == N // 2
    assert engine.run(N - N // 2, 5000) == N - N // 2
    lib.ffpf_engine_wake(engine.engine)
    assert engine.run(0, -1) == 0
