# SPDX-License-Identifier: BSD-3-Clause
"""Requests about flows that are graphs, answered. docs/protocol.md has the replies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fpl.graph.deliver import WorkerRule
from fpl.graph.node import Level, Node
from pyffpf.daemon import protocol, status, transport
from pyffpf.daemon.captures import Captures, GraphFlow, GraphState
from pyffpf.daemon.describe import user_name
from pyffpf.daemon.engine import Engine, NamedFd
from pyffpf.daemon.graphs import Filters, GraphOperations
from pyffpf.daemon.operations import Operations, check_waits, engine_call
from pyffpf.daemon.policy import Policy
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.server import Client
from pyffpf.daemon.worker_state import counts_of
from pyffpf.daemon.workers import Workers

log = logging.getLogger(__name__)


class GraphService:
    """The part of a Service that knows graphs. policy: the one in force. flow_reply: what `open` says of a flow."""

    def __init__(
        self,
        captures: Captures,
        engine: Engine,
        operations: Operations,
        policy: Callable[[], Policy],
        flow_reply: Callable[[Any], dict[str, Any]],
    ) -> None:
        self._captures, self._engine, self._operations = captures, engine, operations
        self._policy, self._flow_reply = policy, flow_reply
        self.graphs = GraphOperations(captures, engine, operations)
        self.workers = Workers(captures, self.graphs, operations, flow_reply)

    async def handle(self, client: Client, request: protocol.GraphRequest) -> None:
        match request:
            case protocol.OpenGraph():
                await self._open(client, request.open)
            case protocol.Instantiate():
                await self._instantiate(client, request)
            case protocol.Switch():
                await self._switch(client, request)
            case protocol.Nodes():
                await self._nodes(client, request)
            case protocol.Report():
                await self._report(client, request)
            case protocol.Graphs():
                await self._list(client, request)

    async def gone(self, client: Client) -> None:
        for graph in self._captures.graphs_of(client):
            await self.close(graph)
        for graph in await self.workers.gone(client):
            await self.end_right(graph, f"the worker of group {graph.worker}, which ran nodes of it, has ended")

    async def close(self, graph: GraphFlow) -> None:
        await self.workers.end(graph)
        uid = graph.client.peer.uid
        async with self._operations.turn(graph.source.key, uid), self._operations.locked(graph.source):
            await self.graphs.close(graph)

    async def end_right(self, graph: GraphFlow, reason: str) -> None:
        """What a worker reads ends with the flows that it is for."""
        if graph.of_worker:
            for user in self.workers.users_of(graph):
                await self.end_right(user, reason)
            return
        async with self._operations.locked(graph.source):
            if self._captures.graphs.get(graph.id) is not graph or graph.state is GraphState.REVOKED:
                return
            await self.graphs.revoke(graph)
            log.info("flow %d is revoked: %s", graph.id, reason)
            graph.client.send(protocol.event("revoked", graph.id, reason=reason))
        await self.workers.end(graph)

    async def reload(self, policy: Policy) -> None:
        """Graphs whose right has ended are revoked."""
        for graph in [one for one in self._captures.graphs.values() if not one.of_worker]:
            ended = await asyncio.to_thread(
                policy.ended, graph.client.peer, graph.source.name, graph.request.promisc, graph.right.key.snap_len
            )
            if ended is not None:
                await self.end_right(graph, ended)

    async def settle_workers(self, clients: Sequence[Client]) -> None:
        """After workers were taken over, or could not be. clients: their connections. What was being made for them, or
        ended, is closed; flows whose nodes no worker has any more end."""
        for client in clients:
            for graph in self._captures.graphs_of(client):
                if not graph.of_worker:
                    await self.close(graph)
        for graph in list(self._captures.graphs.values()):
            wanted = {position for position, placed in enumerate(graph.placed) if placed.by_worker}
            if not graph.of_worker and wanted - graph.by_worker.keys():
                await self.end_right(
                    graph, f"the worker of group {graph.right.plan.name} has ended with the last ffpfd"
                )

    def find(self, client: Client, flow_id: int) -> GraphFlow:
        graph = self._captures.graphs.get(flow_id)
        if graph is None or graph.client is not client:
            raise RefusedError(Code.INVALID, f"this connection has no flow {flow_id} that is a graph")
        return graph

    async def _open(self, client: Client, request: protocol.Open) -> None:
        for graph in self._captures.graphs_of(client):
            if client.adopted and graph.request.id == request.id:  # by the ffpfd before, whose answer did not come
                async with self._operations.locked(graph.source):
                    self._check_there(graph)
                    self._opened(graph)
                return
        resolved = self._engine.resolve(request.source)
        policy = self._policy()
        right = await asyncio.to_thread(policy.decide, client.peer, request, resolved.name)
        octets = policy.source_bytes(resolved.name)
        turn = self._operations.turn(resolved.key, client.peer.uid)
        async with turn, self._operations.opened(resolved, octets, client) as source:
            graph = await self.graphs.open(source, client, request, right, policy)
            if client.closed:  # it went while this was done, and gone() may have looked already
                await self.graphs.close(graph)
                return
            self._opened(graph)

    def _opened(self, graph: GraphFlow) -> None:
        facts = graph.source.open.facts
        graph.client.send(
            {
                "id": graph.request.id,
                "ok": True,
                "flow": graph.id,
                "source": graph.source.name,
                "ifindex": facts.ifindex,
                "link_type": facts.link_type,
                "group": graph.right.plan.name,
                "state": str(graph.state),
            }
        )

    async def _instantiate(self, client: Client, request: protocol.Instantiate) -> None:
        graph = self.find(client, request.flow)
        self._check_there(graph)
        if client.adopted and graph.instantiated_by == request.id:  # as in _open
            await self._instantiated(client, request, graph)
            return
        async with contextlib.AsyncExitStack() as prepared:
            filters: dict[bytes, Any] = {}
            for insns in {node.insns for node in request.nodes if node.insns is not None}:
                filters[insns] = await prepared.enter_async_context(self._operations.prepared(graph, insns))
                if filters[insns].is_slow:
                    await self._operations.compile(graph, filters[insns])
            filters |= await self._compiled_ahead(client, graph, request.nodes, prepared)
            rule = self.workers.why_not if request.worker else None
            await self._put_in_force(client, request, graph, filters, rule)
            if any(placed.by_worker for placed in graph.placed):
                await self._run_in_worker(client, request, graph, filters)
            await self._instantiated(client, request, graph)

    async def _compiled_ahead(
        self, client: Client, graph: GraphFlow, nodes: Sequence[Node], until: contextlib.AsyncExitStack
    ) -> Filters:
        """Programs of nodes, without the source's lock: who has others on the source, or asks for its counters, does
        not wait for a compiler. What is compiled is there until the stack's end."""
        async with (
            self._operations.turn(graph.source.key, client.peer.uid),
            self._operations.locked(graph.source),
        ):
            self._check_there(graph)
            ahead = await self.graphs.ahead(graph, nodes)
        if ahead is None or not ahead.is_slow:
            return {}
        until.callback(ahead.close)
        await self._operations.compile(graph, ahead)
        return ahead.filters

    async def _put_in_force(
        self,
        client: Client,
        request: protocol.Instantiate,
        graph: GraphFlow,
        filters: Filters,
        rule: WorkerRule | None,
    ) -> None:
        async with (
            self._operations.turn(graph.source.key, client.peer.uid),
            self._operations.locked(graph.source),
        ):
            self._check_there(graph)
            check_waits(client)
            await self.graphs.instantiate(graph, request, self._policy(), filters, rule)

    async def _run_in_worker(
        self, client: Client, request: protocol.Instantiate, graph: GraphFlow, filters: Filters
    ) -> None:
        """What is the worker's runs there, or else in the application."""
        try:
            await self.workers.run(graph, self._policy())
        except RefusedError as refused:
            why = refused.text
            async with self._operations.locked(graph.source):
                self._check_there(graph)
                await self.graphs.undo(graph)
            if refused.code is Code.LIMIT:
                raise
            log.warning("flow %d: %s", graph.id, why)
            await self._put_in_force(client, request, graph, filters, lambda _: why)

    async def _instantiated(self, client: Client, request: protocol.Instantiate, graph: GraphFlow) -> None:
        facts, relayed = await self.workers.relay(graph) if graph.relayed else ({}, [])
        try:
            async with self._operations.locked(graph.source):
                self._check_there(graph)
                reply: dict[str, Any] = facts | {"id": request.id, "ok": True, "state": str(graph.state)}
                descriptors = list(relayed)
                if graph.delivery is not None:
                    reply = self._flow_reply(graph.delivery) | reply
                    descriptors += graph.source.open.descriptors(graph.delivery.slot)
                reply["nodes"], reply["delivered"] = self._described(graph), graph.read
                self._send(client, reply, descriptors + self._mbufs(graph))
        finally:
            transport.close_all([fd for _, fd in relayed])

    async def successor(self, client: Client, request: protocol.Successor) -> bool:
        """Answers for a flow whose packets a worker hands on. False: it is none."""
        graph = self._captures.graphs.get(request.flow)
        if graph is None or graph.client is not client or not graph.relayed:
            return False
        self._check_there(graph)
        named = await self.workers.successor(graph, request.lane, request.id)
        try:
            client.send({"id": request.id, "ok": True, "fds": [name for name, _ in named]}, [fd for _, fd in named])
        finally:
            transport.close_all([fd for _, fd in named])
        return True

    async def _switch(self, client: Client, request: protocol.Switch) -> None:
        graph = self.find(client, request.flow)
        async with self.workers.held(graph) as worker:
            if worker is not None and request.on:
                await self.workers.before_on(worker, graph)
            async with self._operations.locked(graph.source):
                self._check_there(graph)
                await self.graphs.switch(graph, request.on)
            if worker is not None and not request.on:
                await self.workers.after_off(worker, graph)
            client.send({"id": request.id, "ok": True, "state": str(graph.state)})

    async def _nodes(self, client: Client, request: protocol.Nodes) -> None:
        graph = self.find(client, request.flow)
        async with self._operations.locked(graph.source):
            self._check_there(graph)
            counts = await engine_call(graph.source.open.counts)
            reply = {
                "id": request.id,
                "ok": True,
                "state": str(graph.state),
                "packets": counts.packets,
                "nodes": self._described(graph),
                "delivered": graph.read,
            }
            self._send(client, reply, self._mbufs(graph) if request.mbufs else [])

    async def _list(self, client: Client, request: protocol.Graphs) -> None:
        """Of the groups that the peer is a member of; of all, for an administrator."""
        is_admin = await asyncio.to_thread(self._policy().is_admin, client.peer)
        shown = []
        for graph in [one for one in self._captures.graphs.values() if not one.of_worker]:
            if is_admin or graph.right.key.gid in client.peer.groups:
                async with graph.source.lock:
                    shown.append(self._listed(graph))
        descriptor = status.memory_file(json.dumps({"graphs": shown}).encode())
        try:
            client.send({"id": request.id, "ok": True, "fds": ["graphs"]}, [descriptor])
        finally:
            os.close(descriptor)

    def _listed(self, graph: GraphFlow) -> dict[str, Any]:
        peer = graph.client.peer
        return {
            "flow": graph.id,
            "source": graph.source.name,
            "text": graph.text,
            "state": str(graph.state),
            "group": graph.right.plan.name,
            "user": user_name(peer.uid),
            "pid": peer.pid,
            "program": graph.client.program,
            "opened_at": graph.opened_at,
            "nodes": [
                {"class": node.kind, "argument": node.argument, "name": node.name, "inputs": list(node.inputs), **said}
                for node, said in zip(graph.nodes, self._described(graph), strict=False)
            ],
        }

    def _described(self, graph: GraphFlow) -> list[dict[str, Any]]:
        """By position: where a node runs and why, which it is of all that run, and what it counted."""
        stage = graph.source.engine.stage if graph.source.engine and graph.instance else None
        counts = stage.counts(graph.id) if stage is not None else [None] * len(graph.placed)
        described = []
        for position, (placed, count) in enumerate(zip(graph.placed, counts, strict=True)):
            said: dict[str, Any] = {"level": str(placed.level), "reason": placed.reason}
            if placed.level is Level.KERNEL:
                said |= {"number": placed.number, "shared": placed.shared} | ({"how": placed.how} if placed.how else {})
            elif position in graph.by_worker:
                said |= self._by_worker(graph, position)
            elif placed.here:
                said["here"] = placed.here
            if count is not None:
                said |= {"in": count.came, "out": count.out}
            mbuf = stage.mbuf(graph.id, position) if stage is not None else None
            if mbuf is not None:
                said |= {"mbuf": mbuf.octets, "mbuf_at": mbuf.at, "writable": mbuf.writable}
                if mbuf.merges:
                    said |= {"lanes": mbuf.lanes, "stride": mbuf.stride, "merges": [one.said() for one in mbuf.merges]}
            described.append(said)
        return described

    def _by_worker(self, graph: GraphFlow, position: int) -> dict[str, Any]:
        node = graph.by_worker[position]
        came, out, dropped = counts_of(node)
        said: dict[str, Any] = {"worker": graph.worker, "number": node.number, "shared": node.shared, "in": came,
                                "out": out, "dropped": dropped, "lost": self.workers.lost(graph, position)}  # fmt: skip
        if node.octets:
            said |= {"mbuf": node.octets, "mbuf_at": node.at, "writable": False}
        return said

    def _mbufs(self, graph: GraphFlow) -> list[NamedFd]:
        stage = graph.source.open.stage if graph.instance else None
        if stage is None:
            return []
        found = [(position, stage.mbuf(graph.id, position)) for position in range(len(graph.placed))]
        of_worker = [(f"mbuf:{position}", node.fd) for position, node in graph.by_worker.items() if node.octets]
        return [(f"mbuf:{position}", made.fd) for position, made in found if made is not None] + of_worker

    async def _report(self, client: Client, request: protocol.Report) -> None:
        graph = self.find(client, request.flow)
        descriptor = await self.workers.report(graph, request.position)
        try:
            client.send({"id": request.id, "ok": True, "fds": ["report"]}, [descriptor])
        finally:
            os.close(descriptor)

    def _send(self, client: Client, reply: Mapping[str, Any], descriptors: list[NamedFd]) -> None:
        for message, fds in protocol.with_descriptors(reply, descriptors):
            client.send(message, fds)

    def _check_there(self, graph: GraphFlow) -> None:
        """After waiting for the lock."""
        if self._captures.graphs.get(graph.id) is not graph:
            raise RefusedError(Code.INVALID, f"this connection has no flow {graph.id} that is a graph")
        if graph.state is GraphState.REVOKED:
            raise RefusedError(Code.DENIED, f"flow {graph.id} was revoked")
