# SPDX-License-Identifier: BSD-3-Clause
"""Readers that fall behind: larger IBufs for those that follow, and under SRP the group leaves those that do not.

SRP loses packets for the whole group rather than overwrite what one reader has not read. A reader that stands still
while its group loses packets, beyond the group's limit, is left behind on its buffers, which stay as they are: it may
stand in the middle of a packet. It is told, and comes back when it asks for a successor.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyffpf.daemon.captures import Captures, Flow, FlowState, Group, Source
from pyffpf.daemon.engine import FlowCounts, LaneCounts, SourceFacts
from pyffpf.daemon.operations import Operations, engine_call
from pyffpf.daemon.protocol import RefusedError, event

log = logging.getLogger(__name__)

TICK_S = 0.25
GROWTH = 4  # times, of an IBuf that was too small
SMALLEST_RECORD_BYTES = (
    128  # header and packet: an IBuf with one entry for each that fits a lane never is the narrow one
)


@dataclass(frozen=True)
class _Seen:
    """A flow at the last look: how far its reader was, what was dropped, and since when it stands still."""

    r: tuple[int, ...]
    dropped_pbuf: int  # the group's loss: no room for the packet
    dropped_ibuf: int  # its own
    still_since: float


def is_blocking(lane: LaneCounts, facts: SourceFacts) -> bool:
    """Whether this reader may be what its group waits for on this lane."""
    return lane.behind_bytes >= facts.lane_bytes // 2


def wanted_ibuf(flow: Flow, counts: FlowCounts, dropped_before: int, facts: SourceFacts) -> int:
    """Octets that the flow's IBufs should have; what they have when that will do."""
    full = any(lane.unread > lane.slots // 2 for lane in counts.lanes)
    if not full and counts.dropped.get("ibuf", 0) <= dropped_before:
        return flow.ibuf_bytes
    useful = facts.lane_bytes // SMALLEST_RECORD_BYTES * 8
    return max(flow.ibuf_bytes, min(flow.ibuf_bytes * GROWTH, flow.group.plan.ibuf_bytes_max, useful))


class SlowReaders:
    """To be ticked every TICK_S."""

    def __init__(self, captures: Captures, operations: Operations, clock: Callable[[], float] = time.monotonic) -> None:
        self._captures = captures
        self._operations = operations
        self._clock = clock
        self._seen: dict[int, _Seen] = {}

    async def tick(self) -> None:
        for source in list(self._captures.sources.values()):
            try:
                async with self._operations.locked(source):
                    if source.engine is not None:
                        await self._look_at(source)
            except RefusedError as error:
                log.error("%s: slow readers: %s", source.name, error)
        self._seen = {number: seen for number, seen in self._seen.items() if number in self._captures.flows}

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
        pbuf, ibuf = counts.dropped.get("pbuf", 0), counts.dropped.get("ibuf", 0)
        old = self._seen.get(flow.id)
        still = old is not None and old.r == r and any(lane.unread or not lane.followed for lane in counts.lanes)
        return _Seen(r, pbuf, ibuf, old.still_since if old is not None and still else self._clock())

    async def _look_after(
        self, source: Source, group: Group, counts: Mapping[int, FlowCounts], before: Mapping[int, _Seen]
    ) -> None:
        facts, now = source.open.facts, self._clock()
        members = [flow for flow in source.members(group) if flow.id in counts]
        losing = any(
            flow.id in before and self._seen[flow.id].dropped_pbuf > before[flow.id].dropped_pbuf for flow in members
        )
        limit_s = group.plan.stall_ms / 1000
        left = [
            flow
            for flow in members
            if group.plan.bms == "srp" and losing and limit_s > 0
            and now - self._seen[flow.id].still_since >= limit_s
            and any(is_blocking(lane, facts) for lane in counts[flow.id].lanes)
        ]  # fmt: skip
        if left and len(left) < len(members):  # who stops nobody but itself may have its buffers
            await self._operations.move_group(source, group, left)
            for flow in left:
                why = f"it read nothing for {now - self._seen[flow.id].still_since:.1f} s while its group lost packets"
                log.warning("flow %d (%s) is left behind: %s", flow.id, flow.client.program, why)
                flow.client.send(event("moved", flow.id, reason=why))
            return  # the others have fresh IBufs now
        for flow in members:
            dropped_before = before[flow.id].dropped_ibuf if flow.id in before else 0
            wanted = wanted_ibuf(flow, counts[flow.id], dropped_before, facts)
            followed = not flow.behind and all(lane.followed for lane in counts[flow.id].lanes)
            if wanted > flow.ibuf_bytes and followed:
                await self._operations.grow(flow, wanted)
