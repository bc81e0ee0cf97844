# SPDX-License-Identifier: BSD-3-Clause
"""The state: sources, their groups, their flows. Who owns what, and which numbers are in use; no decisions.

    Source  one open capture          while it has a flow
      Group   one set of PBufs        while it has a flow; one for each access right on the source
        Flow    one reader's IBufs    until it is closed, its client is gone, or it is revoked

Only the event loop changes these; what an engine does for one source is done under the source's lock.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import heapq
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fpl.graph.deliver import relayed
from fpl.graph.node import Instance, Node, Placed
from pyffpf.daemon import transport
from pyffpf.daemon.engine import FLOWS_MAX, GROUPS_MAX, EngineSource, FlowCounts, NamedFd, flow_memory, group_memory
from pyffpf.daemon.policy import GroupKey, GroupPlan, Right, Usage
from pyffpf.daemon.protocol import Code, Open, RefusedError
from pyffpf.daemon.server import Client
from pyffpf.daemon.status import Totals


class Numbers:
    """Small numbers, the smallest free one first."""

    def __init__(self, count: int, what: str) -> None:
        self._free = list(range(count))
        self._what = what
        self._count = count

    def take(self) -> int:
        if not self._free:
            raise RefusedError(Code.LIMIT, f"the source has all of its {self._count} {self._what}")
        return heapq.heappop(self._free)

    def take_this(self, number: int) -> None:
        self._free.remove(number)
        heapq.heapify(self._free)

    def give(self, number: int) -> None:
        heapq.heappush(self._free, number)


class SourceState(StrEnum):
    UP = "up"
    DOWN = "down"
    GONE = "gone"


class FlowState(StrEnum):
    LIVE = "live"
    PARKED = "parked"  # left behind on old buffers: it comes back when it asks for a successor
    REVOKED = "detached"


@dataclass(eq=False)
class Group:
    """One access right's buffers on a source."""

    key: GroupKey
    plan: GroupPlan
    number: int
    moves: int = 0
    closed: Totals = field(default_factory=Totals)  # what its flows that were closed had counted

    def count_closed(self, counts: FlowCounts) -> None:
        """Of a flow that is about to go: what it had not read yet was never delivered."""
        before = self.closed
        causes = {*before.dropped, *(cause for cause, count in counts.dropped.items() if count)}
        self.closed = Totals(
            before.seen + counts.seen,
            before.filtered + counts.filtered,
            before.delivered + counts.delivered,
            {cause: before.dropped.get(cause, 0) + counts.dropped.get(cause, 0) for cause in sorted(causes)},
            before.unread + counts.waiting,
        )


@dataclass(frozen=True)
class Given:
    """A successor that a reader was given for a lane: once more if the same request comes again, since the answer to it
    may have died with the ffpfd before."""

    request: int
    named: list[NamedFd]


@dataclass(eq=False)
class Flow:
    """One reader."""

    id: int
    client: Client
    source: Source
    group: Group
    slot: int
    snap_len: int
    promisc: bool
    column: int  # the one in force
    ibuf_bytes: int
    generation: int = 1
    level: str = "kernel"
    kind: str = "everything"
    reason: str = ""
    insns: bytes | None = None
    state: FlowState = FlowState.LIVE
    opened_at: float = field(default_factory=time.time)
    successors: dict[int, collections.deque[list[NamedFd]]] = field(default_factory=dict)  # by lane; ours to close
    given: dict[int, Given] = field(default_factory=dict)  # by lane; ours to close
    kept_names: dict[int, str] = field(default_factory=dict)  # of the descriptors in these two: Kept.fds' names
    opened_by: int = 0  # the request
    of_graph: bool = False  # its packets are those of a graph flow's nodes, which has the same id
    grown: bool = True  # the latest change of its IBufs, if any, may have been on the same lanes
    on: bool = True  # what the filter takes is stored; not of a graph's that is paused, where there is no stage

    @property
    def idle_column(self) -> int:
        return self.column ^ 1

    @property
    def active_column(self) -> int | None:
        """As EngineSource.activate wants it."""
        return self.column if self.on else None

    @property
    def behind(self) -> int:
        """How many changes of its buffers the reader has yet to follow, on the lane where these are most."""
        return max((len(waiting) for waiting in self.successors.values()), default=0)

    def keep_successors(self, engine: EngineSource) -> None:
        """Keeps copies of the fresh buffers' descriptors until the reader asks for them."""
        kept = engine.kept()
        names = {fd: name for name, fd in kept.fds.items()} if kept else {}
        for lane in range(engine.facts.lanes):
            copies = []
            for name, fd in engine.lane_descriptors(self.slot, lane):
                copies.append((name, os.dup(fd)))
                if kept:
                    self.kept_names[copies[-1][1]] = names[fd]
            self.successors.setdefault(lane, collections.deque()).append(copies)

    def drop_successors(self) -> None:
        for waiting in self.successors.values():
            for descriptors in waiting:
                transport.close_all([fd for _, fd in descriptors])
        self.successors.clear()
        for given in self.given.values():
            transport.close_all([fd for _, fd in given.named])
        self.given.clear()


class GraphState(StrEnum):
    POPULATED = "populated"  # there, without a graph
    PAUSED = "paused"  # instantiated
    ACTIVE = "active"
    REVOKED = "detached"


@dataclass(frozen=True)
class WorkerNode:
    """A node that a worker runs. number: of the node that runs, in the worker; shared: it ran for somebody before. fd:
    the memory of its counters, and of its MBuf, `octets` at `at`; the graph's to close."""

    number: int
    shared: bool
    fd: int
    at: int
    octets: int


