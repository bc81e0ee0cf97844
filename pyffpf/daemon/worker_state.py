# SPDX-License-Identifier: BSD-3-Clause
"""A group's worker as ffpfd knows it: its connections, what it reads, whose nodes it runs. workers.py decides."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fpl.graph.node import Level, Node
from pyffpf._core import ffi, lib
from pyffpf.daemon import protocol, transport
from pyffpf.daemon.captures import GraphFlow, WorkerNode
from pyffpf.daemon.engine import NamedFd
from pyffpf.daemon.policy import GroupKey
from pyffpf.daemon.server import Client

FILE_WORD = "file:"  # FPL-2: the program lies in a file
COUNTERS = struct.Struct("QQQ")  # came, out, dropped of struct ffpf_mbuf_page (csrc/layout.h)
COUNTERS_AT = 64
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def why_not_class(node: Node) -> str:
    """Why no worker runs such a node, or what it calls; "": it does."""
    filters = [(node.kind, node.argument), *((callee.kind, callee.argument) for callee in node.calls)]
    return next(filter(None, (_why_not(*one) for one in filters)), "")


def _why_not(kind: str, argument: str) -> str:
    name = kind.encode()
    known = lib.ffpf_class_find(name, len(name))
    if known == ffi.NULL:
        return f"{kind} is a class of the application's own"
    if argument.lstrip().startswith(FILE_WORD):
        return "its program is read with what the user may read"
    return f"{kind} acts with what the application may do" if known.of_process else ""


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
            return await asyncio.get_running_loop().run_in_executor(self.thread, self.ask_now, message, fds)
        except WorkerGoneError as error:
            self.client.close(str(error))
            raise

    def end(self) -> None:
        """Without connections it ends."""
        self.ended = True
        self.link.close()
        self.thread.shutdown(wait=False)
        self.client.close("its group has no flow that needs it")

    def ask_now(self, message: Mapping[str, Any], fds: Sequence[NamedFd] = ()) -> tuple[dict[str, Any], dict[str, int]]:
        """The same for whoever may block, and has no loop to look at."""
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


def take_nodes(worker: Worker, graph: GraphFlow, nodes: Sequence[Mapping[str, Any]], files: dict[str, int]) -> int:
    """What the worker says of a flow's nodes; takes their descriptors out of files. Octets of their MBufs."""
    for node in nodes:
        position = int(node["position"])
        fd = files.pop(f"memory:{graph.id}:{position}")
        graph.by_worker[position] = WorkerNode(
            int(node["number"]), bool(node["shared"]), fd, int(node["at"]), int(node["mbuf"])
        )
    graph.worker = worker.group
    return sum(node.octets for node in graph.by_worker.values())


def forget(graph: GraphFlow) -> None:
    """Of a flow that no worker runs nodes of any more."""
    graph.memory -= graph.relay
    graph.relay = 0
    for node in graph.by_worker.values():
        graph.memory -= node.octets
        os.close(node.fd)
    graph.memory = max(graph.memory, 0)
    graph.by_worker = {}


def components(graph: GraphFlow) -> list[tuple[list[int], list[int]]]:
    """Nodes of the worker that hang together, and the nodes in the kernel that feed them, in the order of their
    numbers: a packet that comes to a node by several ways must come in one front. What the worker hands on comes in
    one, too."""
    parts: list[tuple[set[int], set[int]]] = []

    def join(nodes: set[int]) -> None:
        kernel = {at for at in nodes if graph.placed[at].level is Level.KERNEL}
        members = nodes - kernel
        for part in [part for part in parts if part[1] & members]:
            parts.remove(part)
            kernel, members = kernel | part[0], members | part[1]
        parts.append((kernel, members))

    for position, node in enumerate(graph.nodes):
        if graph.placed[position].by_worker:
            join({position, *node.inputs})
    if graph.relayed:
        join(set(graph.relayed))
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
