# SPDX-License-Identifier: BSD-3-Clause
"""Readers that fall behind, on an engine that counts what it is told: who is left, who gets larger IBufs, and when."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from pyffpf.daemon.captures import Captures, Flow, FlowState
from pyffpf.daemon.config import BuffersConfig, Config
from pyffpf.daemon.credentials import Peer
from pyffpf.daemon.engine import LaneCounts, NamedFd
from pyffpf.daemon.operations import BEHIND_MAX, Operations
from pyffpf.daemon.policy import Policy
from pyffpf.daemon.protocol import Code, Open, RefusedError
from pyffpf.daemon.slow import SlowReaders
from pyffpf.daemon.testing import LANES, FakeEngine, FakeSource

STALL_MS = 2000
IBUF_BYTES = 4096
SLOTS = IBUF_BYTES // 8


class DeafClient:
    """What a flow needs of a client; what it would have been sent is kept."""

    def __init__(self) -> None:
        self.peer = Peer(1, 0, 0, frozenset({0}), 0)
        self.program = "deaf"
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any], descriptors: object = ()) -> None:
        self.sent.append(message)


class World:
    """One source, one group, some flows, and a clock that stands until it is told."""

    def __init__(self, bms: str) -> None:
        self.engine = FakeEngine("eth0")
        self.captures = Captures()
        self.operations = Operations(self.captures, self.engine, lambda _: None)
        buffers = BuffersConfig(bms=bms, bytes=8 << 20, ibuf_bytes=IBUF_BYTES * LANES, stall_ms=STALL_MS)
        self.policy = Policy(Config(buffers=buffers))
        self.now = 100.0
        self.requests = 0
        self.slow = SlowReaders(self.captures, self.operations, lambda: self.now)
        self.clients: list[DeafClient] = []

    async def successor(self, flow: Flow, lane: int) -> list[NamedFd]:
        """Asked for by a request of its own."""
        self.requests += 1
        return await self.operations.successor(flow, lane, self.requests)

    @property
    def source(self) -> FakeSource:
        (source,) = self.engine.live
        return source

    async def open(self) -> Flow:
        self.clients.append(DeafClient())
        client: Any = self.clients[-1]
        resolved = self.engine.resolve("eth0")
        async with self.operations.opened(resolved, 8 << 20) as source:
            request = Open(1, "eth0", 0, False, None)
            right = self.policy.decide(client.peer, request, "eth0")
            return await self.operations.open_flow(source, client, request, right, self.policy)

    def count(self, flow: Flow, w: int, r: int, pbuf: int = 0, ibuf: int = 0, behind: float = 1) -> None:
        """The flow's first lane as it stands; if it has unread packets, the oldest lies so many lane's sizes behind."""
        old = self.source.flows[flow.slot].counts
        behind_bytes = int(behind * self.source.facts.lane_bytes) if w > r else 0
        lane = LaneCounts(flow.ibuf_bytes // 8, 0, w, r, behind_bytes, pbuf)
        dropped = {"pbuf": pbuf, "ibuf": ibuf}
        self.source.flows[flow.slot].counts = dataclasses.replace(old, dropped=dropped, lanes=[lane, *old.lanes[1:]])

    async def tick(self, seconds: float = 0) -> None:
        self.now += seconds
        await self.slow.tick()


@contextlib.asynccontextmanager
async def world(bms: str = "srp") -> AsyncIterator[World]:
    made = World(bms)
    yield made
    for flow in list(made.captures.flows.values()):
        async with made.operations.locked(flow.source):
            await made.operations.close_flow(flow)
    assert not made.engine.live


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def stall(made: World, stalled: Flow, other: Flow, step: int) -> None:
    """One more look at a group that loses packets since `stalled` does not read, while `other` does."""
    made.count(stalled, w=100, r=3, pbuf=50 * step)
    made.count(other, w=100 + step, r=100 + step, pbuf=50 * step)


def test_a_reader_that_stands_still_while_its_group_loses_packets_is_left_behind() -> None:
    async def scenario() -> None:
        async with world() as made:
            stalled, other = await made.open(), await made.open()
            for step in range(1, 5):
                stall(made, stalled, other, step)
                await made.tick(0.6)
            assert stalled.state is FlowState.LIVE
            stall(made, stalled, other, 5)
            await made.tick(0.6)
            assert (stalled.state, other.state) == (FlowState.PARKED, FlowState.LIVE)
            assert f"move_group {stalled.group.number} [{other.slot}]" in made.source.log
            assert made.source.active == {other.slot: other.column}
            assert [message["event"] for message in made.clients[0].sent] == ["moved"]
            assert not made.clients[1].sent
            assert (stalled.behind, other.behind) == (0, 1)

            named = await made.successor(stalled, 0)  # it reads again
            assert stalled.state is FlowState.LIVE
            assert made.source.active[stalled.slot] == stalled.column
            assert [name for name, _ in named] == ["lane:0", "ibuf:0"]

    run(scenario())


@pytest.mark.parametrize(
    "what", ["catches up", "has read all", "group loses nothing", "loses by itself", "frp", "is alone"]
)
def test_nobody_is_left_behind_who(what: str) -> None:
    async def scenario() -> None:
        async with world("frp" if what == "frp" else "srp") as made:
            flow = await made.open()
            other = None if what == "is alone" else await made.open()
            for step in range(12):
                r = {"catches up": 100 if step % 3 == 2 else step, "has read all": 100}.get(what, 3)
                loses = 0 if what in ("group loses nothing", "loses by itself") else 50 * step
                made.count(flow, w=100, r=r, pbuf=loses, ibuf=50 * step if what == "loses by itself" else 0)
                if other is not None:
                    made.count(other, w=step, r=step, pbuf=0)
                await made.tick(0.6)
            assert flow.state is FlowState.LIVE

    run(scenario())


def trickle(made: World, slow: Flow, other: Flow, step: int, lost: int, slow_behind: float = 1) -> None:
    """One more look at a group with a reader that reads a packet, and another whose oldest is nearly as old."""
    made.count(slow, w=1000, r=step, pbuf=lost, behind=slow_behind)
    made.count(other, w=1000, r=step, pbuf=lost, behind=0.9)


def test_a_reader_that_reads_a_little_and_takes_the_groups_room_is_left_behind() -> None:
    async def scenario() -> None:
        async with world() as made:
            slow, other = await made.open(), await made.open()
            for step in range(1, 6):  # the first loss is seen at the second look, and 2.4 s later it is too long
                trickle(made, slow, other, step, 10 * step)
                await made.tick(0.6)
                assert (slow.state, other.state) == (FlowState.LIVE, FlowState.LIVE)
            trickle(made, slow, other, 6, 60)
            await made.tick(0.6)
            assert (slow.state, other.state) == (FlowState.PARKED, FlowState.LIVE)
            assert [message["event"] for message in made.clients[0].sent] == ["moved"]
            assert "too slowly" in made.clients[0].sent[0]["reason"]

            while slow.state is FlowState.PARKED:  # it comes back, and has as long again
                await made.successor(slow, 0)
            for step in range(7, 11):
                trickle(made, slow, other, step, 10 * step)
                await made.tick(0.6)
            assert slow.state is FlowState.LIVE

    run(scenario())


def test_losses_that_are_far_apart_are_nobodys_fault() -> None:
    async def scenario() -> None:
        async with world() as made:
            slow, other = await made.open(), await made.open()
            for step in range(1, 21):
                trickle(made, slow, other, step, 10 * (step // 4))  # every 2.4 s
                await made.tick(0.6)
            assert slow.state is FlowState.LIVE

    run(scenario())


def test_where_all_readers_are_too_slow_all_stay() -> None:
    async def scenario() -> None:
        async with world() as made:
            slow, other = await made.open(), await made.open()
            for step in range(1, 21):
                trickle(made, slow, other, step, 10 * step, slow_behind=0.9)
                await made.tick(0.6)
            assert (slow.state, other.state) == (FlowState.LIVE, FlowState.LIVE)

    run(scenario())


def test_an_ibuf_grows_when_it_is_half_full_or_drops_and_the_reader_is_given_the_larger_one() -> None:
    async def scenario() -> None:
        async with world() as made:
            flow = await made.open()
            made.count(flow, w=SLOTS // 2, r=0)
            await made.tick()
            assert flow.ibuf_bytes == IBUF_BYTES
            made.count(flow, w=SLOTS // 2 + 1, r=0)
            await made.tick()
            assert flow.ibuf_bytes == 4 * IBUF_BYTES
            for lane in range(LANES):
                for name, _ in await made.successor(flow, lane):
                    assert name.endswith(f":{lane}")
            made.count(flow, w=SLOTS, r=SLOTS, ibuf=1)
            await made.tick()
            assert flow.ibuf_bytes == 16 * IBUF_BYTES  # dropped since the last look
            with pytest.raises(RefusedError) as busy:
                for _ in range(2):
                    await made.successor(flow, 0)
            assert busy.value.code == Code.BUSY

    run(scenario())


def test_a_reader_that_does_not_follow_is_not_moved_for_ever() -> None:
    async def scenario() -> None:
        async with world() as made:
            flow, other = await made.open(), await made.open()
            for _ in range(BEHIND_MAX):
                await made.operations.move_group(flow.source, flow.group, [other])
                assert flow.state is FlowState.LIVE
            await made.operations.move_group(flow.source, flow.group, [])
            assert flow.state is FlowState.PARKED
            for lane in range(LANES):
                for _ in range(BEHIND_MAX + 1):
                    await made.successor(flow, lane)
            assert made.source.active[flow.slot] == flow.column

    run(scenario())


def test_a_revoked_flow_is_out_of_its_group_and_the_group_elsewhere() -> None:
    async def scenario() -> None:
        async with world() as made:
            flow, other = await made.open(), await made.open()
            async with made.operations.locked(flow.source):
                await made.operations.revoke(flow)
            assert flow.state is FlowState.REVOKED
            assert set(made.source.flows) == {other.slot}
            assert made.source.log[-1] == f"move_group {other.group.number} [{other.slot}]"

    run(scenario())