@dataclass(eq=False)
class GraphFlow:
    """A flow that is a graph. delivery: the reader of what its nodes let out, if they deliver anything; it has the same
    id."""

    id: int
    client: Client
    source: Source
    right: Right
    request: Open
    text: str = ""
    instance: Instance | None = None  # None: not instantiated, or all of it runs in userspace
    nodes: Sequence[Node] = ()
    placed: Sequence[Placed] = ()
    delivered: Sequence[int] = ()
    delivery: Flow | None = None
    state: GraphState = GraphState.POPULATED
    opened_at: float = field(default_factory=time.time)
    memory: int = 0  # octets of its MBufs
    worker: str = ""  # the group whose worker runs nodes of it
    relay: int = 0  # octets of the IBufs that the worker writes for it
    by_worker: dict[int, WorkerNode] = field(default_factory=dict)  # by position
    of_worker: bool = False  # it feeds a worker
    payer: int | None = None  # of one that feeds a worker: the user for whose flow it is there
    instantiated_by: int = 0  # the request

    @property
    def relayed(self) -> list[int]:
        """Positions of nodes whose packets the worker hands on."""
        return relayed(self.nodes, self.placed)

    @property
    def read(self) -> list[int]:
        """Positions of nodes whose packets come to the application; of several, bit j of a packet's result says that it
        came out of the j-th."""
        return self.relayed or list(self.delivered)


@dataclass(eq=False)
class Source:
    """One capture. `engine` is None until it has been opened, and again when it was closed."""

    key: str
    name: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    engine: EngineSource | None = None
    state: SourceState = SourceState.UP
    promiscuous: bool = False
    groups: dict[GroupKey, Group] = field(default_factory=dict)
    flows: dict[int, Flow] = field(default_factory=dict)  # by slot
    graphs: dict[int, GraphFlow] = field(default_factory=dict)  # by id
    node_columns: list[int] = field(default_factory=list)  # free ones, of slots that were taken for nodes
    slots: Numbers = field(default_factory=lambda: Numbers(FLOWS_MAX, "flows"))
    group_numbers: Numbers = field(default_factory=lambda: Numbers(GROUPS_MAX, "groups"))

    @property
    def open(self) -> EngineSource:
        """The engine of a source that is open."""
        if self.engine is None:
            raise RefusedError(Code.NO_SUCH_DEVICE, f"{self.name}: the capture has ended")
        return self.engine

    def take_node_columns(self, columns: Sequence[int]) -> None:
        """Those that nodes have already; the others of their slots are free for more."""
        slots = sorted({column // 2 for column in columns})
        for slot in slots:
            self.slots.take_this(slot)
        self.node_columns = [column for slot in slots for column in (2 * slot, 2 * slot + 1) if column not in columns]

    def members(self, group: Group) -> list[Flow]:
        """The flows of a group, oldest first."""
        return sorted((flow for flow in self.flows.values() if flow.group is group), key=lambda flow: flow.id)


class Captures:
    """Every source, and every flow by its id."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self.flows: dict[int, Flow] = {}
        self.graphs: dict[int, GraphFlow] = {}
        self._last_id = 0
        self._reserved: list[tuple[int, int]] = []  # user and octets of each flow that is being opened

    @contextlib.contextmanager
    def reserved(self, uid: int, memory: int) -> Iterator[None]:
        """One more flow counts for the user, until it is there or has failed: several may be opened at once."""
        self._reserved.append((uid, memory))
        try:
            yield
        finally:
            self._reserved.remove((uid, memory))

    def next_flow_id(self) -> int:
        self._last_id += 1
        return self._last_id

    @property
    def last_id(self) -> int:
        return self._last_id

    def adopt_flow_id(self, flow_id: int) -> None:
        self._last_id = max(self._last_id, flow_id)

    def of(self, client: Client) -> list[Flow]:
        return [flow for flow in self.flows.values() if flow.client is client]

    def find(self, client: Client, flow_id: int) -> Flow:
        """A flow of this client; nobody learns whether others exist."""
        flow = self.flows.get(flow_id)
        if flow is None or flow.client is not client:
            raise RefusedError(Code.INVALID, f"this connection has no flow {flow_id}")
        return flow

    def has(self, flow: Flow | GraphFlow) -> bool:
        """It was not closed."""
        return self.flows.get(flow.id) is flow or self.graphs.get(flow.id) is flow

    def graphs_of(self, client: Client) -> list[GraphFlow]:
        return [graph for graph in self.graphs.values() if graph.client is client]

    def groups(self) -> Iterator[tuple[Source, Group]]:
        for source in self.sources.values():
            for group in source.groups.values():
                yield source, group

    def _payer(self, flow: Flow) -> int | None:
        """The user for whom a flow is there."""
        graph = self.graphs.get(flow.id)
        return graph.payer if graph is not None and graph.of_worker else flow.client.peer.uid

    def usage(self, uid: int) -> Usage:
        """What a user holds: its flows' own memory, and the PBufs of groups whose oldest flow is the user's."""
        mine = [flow for flow in self.flows.values() if self._payer(flow) == uid]
        memory = sum(flow_memory(flow.source.engine.facts, flow.ibuf_bytes) for flow in mine if flow.source.engine)
        for source, group in self.groups():
            members = source.members(group)
            if source.engine and members and self._payer(members[0]) == uid:
                memory += group_memory(source.engine.facts)
        mine = [flow for flow in mine if flow.client.peer.uid == uid]
        graphs = [graph for graph in self.graphs.values() if graph.client.peer.uid == uid and not graph.of_worker]
        memory += sum(graph.memory for graph in graphs)
        more = sum(graph.delivery is None for graph in graphs)  # who delivers is counted as a flow
        opening = [octets for user, octets in self._reserved if user == uid]
        return Usage(len(mine) + more + len(opening), memory + sum(opening), sum(len(graph.nodes) for graph in graphs))
