# SPDX-License-Identifier: BSD-3-Clause
"""The status document (status.py) of the captures as they are now, as far as one client may know."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from fpl.graph.node import Level
from pyffpf.daemon.captures import Captures, Flow, FlowState, GraphFlow, Group, Source
from pyffpf.daemon.engine import FlowCounts
from pyffpf.daemon.link_types import link_type_name
from pyffpf.daemon.policy import group_name
from pyffpf.daemon.protocol import INSN_BYTES
from pyffpf.daemon.status import (
    FlowStatus,
    GraphStatus,
    GroupStatus,
    NodeStatus,
    ProgramStatus,
    SourceStatus,
    Status,
    WorkerStatus,
)
from pyffpf.daemon.worker_state import counts_of

NO_COUNTS = FlowCounts(0, 0, 0, 0, {}, [])


def user_name(uid: int) -> str:
    """The name of a user id, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Describer:
    """`groups` None: everything may be seen."""

    def __init__(self, captures: Captures, server: str) -> None:
        self._captures = captures
        self._server = server
        self._started_at = time.time()
        self._started_ns = time.monotonic_ns()
        self.adoptions = 0
        self.holder = "none"
        self.workers: Callable[[Callable[[int], bool]], list[WorkerStatus]] = lambda _: []

    async def document(self, groups: frozenset[int] | None) -> Status:
        """Each source is asked under its lock, since an engine takes one call at a time: what it says of its groups and
        flows belongs together, what two sources say was true one after the other."""

        def visible(gid: int) -> bool:
            return groups is None or gid in groups

        parts, graphs = [], []
        for source in list(self._captures.sources.values()):
            async with source.lock:
                if source.engine is not None and any(map(visible, _gids(source))):
                    parts.append(await asyncio.to_thread(_Part.of, source, visible))
                    graphs += [_graph(graph) for graph in source.graphs.values()
                               if not graph.of_worker and visible(graph.right.key.gid)]  # fmt: skip
        revoked = [
            _flow(flow, NO_COUNTS)
            for flow in self._captures.flows.values()
            if flow.state is FlowState.REVOKED and visible(flow.group.key.gid)
        ]
        now_ns = time.monotonic_ns()
        return Status(
            server=self._server,
            pid=os.getpid(),
            started_at=self._started_at,
            uptime_s=(now_ns - self._started_ns) / 1e9,
            monotonic_ns=now_ns,
            adoptions=self.adoptions,
            holder=self.holder,
            sources=[part.source for part in parts],
            groups=[group for part in parts for group in part.groups],
            flows=sorted([flow for part in parts for flow in part.flows] + revoked, key=lambda flow: flow.id),
            workers=self.workers(visible),
            graphs=sorted(graphs, key=lambda graph: graph.id),
        )


def _gids(source: Source) -> set[int]:
    """Groups that have flows on it, those that are graphs and deliver nothing too."""
    return {key.gid for key in source.groups} | {graph.right.key.gid for graph in source.graphs.values()}


@dataclass(frozen=True)
class _Part:
    """What is shown of one source."""

    source: SourceStatus
    groups: list[GroupStatus]
    flows: list[FlowStatus]

    @classmethod
    def of(cls, source: Source, visible: Callable[[int], bool]) -> _Part:
        return cls(
            _source(source),
            [_group(source, group) for group in source.groups.values() if visible(group.key.gid)],
            [
                _flow(flow, source.open.flow_counts(flow.slot))
                for flow in source.flows.values()
                if visible(flow.group.key.gid)
            ],
        )


def _graph(graph: GraphFlow) -> GraphStatus:
    peer = graph.client.peer
    return GraphStatus(
        id=graph.id,
        source=graph.source.name,
        gid=graph.right.key.gid,
        group=graph.right.plan.name,
        uid=peer.uid,
        user=user_name(peer.uid),
        pid=peer.pid,
        program=graph.client.program,
        state=str(graph.state),
        text=graph.text,
        opened_at=graph.opened_at,
        nodes=_nodes(graph),
        delivered=graph.read,
    )


def _nodes(graph: GraphFlow) -> list[NodeStatus]:
    stage = graph.source.open.stage if graph.instance is not None else None
    counts = stage.counts(graph.id) if stage is not None else [None] * len(graph.nodes)
    shown = []
    for position, (node, placed, count) in enumerate(zip(graph.nodes, graph.placed, counts, strict=True)):
        mbuf = stage.mbuf(graph.id, position) if stage is not None else None
        said = NodeStatus(node.kind, node.argument, node.name, list(node.inputs), str(placed.level), placed.reason,
                          mbuf_bytes=mbuf.octets if mbuf is not None else 0)  # fmt: skip
        if placed.level is Level.KERNEL:
            said = replace(said, number=placed.number, shared=placed.shared)
        if count is not None:
            said = replace(said, came=count.came, out=count.out)
        run = graph.by_worker.get(position)
        if run is not None:
            came, out, _ = counts_of(run)
            said = replace(said, worker=True, number=run.number, shared=run.shared, came=came, out=out,
                           mbuf_bytes=run.octets)  # fmt: skip
        shown.append(said)
    return shown


def _source(source: Source) -> SourceStatus:
    counts, facts = source.open.counts(), source.open.facts
    return SourceStatus(
        name=source.name,
        kind=facts.kind,
        form=facts.form,
        reason=facts.reason,
        ifindex=facts.ifindex,
        link_type=facts.link_type,
        link_type_name=link_type_name(facts.link_type),
        state=str(source.state),
        lanes=facts.lanes,
        fetch_bytes=counts.fetch_bytes,
        packets=counts.packets,
        dropped=dict(counts.dropped),
        nodes={kind: [came, out] for kind, (came, out) in sorted(counts.nodes.items())},
        programs=[ProgramStatus(one.name, one.slot, one.instructions, one.filters) for one in counts.programs],
    )


def _group(source: Source, group: Group) -> GroupStatus:
    facts = source.open.facts
    return GroupStatus(
        source=source.name,
        gid=group.key.gid,
        name=group.plan.name,
        bms=group.plan.bms,
        lanes=facts.lanes,
        buffer_bytes=facts.lanes * facts.lane_bytes,
        records=source.open.group_records(group.number),
        moves=group.moves,
        flows=len(source.members(group)),
        closed=group.closed,
    )


def _flow(flow: Flow, counts: FlowCounts) -> FlowStatus:
    peer = flow.client.peer
    return FlowStatus(
        id=flow.id,
        source=flow.source.name,
        gid=flow.group.key.gid,
        group=group_name(flow.group.key.gid),
        uid=peer.uid,
        user=user_name(peer.uid),
        pid=peer.pid,
        program=flow.client.program,
        level=flow.level,
        kind=flow.kind,
        reason=flow.reason,
        state=str(flow.state),
        generation=flow.generation,
        filter_instructions=len(flow.insns or b"") // INSN_BYTES,
        snap_len=flow.snap_len,
        opened_at=flow.opened_at,
        seen=counts.seen,
        filtered=counts.filtered,
        delivered=counts.delivered,
        waiting=counts.waiting,
        dropped={cause: count for cause, count in counts.dropped.items() if count},
    )
