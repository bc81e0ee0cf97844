# SPDX-License-Identifier: BSD-3-Clause
"""What is done to captures, step by step. Each runs under the lock of its source, and leaves all or nothing.

A filter changes in one store, however long its compilation takes; that is done before the lock is taken:

    prepare -> compile |
    place(idle column) -> activate: one store flips both columns -> synchronize -> clear(old column)

A group moves to fresh buffers with its flows; who is not taken along (a stalled reader, one whose right ended) stays on
the old ones, which nobody writes any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import ParamSpec, TypeVar

from pyffpf.daemon import transport
from pyffpf.daemon.captures import Captures, Flow, FlowState, Given, GraphFlow, Group, Source, SourceState
from pyffpf.daemon.engine import (
    ACCEPT_ALL,
    PREPARED_AT_ONCE,
    Compilable,
    Engine,
    EngineError,
    NamedFd,
    Prepared,
    Resolved,
    flow_memory,
    group_memory,
    lane_bytes,
)
from pyffpf.daemon.policy import Policy, Right
from pyffpf.daemon.protocol import SNAP_LEN_MAX, Code, Open, RefusedError, event
from pyffpf.daemon.server import Client
from pyffpf.daemon.turns import Turns

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

IBUF_BYTES_LEAST = 4096
LOOK_S = 0.2  # how often it is looked whether what is compiled is still wanted
BEHIND_MAX = 3  # changes of buffers that a reader may be behind before it is left where it is


async def engine_call(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """An engine's call, in a thread; its errors become refusals."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except (EngineError, OSError) as error:
        log.error("engine: %s", error)
        raise RefusedError(Code.FAILED, str(error)) from error


def check_waits(client: Client) -> None:
    """After waiting for a lock: for clients that died in the queue nothing is made, so that others wait less."""
    if client.hung_up():
        raise RefusedError(Code.INVALID, "the client is gone")


