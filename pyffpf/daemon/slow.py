# SPDX-License-Identifier: BSD-3-Clause
"""Readers that fall behind: larger IBufs for those that follow, and under SRP the group leaves those that do not.

SRP loses packets for the whole group rather than overwrite what one reader has not read. Beyond the group's limit a
reader is left behind on its buffers, which stay as they are: it may stand in the middle of a packet. It is told, and
comes back when it asks for a successor. Two readers are meant:

- one that stands still while its group loses packets;
- one that goes on, and yet takes the group's room: packets are lost, again and again, on a lane where nobody's oldest
  unread record is older than its own. It must come within half a PBuf of the newest record to be none.

If that is all of the group's readers, nobody is left: the sender is too fast for them all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pyffpf.daemon.captures import Captures, Flow, FlowState, Group, Source
from pyffpf.daemon.engine import FlowCounts, LaneCounts, SourceFacts, useful_ibuf
from pyffpf.daemon.operations import Operations, engine_call
from pyffpf.daemon.protocol import RefusedError, event

log = logging.getLogger(__name__)

TICK_S = 0.25
GROWTH = 4  # times, of an IBuf that was too small


@dataclass(frozen=True)
class _Seen:
    """A flow at the last look: how far its reader was, what was dropped, and since when it stands still."""

    r: tuple[int, ...]
    dropped_pbuf: tuple[int, ...]  # by lane: the group's loss, no room for the packet
    dropped_ibuf: int  # its own
    still_since: float


@dataclass(frozen=True)
class _Hold:
    """A reader for which its group had no room, and which has not caught up."""

    since: float
    last: float  # loss that was its


@dataclass(frozen=True)
class _Look:
    """At one group."""

    facts: SourceFacts
    limit_s: float
    now: float


def is_blocking(lane: LaneCounts, facts: SourceFacts) -> bool:
    """Whether this reader may be what its group waits for on this lane."""
    return lane.behind_bytes >= facts.lane_bytes // 2


def losing_lanes(counts: FlowCounts, dropped_before: Sequence[int]) -> set[int]:
    """Lanes on which the flow lost packets of the group's since it was looked at last."""
    return {
        number
        for number, (lane, before) in enumerate(zip(counts.lanes, dropped_before, strict=True))
        if lane.dropped_pbuf not in (0, before)  # less: of a fresh IBuf
    }


def is_oldest(number: int, mine: FlowCounts, members: Sequence[FlowCounts]) -> bool:
    """Whether the lane has no older record than the one that this reader has to read next."""
    return all(mine.lanes[number].behind_bytes >= other.lanes[number].behind_bytes for other in members)


