# SPDX-License-Identifier: BSD-3-Clause
"""Workers: one process for each flow group that has nodes which only userspace can run (pyffpf/worker.py).

    a flow's graph -> nodes in the kernel -> a front: what they deliver, an ordinary reader of the group
                                               |        {"op": "front", ...} + its descriptors
                                               v
                      nodes in userspace <- worker      {"op": "run", "flow", "nodes"} -> a memory for each node
                      {"op": "switch", "flow", "on"}    {"op": "end", "flow"}    {"op": "end_front", "name"}
                      {"op": "report", "flow", "position"} -> a memory file

Flows whose nodes in the kernel are the same have one front, and in the worker equal prefixes behind it are one. It
starts with the first flow of its group that needs one, and ends with the last. Its own lock is taken before any
source's, and never the other way round: while it reads, it may ask for a successor, which takes the source's lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fpl.graph.node import Level, Node
from pyffpf._core import ffi, lib
from pyffpf.daemon import protocol, transport
from pyffpf.daemon.captures import Captures, GraphFlow, GraphState, Source, WorkerNode
from pyffpf.daemon.config import Config
from pyffpf.daemon.credentials import Peer
from pyffpf.daemon.engine import NamedFd
from pyffpf.daemon.graphs import GraphOperations
from pyffpf.daemon.operations import Operations
from pyffpf.daemon.policy import GroupKey, Policy, Usage
from pyffpf.daemon.protocol import Code, RefusedError
from pyffpf.daemon.server import Client, Server
from pyffpf.daemon.starter import Starter, StartError
from pyffpf.daemon.status import WorkerStatus

log = logging.getLogger(__name__)

FILE_WORD = "file:"  # FPL-2: the program lies in a file
STARTS = 3  # until it is given up that one stays
TIMEOUT_S = 30.0  # FPL-2's compiler has 20
COUNTERS = struct.Struct("QQQ")  # came, out, dropped of struct ffpf_mbuf_page (csrc/layout.h)
COUNTERS_AT = 64
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def why_not_class(node: Node) -> str:
    """Why no worker runs nodes of this class; "": it does."""
    name = node.kind.encode()
    known = lib.ffpf_class_find(name, len(name))
    if known == ffi.NULL:
        return f"{node.kind} is a class of the application's own"
    if node.argument.lstrip().startswith(FILE_WORD):
        return "its program is read with what the user may read"
    return f"{node.kind} acts with what the application may do" if known.of_process else ""


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


class WorkerError(Exception):
    """It refuses, or is gone; the text is for people."""


class WorkerGoneError(WorkerError):
    """It does not answer, or nonsense: whatever it says later is not listened to."""


@dataclass(eq=False)
class Front:
    """A reader of the worker's. on: flows of those that use it that are active."""

    name: str
    graph: GraphFlow
    numbers: list[int]  # of the nodes that deliver: a packet's bit j says that it came out of the j-th
    users: set[int] = field(default_factory=set)
    on: set[int] = field(default_factory=set)


