# SPDX-License-Identifier: BSD-3-Clause
"""The status document: what ffpfd tells about itself. Read by `ffpf status` and by the metrics.

The reply to {"op": "status"} carries it as one descriptor, {"fds": ["status"]}: a sealed memory file with the JSON
text, since hundreds of flows do not fit a datagram. Everything that grows is a count since its object was made, so a
rate is the difference of two documents over that of their `monotonic_ns`. Law of a flow:
seen = filtered + delivered + waiting + sum(dropped).
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field

from pyffpf.daemon import jsonform

FORMAT = 1
DOCUMENT_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class ProgramStatus:
    """One eBPF program of a source."""

    name: str  # "hook", "store", "classify", "chain 2" ...
    slot: int  # in the program array; -1 for the one attached to the socket
    instructions: int
    filters: int = 0  # how many it decides


@dataclass(frozen=True)
class SourceStatus:
    name: str  # "eth0", "any", "netfilter:input", "replay:NAME"
    kind: str = "kernel"  # "kernel", "tpacket", "file", "ixp", "netfilter"
    form: str = ""  # of the kernel's hook on a socket: "context", "probed", "plain"; csrc/kernel/context.bpf.h
    reason: str = ""  # why neither kind nor form is a better one; of an adopted source it is not known
    ifindex: int = 0
    link_type: int = 0  # DLT_*
    state: str = "up"  # "up", "down", "gone"
    lanes: int = 0
    fetch_bytes: int = 0  # octets of each packet that the filters look at
    packets: int = 0  # that the hook was given
    dropped: dict[str, int] = field(default_factory=dict)  # by cause, before any flow: "nested", "no_lane", "lost"
    programs: list[ProgramStatus] = field(default_factory=list)
    link_type_name: str = ""  # "EN10MB"; "": it has none, or nobody knows it
    # Of nodes in the kernel, by class: packets that came to them and that they let out, also those that are gone
    nodes: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """What flows that were closed had counted: seen = filtered + delivered + unread + sum(dropped)."""

    seen: int = 0
    filtered: int = 0
    delivered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unread: int = 0  # waited for their readers when these went


@dataclass(frozen=True)
class GroupStatus:
    """The buffers that the members of one group share on one source."""

    source: str
    gid: int
    name: str = ""  # the group's name; the gid as text when it has none
    bms: str = "srp"
    lanes: int = 0
    buffer_bytes: int = 0  # PBuf, all lanes
    records: int = 0  # stored
    moves: int = 0  # times the group went to fresh buffers
    flows: int = 0  # open ones
    closed: Totals = field(default_factory=Totals)  # so that sums over a group's flows never go back


@dataclass(frozen=True)
class OwnedStatus:
    """Whose a flow is, and of what."""

    id: int
    source: str
    gid: int
    group: str = ""
    uid: int = 0
    user: str = ""
    pid: int = 0
    program: str = ""


@dataclass(frozen=True)
class FlowStatus(OwnedStatus):
    level: str = "kernel"  # where its filter runs: "kernel", "userspace"
    reason: str = ""  # why there
    state: str = "live"  # "live", "evicted", "detached"
    generation: int = 0  # of its filter
    filter_instructions: int = 0  # of the bytecode; 0: everything passes
    snap_len: int = 0
    opened_at: float = 0.0  # seconds since 1970
    seen: int = 0
    filtered: int = 0
    delivered: int = 0
    waiting: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # by enum ffpf_drop's names: "pbuf", "ibuf", "lapped" ...
    kind: str = "everything"  # form of its filter: "table", "code", "native", "interpreter"; "everything": none


@dataclass(frozen=True)
class NodeStatus:
    """A node of a flow that is a graph. Flows that share one have the same number, and its counters."""

    kind: str
    argument: str = ""
    name: str = ""
    inputs: list[int] = field(default_factory=list)  # positions
    level: str = "kernel"
    reason: str = ""  # why not lower
    number: int | None = None  # of all that run on the source, or in the worker
    shared: bool = False
    worker: bool = False  # the group's worker runs it
    came: int | None = None  # packets; None: its application counts them
    out: int | None = None
    mbuf_bytes: int = 0


@dataclass(frozen=True)
class GraphStatus(OwnedStatus):
    """A flow that is a graph. Where it delivers packets, what it delivers to is the flow of the same id."""

    state: str = "populated"  # "populated", "paused", "active", "detached"
    text: str = ""
    opened_at: float = 0.0
    nodes: list[NodeStatus] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)  # positions


@dataclass(frozen=True)
class WorkerStatus:
    """The process that runs what only userspace can run for a group."""

    pid: int
    group: str
    gid: int
    flows: int = 0  # that have nodes in it
    nodes: int = 0  # that run: what flows share counts once
    cpu_s: float = 0.0  # CPU time that it has used


@dataclass(frozen=True)
class Status:
    format: int = FORMAT
    server: str = ""  # "ffpfd 0.2.0"
    pid: int = 0
    started_at: float = 0.0  # seconds since 1970, of this process
    uptime_s: float = 0.0
    monotonic_ns: int = 0  # when the counters below were read
    adoptions: int = 0  # how many predecessors' captures it took over, one after the other
    holder: str = ""  # "systemd", "process", "none"
    sources: list[SourceStatus] = field(default_factory=list)
    groups: list[GroupStatus] = field(default_factory=list)
    flows: list[FlowStatus] = field(default_factory=list)
    workers: list[WorkerStatus] = field(default_factory=list)
    graphs: list[GraphStatus] = field(default_factory=list)


def dumps(status: Status) -> bytes:
    """The document as JSON text."""
    return json.dumps(jsonform.encode(status), separators=(",", ":")).encode()


def loads(text: bytes) -> Status:
    """The document behind JSON text; ValueError when it is none."""
    return jsonform.decode(Status, json.loads(text), "status")


def to_fd(status: Status) -> int:
    """A new descriptor of a sealed memory file with the document: the caller closes it."""
    return memory_file(dumps(status))


def memory_file(text: bytes) -> int:
    """A new descriptor of a sealed memory file with the text: the caller closes it."""
    fd = os.memfd_create("ffpf-status", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(text)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
    except BaseException:
        os.close(fd)
        raise
    return fd


def from_fd(fd: int) -> Status:
    """The document in a descriptor that ffpfd sent. The descriptor stays the caller's."""
    size = os.fstat(fd).st_size
    if size > DOCUMENT_MAX_BYTES:
        raise ValueError(f"a status document of {size} octets")
    text = bytearray()
    while len(text) < size:
        piece = os.pread(fd, size - len(text), len(text))
        if not piece:
            break
        text += piece
    return loads(bytes(text))
