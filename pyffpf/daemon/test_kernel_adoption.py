# SPDX-License-Identifier: BSD-3-Clause
"""A source in the kernel whose ffpfd was killed in the middle of something: what the next one makes of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NoReturn

import pytest

from compat_tests.netns import Netns
from pyffpf.daemon.engine import ACCEPT_ALL, Adopted, Kept, KeptFlow, KeptGroup, Resolved, interface_key
from pyffpf.daemon.kernel_capture import KernelSource
from pyffpf.daemon.kernel_engine import KernelEngine
from pyffpf.daemon.survival import frame

PBUF_BYTES = 1 << 20
IBUF_BYTES = 1 << 14
ALL = bytes.fromhex("0600000000000400")  # BPF's ret #262144
NOTHING = bytes.fromhex("0600000000000000")  # ret #0
GROUP = KeptGroup(3, "srp")

pytestmark = pytest.mark.live


def kept_flow(slot: int, insns: bytes | None = None, live: bool = True) -> KeptFlow:
    return KeptFlow(slot, GROUP.number, 2 * slot, 1, 1000, IBUF_BYTES, insns, live)


class Source:
    """One in a namespace, with a group and some flows, over the lives of its engines."""

    def __init__(self, ns: Netns, stack: ExitStack) -> None:
        self.ns = ns
        self._stack = stack
        self.engine = self._engine()
        with ns.entered():
            self.resolved = Resolved(interface_key(socket.if_nametoindex(ns.left)), ns.left)
            self.now: KernelSource = self.engine.open_source(self.resolved, PBUF_BYTES)
        self.now.open_group(GROUP.number, GROUP.bms)

    def _engine(self) -> KernelEngine:
        made = KernelEngine()
        self._stack.callback(made.close)
        return made

    def open(self, slot: int, insns: bytes | None = None) -> KeptFlow:
        flow = kept_flow(slot, insns)
        self.now.open_flow(slot, GROUP.number, flow.ibuf_bytes, flow.snap_len)
        prepared = self.now.prepare(insns)
        prepared.compile()
        self.now.place(flow.column, prepared)
        prepared.close()
        self.now.activate(slot, flow.column, flow.generation)
        return flow

    def keep(self) -> Kept:
        """As the holder has it from now on, whatever its engine does."""
        kept = self.now.kept()
        return Kept(kept.text, {name: os.dup(fd) for name, fd in kept.fds.items()})

    def adopt(self, kept: Kept, flows: Sequence[KeptFlow], groups: Sequence[KeptGroup] = (GROUP,)) -> Adopted:
        """By another engine; the process of the one before is gone, with its descriptors and its classifier."""
        self.now.close()
        adopted = self._engine().adopt_source(self.resolved, PBUF_BYTES, kept, groups, flows)
        assert isinstance(adopted.source, KernelSource)
        self.now = adopted.source
        assert self.now.unknown_memories() == ([], [])
        return adopted

    def send(self, count: int) -> None:
        self.ns.send(self.ns.right, (frame(number) for number in range(count)))

    def indexed(self, slot: int) -> int:
        counts = self.now.flow_counts(slot)
        return counts.delivered + counts.waiting


@pytest.fixture
def source(ns: Netns) -> Iterator[Source]:
    with ExitStack() as stack:
        made = Source(ns, stack)
        yield made
        made.now.close()


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def test_nothing_was_under_way(source: Source) -> None:
    flows = [source.open(0), source.open(5, NOTHING), source.open(40, ALL)]
    source.send(10)
    kept = source.keep()
    adopted = source.adopt(kept, flows)
    assert (sorted(adopted.placements), adopted.renewed) == ([0, 5, 40], frozenset())
    source.send(7)
    assert [source.indexed(flow.slot) for flow in flows] == [17, 0, 17]
    assert [source.now.flow_counts(flow.slot).seen for flow in flows] == [17, 17, 17]
    assert source.now.group_records(GROUP.number) == 17
    again = source.keep()
    assert again.fds.keys() == kept.fds.keys(), "a file was given another name"
    source.adopt(again, flows)
    source.send(1)
    assert source.indexed(0) == 18


def test_what_nobody_knows_is_taken_away(source: Source) -> None:
    known = source.open(1)
    kept = source.keep()
    source.open(2)
    source.now.open_group(7, "frp")
    source.adopt(kept, [known])
    source.send(3)
    assert source.indexed(1) == 3
    source.now.open_group(7, "srp")  # both numbers are free again
    source.open(2)
    source.send(1)
    assert source.indexed(2) == 1


def test_what_is_gone_is_missing(source: Source) -> None:
    flows = [source.open(1), source.open(2)]
    kept = source.keep()
    source.now.activate(2, None, 1)
    source.now.close_flow(2)
    adopted = source.adopt(kept, flows)
    assert list(adopted.placements) == [1]


def test_a_filter_that_was_being_changed_is_the_one_before(source: Source) -> None:
    flow, other = source.open(1, NOTHING), source.open(2)
    kept = source.keep()
    source.now.place(3, ACCEPT_ALL)
    source.now.activate(1, 3, 2)
    source.send(2)
    source.adopt(kept, [flow, other])
    before = source.indexed(1)
    source.send(5)
    assert (before, source.indexed(1), source.indexed(2)) == (2, 2, 7)


def test_a_parked_flow_stays_so(source: Source) -> None:
    source.open(1)
    kept = source.keep()
    source.adopt(kept, [kept_flow(1, live=False)])
    source.send(5)
    assert source.indexed(1) == 0


def test_killed_after_a_flow_had_moved_to_its_fresh_ibufs(source: Source) -> None:
    flow, other = source.open(1), source.open(2)
    kept: list[Kept] = []
    source.engine.on_prepared(lambda _: kept.append(source.keep()))
    source.send(3)
    source.now.grow_flow(1, 4 * IBUF_BYTES)
    source.send(5)
    adopted = source.adopt(kept[0], [flow, other])
    assert adopted.renewed == {1}
    source.send(4)
    assert [source.indexed(slot) for slot in (1, 2)] == [12, 12]
    assert source.now.flow_counts(1).lanes[0].slots == 4 * IBUF_BYTES // 8


def test_killed_before_a_flow_moved_to_its_fresh_ibufs(source: Source) -> None:
    class KilledError(Exception):
        pass

    def killed(_: object) -> NoReturn:
        kept.append(source.keep())
        raise KilledError

    flow, kept = source.open(1), list[Kept]()
    source.engine.on_prepared(killed)
    with pytest.raises(KilledError):
        source.now.grow_flow(1, 4 * IBUF_BYTES)
    source.send(5)
    adopted = source.adopt(kept[0], [flow])
    assert adopted.renewed == frozenset()
    assert source.keep().fds.keys() < kept[0].fds.keys()
    source.send(4)
    assert source.indexed(1) == 9
    source.now.grow_flow(1, 4 * IBUF_BYTES)


def test_a_reader_that_did_not_come_from_the_move_before_ends(source: Source) -> None:
    flow, other = source.open(1), source.open(2)
    source.send(3)  # nobody reads them
    kept = source.keep()
    source.now.grow_flow(1, 4 * IBUF_BYTES)  # and nothing was kept before that
    source.send(3)
    adopted = source.adopt(kept, [flow, other])
    assert (list(adopted.placements), adopted.renewed) == ([2], frozenset())
    source.send(1)
    assert source.indexed(2) == 7
    source.open(1)  # its slot is free


def test_lanes_that_nobody_knows_are_replaced(source: Source) -> None:
    flows = [source.open(1), source.open(2)]
    kept = source.keep()
    source.now.move_group(GROUP.number, {1: IBUF_BYTES, 2: IBUF_BYTES})
    adopted = source.adopt(kept, flows)
    assert adopted.renewed == {1, 2}
    source.send(4)
    assert [source.indexed(flow.slot) for flow in flows] == [4, 4]