@dataclass(eq=False)
class Worker:
    """One process. fronts: by source and numbers of the nodes that deliver to it; flows: those that it runs nodes of,
    by id."""

    key: GroupKey
    group: str
    pid: int
    client: Client
    link: socket.socket
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    fronts: dict[tuple[str, tuple[int, ...]], Front] = field(default_factory=dict)
    flows: dict[int, GraphFlow] = field(default_factory=dict)
    ended: bool = False
    last_front: int = 0
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "worker"))  # waits for its answers

    async def ask(self, op: str, fds: Sequence[NamedFd] = (), **fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """With the lock held. The reply, and its descriptors, the caller's. WorkerError; one that is gone has also lost
        its connection then, which ends what it reads."""
        message = {"id": 0, "op": op, **fields}
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, self._ask, message, fds)
        except WorkerGoneError as error:
            self.client.close(str(error))
            raise

    def end(self) -> None:
        """Without connections it ends."""
        self.ended = True
        self.link.close()
        self.thread.shutdown(wait=False)
        self.client.close("its group has no flow that needs it")

    def _ask(self, message: Mapping[str, Any], fds: Sequence[NamedFd]) -> tuple[dict[str, Any], dict[str, int]]:
        reply: dict[str, Any] = {}
        received: dict[str, int] = {}
        try:
            for part, numbers in protocol.with_descriptors(message, fds):
                transport.send(self.link, protocol.encode(part), numbers)
            more = True
            while more:
                datagram = transport.receive(self.link)
                if not datagram.data:
                    raise WorkerGoneError("it has ended")
                said = json.loads(datagram.data)
                received |= dict(zip(said.pop("fds", []), datagram.descriptors, strict=True))
                more = said.pop("more", False)
                reply |= said
        except (OSError, ValueError) as error:
            transport.close_all(list(received.values()))
            raise WorkerGoneError(f"it does not answer: {error}") from error
        if not reply.get("ok"):
            raise WorkerError(str(reply.get("error")))
        return reply, received


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

    def serve_with(self, server: Server, starter: Starter) -> None:
        """Whose connections workers have, and who starts them."""
        self._server, self._starter = server, starter

    def why_not(self, node: Node) -> str:
        """place.WorkerRule of this ffpfd."""
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

    async def _run(self, worker: Worker, graph: GraphFlow, policy: Policy) -> None:
        worker.flows[graph.id] = graph
        try:
            nodes = []
            for kernel, members in components(graph):
                front = await self._front(worker, graph, kernel)
                front.users.add(graph.id)
                nodes += [self._said(graph, position, front, kernel) for position in members]
            nodes.sort(key=lambda node: int(node["position"]))
            reply, fds = await worker.ask("run", flow=graph.id, nodes=nodes)
            for node in reply["nodes"]:
                position = int(node["position"])
                graph.by_worker[position] = WorkerNode(
                    int(node["number"]), bool(node["shared"]), fds[f"memory:{position}"], int(node["at"]),
                    int(node["mbuf"]),
                )  # fmt: skip
            graph.worker = worker.group
            octets = sum(node.octets for node in graph.by_worker.values())
            policy.check_memory(graph.client.peer, self._captures.usage(graph.client.peer.uid), octets)
            graph.memory += octets
        except BaseException:
            await self._leave(worker, graph)
            raise

    def _said(self, graph: GraphFlow, position: int, front: Front, kernel: Sequence[int]) -> dict[str, Any]:
        """A node as the worker is asked for it."""
        node = graph.nodes[position]

        def device(number: int) -> str:
            return f"{front.name}bit{front.numbers.index(number)}" if len(kernel) > 1 else front.name

        inputs = [at if graph.placed[at].by_worker else device(graph.placed[at].number) for at in node.inputs]
        return {"position": position, "class": node.kind, "argument": node.argument, "mbuf": node.mbuf,
                "inputs": inputs}  # fmt: skip

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


def forget(graph: GraphFlow) -> None:
    """Of a flow that no worker runs nodes of any more."""
    for node in graph.by_worker.values():
        graph.memory -= node.octets
        os.close(node.fd)
    graph.memory = max(graph.memory, 0)
    graph.by_worker = {}


def components(graph: GraphFlow) -> list[tuple[list[int], list[int]]]:
    """Nodes of the worker that hang together, and the nodes in the kernel that feed them, in the order of their
    numbers: a packet that comes to a node by several ways must come in one front."""
    parts: list[tuple[set[int], set[int]]] = []
    for position, node in enumerate(graph.nodes):
        if not graph.placed[position].by_worker:
            continue
        kernel = {at for at in node.inputs if graph.placed[at].level is Level.KERNEL}
        members = {position} | set(node.inputs) - kernel
        for part in [part for part in parts if part[1] & members]:
            parts.remove(part)
            kernel, members = kernel | part[0], members | part[1]
        parts.append((kernel, members))
    return [(sorted(kernel, key=lambda at: graph.placed[at].number), sorted(members)) for kernel, members in parts]


def leading(nodes: Sequence[Node], wanted: Sequence[int]) -> tuple[Node, ...]:
    """The nodes that lead to those that are wanted, which alone deliver, in the order in which they are wanted."""
    needed = set(wanted)
    for at in range(max(wanted), -1, -1):
        if at in needed:
            needed |= set(nodes[at].inputs)
    kept = sorted(needed)
    number = {at: new for new, at in enumerate(kept)}
    return tuple(
        replace(nodes[at], inputs=tuple(number[one] for one in nodes[at].inputs), name="", deliver=at in set(wanted))
        for at in kept
    )


def counts_of(node: WorkerNode) -> tuple[int, int, int]:
    """Packets that came to it, that it let out, and for which its class had no room."""
    came, out, dropped = COUNTERS.unpack(os.pread(node.fd, COUNTERS.size, COUNTERS_AT))
    return came, out, dropped


def cpu_s(pid: int) -> float:
    """Seconds of CPU time that a process has used; 0.0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
