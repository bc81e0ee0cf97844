# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd killed at each step of a move, while packets come: the next one finishes it, or it has never begun.

Packets are numbered, and readers read across all the kills: one whose flow goes along holds an unbroken sequence, one
that is left behind each time misses exactly what its counter says.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from compat_tests.netns import Netns
from kernel.kernel_testing import Flow, Reader
from pyffpf._core import ffi, lib
from pyffpf.daemon import pages
from pyffpf.daemon.engine import ACCEPT_ALL, Adopted, EngineError, Kept, KeptFlow, KeptGroup, Resolved, interface_key
from pyffpf.daemon.kernel_capture import KernelSource
from pyffpf.daemon.kernel_engine import KernelEngine
from pyffpf.daemon.survival import HEADER_BYTES, NUMBER, frame

IBUF_BYTES = 1 << 15
GROUP = KeptGroup(3, "srp")
GOES, STAYS = 1, 2  # slots
STEPS_OF_A_MOVE = [
    "lanes made", "made", "marked", "left", "moved", "nobody is in the old ones", "a flow's counts are settled",
    "old IBufs are forgotten",
]  # fmt: skip

pytestmark = pytest.mark.live


class World:
    """A source with a flow that goes along and one that is left behind, over the lives of its engines."""

    def __init__(self, ns: Netns, stack: ExitStack) -> None:
        self._ns = ns
        self._stack = stack
        self.sent = 0
        self.engine = self._engine()
        with ns.entered():
            self._resolved = Resolved(interface_key(socket.if_nametoindex(ns.left)), ns.left)
            self.now: KernelSource = self.engine.open_source(self._resolved, 1 << 20)
        self.now.open_group(GROUP.number, GROUP.bms)
        for slot in (GOES, STAYS):
            self.now.open_flow(slot, GROUP.number, IBUF_BYTES, 1000)
            self.now.place(2 * slot, ACCEPT_ALL)
            self.now.activate(slot, 2 * slot, 1)
        self.readers = {slot: stack.enter_context(self._reader(slot)) for slot in (GOES, STAYS)}
        self.got: dict[int, list[int]] = {GOES: [], STAYS: []}
        self.kept: Kept | None = None  # what the holder has of it
        self.stays_live = True  # so it was kept

    def _engine(self) -> KernelEngine:
        made = KernelEngine()
        self._stack.callback(made.close)
        return made

    @contextmanager
    def _reader(self, slot: int) -> Iterator[Reader]:
        named = {name: os.dup(fd) for name, fd in self.now.descriptors(slot)}
        lanes, ibufs = ([named[f"{what}:{n}"] for n in range(self.now.facts.lanes)] for what in ("lane", "ibuf"))
        fds: Any = SimpleNamespace(fd={lib.FFPF_KERNEL_FD_COUNTS: named["counts"]})
        there: Any = SimpleNamespace(cpus=self.now.facts.lanes, lanes={GROUP.number: lanes}, fds=fds)
        reader = Reader(Flow(there, slot, GROUP.number, named["reader"], named["wake"], ibufs))
        try:
            yield reader
        finally:
            reader.close()
            for fd in named.values():
                os.close(fd)

    def send(self, count: int) -> None:
        self._ns.send(self._ns.right, (frame(self.sent + number) for number in range(count)))
        self.sent += count

    def read(self) -> None:
        for slot, reader in self.readers.items():
            self.got[slot] += [NUMBER.unpack_from(packet.data, HEADER_BYTES)[0] for packet in reader.drain()]

    def follow(self, slot: int) -> None:
        """The flow's reader may go to where it is now."""
        lanes = [dict(self.now.lane_descriptors(slot, n)) for n in range(self.now.facts.lanes)]
        fds = {n: (lanes[n][f"lane:{n}"], lanes[n][f"ibuf:{n}"]) for n in range(len(lanes))}
        self.readers[slot].flow.successors = fds
        self.read()

    def keep(self) -> None:
        if self.kept is not None:
            for fd in self.kept.fds.values():
                os.close(fd)
        kept = self.now.kept()
        self.kept = Kept(kept.text, {name: os.dup(fd) for name, fd in kept.fds.items()})

    def kill_at(self, step: str, work: Callable[[], None]) -> None:
        """Does it until it comes there, with a packet at each step before, and one afterwards."""
        names = []

        def on_step(_: Any, name: Any) -> int:
            self.send(1)
            names.append(ffi.string(name).decode())
            return -int(lib.FFPF_E_GENERIC) if names[-1] == step else 0

        callback = ffi.callback("int(void *, const char *)", on_step)
        lib.ffpf_kernel_on_step(self.now.handle, callback, ffi.NULL)
        with pytest.raises(EngineError):
            work()
        assert names[-1] == step
        self.send(1)

    def adopt(self) -> Adopted:
        assert self.kept is not None
        kept, self.kept = self.kept, None
        self.now.close()
        self.engine = self._engine()
        flows = [KeptFlow(slot, GROUP.number, 2 * slot, 1, 1000, IBUF_BYTES, None, slot == GOES or self.stays_live)
                 for slot in (GOES, STAYS)]  # fmt: skip
        adopted = self.engine.adopt_source(self._resolved, 1 << 20, kept, [GROUP], flows)
        assert isinstance(adopted.source, KernelSource)
        self.now = adopted.source
        assert sorted(adopted.placements) == [GOES, STAYS]
        assert self.now.unknown_memories() == ([], [])
        return adopted

    def check_counts(self) -> None:
        """Of the flow that goes along, and of the other: by the engine, and by its reader."""
        self.read()
        missed = self.sent - len(self.got[STAYS])
        assert self.got[GOES] == list(range(self.sent))
        assert self.got[STAYS] == sorted(set(self.got[STAYS]))
        for slot, left in ((GOES, 0), (STAYS, missed)):
            counts = self.now.flow_counts(slot)
            assert {cause: count for cause, count in counts.dropped.items() if count} == (
                {"left": left} if left else {}
            )
            assert (counts.seen, counts.filtered) == (self.sent, 0)
            assert counts.delivered + counts.waiting == self.sent - left
            read = self.readers[slot].counters()
            assert (read.seen, read.filtered, read.dropped[lib.FFPF_DROP_LEFT]) == (self.sent, 0, left)


