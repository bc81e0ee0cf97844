# SPDX-License-Identifier: BSD-3-Clause
"""A flow's graph as the control plane has it: nodes in an order in which inputs come first.

    (device,eth0) -> (BPF,"tcp") -> (packetcount)     =     [Node("device", "eth0"),
                                                             Node("BPF", "tcp", (0,), insns=...),
                                                             Node("packetcount", "", (1,))]

A packet comes to a node when it came out of one of its inputs. Text is parsed elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fpl.percpu import Merge

DEVICE = "device"
PROGRAMS = frozenset({"FPL-1", "FPL-2"})  # classes whose arguments may call other filters
CALLS_MAX = 64  # filters that a node may call
NODES_MAX = (
    60  # in a graph, and of all flows together on one source in the kernel: bits of a word, and maps of a program
)
MBUF_MAX = 1 << 30  # octets of one MBuf


# Classes whose MBuf, or file, is what they are there for: as the last node of a flow they deliver no packets.
COUNTING = frozenset({"bytecount", "distinct", "file", "flow_table", "histogram", "packetcount", "rate", "topk"})


class GraphError(Exception):
    """A graph that is none, or that cannot be instantiated: in words for the person who wrote it."""


class Level(StrEnum):
    KERNEL = "kernel"
    USERSPACE = "userspace"


Pins = Mapping[str, Level]  # by class: where the administrator wants its nodes


@dataclass(frozen=True)
class Callee:
    """A filter that a program calls by EXTERN, with the caller's packet and MBuf (csrc/graph/callee.c). mbuf: octets of
    that, None: all, or as many as the class needs."""

    name: str
    kind: str
    argument: str = ""
    mbuf: int | None = None

    def said(self) -> dict[str, object]:
        """As messages have it."""
        return {"name": self.name, "class": self.kind, "argument": self.argument, "mbuf": self.mbuf}


@dataclass(frozen=True)
class Read:
    """Another node, whose MBuf a program reads (csrc/graph/readable.c). name: what it calls it; node: its position."""

    name: str
    node: int

    def said(self) -> dict[str, object]:
        """As messages have it."""
        return {"name": self.name, "node": self.node}


@dataclass(frozen=True)
class Node:
    """kind: the class, as in text. argument: its expression. inputs: positions of earlier nodes; a device has none.
    mbuf: octets of MBuf, None: as many as the class has. insns: what the text of a BPF node compiles to, octets of
    struct sock_filter, little endian; None there: everything passes. private: not shared with other flows, and the MBuf
    may be written by the flow's application. deliver: packets that come out of it go to the flow's IBuf; None: if it is
    a last node, and not one that counts. calls: filters that a program may call, each those before it. reads: nodes
    whose MBufs it may read."""

    kind: str
    argument: str = ""
    inputs: tuple[int, ...] = ()
    mbuf: int | None = None
    name: str = ""
    insns: bytes | None = None
    private: bool = False
    deliver: bool | None = None
    calls: tuple[Callee, ...] = ()
    reads: tuple[Read, ...] = ()

    def __str__(self) -> str:
        return (
            self.name or f"({self.kind},{' '.join(self.argument.split())})"
            if self.argument or self.name
            else f"({self.kind})"
        )


def check(nodes: Sequence[Node]) -> None:
    """GraphError unless it is a graph: names the node by its position."""
    if not nodes:
        raise GraphError("a graph has one node at least")
    if len(nodes) > NODES_MAX:
        raise GraphError(f"a graph has {NODES_MAX} nodes at most, not {len(nodes)}")
    for position, node in enumerate(nodes):
        if node.kind == DEVICE and (node.inputs or node.private or node.mbuf or node.insns is not None):
            raise GraphError(f"node {position}: a device has neither inputs nor an MBuf nor instructions")
        if node.kind != DEVICE and not node.inputs:
            raise GraphError(f"node {position} {node}: nothing leads to it")
        if any(not 0 <= number < position for number in node.inputs):
            raise GraphError(f"node {position} {node}: its inputs must be earlier nodes")
        if len(set(node.inputs)) != len(node.inputs):
            raise GraphError(f"node {position} {node}: an input stands there twice")
        if (node.calls or node.reads) and node.kind not in PROGRAMS:
            raise GraphError(f"node {position} {node}: only programs call filters, and read their memory")
        if any(not 0 <= read.node < position for read in node.reads):
            raise GraphError(f"node {position} {node}: the nodes that it reads must be earlier ones")
        if node.mbuf is not None and not 0 <= node.mbuf <= MBUF_MAX:
            raise GraphError(f"node {position} {node}: an MBuf has {MBUF_MAX} octets at most")
    names = [node.name for node in nodes if node.name]
    if len(set(names)) != len(names):
        raise GraphError("two nodes have the same name")


def last(nodes: Sequence[Node]) -> list[int]:
    """Positions of nodes that lead nowhere, and are not there for something else: to be read, deliver is False."""
    leading = {number for node in nodes for number in node.inputs}
    return [position for position, node in enumerate(nodes) if position not in leading and node.deliver is not False]


@dataclass(frozen=True)
class Placed:
    """Where a node runs. reason: why not in the kernel; "" there. how: in the kernel, where there are several ways.
    number: of the node that runs; shared: it ran for somebody before. Of one in userspace: by_worker, it is for its
    group's worker; here, why it is for the application itself."""

    level: Level
    reason: str = ""
    number: int = 0
    shared: bool = False
    by_worker: bool = False
    here: str = ""
    how: str = ""


def in_userspace(node: Node, reason: str, pins: Pins) -> Placed:
    """GraphError when the administrator wants its class, or one that it calls, in the kernel or nowhere."""
    pinned = [kind for kind in (node.kind, *(callee.kind for callee in node.calls)) if pins.get(kind) is Level.KERNEL]
    if pinned:
        raise GraphError(f"{node}: the administrator wants {pinned[0]} in the kernel, where it cannot run: {reason}")
    return Placed(Level.USERSPACE, reason)


@dataclass
class Instance:
    """A flow's graph as it was placed. delivered: positions of nodes whose packets its IBuf gets; of several, bit j of
    a packet's result says that it came out of delivered[j]."""

    flow: int
    nodes: Sequence[Node]
    placed: list[Placed] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class NodeCounts:
    """Since the node began to run, for whomever first: packets that came to it while it was on, and that it let out.
    filtered = came - out."""

    came: int
    out: int


@dataclass(frozen=True)
class Mbuf:
    """A node's MBuf: where it lies in a BPF map, which can be mapped from its begin. fd: the stage's. merges: each of
    so many lanes has one of its own, `stride` octets from the one before."""

    fd: int
    at: int
    octets: int
    writable: bool
    lanes: int = 1
    stride: int = 0
    merges: tuple[Merge, ...] = ()
