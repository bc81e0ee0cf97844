# SPDX-License-Identifier: BSD-3-Clause
"""A new ffpfd takes over what the last one left: captures that run on, their buffers, its clients' connections.

    store.take_all() -> state, files -> connections, sources, flows -> a state of ours -> "adopted" events

Whatever cannot be taken over ends, and its clients are told; the rest goes on. A client's death in the meantime shows
as the end of its connection.
"""

from __future__ import annotations

import base64
import collections
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pyffpf.daemon import saved as saving
from pyffpf.daemon.captures import Flow, FlowState, Given, GraphFlow, GraphState, Group, Source, SourceState
from pyffpf.daemon.engine import (
    Adopted,
    Engine,
    EngineError,
    Kept,
    KeptFlow,
    KeptGraph,
    KeptGroup,
    NamedFd,
    Placement,
    Resolved,
)
from pyffpf.daemon.fdstore import FdStore
from pyffpf.daemon.keeper import Keeper
from pyffpf.daemon.policy import GroupKey, Right
from pyffpf.daemon.protocol import Open, RefusedError, event
from pyffpf.daemon.saved import (
    Saved,
    SavedFlow,
    SavedGraph,
    SavedGroup,
    SavedSource,
    SavedWorker,
    client_fd,
    source_fd,
    worker_fd,
)
from pyffpf.daemon.server import Client, Server
from pyffpf.daemon.service import Service
from pyffpf.daemon.worker_state import Worker

log = logging.getLogger(__name__)

LOST = "ffpfd came back, and could not take over this capture"
NODES_LOST = "ffpfd came back, and could not go on with the nodes of this graph, which is to be instantiated again"


@dataclass
class _Inheritance:
    """What is not yet taken over: closed at the end."""

    saved: Saved
    fds: dict[str, int]
    clients: dict[int, Client] = field(default_factory=dict)  # by number
    lost: dict[int, str] = field(default_factory=dict)  # by the flow's id: why, where more is known than LOST

    def take(self, name: str) -> int:
        """KeyError when the predecessor's state names what it had not stored."""
        return self.fds.pop(name)

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()


def read(store: FdStore) -> tuple[Saved, dict[str, int]]:
    """The predecessor's state and files. One that cannot be understood is none: nothing can be said about its files."""
    state, fds = store.take_all()
    if state is None:
        return Saved(), fds
    try:
        return saving.loads(state), fds
    except ValueError as error:
        log.error("what the last ffpfd left cannot be taken over: %s", error)
        return Saved(), fds


def adopt(store: FdStore, service: Service, server: Server, engine: Engine) -> Keeper:
    """Takes over, before the loop serves anybody. Returns the keeper of everything that is there then."""
    saved, fds = read(store)
    inherited = _Inheritance(saved, fds)
    inherited.lost.update({graph.id: f"{NODES_LOST}: {graph.ends}" for graph in saved.graphs if graph.ends})
    if saved.graphs_damaged:
        log.error("what the last ffpfd left of graphs is damaged: %s", saved.graphs_damaged)
        inherited.lost.update({graph.id: f"{NODES_LOST}: {saved.graphs_damaged}" for graph in saved.graphs})
    keeper = Keeper(store, service.captures, saved)
    keeper.workers, service.graphs.workers.tell = service.graphs.workers.kept, keeper.write
    try:
        _connections(inherited, server, keeper)
        for source in saved.sources:
            _source(source, inherited, service, engine, keeper)
        for worker in saved.workers:
            _worker(worker, inherited, service)
    finally:
        inherited.close()
    service.captures.adopt_flow_id(saved.last_flow_id)
    if saved.sources:
        keeper.adoptions += 1
        captures = service.captures
        log.info("took over %d flows, and %d graphs, of %d sources", len(captures.flows), len(captures.graphs),
                 len(captures.sources))  # fmt: skip
    keeper.write()
    for client in inherited.clients.values():
        client.send({"event": "adopted"})
    _tell_of_losses(inherited, service)
    for client in inherited.clients.values():
        if not client.closed:
            client.start()
    of_workers = [inherited.clients[one.client] for one in saved.workers if one.client in inherited.clients]
    server.spawn(service.graphs.settle_workers(of_workers))
    return keeper