@pytest.fixture
def world() -> Iterator[World]:
    with Netns() as ns, ExitStack() as stack:
        made = World(ns, stack)
        yield made
        made.keep()  # closes what the last one left open
        for fd in made.kept.fds.values() if made.kept else ():
            os.close(fd)
        made.now.close()


def test_killed_at_each_step_of_a_groups_move(world: World) -> None:
    moves = 0
    for step in STEPS_OF_A_MOVE:
        world.send(5)
        world.read()
        world.keep()
        world.now.leave(STAYS, 2 * STAYS)
        world.send(2)

        def prepared(_: object) -> None:
            world.stays_live = False
            world.keep()

        world.stays_live = True
        world.engine.on_prepared(prepared)
        world.kill_at(step, lambda: world.now.move_group(GROUP.number, {GOES: IBUF_BYTES}))
        adopted = world.adopt()
        has_moved = step != STEPS_OF_A_MOVE[0]
        assert adopted.renewed == ({GOES} if has_moved else frozenset())
        assert adopted.moved == ({GROUP.number} if has_moved else frozenset())
        moves += has_moved
        world.send(3)
        if has_moved:
            world.follow(GOES)
            world.now.grow_flow(STAYS, IBUF_BYTES)
            world.now.activate(STAYS, 2 * STAYS, 1)
            world.send(4)
            world.follow(STAYS)
        world.check_counts()
    assert moves == len(STEPS_OF_A_MOVE) - 1
    assert world.sent - len(world.got[STAYS]) > 4 * moves


def test_killed_while_a_flow_that_was_left_behind_comes_back(world: World) -> None:
    world.now.leave(STAYS, 2 * STAYS)
    world.now.move_group(GROUP.number, {GOES: IBUF_BYTES})
    world.stays_live = False
    world.send(3)
    world.follow(GOES)
    world.engine.on_prepared(lambda _: world.keep())
    world.kill_at("entered", lambda: world.now.grow_flow(STAYS, IBUF_BYTES))
    assert world.adopt().renewed == {STAYS}
    world.send(4)  # it is in force
    world.follow(STAYS)
    assert world.got[STAYS] == [5, 6, 7, 8]
    world.check_counts()


def test_a_group_that_lost_a_flow_to_a_kill_is_moved(world: World) -> None:
    """Its right may have been about to end: what comes later is not for its eyes."""
    world.send(1)
    world.keep()
    old = [os.dup(fd) for name, fd in world.now.descriptors(STAYS) if name.startswith("lane:")]
    world.now.activate(STAYS, None, 1)
    world.now.close_flow(STAYS)
    kept, world.kept = world.kept, None
    assert kept is not None
    world.now.close()
    flows = [KeptFlow(slot, GROUP.number, 2 * slot, 1, 1000, IBUF_BYTES, None, True) for slot in (GOES, STAYS)]
    adopted = world.engine.adopt_source(Resolved("if:0", ""), 1 << 20, kept, [GROUP], flows)
    assert isinstance(adopted.source, KernelSource)
    world.now = adopted.source
    assert (list(adopted.placements), set(adopted.renewed), set(adopted.moved)) == ([GOES], {GOES}, {GROUP.number})
    world.readers.pop(STAYS)
    world.send(5)
    world.follow(GOES)
    assert world.got[GOES] == list(range(6))
    assert sum(pages.lane_records(fd) for fd in old) == 1  # nothing came into what the flow that is gone may still map
    for fd in old:
        os.close(fd)