class Operations:
    """Bound to the state and the engine. `changed` is called, with the source, after whatever a successor of this
    ffpfd must know, and before anybody else hears of it."""

    def __init__(self, captures: Captures, engine: Engine, changed: Callable[[Source], None]) -> None:
        self._captures = captures
        self._engine = engine
        self._changed = changed
        self.tell = changed
        self._turns = Turns()
        self._compiling = Turns(PREPARED_AT_ONCE)
        self._compilers = ThreadPoolExecutor(PREPARED_AT_ONCE, "compile")

    def turn(self, source_key: str, uid: int) -> AbstractAsyncContextManager[None]:
        """Before the source's lock is waited for: of each user one request does, so that whoever makes many, or long
        ones, keeps others waiting for one at most."""
        return self._turns.turn(source_key, uid)

    @contextlib.asynccontextmanager
    async def prepared(self, flow: Flow | GraphFlow, insns: bytes | None) -> AsyncIterator[Prepared]:
        """A filter for change_filter(), or a graph's, without the source's lock."""
        async with self.turn(flow.source.key, flow.client.peer.uid):
            prepared = await engine_call(flow.source.open.prepare, insns)
        try:
            yield prepared
        finally:
            prepared.close()

    async def compile(self, flow: Flow | GraphFlow, prepared: Compilable) -> None:
        """What takes long about a filter, or about a graph's programs, without the source's lock: users take turns, and
        a client that goes, or another end of the flow, ends it. Returns when nothing of it is under way."""
        async with self._compiling.turn(None, flow.client.peer.uid):
            check_waits(flow.client)
            work = asyncio.get_running_loop().run_in_executor(self._compilers, prepared.compile)
            try:
                while not (await asyncio.wait([work], timeout=LOOK_S))[0]:
                    if flow.client.hung_up() or not self._captures.has(flow):
                        prepared.cancel()
            except BaseException:
                prepared.cancel()
                await asyncio.wait([work])
                raise
            work.result()

    @contextlib.asynccontextmanager
    async def locked(self, source: Source) -> AsyncIterator[Source]:
        """The source's lock; a source without flows is closed before it is given back."""
        async with source.lock:
            try:
                yield source
            finally:
                if not source.flows and not source.graphs:
                    await self._close_source(source)

    @contextlib.asynccontextmanager
    async def opened(self, resolved: Resolved, pbuf_bytes: int, client: Client | None = None) -> AsyncIterator[Source]:
        """The source with its lock held, opened if it was not. `client`: for whom."""
        while True:
            source = self._captures.sources.setdefault(resolved.key, Source(resolved.key, resolved.name))
            async with self.locked(source):
                if self._captures.sources.get(resolved.key) is not source:
                    continue  # closed while this waited for the lock
                if client is not None:
                    check_waits(client)
                if source.state is SourceState.DOWN:
                    raise RefusedError(Code.DEVICE_DOWN, f"{source.name} is down")
                if source.engine is None:
                    source.engine = await engine_call(self._engine.open_source, resolved, pbuf_bytes)
                    source.state = SourceState.UP
                yield source
                return

    async def _close_source(self, source: Source) -> None:
        if self._captures.sources.get(source.key) is source:
            del self._captures.sources[source.key]
            self._changed(source)
        engine, source.engine = source.engine, None
        if engine is not None:
            await engine_call(engine.close)

    async def open_flow(
        self,
        source: Source,
        client: Client,
        request: Open,
        right: Right,
        policy: Policy,
        *,
        of_graph: int = 0,
        reserved: bool = False,
        on: bool = True,
    ) -> Flow:
        """A flow that captures everything, from now on, or when it is switched on. of_graph: for the graph flow of this
        id, which counts for the user already; reserved: it gets what its nodes let out."""
        engine, key, plan = source.open, right.key, right.plan
        group = source.groups.get(key)
        ibuf_bytes = lane_bytes(plan.ibuf_bytes, engine.facts.lanes, IBUF_BYTES_LEAST)
        more = flow_memory(engine.facts, ibuf_bytes) + (0 if group else group_memory(engine.facts))
        usage = self._captures.usage(client.peer.uid)
        if of_graph:
            policy.check_memory(client.peer, usage, more)
        else:
            policy.check_limits(client.peer, usage, more)
        with self._captures.reserved(client.peer.uid, more):
            return await self._open_flow(source, client, request, right, ibuf_bytes, of_graph, reserved, on)

    async def _open_flow(
        self,
        source: Source,
        client: Client,
        request: Open,
        right: Right,
        ibuf_bytes: int,
        of_graph: int,
        reserved: bool,
        on: bool,
    ) -> Flow:
        engine, key, plan = source.open, right.key, right.plan
        group = source.groups.get(key)
        snap_len = min(request.snap_len or SNAP_LEN_MAX, key.snap_len)
        async with contextlib.AsyncExitStack() as undo:
            slot = source.slots.take()
            undo.callback(source.slots.give, slot)
            if group is None:
                group = Group(key, plan, source.group_numbers.take())
                undo.callback(source.group_numbers.give, group.number)
                await engine_call(engine.open_group, group.number, plan.bms)
                undo.push_async_callback(engine_call, engine.close_group, group.number)
            column = 2 * slot
            if reserved:
                await engine_call(engine.reserve, column)
            else:
                await engine_call(engine.place, column, ACCEPT_ALL)
            undo.push_async_callback(engine_call, engine.clear, column)
            await engine_call(engine.open_flow, slot, group.number, ibuf_bytes, snap_len)
            undo.push_async_callback(engine_call, engine.close_flow, slot)
            flow_id = of_graph or self._captures.next_flow_id()
            flow = Flow(flow_id, client, source, group, slot, snap_len, request.promisc, column, ibuf_bytes)
            flow.opened_by, flow.of_graph = request.id, bool(of_graph)
            flow.on = on
            await engine_call(engine.activate, slot, flow.active_column, flow.generation)
            source.groups[key] = group
            source.flows[slot] = flow
            self._captures.flows[flow.id] = flow
            undo.pop_all()
        await self.update_promiscuous(source)
        self._changed(source)
        return flow

    async def switch_flow(self, flow: Flow, on: bool) -> None:
        """What it captures is stored, or not, from now on."""
        flow.on = on
        if flow.state is FlowState.LIVE:
            await engine_call(flow.source.open.activate, flow.slot, flow.active_column, flow.generation)

    async def close_flow(self, flow: Flow) -> None:
        """Under its source's lock. A second call does nothing."""
        if self._captures.flows.pop(flow.id, None) is None:
            return
        flow.drop_successors()
        if flow.state is not FlowState.REVOKED:
            await self._remove(flow)
        await self.update_promiscuous(flow.source)
        self._changed(flow.source)

    async def _remove(self, flow: Flow) -> None:
        """Takes the flow from the engine and from its source; of a group, the last takes the group along. A number
        whose memory the engine could not let go of is not used again while the source is open."""
        source, engine = flow.source, flow.source.open
        del source.flows[flow.slot]
        is_last = not source.members(flow.group)
        if is_last:
            del source.groups[flow.group.key]
        if flow.state is FlowState.LIVE:
            await engine_call(engine.activate, flow.slot, None, flow.generation)
        flow.group.count_closed(await engine_call(engine.flow_counts, flow.slot))
        await engine_call(engine.close_flow, flow.slot)
        await engine_call(engine.clear, flow.column)
        source.slots.give(flow.slot)
        if is_last:
            await engine_call(engine.close_group, flow.group.number)
            source.group_numbers.give(flow.group.number)

    async def change_filter(self, flow: Flow, prepared: Prepared) -> list[int]:
        """For each lane the position from which on the new filter has judged. Raises NotReady, having changed
        nothing."""
        engine, old, new = flow.source.open, flow.column, flow.idle_column
        placement = await engine_call(engine.place, new, prepared)
        generation = flow.generation + 1
        if flow.state is FlowState.LIVE:
            await engine_call(engine.activate, flow.slot, new, generation)
        else:
            await engine_call(engine.leave, flow.slot, new)
        await engine_call(engine.synchronize)
        flow.column, flow.generation, flow.insns = new, generation, prepared.insns
        flow.level, flow.kind, flow.reason = placement.level, placement.kind, placement.reason
        await engine_call(engine.clear, old)
        self._changed(flow.source)
        return await engine_call(engine.positions, flow.slot, generation)

    async def successor(self, flow: Flow, lane: int, request: int) -> list[NamedFd]:
        """The buffers that follow on those that the reader has for this lane: descriptors that stay the flow's."""
        engine, before = flow.source.open, flow.given.get(lane)
        if before is not None and before.request == request:
            return before.named
        if lane >= engine.facts.lanes:
            raise RefusedError(Code.INVALID, f"flow {flow.id} has {engine.facts.lanes} lanes")
        waiting = flow.successors.get(lane)
        if not waiting and flow.state is FlowState.PARKED:
            await self._renew(flow, flow.ibuf_bytes)
            await engine_call(engine.activate, flow.slot, flow.active_column, flow.generation)
            flow.state = FlowState.LIVE
            self._changed(flow.source)
            waiting = flow.successors.get(lane)
        if not waiting:
            raise RefusedError(Code.BUSY, f"lane {lane} of flow {flow.id} has not moved")
        flow.given[lane] = Given(request, waiting.popleft())
        self._changed(flow.source)
        if before is not None:
            transport.close_all([fd for _, fd in before.named])
        return flow.given[lane].named

    async def move_group(self, source: Source, group: Group, left: Sequence[Flow]) -> None:
        """The group goes on in fresh buffers; the flows in `left` stay behind, parked."""
        engine, moving = source.open, []
        async with contextlib.AsyncExitStack() as undo:
            for flow in source.members(group):
                if flow.state is not FlowState.LIVE:
                    continue
                if flow in left or not await self._can_move(flow):
                    await engine_call(engine.leave, flow.slot, flow.column)
                    undo.push_async_callback(self._put_back, flow)
                    flow.state = FlowState.PARKED
                else:
                    moving.append(flow)
            await engine_call(engine.move_group, group.number, {flow.slot: flow.ibuf_bytes for flow in moving})
            undo.pop_all()
        group.moves += 1
        for flow in moving:
            flow.grown = False
            flow.keep_successors(engine)
        self._changed(source)

    async def _put_back(self, flow: Flow) -> None:
        """Of a group that could not go on without it."""
        await engine_call(flow.source.open.activate, flow.slot, flow.active_column, flow.generation)
        flow.state = FlowState.LIVE

    async def _can_move(self, flow: Flow) -> bool:
        """Not one that is too far behind, or has not come to the larger IBufs that it was given: records that it has
        yet to read lie in lanes that are left."""
        if flow.behind >= BEHIND_MAX:
            return False
        counts = await engine_call(flow.source.open.flow_counts, flow.slot)
        return not flow.grown or all(lane.followed for lane in counts.lanes)

    async def revoke(self, flow: Flow) -> None:
        """The flow's right has ended: its group moves, and it sees no later packet."""
        source, group = flow.source, flow.group
        flow.drop_successors()
        await self._remove(flow)
        flow.state = FlowState.REVOKED
        if source.members(group):
            await self.move_group(source, group, [])
        await self.update_promiscuous(source)
        self._changed(source)

    async def grow(self, flow: Flow, ibuf_bytes: int) -> None:
        """Larger IBufs for a reader that follows."""
        await self._renew(flow, ibuf_bytes)
        flow.ibuf_bytes = ibuf_bytes
        self._changed(flow.source)

    async def _renew(self, flow: Flow, ibuf_bytes: int) -> None:
        engine = flow.source.open
        await engine_call(engine.grow_flow, flow.slot, ibuf_bytes)
        flow.grown = flow.state is FlowState.LIVE
        flow.keep_successors(engine)

    async def set_state(self, source: Source, state: SourceState) -> None:
        """Readers and clients hear of it. A source that is gone takes no more flows: its number does not come back."""
        source.state = state
        log.info("%s is %s", source.name, state)
        for flow in source.flows.values():
            flow.client.send(event("source", flow.id, state=str(state), name=source.name))
        for graph in source.graphs.values():
            if graph.delivery is None:
                graph.client.send(event("source", graph.id, state=str(state), name=source.name))
        # behind the events: a reader that comes to the end of its lanes finds there why
        await engine_call(source.open.set_state, str(state))
        self._changed(source)

    async def update_promiscuous(self, source: Source) -> None:
        """The interface is promiscuous as long as one flow asks for it."""
        wanted = any(flow.promisc for flow in source.flows.values())
        wanted = wanted or any(graph.request.promisc for graph in source.graphs.values())
        if source.engine is not None and source.state is not SourceState.GONE and wanted is not source.promiscuous:
            await engine_call(source.engine.set_promiscuous, wanted)
            source.promiscuous = wanted
