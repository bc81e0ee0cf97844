# SPDX-License-Identifier: BSD-3-Clause
"""What ffpfd asks of an engine: a capture of one source into buffers of groups, steered by numbers.

ffpfd allots the numbers: groups (0 .. GROUPS_MAX-1), flow slots (0 .. FLOWS_MAX-1), and two columns for each slot, one
of which is in force. An engine remembers nothing about users and rights. Its calls may block for milliseconds (loading
a program, waiting for the kernel's grace period), so they are made in a thread, one at a time for a source. What may
take seconds is prepared beside them.

Every call that fails raises EngineError, or RefusedError when the client is to have the reason and its code, and leaves
nothing half made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pyffpf.daemon.config import Config

if TYPE_CHECKING:
    from fpl.graph.node import Instance
    from fpl.graph.stage import Stage

FLOWS_MAX = 512  # FFPF_KERNEL_FLOWS_MAX
GROUPS_MAX = 32  # FFPF_KERNEL_GROUPS_MAX
PREPARED_AT_ONCE = 2  # filters that are compiled at a time, over all sources
NamedFd = tuple[str, int]  # the descriptor stays the engine's


class EngineError(Exception):
    """The engine cannot; the text is for the log and for the client."""


@dataclass(frozen=True)
class SourceFacts:
    """What does not change while a source is open. ifindex 0: not one interface."""

    kind: str
    ifindex: int
    link_type: int
    lanes: int
    lane_bytes: int  # of a group's PBuf in one lane
    wake_kind: str = "ringbuf"
    form: str = ""  # of the hook: see status.SourceStatus
    reason: str = ""  # why it is none of the forms, or kinds, that are tried before it


@dataclass(frozen=True)
class Placement:
    """Where a filter runs: level "kernel" or "userspace", in which form, and why not lower."""

    level: str
    kind: str
    reason: str


class Compilable(Protocol):
    """What takes long is done beside all other calls."""

    @property
    def is_slow(self) -> bool:
        """compile() has something to do, perhaps for seconds."""

    def compile(self) -> None:
        """In any thread. It ends also when the source does. What cannot be compiled is no error: who puts it in force
        says so."""

    def cancel(self) -> None:
        """From any thread: compile() ends soon."""


class Prepared(Compilable, Protocol):
    """A filter on its way to a column, before it is known which: place()."""

    @property
    def insns(self) -> bytes | None: ...

    def close(self) -> None:
        """When it was placed, or is not wanted; not while compile() runs. A second call does nothing."""


class NotReady(Exception):  # noqa: N818 (an outcome: compile(), and try again)
    """The filter cannot be placed as it was prepared, and is_slow now."""


@dataclass
class Plain:
    """A filter that there is nothing to prepare for."""

    insns: bytes | None
    is_slow: bool = False

    def compile(self) -> None:
        """Nothing."""

    def cancel(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


ACCEPT_ALL = Plain(None)


@dataclass(frozen=True)
class LaneCounts:
    """One flow's IBuf on one lane: positions in it, `r` as the reader says it. behind_bytes: how far the oldest record
    that was not read lies behind the newest. dropped_pbuf: what the flow lost since there was no room in PBuf; it may
    begin anew with the IBuf."""

    slots: int
    first: int
    w: int
    r: int
    behind_bytes: int
    dropped_pbuf: int = 0

    @property
    def followed(self) -> bool:
        """The reader has come to this IBuf from the one before."""
        return self.r >= self.first

    @property
    def unread(self) -> int:
        """Entries of this IBuf."""
        return self.w - min(max(self.r, self.first), self.w)


@dataclass(frozen=True)
class FlowCounts:
    """A flow over all its lanes, those that it left for fresh ones included."""

    seen: int
    filtered: int
    delivered: int
    waiting: int
    dropped: Mapping[str, int]
    lanes: Sequence[LaneCounts]


@dataclass(frozen=True)
class ProgramFacts:
    name: str
    slot: int
    instructions: int
    filters: int


@dataclass(frozen=True)
class SourceCounts:
    packets: int
    dropped: Mapping[str, int]
    fetch_bytes: int
    programs: Sequence[ProgramFacts]
    nodes: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # as SourceStatus.nodes


@dataclass(frozen=True)
class Kept:
    """What a source needs besides the kernel's own memory to be taken over by another process: text that means
    something to its engine, and descriptors. A name is never used for another file while the source is open."""

    text: str
    fds: Mapping[str, int]  # they stay the engine's


@dataclass(frozen=True)
class KeptGroup:
    """What ffpfd knows of a group that it takes over."""

    number: int
    bms: str


@dataclass(frozen=True)
class KeptFlow:
    """What ffpfd knows of a flow that it takes over. live: its column is in force. reserved: the stage decides what is
    for it; it is lost with the graphs."""

    slot: int
    group: int
    column: int
    generation: int
    snap_len: int
    ibuf_bytes: int
    insns: bytes | None
    live: bool
    reserved: bool = False


@dataclass(frozen=True)
class KeptGraph:
    """What ffpfd knows of a graph that was instantiated. column: of the flow that it delivers to, None: to none."""

    id: int
    active: bool
    column: int | None = None


class EngineSource(Protocol):
    """One open source."""

    @property
    def facts(self) -> SourceFacts: ...

    def open_group(self, group: int, bms: str) -> None:
        """Makes the group's buffers, in each lane as large as the source was opened with."""

    def move_group(self, group: int, moving: Mapping[int, int]) -> None:
        """The group goes on in fresh buffers, with those of its flows that `moving` has by slot, in fresh IBufs of so
        many octets. Other flows have been told to leave, and stay behind. Old IBufs say MOVED, and readers are
        woken."""

    def close_group(self, group: int) -> None:
        """Of a group without flows."""

    def open_flow(self, slot: int, group: int, ibuf_bytes: int, snap_len: int) -> None:
        """Makes the flow's reader page, event descriptor and IBufs; it gets nothing before activate."""

    def grow_flow(self, slot: int, ibuf_bytes: int) -> None:
        """Fresh IBufs of so many octets on the group's present lanes, also for a flow that was left behind. Old IBufs
        say MOVED."""

    def close_flow(self, slot: int) -> None:
        """Of a flow that is not active. Its IBufs say DETACHED, and the reader is woken."""

    def prepare(self, insns: bytes | None) -> Prepared:
        """A filter for place(); None accepts everything. May be called beside other calls for the source."""

    def place(self, column: int, prepared: Prepared) -> Placement:
        """Makes the column hold a filter of this source; what cannot run here accepts everything. Raises NotReady."""

    @property
    def stage(self) -> Stage | None:
        """What runs nodes of graphs in the kernel; None: nothing does. Its calls are the engine's."""

    def reserve(self, column: int) -> None:
        """The column holds what the stage decides."""

    def clear(self, column: int) -> None:
        """The column, which is not in force, holds nothing."""

    def activate(self, slot: int, column: int | None, generation: int) -> None:
        """One store: this column of the flow is in force, the other is not. None: neither."""

    def leave(self, slot: int, column: int) -> None:
        """The flow is not in force, and is left behind, or has been; this is its column now. What the column accepts
        is counted as the flow's loss, cause "left", until one is activated."""

    def synchronize(self) -> None:
        """Returns when every packet that was being handled has been dealt with."""

    def positions(self, slot: int, generation: int) -> list[int]:
        """For each lane the first entry of the IBuf that this filter has judged. After activate and synchronize."""

    def descriptors(self, slot: int) -> list[NamedFd]:
        """What the flow's reader needs, in the order of the protocol."""

    def lane_descriptors(self, slot: int, lane: int) -> list[NamedFd]:
        """The same for one lane, as it is now."""

    def failure(self) -> str:
        """Why no packet will come any more, though its readers do not know yet; "": some may."""

    def set_state(self, state: str) -> None:
        """Tells readers that the interface is "up", "down" or "gone"."""

    def set_promiscuous(self, on: bool) -> None: ...

    def update_clock(self) -> None:
        """Learns anew how TAI and UTC differ: leap seconds come while a capture runs."""

    def counts(self) -> SourceCounts: ...

    def flow_counts(self, slot: int) -> FlowCounts: ...

    def group_records(self, group: int) -> int:
        """Packets stored for the group, in all its buffers so far."""

    def kept(self) -> Kept | None:
        """May be called from another thread while a call for this source is under way. None: the source cannot outlive
        this process."""

    def close(self) -> None:
        """Everything of the source is gone when this returns; readers keep what they hold."""