def _worker(known: SavedWorker, inherited: _Inheritance, service: Service) -> None:
    """A worker without its connections ends by itself."""
    link, client = inherited.fds.pop(worker_fd(known.client), None), inherited.clients.get(known.client)
    if link is None:
        return
    if client is None:
        os.close(link)
        return
    key = GroupKey(known.gid, known.snap_len)
    service.graphs.workers.adopt(Worker(key, known.group, known.pid, client, socket.socket(fileno=link)))


def _connections(inherited: _Inheritance, server: Server, keeper: Keeper) -> None:
    for known in inherited.saved.clients:
        try:
            sock = socket.socket(fileno=inherited.take(client_fd(known.number)))
        except (KeyError, OSError) as error:
            log.error("connection %d is lost: %s", known.number, error)
            continue
        try:
            client = server.adopt(sock, known.program)
        except OSError as error:
            log.error("connection %d (%s) is lost: %s", known.number, known.program, error)
            sock.close()
            continue
        inherited.clients[known.number] = client
        keeper.adopted_client(client, known.number)


def _source(known: SavedSource, inherited: _Inheritance, service: Service, engine: Engine, keeper: Keeper) -> None:
    """One source with its flows. Flows whose connection is lost are not asked for, and so end."""
    graphs = [graph for graph in inherited.saved.graphs
              if graph.source == known.number and graph.client in inherited.clients]  # fmt: skip
    delivering = {graph.delivery.id for graph in graphs if graph.delivery is not None}
    flows = [flow for flow in known.flows if flow.client in inherited.clients]
    flows += [graph.delivery for graph in graphs if graph.delivery is not None]
    if not flows and not graphs:
        return
    successors: dict[int, _Successors] = {}
    try:
        successors = {flow.id: _successors(flow, known.number, inherited.fds) for flow in flows}
        adopted = _adopt_engine(known, flows, graphs, inherited, engine)
    except (EngineError, RefusedError, KeyError, OSError) as error:
        log.error("the capture from %s ends: %s", known.name, error)
        for waiting in successors.values():
            waiting.close()
        return
    open_source, placements = adopted.source, adopted.placements
    source = Source(known.key, known.name, engine=open_source, state=SourceState(known.state))
    source.promiscuous = known.promiscuous
    groups = {group.number: _group(group, service, source) for group in known.groups}
    for flow in flows:
        if flow.slot not in placements:
            successors[flow.id].close()
            continue
        made = _flow(flow, inherited.clients[flow.client], source, groups[flow.group], placements[flow.slot])
        waiting = successors[flow.id]
        made.successors, made.given, made.kept_names = waiting.by_lane, waiting.given, waiting.kept_names
        made.opened_by = flow.opened_by
        made.of_graph = flow.id in delivering
        if flow.slot in adopted.renewed:
            made.state = FlowState.LIVE
            made.keep_successors(open_source)
        source.slots.take_this(flow.slot)
        source.flows[flow.slot] = made
        service.captures.flows[made.id] = made
    source.take_node_columns(adopted.node_columns)
    for graph in graphs:
        _graph(graph, adopted, inherited, source, service)
    for group in list(groups.values()):
        group.moves += group.number in adopted.moved
        if not source.members(group):
            del source.groups[group.key]
            open_source.close_group(group.number)
            source.group_numbers.give(group.number)
    if not source.flows and not source.graphs:
        open_source.close()
        return
    service.captures.sources[source.key] = source
    keeper.adopted(source, known.number)


def _adopt_engine(
    known: SavedSource,
    flows: list[SavedFlow],
    graphs: list[SavedGraph],
    inherited: _Inheritance,
    engine: Engine,
) -> Adopted:
    missing = [name for name in known.fds if source_fd(known.number, name) not in inherited.fds]
    if missing:
        raise EngineError(f"its files are not all there: {', '.join(missing)}")
    fds = {name: inherited.take(source_fd(known.number, name)) for name in known.fds}
    delivering = {graph.delivery.id for graph in graphs if graph.delivery is not None}
    return engine.adopt_source(
        Resolved(known.key, known.name),
        known.pbuf_bytes,
        Kept(known.engine, fds),
        [KeptGroup(group.number, group.bms) for group in known.groups],
        [
            KeptFlow(flow.slot, flow.group, flow.column, flow.generation, flow.snap_len, flow.ibuf_bytes,
                     _insns(flow), flow.state == FlowState.LIVE, flow.id in delivering)
            for flow in flows
        ],
        [
            KeptGraph(graph.id, graph.state == GraphState.ACTIVE, graph.delivery.column if graph.delivery else None)
            for graph in graphs if graph.state != GraphState.POPULATED
        ],
    )  # fmt: skip


