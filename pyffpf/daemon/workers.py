# SPDX-License-Identifier: BSD-3-Clause
"""Workers: one process for each flow group that has nodes which only userspace can run (pyffpf/worker.py).

    a flow's graph -> nodes in the kernel -> a front: what they deliver, an ordinary reader of the group
                                               |        {"op": "front", ...} + its descriptors
                                               v
                      nodes in userspace <- worker      {"op": "run", "flow", "nodes"} -> a memory for each node
                      {"op": "switch", "flow", "on"}    {"op": "end", "flow"}    {"op": "end_front", "name"}
                      {"op": "report", "flow", "position"} -> a memory file
                      {"op": "relay", "flow"} -> what the flow's process reads of what it hands on
                      {"op": "successor", "flow", "lane", "request"} -> where that goes on, or {"busy": true}
                      {"op": "list"} -> fronts and flows, for an ffpfd that comes after another

Flows whose nodes in the kernel are the same have one front, and in the worker equal prefixes behind it are one. It
starts with the first flow of its group that needs one, and ends with the last. Its own lock is taken before any
source's, and never the other way round: while it reads, it may ask for a successor, which takes the source's lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from fpl.graph.node import Node
from pyffpf.daemon import protocol, transport
from pyffpf.daemon.captures import Captures, GraphFlow, GraphState, Source
from pyffpf.daemon.config import Config
from pyffpf.daemon.credentials import Peer
from pyffpf.daemon.engine import NamedFd, flow_memory, lane_bytes, useful_ibuf
from pyffpf.daemon.graphs import GraphOperations
from pyffpf.daemon.operations import IBUF_BYTES_LEAST, Operations
from pyffpf.daemon.policy import GroupKey, Policy, Usage
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.server import Client, Server
from pyffpf.daemon.starter import Starter, StartError
from pyffpf.daemon.status import WorkerStatus
from pyffpf.daemon.worker_state import (
    Front,
    Worker,
    WorkerError,
    components,
    cpu_s,
    forget,
    leading,
    take_nodes,
    why_not_class,
)

log = logging.getLogger(__name__)

STARTS = 3  # until it is given up that one stays
TIMEOUT_S = 30.0  # FPL-2's compiler has 20
ADOPTED_S = 5.0  # so long may a worker keep an ffpfd that comes after another waiting


class Unlimited(Policy):
    """Of a front: what a user may have was checked of the flow that it is for."""

    def __init__(self) -> None:
        super().__init__(Config())

    def check_limits(self, peer: Peer, usage: Usage, more_memory: int) -> None:
        pass

    def check_memory(self, peer: Peer, usage: Usage, more_memory: int) -> None:
        pass

    def check_nodes(self, peer: Peer, usage: Usage, more: int) -> None:
        pass


class Workers:
    """All groups' workers. Until serve_with() there are none, and applications run what the kernel does not."""

    def __init__(self, captures: Captures, graphs: GraphOperations, operations: Operations,
                 flow_reply: Callable[[Any], dict[str, Any]]) -> None:  # fmt: skip
        self._captures, self._graphs, self._operations = captures, graphs, operations
        self._flow_reply = flow_reply
        self._server: Server | None = None
        self._starter: Starter | None = None
        self._workers: dict[GroupKey, Worker] = {}
        self._starting = asyncio.Lock()
        self.tell: Callable[[], None] = lambda: None  # a worker has ended: its connections are to be kept no more

    def serve_with(self, server: Server, starter: Starter) -> None:
        """Whose connections workers have, and who starts them."""
        self._server, self._starter = server, starter

    def why_not(self, node: Node) -> str:
        """deliver.WorkerRule of this ffpfd."""
        return why_not_class(node) if self._starter is not None else "this ffpfd starts no workers"

    # ---- the process

    async def _worker(self, graph: GraphFlow) -> Worker:
        """The group's, which runs; its lock is not held."""
        async with self._starting:
            worker = self._workers.get(graph.right.key)
            if worker is None:
                worker = await self._start(graph)
                self._workers[graph.right.key] = worker
            return worker

    async def _start(self, graph: GraphFlow) -> Worker:
        assert self._server is not None
        assert self._starter is not None
        key, group = graph.right.key, graph.right.plan.name
        with contextlib.ExitStack() as made:
            pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
            for theirs in (pairs[0][1], pairs[1][1]):
                made.callback(theirs.close)
            asks, link = pairs[0][0], pairs[1][0]
            link.settimeout(TIMEOUT_S)
            try:
                pid = await asyncio.to_thread(
                    self._starter.start, key.gid, group, pairs[0][1].fileno(), pairs[1][1].fileno()
                )
            except BaseException:
                asks.close()
                link.close()
                raise
        uid, peer = self._starter.uid, graph.client.peer
        client = self._server.join(
            asks, Peer(pid, uid, key.gid, frozenset({key.gid}), peer.netns_cookie), "ffpf-worker"
        )
        log.info("worker %d runs what only userspace can run for group %s", pid, group)
        return Worker(key, group, pid, client, link)

    async def gone(self, client: Client) -> list[GraphFlow]:
        """If it was a worker's connection: the flows whose nodes have ended with it."""
        worker = next((one for one in self._workers.values() if one.client is client), None)
        if worker is None:
            return []
        self._workers.pop(worker.key, None)
        if worker.ended:
            return []
        async with worker.lock:
            worker.end()
            self.tell()
            log.error("worker %d of group %s has ended, and with it %d flows", worker.pid, worker.group,
                      len(worker.flows))  # fmt: skip
            lost = list(worker.flows.values())
            for graph in lost:
                forget(graph)
            worker.flows.clear()
            return lost

    # ---- flows

    async def run(self, graph: GraphFlow, policy: Policy) -> None:
        """The nodes that are the worker's: off, as the flow is. Without the source's lock. RefusedError: they do not
        run there, and nothing of it is left."""
        try:
            for _ in range(STARTS):
                worker = await self._worker(graph)
                async with worker.lock:
                    if worker.ended:  # with its last flow, a moment ago
                        continue
                    async with self._ends_unused(worker):
                        await self._run(worker, graph, policy)
                        return
            raise WorkerError("it ends as often as it is started")
        except (WorkerError, StartError) as error:
            raise RefusedError(Code.FAILED, f"the worker of group {graph.right.plan.name}: {error}") from error

    @contextlib.asynccontextmanager
    async def _ends_unused(self, worker: Worker) -> AsyncIterator[None]:
        """With its lock: without flows it has no fronts, and ends."""
        try:
            yield
        finally:
            for key, front in list(worker.fronts.items()):
                if not front.users:
                    del worker.fronts[key]
                    await self._end_front(worker, front)
            if not worker.flows and not worker.ended:
                self._workers.pop(worker.key, None)
                worker.end()
                self.tell()

    async def _run(self, worker: Worker, graph: GraphFlow, policy: Policy) -> None:
        worker.flows[graph.id] = graph
        try:
            nodes = []
            for kernel, members in components(graph):
                front = await self._front(worker, graph, kernel)
                front.users.add(graph.id)
                nodes += [self._said(graph, position, front, kernel) for position in members]
            nodes.sort(key=lambda node: int(node["position"]))
            relay = self._said_relay(worker, graph)
            reply, fds = await worker.ask("run", flow=graph.id, nodes=nodes, relay=relay)
            octets = take_nodes(worker, graph, reply["nodes"], fds)
            if bool(relay) is not bool(reply.get("relay")):
                raise WorkerError("it is of an earlier version, and hands no packets on")
            if graph.relayed:
                octets += self._relay_octets(graph)
            policy.check_memory(graph.client.peer, self._captures.usage(graph.client.peer.uid), octets)
            graph.memory += octets
        except BaseException:
            await self._leave(worker, graph)
            raise

    def _relay_octets(self, graph: GraphFlow) -> int:
        graph.relay = flow_memory(graph.source.open.facts, self._relay_ibuf(graph))
        return graph.relay

    def _relay_ibuf(self, graph: GraphFlow) -> int:
        """Octets of each IBuf that the worker writes for a flow: it does not grow, so it is large at once."""
        useful = useful_ibuf(graph.source.open.facts.lane_bytes)
        return lane_bytes(min(useful, graph.right.plan.ibuf_bytes_max), 1, IBUF_BYTES_LEAST)

    def _said_relay(self, worker: Worker, graph: GraphFlow) -> dict[str, Any] | None:
        """What the worker is to hand on, and how."""
        if not graph.relayed:
            return None
        front, kernel = self._relay_front(worker, graph)
        names = [at if graph.placed[at].by_worker else self._device(graph, at, front, kernel) for at in graph.relayed]
        return {"front": front.name, "nodes": names, "ibuf_bytes": self._relay_ibuf(graph),
                "limit_ms": (graph.right.plan.stall_ms + 1) // 2}  # fmt: skip

    def _relay_front(self, worker: Worker, graph: GraphFlow) -> tuple[Front, Sequence[int]]:
        """Of what a flow's process reads, and the nodes in the kernel that deliver to it."""
        kernel = next(kernel for kernel, members in components(graph) if set(members) & set(graph.relayed))
        return worker.fronts[graph.source.key, tuple(graph.placed[at].number for at in kernel)], kernel

    async def relay(self, graph: GraphFlow) -> tuple[dict[str, Any], list[NamedFd]]:
        """What `open` says of a flow, of one whose packets the worker hands on; descriptors are the caller's."""
        async with self.held(graph) as worker:
            if worker is None:
                raise RefusedError(Code.FAILED, f"the worker of group {graph.worker} has ended")
            front, _ = self._relay_front(worker, graph)
            assert front.graph.delivery is not None
            facts = self._flow_reply(front.graph.delivery) | {"flow": graph.id, "wake_kind": "timerfd"}
            _, fds = await self._told(worker, "relay", flow=graph.id)
            return facts, list(fds.items())

    async def successor(self, graph: GraphFlow, lane: int, request: int) -> list[NamedFd]:
        """Where a lane of what the worker hands on goes on; the caller's."""
        worker = self._workers.get(graph.right.key)
        if worker is not None and worker.lock.locked():  # for as long as somebody's program is compiled, perhaps
            raise RefusedError(Code.BUSY, f"the worker of group {graph.worker} is busy")
        async with self.held(graph) as worker:
            if worker is None:
                raise RefusedError(Code.DENIED, f"the worker of group {graph.worker} has ended")
            said, fds = await self._told(worker, "successor", flow=graph.id, lane=lane, request=request)
            if said.get("busy"):
                raise RefusedError(Code.BUSY, f"lane {lane} of flow {graph.id} has not moved")
            return list(fds.items())

    def _device(self, graph: GraphFlow, position: int, front: Front, kernel: Sequence[int]) -> str:
        """The worker's name of what a node in the kernel lets out."""
        number = graph.placed[position].number
        return f"{front.name}bit{front.numbers.index(number)}" if len(kernel) > 1 else front.name

    def _said(self, graph: GraphFlow, position: int, front: Front, kernel: Sequence[int]) -> dict[str, Any]:
        """A node as the worker is asked for it."""
        node = graph.nodes[position]
        inputs = [at if graph.placed[at].by_worker else self._device(graph, at, front, kernel) for at in node.inputs]
        return {"position": position, "class": node.kind, "argument": node.argument, "mbuf": node.mbuf,
                "inputs": inputs, "calls": [callee.said() for callee in node.calls],
                "reads": [read.said() for read in node.reads]}  # fmt: skip

    async def _front(self, worker: Worker, graph: GraphFlow, kernel: Sequence[int]) -> Front:
        key = (graph.source.key, tuple(graph.placed[at].number for at in kernel))
        known = worker.fronts.get(key)
        if known is not None:
            return known
        worker.last_front += 1
        async with self._operations.locked(graph.source) as source:
            made, named = await self._open_front(worker, graph, kernel, source)
        front = Front(f"front{worker.last_front}", made, [made.placed[at].number for at in made.delivered])
        worker.fronts[key] = front
        facts = self._flow_reply(made.delivery)
        try:
            await worker.ask("front", named, name=front.name, bits=len(kernel), **facts)
        finally:
            transport.close_all([fd for _, fd in named])
        return front

    async def _open_front(
        self, worker: Worker, graph: GraphFlow, kernel: Sequence[int], source: Source
    ) -> tuple[GraphFlow, list[NamedFd]]:
        """Under the source's lock. Its nodes are those of the flow, which run."""
        nodes = leading(graph.nodes, kernel)
        made = await self._graphs.open(source, worker.client, graph.request, graph.right, Unlimited())
        made.of_worker, made.payer = True, graph.client.peer.uid
        try:
            request = protocol.Instantiate(0, made.id, f"worker of {worker.group}", nodes)
            await self._graphs.instantiate(made, request, Unlimited(), {})
            assert made.delivery is not None
            return made, [(name, os.dup(fd)) for name, fd in source.open.descriptors(made.delivery.slot)]
        except BaseException:
            await self._graphs.close(made)
            raise

    async def _end_front(self, worker: Worker, front: Front) -> None:
        if not worker.ended:
            with contextlib.suppress(WorkerError):
                await worker.ask("end_front", name=front.name)
        async with self._operations.locked(front.graph.source):
            await self._graphs.close(front.graph)

    @contextlib.asynccontextmanager
    async def held(self, graph: GraphFlow) -> AsyncIterator[Worker | None]:
        """The worker that runs nodes of this flow, with its lock; None: there is none."""
        worker = self._workers.get(graph.right.key)
        if worker is None or graph.id not in worker.flows:
            yield None
            return
        async with worker.lock:
            yield worker if graph.id in worker.flows and not worker.ended else None

    async def before_on(self, worker: Worker, graph: GraphFlow) -> None:
        """Whoever switches a flow on calls this before its nodes in the kernel are: what they let out is not missed."""
        await self._told(worker, "switch", flow=graph.id, on=True)
        await self._switch_fronts(worker, graph, on=True)

    async def after_off(self, worker: Worker, graph: GraphFlow) -> None:
        """The flow's nodes in the kernel are off: what they let out before counts."""
        await self._switch_fronts(worker, graph, on=False)
        await self._told(worker, "switch", flow=graph.id, on=False)

    async def _switch_fronts(self, worker: Worker, graph: GraphFlow, *, on: bool) -> None:
        for front in worker.fronts.values():
            if graph.id not in front.users:
                continue
            (front.on.add if on else front.on.discard)(graph.id)
            wanted = GraphState.ACTIVE if front.on else GraphState.PAUSED
            async with self._operations.locked(front.graph.source):
                if front.graph.state in (GraphState.ACTIVE, GraphState.PAUSED) and front.graph.state is not wanted:
                    await self._graphs.switch(front.graph, wanted is GraphState.ACTIVE)

    async def end(self, graph: GraphFlow) -> None:
        """Its nodes are gone, but for those that others have. A second call does nothing."""
        async with self.held(graph) as worker:
            if worker is not None:
                async with self._ends_unused(worker):
                    await self._leave(worker, graph)

    async def _leave(self, worker: Worker, graph: GraphFlow) -> None:
        worker.flows.pop(graph.id, None)
        for front in worker.fronts.values():
            front.on.discard(graph.id)
            front.users.discard(graph.id)
            front.graph.payer = next((worker.flows[one].client.peer.uid for one in sorted(front.users)), None)
        if graph.by_worker:
            with contextlib.suppress(WorkerError):
                await worker.ask("end", flow=graph.id)
        forget(graph)

    async def report(self, graph: GraphFlow, position: int) -> int:
        """A memory file, the caller's."""
        async with self.held(graph) as worker:
            if worker is None or position not in graph.by_worker:
                raise RefusedError(Code.INVALID, f"no worker runs node {position} of flow {graph.id}")
            _, fds = await self._told(worker, "report", flow=graph.id, position=position)
            return fds["report"]

    async def _told(self, worker: Worker, op: str, **fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        try:
            return await worker.ask(op, **fields)
        except WorkerError as error:
            raise RefusedError(Code.FAILED, f"the worker of group {worker.group}: {error}") from error

    # ---- outliving this ffpfd

    def kept(self) -> list[Worker]:
        """Those that the next ffpfd can find."""
        return [worker for worker in self._workers.values() if not worker.ended]

    def adopt(self, worker: Worker) -> None:
        """One of the ffpfd before, when the graphs that it left are there: the worker says what it runs. What it has
        and nobody here knows ends. Before the loop serves anybody."""
        uid = self._starter.uid if self._starter is not None else worker.client.peer.uid
        cookie = worker.client.peer.netns_cookie
        worker.client.peer = Peer(worker.pid, uid, worker.key.gid, frozenset({worker.key.gid}), cookie)
        worker.link.settimeout(ADOPTED_S)
        try:
            said, files = worker.ask_now({"id": 0, "op": "list"})
            self._adopt_fronts(worker, said["fronts"])
            self._adopt_flows(worker, said["flows"], files)
            transport.close_all(list(files.values()))
        except WorkerError as error:
            log.error("worker %d of group %s is lost: %s", worker.pid, worker.group, error)
            for graph in worker.flows.values():
                forget(graph)
            worker.flows.clear()
        if not worker.flows:
            log.info("worker %d of group %s ends: no graph that it ran nodes of is left", worker.pid, worker.group)
            worker.end()
            return
        worker.link.settimeout(TIMEOUT_S)
        self._workers[worker.key] = worker
        log.info("worker %d of group %s goes on, with nodes of %d flows", worker.pid, worker.group, len(worker.flows))

    def _adopt_fronts(self, worker: Worker, fronts: Sequence[Mapping[str, Any]]) -> None:
        for front in fronts:
            graph = self._captures.graphs.get(int(front["flow"]))
            if graph is not None and graph.client is worker.client and graph.delivery is not None:
                graph.of_worker, numbers = True, [graph.placed[at].number for at in graph.delivered]
                made = Front(str(front["name"]), graph, numbers)
                worker.fronts[graph.source.key, tuple(sorted(numbers))] = made
        worker.last_front = max((int(str(front["name"]).removeprefix("front")) for front in fronts), default=0)

    def _adopt_flows(self, worker: Worker, flows: Sequence[Mapping[str, Any]], files: dict[str, int]) -> None:
        by_name = {front.name: front for front in worker.fronts.values()}
        for flow in flows:
            graph = self._captures.graphs.get(int(flow["flow"]))
            if graph is None or graph.instance is None or not by_name.keys() >= set(flow["fronts"]):
                worker.ask_now({"id": 0, "op": "end", "flow": int(flow["flow"])})
                continue
            worker.flows[graph.id] = graph
            graph.memory += take_nodes(worker, graph, flow["nodes"], files)
            graph.memory += self._relay_octets(graph) if graph.relayed else 0
            for front in (by_name[name] for name in flow["fronts"]):
                front.users.add(graph.id)
                front.on |= {graph.id} if flow["active"] else set()
                front.graph.payer = graph.client.peer.uid

    def users_of(self, front: GraphFlow) -> list[GraphFlow]:
        """The flows that a front is for."""
        return [
            worker.flows[user]
            for worker in self._workers.values()
            for known in worker.fronts.values()
            if known.graph is front
            for user in sorted(known.users)
        ]

    # ---- what is shown

    def lost(self, graph: GraphFlow, position: int) -> dict[str, int]:
        """What a front lost of the packets that lead to a node, by cause. Under the source's lock."""
        worker = self._workers.get(graph.right.key)
        kernel = next((kernel for kernel, members in components(graph) if position in members), ())
        front = worker and worker.fronts.get((graph.source.key, tuple(graph.placed[at].number for at in kernel)))
        if not front or front.graph.delivery is None or not set(graph.nodes[position].inputs) & set(kernel):
            return {}
        counted = graph.source.open.flow_counts(front.graph.delivery.slot).dropped
        return {cause: count for cause, count in counted.items() if count}

    def status(self, visible: Callable[[int], bool]) -> list[WorkerStatus]:
        shown = []
        for worker in self._workers.values():
            if visible(worker.key.gid):
                nodes = {node.number for graph in worker.flows.values() for node in graph.by_worker.values()}
                shown.append(WorkerStatus(worker.pid, worker.group, worker.key.gid, len(worker.flows), len(nodes),
                                          cpu_s(worker.pid)))  # fmt: skip
        return shown

    def close(self) -> None:
        """ffpfd ends, and with it every worker."""
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()
        if self._starter is not None:
            self._starter.close()