@dataclass(frozen=True)
class Resolved:
    """A source that exists: `key` tells it from others whatever they are called, `name` is what it is called now."""

    key: str
    name: str


_INTERFACE = "if:"


def interface_key(ifindex: int) -> str:
    """The key of an interface's source. A number is not used twice while the system is up."""
    return f"{_INTERFACE}{ifindex}"


def interface_number(key: str) -> int:
    """The number in an interface's key."""
    return int(key.removeprefix(_INTERFACE))


def is_interface(key: str) -> bool:
    return key.startswith(_INTERFACE)


@dataclass(frozen=True)
class Adopted:
    """A source that was taken over. placements: by slot, of the flows that are there. renewed: slots that were on their
    way to other buffers, and are there, and in force: their readers need these as successors. moved: groups that have
    been moved, or whose move was finished. graphs: by id, those whose nodes go on; graphs_lost: why others do not.
    node_columns: what these nodes' filters have."""

    source: EngineSource
    placements: Mapping[int, Placement]
    renewed: frozenset[int]
    moved: frozenset[int] = frozenset()
    graphs: Mapping[int, Instance] = field(default_factory=dict)
    graphs_lost: str = ""
    node_columns: Sequence[int] = ()


class Engine(Protocol):
    """All sources."""

    def configure(self, config: Config) -> None:
        """Another configuration is in force."""

    def resolve(self, name: str) -> Resolved:
        """Does not block. RefusedError when there is no such source."""

    def open_source(self, resolved: Resolved, pbuf_bytes: int) -> EngineSource:
        """A source whose groups have so many octets of PBuf each, over all lanes."""

    def on_prepared(self, call: Callable[[EngineSource], None]) -> None:
        """From now on, before a flow is moved to memory whose descriptors nobody else has yet, call(source) is called,
        in the thread of that call: kept() has them then, and when it returns they must be safe."""

    def adopt_source(
        self,
        resolved: Resolved,
        pbuf_bytes: int,
        kept: Kept,
        groups: Sequence[KeptGroup],
        flows: Sequence[KeptFlow],
        graphs: Sequence[KeptGraph] = (),
    ) -> Adopted:
        """A source that went on while nobody looked after it: the descriptors become the engine's, also on failure. Its
        process was killed, perhaps in the middle of a call: groups, flows and graphs that the caller does not know are
        taken away, those that are gone are missing from the answer, and columns are put in force as the caller says. A
        move of which on_prepared's call had told is finished. No packet is lost to anybody else. A group that misses a
        flow is moved: the flow's right may have ended."""

    def close(self) -> None: ...


PAGE_BYTES = 4096
SMALLEST_RECORD_BYTES = 128  # header and packet
ENTRY_BYTES = 8
SLACK_BYTES = 256 << 10  # behind the last cell of a lane: room for the largest record


def group_memory(facts: SourceFacts) -> int:
    """Octets of a group's buffers."""
    return facts.lanes * (PAGE_BYTES + facts.lane_bytes + SLACK_BYTES)


def flow_memory(facts: SourceFacts, ibuf_bytes: int) -> int:
    """Octets of a flow with IBufs of this size: them and their pages, the reader page, the event's page."""
    return facts.lanes * (PAGE_BYTES + ibuf_bytes) + 2 * PAGE_BYTES


def useful_ibuf(lane: int) -> int:
    """Octets of an IBuf with an entry for each record that fits a lane of so many: it is never the narrow one."""
    return lane // SMALLEST_RECORD_BYTES * ENTRY_BYTES


def lane_bytes(budget: int, lanes: int, least: int = 1 << 18) -> int:
    """A group's byte budget divided over its lanes: the largest power of two that fits, `least` at least."""
    share = max(budget // lanes, least)
    return 1 << (share.bit_length() - 1)
