# SPDX-License-Identifier: BSD-3-Clause
"""What is done to flows that are graphs, step by step. Each runs under the lock of its source, and leaves all or
nothing.

    open -> POPULATED -instantiate-> PAUSED <-> ACTIVE      close from anywhere; REVOKED when the right has ended

Nodes run in the source's stage (fpl/graph); where a source has none, all run in userspace, over everything.
What nodes deliver goes to a flow as any other (operations.py), whose column the stage decides; it has the graph's id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fpl.graph.deliver import delivered, to_worker
from fpl.graph.node import DEVICE, GraphError, Instance, Level, Node, Pins, Placed, check, in_userspace
from pyffpf.daemon.captures import Captures, FlowState, GraphFlow, GraphState, Source
from pyffpf.daemon.engine import Engine
from pyffpf.daemon.operations import Operations, engine_call
from pyffpf.daemon.policy import Policy, Right
from pyffpf.daemon.protocol import Code, Instantiate, Open, RefusedError
from pyffpf.daemon.server import Client

if TYPE_CHECKING:
    from fpl.graph.ahead import Ahead
    from fpl.graph.deliver import WorkerRule
    from fpl.graph.stage import Stage

log = logging.getLogger(__name__)

Filters = Mapping[bytes, Any]  # as for Stage.prepare()
NO_STAGE = "packets of this source are captured in userspace"


class GraphOperations:
    """Bound as Operations is, whose locks it uses."""

    def __init__(self, captures: Captures, engine: Engine, operations: Operations) -> None:
        self._captures = captures
        self._engine = engine
        self._operations = operations

    async def open(self, source: Source, client: Client, request: Open, right: Right, policy: Policy) -> GraphFlow:
        """A flow without a graph: nothing passes yet."""
        policy.check_limits(client.peer, self._captures.usage(client.peer.uid), 0)
        graph = GraphFlow(self._captures.next_flow_id(), client, source, right, request)
        source.graphs[graph.id] = self._captures.graphs[graph.id] = graph
        await self._operations.update_promiscuous(source)
        self._operations.tell(source)
        return graph

    async def ahead(self, graph: GraphFlow, nodes: Sequence[Node]) -> Ahead | None:
        """What of the nodes is to be compiled, without the lock, and then closed; None: nothing is compiled here."""
        stage: Stage | None = await engine_call(lambda: graph.source.open.stage)
        return stage.ahead(nodes) if stage is not None else None

    async def instantiate(
        self,
        graph: GraphFlow,
        request: Instantiate,
        policy: Policy,
        filters: Filters,
        worker: WorkerRule | None = None,
    ) -> None:
        """The graph's nodes are there, and off. filters: what was prepared by this source. worker: what
        the group's worker runs, which is yet to be told (workers.py); None: the client does not know of workers."""
        if graph.state is not GraphState.POPULATED:
            raise RefusedError(Code.INVALID, f"flow {graph.id} has a graph: it is {graph.state}")
        for node in request.nodes:
            if node.kind == DEVICE and node.argument not in (graph.source.name, graph.request.source):
                raise RefusedError(
                    Code.INVALID,
                    f"{node}: flow {graph.id} is of {graph.source.name}, and a flow of ffpfd has one source",
                )
        peer = graph.client.peer
        policy.check_nodes(peer, self._captures.usage(peer.uid), len(request.nodes))
        await asyncio.to_thread(policy.check_programs, request.nodes)
        try:
            await self._instantiate(graph, request.nodes, policy, filters, worker)
        except GraphError as refused:
            await self._drop(graph)
            raise RefusedError(Code.INVALID, str(refused)) from refused
        except BaseException:
            await self._drop(graph)
            raise
        graph.nodes, graph.text, graph.state = request.nodes, request.text, GraphState.PAUSED
        graph.instantiated_by = request.id
        self._operations.tell(graph.source)

    async def undo(self, graph: GraphFlow) -> None:
        """Populated again: what was instantiated does not run as it was placed."""
        graph.state = GraphState.POPULATED
        await self._drop(graph)
        graph.nodes, graph.placed, graph.delivered = (), (), ()

    async def _instantiate(
        self,
        graph: GraphFlow,
        nodes: Sequence[Node],
        policy: Policy,
        filters: Filters,
        worker: WorkerRule | None,
    ) -> None:
        stage: Stage | None = await engine_call(lambda: graph.source.open.stage)
        pins = policy.pins()
        if stage is None:
            check(nodes)
            placed = [in_userspace(node, NO_STAGE, pins) if node.inputs else Placed(Level.KERNEL) for node in nodes]
            graph.placed = placed if worker is None else to_worker(nodes, placed, worker)
            graph.delivered = delivered(nodes, graph.placed)
            if graph.delivered:
                await self._deliver(graph, policy, reserved=False)
            return
        prepare = partial(self._prepare, graph, stage, nodes, pins, filters, worker)
        instance = await prepare("")
        try:
            await self._commit(graph, stage, instance, policy)
        except GraphError as refused:
            await self._drop(graph)
            log.warning("flow %d: nodes with state go to userspace: %s", graph.id, refused)
            await self._commit(graph, stage, await prepare(str(refused)), policy)

    async def _prepare(
        self,
        graph: GraphFlow,
        stage: Stage,
        nodes: Sequence[Node],
        pins: Pins,
        filters: Filters,
        worker: WorkerRule | None,
        without_state: str,
    ) -> Instance:
        source = graph.source
        needed = stage.filters_among(nodes)
        while len(source.node_columns) < needed:
            slot = source.slots.take()
            source.node_columns += [2 * slot, 2 * slot + 1]
        group = f"{graph.right.key.gid} of {graph.right.key.snap_len} octets"
        graph.instance = await engine_call(
            stage.prepare, graph.id, nodes, group, pins, source.node_columns, without_state, filters, worker
        )
        self._give_columns(source)
        graph.placed, graph.delivered = graph.instance.placed, graph.instance.delivered
        return graph.instance

    async def _commit(self, graph: GraphFlow, stage: Stage, instance: Instance, policy: Policy) -> None:
        peer, octets = graph.client.peer, stage.memory(graph.id)
        policy.check_memory(peer, self._captures.usage(peer.uid), octets)
        graph.memory = octets
        if instance.delivered:
            await self._deliver(graph, policy, reserved=True)
        await engine_call(stage.commit, graph.id, graph.delivery.column if graph.delivery else None)

    async def _deliver(self, graph: GraphFlow, policy: Policy, *, reserved: bool) -> None:
        """A flow for what the nodes let out; not reserved: for everything, off as the graph is."""
        graph.delivery = await self._operations.open_flow(
            graph.source, graph.client, graph.request, graph.right, policy, of_graph=graph.id, reserved=reserved,
            on=reserved,
        )  # fmt: skip

    async def switch(self, graph: GraphFlow, on: bool) -> None:
        if graph.state is GraphState.POPULATED:
            raise RefusedError(Code.INVALID, f"flow {graph.id} has no graph yet: it is {graph.state}")
        graph.state = GraphState.ACTIVE if on else GraphState.PAUSED
        self._operations.tell(graph.source)  # before: what was on once does not go off with this ffpfd
        if graph.instance is not None:
            stage = graph.source.open.stage
            assert stage is not None
            stage.switch(graph.id, on)  # one store: not worth a thread
        elif graph.delivery is not None:
            await self._operations.switch_flow(graph.delivery, on)

    async def close(self, graph: GraphFlow) -> None:
        """A second call does nothing."""
        if self._captures.graphs.pop(graph.id, None) is None:
            return
        graph.source.graphs.pop(graph.id, None)
        if graph.state is not GraphState.REVOKED:
            await self._drop(graph)
        elif graph.delivery is not None:
            await self._operations.close_flow(graph.delivery)
        await self._operations.update_promiscuous(graph.source)
        self._operations.tell(graph.source)

    async def revoke(self, graph: GraphFlow) -> None:
        """Its right has ended: its nodes are gone, and its reader keeps what it has."""
        graph.state = GraphState.REVOKED
        graph.source.graphs.pop(graph.id, None)
        if graph.delivery is not None and graph.delivery.state is not FlowState.REVOKED:
            await self._operations.revoke(graph.delivery)
        else:
            self._operations.tell(graph.source)  # before anything ends: it must not come back with the next ffpfd
        await self._drop_nodes(graph)
        group = graph.source.groups.get(graph.right.key)
        if graph.relayed and group is not None:  # it reads the group's buffers, without a flow there
            await self._operations.move_group(graph.source, group, [])
        await self._operations.update_promiscuous(graph.source)
        self._operations.tell(graph.source)

    async def _drop(self, graph: GraphFlow) -> None:
        await self._drop_nodes(graph)
        delivery, graph.delivery = graph.delivery, None
        if delivery is not None:
            await self._operations.close_flow(delivery)

    async def _drop_nodes(self, graph: GraphFlow) -> None:
        instance, graph.instance = graph.instance, None
        graph.memory = 0
        if instance is None:
            return
        stage = graph.source.open.stage
        assert stage is not None
        graph.source.node_columns += await engine_call(stage.remove, graph.id)
        self._give_columns(graph.source)

    def _give_columns(self, source: Source) -> None:
        """A slot of which both columns are free goes back."""
        free = set(source.node_columns)
        for column in sorted(free):
            if column % 2 == 0 and column + 1 in free:
                source.node_columns.remove(column)
                source.node_columns.remove(column + 1)
                source.slots.give(column // 2)