def _graph(known: SavedGraph, adopted: Adopted, inherited: _Inheritance, source: Source, service: Service) -> None:
    """A graph, unless its nodes were lost: these are gone, and so is what they delivered to."""
    instance, state = adopted.graphs.get(known.id), GraphState(known.state)
    if instance is None and state is not GraphState.POPULATED:
        inherited.lost[known.id] = f"{NODES_LOST}: {adopted.graphs_lost or 'what they deliver to was lost'}"
        return
    client, key = inherited.clients[known.client], GroupKey(known.gid, known.right_snap_len)
    asked = Open(known.opened_by, known.source_asked, known.snap_len, known.promisc, known.group_asked)
    group = source.groups.get(key)
    right = Right(key, group.plan if group else service.policy.plan(known.gid))
    graph = GraphFlow(known.id, client, source, right, asked, known.text, state=state, opened_at=known.opened_at)
    graph.instantiated_by = known.instantiated_by
    if instance is not None:
        stage = source.open.stage
        assert stage is not None
        graph.instance, graph.memory = instance, stage.memory(known.id)
        graph.nodes, graph.placed, graph.delivered = instance.nodes, instance.placed, instance.delivered
        graph.delivery = service.captures.flows.get(known.id)
    source.graphs[known.id] = service.captures.graphs[known.id] = graph


def _group(known: SavedGroup, service: Service, source: Source) -> Group:
    """With the BMS that its buffers were made for, whatever the configuration says now."""
    key = GroupKey(known.gid, known.snap_len)
    group = Group(key, replace(service.policy.plan(known.gid), bms=known.bms), known.number, known.moves, known.closed)
    source.groups[key] = group
    source.group_numbers.take_this(known.number)
    return group


def _flow(known: SavedFlow, client: Client, source: Source, group: Group, placement: Placement) -> Flow:
    return Flow(
        known.id,
        client,
        source,
        group,
        known.slot,
        known.snap_len,
        known.promisc,
        known.column,
        known.ibuf_bytes,
        known.generation,
        placement.level,
        placement.kind,
        placement.reason,
        _insns(known),
        FlowState(known.state),
        known.opened_at,
    )


def _insns(known: SavedFlow) -> bytes | None:
    return None if known.insns is None else base64.b64decode(known.insns)


@dataclass
class _Successors:
    """As in Flow: descriptors of our own, by lane, and their names."""

    by_lane: dict[int, collections.deque[list[NamedFd]]] = field(default_factory=dict)
    given: dict[int, Given] = field(default_factory=dict)
    kept_names: dict[int, str] = field(default_factory=dict)

    def close(self) -> None:
        for fd in self.kept_names:
            os.close(fd)


def _successors(known: SavedFlow, number: int, fds: Mapping[str, int]) -> _Successors:
    """Copies of the files: the same ones may be the engine's. KeyError when one is missing."""
    made = _Successors()

    def copies(files: list[list[str]]) -> list[NamedFd]:
        named = []
        for name, kept_name in files:
            named.append((name, os.dup(fds[source_fd(number, kept_name)])))
            made.kept_names[named[-1][1]] = kept_name
        return named

    for lane, waiting in enumerate(known.successors):
        made.by_lane[lane] = collections.deque(map(copies, waiting))
    for given in known.given:
        made.given[given.lane] = Given(given.request, copies(given.files))
    return made


def _tell_of_losses(inherited: _Inheritance, service: Service) -> None:
    saved, captures = inherited.saved, service.captures
    known = [(graph.id, graph.client) for graph in saved.graphs]
    known += [(flow.id, flow.client) for source in saved.sources for flow in source.flows]
    for flow_id, number in known:
        client = inherited.clients.get(number)
        if client is not None and flow_id not in captures.graphs and flow_id not in captures.flows:
            client.send(event("revoked", flow_id, reason=inherited.lost.get(flow_id, LOST)))