def wanted_ibuf(flow: Flow, counts: FlowCounts, dropped_before: int, facts: SourceFacts) -> int:
    """Octets that the flow's IBufs should have; what they have when that will do."""
    full = any(lane.unread > lane.slots // 2 for lane in counts.lanes)
    if not full and counts.dropped.get("ibuf", 0) <= dropped_before:
        return flow.ibuf_bytes
    most = min(flow.group.plan.ibuf_bytes_max, useful_ibuf(facts.lane_bytes))
    return max(flow.ibuf_bytes, min(flow.ibuf_bytes * GROWTH, most))


class SlowReaders:
    """To be ticked every TICK_S."""

    def __init__(self, captures: Captures, operations: Operations, clock: Callable[[], float] = time.monotonic) -> None:
        self._captures = captures
        self._operations = operations
        self._clock = clock
        self._seen: dict[int, _Seen] = {}
        self._holds: dict[int, _Hold] = {}

    async def tick(self) -> None:
        for source in list(self._captures.sources.values()):
            try:
                async with self._operations.locked(source):
                    if source.engine is not None:
                        await self._look_at(source)
            except RefusedError as error:
                log.error("%s: slow readers: %s", source.name, error)
        self._seen = {number: seen for number, seen in self._seen.items() if number in self._captures.flows}
        self._holds = {number: hold for number, hold in self._holds.items() if number in self._captures.flows}

    async def _look_at(self, source: Source) -> None:
        engine = source.open
        live = [flow for flow in source.flows.values() if flow.state is FlowState.LIVE]

        def count() -> dict[int, FlowCounts]:
            return {flow.id: engine.flow_counts(flow.slot) for flow in live}

        counts = await engine_call(count)
        before = self._seen
        self._seen = before | {flow.id: self._note(flow, counts[flow.id]) for flow in live}
        for group in list(source.groups.values()):
            await self._look_after(source, group, counts, before)

    def _note(self, flow: Flow, counts: FlowCounts) -> _Seen:
        r = tuple(lane.r for lane in counts.lanes)
        pbuf = tuple(lane.dropped_pbuf for lane in counts.lanes)
        old = self._seen.get(flow.id)
        still = old is not None and old.r == r and any(lane.unread or not lane.followed for lane in counts.lanes)
        since = old.still_since if old is not None and still else self._clock()
        return _Seen(r, pbuf, counts.dropped.get("ibuf", 0), since)

    def _note_hold(
        self, flow: Flow, mine: FlowCounts, members: Sequence[FlowCounts], losing: set[int], look: _Look
    ) -> None:
        """Losses that are further apart than the limit have nothing to do with one another."""
        facts, now, old = look.facts, look.now, self._holds.get(flow.id)
        if not any(is_blocking(lane, facts) for lane in mine.lanes):
            self._holds.pop(flow.id, None)
        elif any(is_blocking(mine.lanes[n], facts) and is_oldest(n, mine, members) for n in losing):
            goes_on = old is not None and now - old.last < look.limit_s
            self._holds[flow.id] = _Hold(old.since if old is not None and goes_on else now, now)

    def _why_left(self, flow: Flow, mine: FlowCounts, look: _Look) -> str | None:
        """The reason, if the flow's reader is to be left behind by a group that loses packets."""
        now, still, hold = look.now, self._seen[flow.id].still_since, self._holds.get(flow.id)
        if now - still >= look.limit_s and any(is_blocking(lane, look.facts) for lane in mine.lanes):
            return f"it read nothing for {now - still:.1f} s while its group lost packets"
        if hold is not None and hold.last == now and now - hold.since >= look.limit_s:
            return f"it read too slowly: its group lost packets for want of room for {now - hold.since:.1f} s"
        return None

    async def _look_after(
        self, source: Source, group: Group, counts: Mapping[int, FlowCounts], before: Mapping[int, _Seen]
    ) -> None:
        look = _Look(source.open.facts, group.plan.stall_ms / 1000, self._clock())
        members = [flow for flow in source.members(group) if flow.id in counts]
        losing = set[int]().union(
            *(losing_lanes(counts[flow.id], before[flow.id].dropped_pbuf) for flow in members if flow.id in before)
        )
        left: dict[Flow, str] = {}
        if group.plan.bms == "srp" and look.limit_s > 0:
            all_counts = [counts[flow.id] for flow in members]
            for flow in members:
                self._note_hold(flow, counts[flow.id], all_counts, losing, look)
            reasons = {flow: self._why_left(flow, counts[flow.id], look) for flow in members if losing}
            left = {flow: why for flow, why in reasons.items() if why is not None}
        if left and len(left) < len(members):  # who stops nobody but itself may have its buffers
            await self._operations.move_group(source, group, list(left))
            for flow, why in left.items():
                log.warning("flow %d (%s) is left behind: %s", flow.id, flow.client.program, why)
                flow.client.send(event("moved", flow.id, reason=why))
                self._holds.pop(flow.id, None)
            return  # the others have fresh IBufs now
        for flow in members:
            dropped_before = before[flow.id].dropped_ibuf if flow.id in before else 0
            wanted = wanted_ibuf(flow, counts[flow.id], dropped_before, look.facts)
            followed = not flow.behind and all(lane.followed for lane in counts[flow.id].lanes)
            if wanted > flow.ibuf_bytes and followed:
                await self._operations.grow(flow, wanted)
