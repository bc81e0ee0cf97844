# SPDX-License-Identifier: BSD-3-Clause
"""Requests answered: the policy knows the rights, operations do the work, docs/protocol.md has the replies."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from pyffpf.daemon import protocol, status
from pyffpf.daemon.captures import Captures, Flow, FlowState, Source, SourceState
from pyffpf.daemon.config import Config
from pyffpf.daemon.describe import Describer
from pyffpf.daemon.engine import Engine, NotReady, Prepared, interface_key, interface_number, is_interface
from pyffpf.daemon.graph_service import GraphService
from pyffpf.daemon.links import Link
from pyffpf.daemon.operations import Operations, check_waits, engine_call
from pyffpf.daemon.policy import Policy
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.server import Client

log = logging.getLogger(__name__)


def server_name() -> str:
    return f"ffpfd {importlib.metadata.version('pyffpf')}"


class Service:
    """What a Server's handler must be. `netns_cookie` is that of the namespace whose interfaces are captured."""

    def __init__(
        self, engine: Engine, config: Config, netns_cookie: int, changed: Callable[[Source], None] = lambda _: None
    ) -> None:
        self.captures = Captures()
        self.engine = engine
        self.policy = Policy(config)
        self.config = config
        self.operations = Operations(self.captures, engine, changed)
        self.graphs = GraphService(self.captures, engine, self.operations, lambda: self.policy, self._flow_reply)
        self.describer = Describer(self.captures, server_name())
        self.describer.workers = self.graphs.workers.status
        self._netns_cookie = netns_cookie

    async def handle(self, client: Client, request: protocol.Request) -> None:
        match request:
            case protocol.Hello():
                self._hello(client, request)
            case protocol.Open():
                await self._open(client, request)
            case protocol.Filter():
                await self._filter(client, request)
            case protocol.Successor():
                await self._successor(client, request)
            case protocol.Close():
                await self._close(client, request)
            case protocol.Status():
                await self._status(client, request)
            case protocol.Revoke():
                await self._revoke(client, request)
            case _:
                await self.graphs.handle(client, request)

    async def gone(self, client: Client) -> None:
        """A client's end is that of its flows."""
        await self.graphs.gone(client)
        for flow in self.captures.of(client):
            async with self._turn(client, flow.source.key), self.operations.locked(flow.source):
                await self.operations.close_flow(flow)

    async def reload(self, config: Config) -> None:
        """New rules. Flows go on as they are, but for those whose right has ended: these are revoked."""
        self.config = config
        self.policy = Policy(config)
        await self.graphs.reload(self.policy)
        for flow in list(self.captures.flows.values()):
            if flow.of_graph:
                continue
            ended = await asyncio.to_thread(
                self.policy.ended, flow.client.peer, flow.source.name, flow.promisc, flow.group.key.snap_len
            )
            if ended is not None:
                await self._end_right(flow, ended)

    async def link_changed(self, link: Link) -> None:
        """An interface went up or down, has another name, or is gone."""
        source = self.captures.sources.get(interface_key(link.ifindex))
        if source is None:
            return
        async with self.operations.locked(source):
            if source.engine is None:
                return
            if link.name and not link.gone and link.name != source.name:
                log.info("%s is called %s now", source.name, link.name)
                source.name = link.name
            state = SourceState.GONE if link.gone else SourceState.UP if link.up else SourceState.DOWN
            if state is not source.state:
                await self.operations.set_state(source, state)

    async def links_missed(self, links: list[Link]) -> None:
        """What link_changed would have been told; an interface that is not among the links is gone."""
        there = {interface_key(link.ifindex) for link in links}
        for source in list(self.captures.sources.values()):
            if is_interface(source.key) and source.key not in there:
                await self.link_changed(Link(interface_number(source.key), source.name, up=False, gone=True))
        for link in links:
            await self.link_changed(link)

    async def look_for_failures(self) -> None:
        """Sources that ended by themselves, as a board that is gone: no link tells of them."""
        for source in list(self.captures.sources.values()):
            async with self.operations.locked(source):
                if source.engine is None or source.state is SourceState.GONE:
                    continue
                failure = source.engine.failure()
                if failure:
                    log.error("%s: %s", source.name, failure)
                    await self.operations.set_state(source, SourceState.GONE)

    async def clock_changed(self) -> None:
        for source in list(self.captures.sources.values()):
            async with self.operations.locked(source):
                if source.engine is not None:
                    await engine_call(source.engine.update_clock)

    def _hello(self, client: Client, request: protocol.Hello) -> None:
        if request.version != protocol.VERSION:
            raise RefusedError(
                Code.VERSION, f"this is version {protocol.VERSION} of the protocol, not {request.version}"
            )
        if client.peer.netns_cookie != self._netns_cookie:
            raise RefusedError(Code.NOT_SUPPORTED, "another network namespace's interfaces are not those of this ffpfd")
        client.program = request.program
        client.greeted = True
        client.send({"id": request.id, "ok": True, "version": protocol.VERSION, "server": server_name()})

    async def _open(self, client: Client, request: protocol.Open) -> None:
        opened = [flow for flow in self.captures.of(client) if client.adopted and flow.opened_by == request.id]
        if opened:  # by the ffpfd before, whose answer did not come
            async with self.operations.locked(opened[0].source):
                self._check_there(opened[0])
                self._opened(client, request, opened[0])
            return
        resolved = self.engine.resolve(request.source)
        right = await asyncio.to_thread(self.policy.decide, client.peer, request, resolved.name)
        octets = self.policy.source_bytes(resolved.name)
        async with self._turn(client, resolved.key), self.operations.opened(resolved, octets, client) as source:
            flow = await self.operations.open_flow(source, client, request, right, self.policy)
            if client.closed:  # it went while this was done, and gone() may have looked already
                await self.operations.close_flow(flow)
                return
            self._opened(client, request, flow)
            log.info(
                "flow %d: %s (pid %d, user %d) captures from %s in group %s",
                flow.id, client.program, client.peer.pid, client.peer.uid, source.name, flow.group.plan.name,
            )  # fmt: skip

    def _opened(self, client: Client, request: protocol.Open, flow: Flow) -> None:
        reply = {"id": request.id, "ok": True, **self._flow_reply(flow)}
        for message, descriptors in protocol.with_descriptors(reply, flow.source.open.descriptors(flow.slot)):
            client.send(message, descriptors)

    def _flow_reply(self, flow: Flow) -> dict[str, Any]:
        engine = flow.source.open
        return {
            "flow": flow.id,
            "source": flow.source.name,
            "ifindex": engine.facts.ifindex,
            "link_type": engine.facts.link_type,
            "bms": flow.group.plan.bms,
            "group": flow.group.plan.name,
            "snap_len": flow.snap_len,
            "lanes": engine.facts.lanes,
            "buffer_bytes": engine.facts.lane_bytes * engine.facts.lanes,
            "generation": flow.generation,
            "wake_kind": engine.facts.wake_kind,
        }

    async def _filter(self, client: Client, request: protocol.Filter) -> None:
        flow = self._flow(client, request.flow)
        if flow.of_graph:
            raise RefusedError(Code.INVALID, f"what flow {flow.id} gets is decided by its graph")
        self._check_there(flow)
        async with self.operations.prepared(flow, request.insns) as prepared:
            while True:
                if prepared.is_slow:
                    await self.operations.compile(flow, prepared)
                with contextlib.suppress(NotReady):
                    await self._put_in_force(client, request, flow, prepared)
                    return

    async def _put_in_force(self, client: Client, request: protocol.Filter, flow: Flow, prepared: Prepared) -> None:
        async with self._turn(client, flow.source.key), self.operations.locked(flow.source):
            self._check_there(flow)
            check_waits(client)
            positions = await self.operations.change_filter(flow, prepared)
            client.send(
                {
                    "id": request.id,
                    "ok": True,
                    "generation": flow.generation,
                    "level": flow.level,
                    "reason": flow.reason,
                    "positions": positions,
                }
            )

    async def _successor(self, client: Client, request: protocol.Successor) -> None:
        if await self.graphs.successor(client, request):
            return
        flow = self._flow(client, request.flow)
        async with self.operations.locked(flow.source):
            self._check_there(flow)
            named = await self.operations.successor(flow, request.lane, request.id)
            client.send({"id": request.id, "ok": True, "fds": [name for name, _ in named]}, [fd for _, fd in named])

    async def _close(self, client: Client, request: protocol.Close) -> None:
        if request.flow in self.captures.graphs:
            await self.graphs.close(self.graphs.find(client, request.flow))
            client.send({"id": request.id, "ok": True})
            return
        flow = self._flow(client, request.flow)
        async with self._turn(client, flow.source.key), self.operations.locked(flow.source):
            await self.operations.close_flow(flow)
        client.send({"id": request.id, "ok": True})

    async def _status(self, client: Client, request: protocol.Status) -> None:
        is_admin = await asyncio.to_thread(self.policy.is_admin, client.peer)
        groups = None if is_admin else client.peer.groups
        descriptor = status.to_fd(await self.describer.document(groups))
        try:
            client.send({"id": request.id, "ok": True, "fds": ["status"]}, [descriptor])
        finally:
            os.close(descriptor)

    async def _revoke(self, client: Client, request: protocol.Revoke) -> None:
        if not await asyncio.to_thread(self.policy.is_admin, client.peer):
            raise RefusedError(Code.DENIED, f"user {client.peer.uid} may not revoke flows")
        flow, graph = self.captures.flows.get(request.flow), self.captures.graphs.get(request.flow)
        if graph is not None:
            await self.graphs.end_right(graph, request.reason)
        elif flow is not None:
            await self._end_right(flow, request.reason)
        else:
            raise RefusedError(Code.INVALID, f"there is no flow {request.flow}")
        client.send({"id": request.id, "ok": True})

    async def _end_right(self, flow: Flow, reason: str) -> None:
        async with self.operations.locked(flow.source):
            if self.captures.flows.get(flow.id) is not flow or flow.state is FlowState.REVOKED:
                return
            await self.operations.revoke(flow)
            log.info("flow %d is revoked: %s", flow.id, reason)
            flow.client.send(protocol.event("revoked", flow.id, reason=reason))

    def _turn(self, client: Client, source_key: str) -> AbstractAsyncContextManager[None]:
        return self.operations.turn(source_key, client.peer.uid)

    def _flow(self, client: Client, flow_id: int) -> Flow:
        return self.captures.find(client, flow_id)

    def _check_there(self, flow: Flow) -> None:
        """Also after waiting for the lock."""
        if self.captures.flows.get(flow.id) is not flow:
            raise RefusedError(Code.INVALID, f"this connection has no flow {flow.id}")
        if flow.state is FlowState.REVOKED:
            raise RefusedError(Code.DENIED, f"flow {flow.id} was revoked")
