# SPDX-License-Identifier: BSD-3-Clause
"""The state that one ffpfd leaves for the next: what there is besides what the kernel itself remembers.

In the store (fdstore.py) a connection's name is "cNUMBER", and a file of a source "sNUMBER.NAME" with the engine's
name. A name is never given to another file. Documents of older and newer versions are read alike: fields that are
missing take their defaults, others are ignored (jsonform.py). One of a later FORMAT cannot be understood.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from pyffpf.daemon import jsonform
from pyffpf.daemon.status import Totals

FORMAT = 1


@dataclass(frozen=True)
class SavedClient:
    """A connection. Who is at its other end the kernel still knows."""

    number: int
    program: str = "unknown"


@dataclass(frozen=True)
class SavedGroup:
    number: int
    gid: int
    snap_len: int
    bms: str = "srp"
    moves: int = 0
    closed: Totals = field(default_factory=Totals)


@dataclass(frozen=True)
class SavedGiven:
    """A successor that was handed out, and to which request. files: as in SavedFlow.successors."""

    lane: int
    request: int
    files: list[list[str]]


@dataclass(frozen=True)
class SavedFlow:
    id: int
    client: int
    slot: int
    group: int  # number of its group
    column: int
    snap_len: int
    ibuf_bytes: int
    promisc: bool = False
    generation: int = 1
    level: str = "kernel"
    kind: str = "everything"
    reason: str = ""
    insns: str | None = None  # base64 of the filter; None: everything passes
    state: str = "live"
    opened_at: float = 0.0
    # By lane, for each move that its reader has not followed yet: for each descriptor its name in the protocol and the
    # engine's name of it
    successors: list[list[list[list[str]]]] = field(default_factory=list)
    given: list[SavedGiven] = field(default_factory=list)
    opened_by: int = 0


@dataclass(frozen=True)
class SavedSource:
    number: int
    key: str
    name: str
    pbuf_bytes: int
    state: str = "up"
    promiscuous: bool = False
    engine: str = ""  # what the engine wants to be told again
    fds: list[str] = field(default_factory=list)  # the engine's names
    groups: list[SavedGroup] = field(default_factory=list)
    flows: list[SavedFlow] = field(default_factory=list)


@dataclass(frozen=True)
class SavedGraph:
    """A flow that is a graph. source: number of its source, 0: the graph ends with its ffpfd, for the reason `ends`.
    Its nodes are in SavedSource.engine. delivery: the flow that they deliver to; it is not among those of the
    source, so that an ffpfd that does not know of it takes it away."""

    id: int
    client: int
    source: int = 0
    ends: str = ""
    gid: int = 0
    right_snap_len: int = 0
    state: str = "populated"
    opened_by: int = 0
    instantiated_by: int = 0
    opened_at: float = 0.0
    source_asked: str = ""  # the names in the request
    group_asked: str | None = None
    snap_len: int = 0
    promisc: bool = False
    text: str = ""
    delivery: SavedFlow | None = None


@dataclass(frozen=True)
class SavedWorker:
    """The process that runs a group's nodes in userspace. client: the connection on which it asks; that on which it is
    asked is "wCLIENT" in the store. What it runs it says itself."""

    client: int
    pid: int
    gid: int
    snap_len: int
    group: str = ""


@dataclass(frozen=True)
class Saved:
    format: int = FORMAT
    adoptions: int = 0
    last_flow_id: int = 0
    last_number: int = 0  # of clients and sources: none is used twice
    clients: list[SavedClient] = field(default_factory=list)
    sources: list[SavedSource] = field(default_factory=list)
    graphs: list[SavedGraph] = field(default_factory=list)
    graphs_damaged: str = ""  # never written: how; nothing but ids and clients of them is known
    workers: list[SavedWorker] = field(default_factory=list)


def client_fd(number: int) -> str:
    """The name of a connection in the store."""
    return f"c{number}"


def worker_fd(client: int) -> str:
    """The name in the store of the connection on which a worker is asked. client: the number of its own."""
    return f"w{client}"


def source_fd(number: int, name: str) -> str:
    """The name in the store of a file that the engine calls `name`."""
    return f"s{number}.{name}"


def dumps(saved: Saved) -> bytes:
    return json.dumps(jsonform.encode(saved), separators=(",", ":")).encode()


def loads(document: bytes) -> Saved:
    """ValueError when it cannot be understood. What is wrong with graphs is nothing to other flows."""
    parsed: Any = json.loads(document)
    try:
        saved = jsonform.decode(Saved, parsed, "state")
    except ValueError as error:
        if not isinstance(parsed, dict) or "graphs" not in parsed:
            raise
        graphs = parsed["graphs"] if isinstance(parsed["graphs"], list) else []
        known = [SavedGraph(graph["id"], graph["client"]) for graph in graphs if _has_numbers(graph)]
        saved = jsonform.decode(Saved, parsed | {"graphs": []}, "state")
        saved = replace(saved, graphs=known, graphs_damaged=str(error))
    if saved.format > FORMAT:
        raise ValueError(f"state of format {saved.format}, and this ffpfd knows {FORMAT}")
    return saved


def _has_numbers(graph: object) -> bool:
    return isinstance(graph, dict) and all(isinstance(graph.get(key), int) for key in ("id", "client"))
