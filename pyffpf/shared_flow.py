# SPDX-License-Identifier: BSD-3-Clause
"""A flow that is a graph, in ffpfd: opened, instantiated, activated, paused, read. docs/protocol.md has the requests.

    with SharedFlow("eth0") as flow:
        flow.populate('(device,eth0) -> (BPF,"tcp port 80") -> n=(packetcount)')
        flow.activate()
        ...
        print(flow.mbuf("n")["packets"], flow.counters())

What is read from an MBuf is the kernel's own memory: no packet comes to the application for it.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fpl import percpu
from fpl.graph.node import Node
from pyffpf import mbufs
from pyffpf.cli.control import Answer, Control, ControlError, socket_path
from pyffpf.closing import Closing
from pyffpf.graph_nodes import compile_filter, nodes_of
from pyffpf.percpu_mbuf import PerCpuMBuf

DOCUMENT_MAX_BYTES = 64 << 20
KERNEL = "kernel"


@dataclass(frozen=True)
class NodeState:
    """A node of a flow. level: "kernel" or "userspace", reason: why not lower; how: which of the kernel's ways, why.
    number: of all that run on the source; two flows that share a node have the same. shared: it ran before this flow
    came. came, out: packets since it began to run; None where ffpfd does not count: the device, and what the
    application runs. filtered = came - out, but for dropped, of a worker's: packets for which the class had no room.
    worker: the group whose worker runs it; here: why the application does; lost: what the worker lost of the packets
    that lead to it, by cause. merges: of an MBuf of which each of so many lanes has its own, `stride` octets from the
    one before."""

    level: str
    reason: str
    number: int | None
    shared: bool
    came: int | None
    out: int | None
    mbuf_at: int
    mbuf_bytes: int
    writable: bool
    worker: str = ""
    here: str = ""
    dropped: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    lanes: int = 1
    stride: int = 0
    merges: tuple[percpu.Merge, ...] = ()
    how: str = ""

    @property
    def in_ffpfd(self) -> bool:
        """It is not the application that runs it."""
        return self.level == KERNEL or bool(self.worker)

    @property
    def where(self) -> str:
        """Level, and who runs it there."""
        return f"{self.level} (worker of group {self.worker})" if self.worker else self.level


def _request_of(node: Node) -> dict[str, Any]:
    """A node as the protocol has it."""
    said: dict[str, Any] = {"class": node.kind, "argument": node.argument, "inputs": list(node.inputs)}
    if node.name:
        said["name"] = node.name
    if node.calls:
        said["calls"] = [callee.said() for callee in node.calls]
    if node.reads:
        said["reads"] = [read.said() for read in node.reads]
    if node.insns is not None:
        said["insns"] = base64.b64encode(node.insns).decode()
    said |= {key: value for key, value in (("mbuf", node.mbuf), ("deliver", node.deliver)) if value is not None}
    return said | ({"private": True} if node.private else {})


def _state_of(said: Mapping[str, Any]) -> NodeState:
    return NodeState(
        str(said["level"]),
        str(said["reason"]),
        said.get("number"),
        bool(said.get("shared", False)),
        said.get("in"),
        said.get("out"),
        int(said.get("mbuf_at", 0)),
        int(said.get("mbuf", 0)),
        bool(said.get("writable", False)),
        str(said.get("worker", "")),
        str(said.get("here", "")),
        int(said.get("dropped", 0)),
        {str(cause): int(count) for cause, count in said.get("lost", {}).items()},
        int(said.get("lanes", 1)),
        int(said.get("stride", 0)),
        tuple(percpu.of_json(merge) for merge in said.get("merges", ())),
        str(said.get("how", "")),
    )


class SharedFlow(Closing):
    """A context manager. ControlError for all that ffpfd refuses, with its reason."""

    def __init__(
        self,
        source: str,
        *,
        program: str = "pyffpf",
        group: str | None = None,
        promisc: bool = False,
        snap_len: int = 0,
        socket: Path | None = None,
    ) -> None:
        """source: an interface, `any`, `netfilter:HOOK` or a savefile of ffpfd's. group: the flow group, of which the
        user must be a member; None: its own."""
        self._lock = threading.Lock()  # a thread that reads packets may ask where a lane goes on
        self._control = Control(socket or socket_path(None, os.environ), program)
        try:
            answer = self._control.ask("flow", source=source, group=group, promisc=promisc, snap_len=snap_len)
        except BaseException:
            self._control.__exit__(None, None, None)
            raise
        self.id = int(answer.fields["flow"])
        self.source = str(answer.fields["source"])
        self.link_type = int(answer.fields["link_type"])
        self.nodes: Sequence[Node] = ()
        self.delivered: list[int] = []  # positions of nodes whose packets come to this application
        self.descriptors: dict[str, int] = {}  # of a flow that delivers: as the protocol's `open`
        self.facts: Mapping[str, Any] = answer.fields
        self._mbufs: dict[int, npt.NDArray[Any] | PerCpuMBuf] = {}
        self._states: list[NodeState] = []
        self.packets = 0  # of the source, since it was opened, as the last call of counters() found

    def populate(self, text: str) -> list[NodeState]:
        """Instantiates the graph that a text of csrc/graph/parse.h says, off. BadGraph: where the text is wrong.
        ValueError: it names nodes of other flows."""
        return self.instantiate(nodes_of(text, arguments=True), text)

    def instantiate(self, nodes: Sequence[Node], text: str = "", *, worker: bool = False) -> list[NodeState]:
        """Makes the graph's nodes, off. The text of BPF nodes is compiled here. worker: what the kernel does not run
        may be run by the worker of the flow's group. How each was placed."""
        compiled = [
            replace(node, insns=compile_filter(node.argument, self.link_type))
            if node.kind == "BPF" and node.insns is None
            else node
            for node in nodes
        ]
        answer = self._ask("graph", text=text, nodes=[_request_of(node) for node in compiled],
                           worker=worker)  # fmt: skip
        self.nodes, self.facts = compiled, answer.fields
        self.delivered = list(answer.fields["delivered"])
        self._states = [_state_of(said) for said in answer.fields["nodes"]]
        self._keep(answer)
        return self._states

    def _keep(self, answer: Answer) -> None:
        """Maps the MBufs, and keeps the other descriptors."""
        for name, fd in answer.fds.items():
            if not name.startswith("mbuf:"):
                self.descriptors[name] = fd
                continue
            position = int(name.removeprefix("mbuf:"))
            state = self._states[position]
            access = mmap.PROT_READ | (mmap.PROT_WRITE if state.writable else 0)
            octets = state.lanes * state.stride if state.merges else state.mbuf_at + state.mbuf_bytes
            try:
                memory = mmap.mmap(fd, octets, prot=access)
            finally:
                os.close(fd)
            if state.merges:
                self._mbufs[position] = PerCpuMBuf(memory, at=state.mbuf_at, octets=state.mbuf_bytes, lanes=state.lanes,
                                                   stride=state.stride, merges=state.merges)  # fmt: skip
                continue
            self._mbufs[position] = mbufs.array(self.nodes[position].kind, memoryview(memory)[state.mbuf_at :])

    def activate(self) -> None:
        """Its nodes run from now on: one store in ffpfd."""
        self._ask("activate")

    def pause(self) -> None:
        """Its nodes stand still, but for those that other flows have on. What they counted stays."""
        self._ask("pause")

    def counters(self) -> list[NodeState]:
        """The nodes as they stand, by position."""
        fields = self._ask("nodes").fields
        self.packets = int(fields["packets"])
        self._states = [_state_of(said) for said in fields["nodes"]]
        return self._states

    def mbuf(self, node: int | str) -> npt.NDArray[Any]:
        """The MBuf of a node, by position or name: memory that the node writes to, as an array () of its class's dtype
        (mbufs.py), writable when the node is private; of a program that has one for each CPU (PERCPU), a copy of what
        they are together now. KeyError: there is none in the kernel."""
        found = self._mbufs[self.position(node)]
        return found.read() if isinstance(found, PerCpuMBuf) else found

    def report(self, node: int | str) -> dict[str, Any]:
        """What a node that a worker runs tells of its results: {"facts": as Node.report, "text": for people}."""
        fd = self._ask("report", node=self.position(node)).fds["report"]
        return _document(fd)

    def position(self, node: int | str) -> int:
        """Where a node stands. KeyError when there is no such name."""
        if isinstance(node, int):
            return node
        for position, known in enumerate(self.nodes):
            if known.name == node:
                return position
        raise KeyError(node)

    def explain(self) -> str:
        """A line for each node: where it runs, and why not lower."""
        lines = []
        for node, state in zip(self.nodes, self._states, strict=True):
            shared = ", shared" if state.shared and state.number else ""
            why = state.reason or state.how
            lines.append(f"{node}: {state.where}{shared}" + (f": {why}" if why else ""))
        return "\n".join(lines)

    def _ask(self, operation: str, **fields: object) -> Answer:
        with self._lock:
            return self._control.ask(operation, flow=self.id, **fields)

    def successor(self, lane: int) -> Mapping[str, int]:
        """Where a lane that has moved goes on: descriptors "lane:N" and "ibuf:N", the caller's. ControlError with the
        code "busy": not yet."""
        return self._ask("successor", lane=lane).fds

    def pending_events(self) -> list[dict[str, Any]]:
        """What ffpfd has said by itself until now. ControlError when it has gone."""
        with self._lock:
            return self._control.pending_events()

    def next_event(self) -> dict[str, Any]:
        """The next event that ffpfd sends; ControlError when none comes in time."""
        return self._control.next_event()

    def close(self) -> None:
        """Ends the flow. Arrays of MBufs stay readable, and are written no more unless others run the node."""
        for fd in self.descriptors.values():
            os.close(fd)
        self.descriptors.clear()
        self._mbufs.clear()
        self._control.__exit__(None, None, None)


def graphs(socket: Path | None = None) -> list[dict[str, Any]]:
    """The graph flows of ffpfd that the caller may know of: docs/protocol.md, `graphs`."""
    with Control(socket or socket_path(None, os.environ), "pyffpf") as control:
        found: list[dict[str, Any]] = _document(control.ask("graphs").fds["graphs"])["graphs"]
    return found


def _document(fd: int) -> dict[str, Any]:
    """Of a memory file that ffpfd sent; closes it."""
    with os.fdopen(fd, "rb") as file:
        if os.fstat(fd).st_size > DOCUMENT_MAX_BYTES:
            raise ControlError("a document of ffpfd's is too long")
        file.seek(0)
        found: dict[str, Any] = json.load(file)
    return found
