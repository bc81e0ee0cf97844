# SPDX-License-Identifier: BSD-3-Clause
"""Keeps in the descriptor store what the next ffpfd needs to take over: the state, and every file that it names.

A change is written in the order put, state, remove (fdstore.py), before anybody hears of it; so a SIGKILL at any
instant leaves a state whose files are all there. Only the source that changed is looked at: others may be in the middle
of something.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pyffpf.daemon.captures import Captures, Flow, GraphFlow, GraphState, Source
from pyffpf.daemon.engine import NamedFd
from pyffpf.daemon.fdstore import STATE_NAMES, FdStore, StoreError
from pyffpf.daemon.saved import (
    Saved,
    SavedClient,
    SavedFlow,
    SavedGiven,
    SavedGraph,
    SavedGroup,
    SavedSource,
    SavedWorker,
    client_fd,
    dumps,
    source_fd,
    worker_fd,
)
from pyffpf.daemon.server import Client

if TYPE_CHECKING:
    from pyffpf.daemon.worker_state import Worker

log = logging.getLogger(__name__)


class Keeper:
    """Bound to a store that has been taken over, or was empty."""

    def __init__(self, store: FdStore, captures: Captures, before: Saved) -> None:
        """before: the predecessor's state; its numbers are not used again."""
        self.adoptions = before.adoptions
        self._store = store
        self._captures = captures
        self._last_number = before.last_number
        self._source_numbers: dict[str, int] = {}  # by the source's key
        self._client_numbers: dict[Client, int] = {}
        self._sources: dict[str, SavedSource] = {}
        self._graphs: dict[str, list[tuple[GraphFlow, SavedGraph]]] = {}  # by the source's key
        self._fds: dict[str, dict[str, int]] = {}  # of each source: name in the store, descriptor
        self._failing = False
        self.workers: Callable[[], list[Worker]] = list  # that run now

    def adopted(self, source: Source, number: int) -> None:
        """A source that was taken over, with its number. To be followed by write()."""
        self._source_numbers[source.key] = number
        self._describe(source)

    def adopted_client(self, client: Client, number: int) -> None:
        self._client_numbers[client] = number

    def changed(self, source: Source) -> None:
        """To be called with the source's lock held, or before the loop runs."""
        self._describe(source)
        self.write()

    def write(self) -> None:
        """What was described so far. When the store fails, what it has stays as it is, and is tried again later."""
        clients = self._clients()
        wanted = {client_fd(number): client.fileno() for client, number in clients.items()}
        for fds in self._fds.values():
            wanted.update(fds)
        workers = {clients[worker.client]: worker for worker in self.workers() if worker.client in clients}
        wanted |= {worker_fd(number): worker.link.fileno() for number, worker in workers.items()}
        saved = Saved(
            adoptions=self.adoptions,
            last_flow_id=self._captures.last_id,
            last_number=self._last_number,
            clients=[SavedClient(number, client.program) for client, number in clients.items()],
            sources=list(self._sources.values()),
            graphs=[saved for known in self._graphs.values() for graph, saved in known if graph.client in clients],
            workers=[
                SavedWorker(number, worker.pid, worker.key.gid, worker.key.snap_len, worker.group)
                for number, worker in workers.items()
            ],
        )
        try:
            held = self._store.held()
            for name in wanted.keys() - held:
                self._store.put(name, wanted[name])
            self._store.set_state(dumps(saved))
            for name in held - wanted.keys() - set(STATE_NAMES):
                self._store.remove(name)
        except (StoreError, OSError) as error:
            if not self._failing:
                log.error("captures would not survive the end of this ffpfd: %s", error)
            self._failing = True
        else:
            self._failing = False

    def _clients(self) -> dict[Client, int]:
        """Those with flows that are kept; who has none loses nothing by connecting again."""
        numbers = {flow.client for source in self._sources.values() for flow in source.flows}
        numbers |= {saved.client for known in self._graphs.values() for _, saved in known}
        self._client_numbers = {
            client: number
            for client, number in self._client_numbers.items()
            if number in numbers and client.fileno() >= 0
        }
        return self._client_numbers

    def _client_number(self, client: Client) -> int:
        return self._client_numbers.get(client) or self._client_numbers.setdefault(client, self._next_number())

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _describe(self, source: Source) -> None:
        there = self._captures.sources.get(source.key) is source
        stays = there and (source.flows or source.graphs)
        kept = source.engine.kept() if source.engine is not None and stays else None
        if kept is not None and source.key not in self._source_numbers:
            self._source_numbers[source.key] = self._next_number()
        number = self._source_numbers[source.key] if kept is not None else 0
        self._graphs[source.key] = [(graph, self._graph(graph, number)) for graph in source.graphs.values() if there]
        if not self._graphs[source.key]:
            del self._graphs[source.key]
        if kept is None:
            self._sources.pop(source.key, None)
            self._fds.pop(source.key, None)
            self._source_numbers.pop(source.key, None)
            return
        waiting = {
            flow.kept_names[fd]: fd for flow in source.flows.values() for named in _handed_out(flow) for _, fd in named
        }
        fds = waiting | dict(kept.fds)
        self._fds[source.key] = {source_fd(number, name): fd for name, fd in fds.items()}
        facts = source.open.facts
        self._sources[source.key] = SavedSource(
            number=number,
            key=source.key,
            name=source.name,
            pbuf_bytes=facts.lanes * facts.lane_bytes,
            state=str(source.state),
            promiscuous=source.promiscuous,
            engine=kept.text,
            fds=list(kept.fds),
            groups=[
                SavedGroup(group.number, group.key.gid, group.key.snap_len, group.plan.bms, group.moves, group.closed)
                for group in source.groups.values()
            ],
            flows=[self._flow(flow) for flow in source.flows.values() if not flow.of_graph],
        )

    def _graph(self, graph: GraphFlow, source: int) -> SavedGraph:
        client = self._client_number(graph.client)
        if not source:
            return SavedGraph(graph.id, client, ends="packets of its source are captured in userspace")
        asked, key = graph.request, graph.right.key
        # else what is there of nodes and delivery is half made
        made = graph.instance is not None and graph.state is not GraphState.POPULATED
        return SavedGraph(
            id=graph.id,
            client=client,
            source=source,
            gid=key.gid,
            right_snap_len=key.snap_len,
            state=str(graph.state if made else GraphState.POPULATED),
            opened_by=asked.id,
            instantiated_by=graph.instantiated_by if made else 0,
            opened_at=graph.opened_at,
            source_asked=asked.source,
            group_asked=asked.group,
            snap_len=asked.snap_len,
            promisc=asked.promisc,
            text=graph.text,
            delivery=self._flow(graph.delivery) if made and graph.delivery is not None else None,
        )

    def _flow(self, flow: Flow) -> SavedFlow:
        lanes = flow.source.open.facts.lanes
        return SavedFlow(
            id=flow.id,
            client=self._client_number(flow.client),
            slot=flow.slot,
            group=flow.group.number,
            column=flow.column,
            snap_len=flow.snap_len,
            ibuf_bytes=flow.ibuf_bytes,
            promisc=flow.promisc,
            generation=flow.generation,
            level=flow.level,
            kind=flow.kind,
            reason=flow.reason,
            insns=None if flow.insns is None else base64.b64encode(flow.insns).decode(),
            state=str(flow.state),
            opened_at=flow.opened_at,
            successors=[
                [[[name, flow.kept_names[fd]] for name, fd in named] for named in flow.successors.get(lane, ())]
                for lane in range(lanes)
            ],
            given=[
                SavedGiven(lane, given.request, [[name, flow.kept_names[fd]] for name, fd in given.named])
                for lane, given in flow.given.items()
            ],
            opened_by=flow.opened_by,
        )


def _handed_out(flow: Flow) -> Iterator[list[NamedFd]]:
    """Every successor that the flow has descriptors of, given or not."""
    for moves in flow.successors.values():
        yield from moves
    for given in flow.given.values():
        yield given.named
