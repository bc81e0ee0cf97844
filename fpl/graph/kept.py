# SPDX-License-Identifier: BSD-3-Clause
"""What a stage leaves for the stage of a later process, of the same or another version.

    Stage.kept() -> KeptStage -> JSON, made by whoever keeps it -> restored() -> Merged, instances, deliveries

What nodes counted, and their memories, are maps, which outlive a process whose descriptors somebody holds. Here is what
the maps do not say: which nodes there are, whose they are, and which map is whose. Lists, numbers and text only.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fpl.classify import Filter
from fpl.graph.classes import NotInKernelError
from fpl.graph.merge import DEVICE_NUMBER, Merged, Running, key_of
from fpl.graph.node import DEVICE, NODES_MAX, Callee, GraphError, Instance, Level, Node, Placed, Read, check
from fpl.graph.table import CLASSES

# Of these documents, and of the maps that they speak of: `work` (emit.py), the states, what a class has in its MBuf and
# table. Another number is not understood: who changes any of these raises it.
FORMAT = 2


class KeptError(Exception):
    """What was left cannot be gone on with: why."""


@dataclass(frozen=True)
class KeptCallee:
    """As Callee."""

    name: str
    kind: str
    argument: str = ""
    mbuf: int | None = None


@dataclass(frozen=True)
class KeptRead:
    """As Read."""

    name: str
    node: int


@dataclass(frozen=True)
class KeptNode:
    """As Node. insns: base64."""

    kind: str
    argument: str = ""
    inputs: list[int] = field(default_factory=list)
    mbuf: int | None = None
    name: str = ""
    insns: str | None = None
    private: bool = False
    deliver: bool | None = None
    calls: list[KeptCallee] = field(default_factory=list)
    reads: list[KeptRead] = field(default_factory=list)


@dataclass(frozen=True)
class KeptPlaced:
    """As Placed."""

    level: str
    reason: str = ""
    number: int = 0
    shared: bool = False
    here: str = ""
    by_worker: bool = False
    how: str = ""


@dataclass(frozen=True)
class KeptDelivery:
    """Its switch, and the flow's column."""

    number: int
    column: int


@dataclass(frozen=True)
class KeptInstance:
    flow: int
    nodes: list[KeptNode]
    placed: list[KeptPlaced]
    delivered: list[int] = field(default_factory=list)
    delivery: KeptDelivery | None = None


@dataclass(frozen=True)
class KeptRunning:
    """A node that runs. mbuf: serial number of its map, 0: none."""

    number: int
    scope: str = ""
    column: int | None = None
    mbuf: int = 0


@dataclass(frozen=True)
class KeptStage:
    """maps: serial number of those that all nodes share."""

    format: int
    maps: int
    running: list[KeptRunning] = field(default_factory=list)  # inputs first
    instances: list[KeptInstance] = field(default_factory=list)
    past: dict[str, list[int]] = field(default_factory=dict)  # by class: what nodes that are gone had counted

    def columns(self, flows: Collection[int]) -> dict[int, Node]:
        """Of the filters among these flows' nodes: what a Classifier must hold. KeptError."""
        of_numbers = {number: node for number, (_, _, node) in _first_users(self._of(flows)).items()}
        return {known.column: of_numbers[known.number]
                for known in self.running if known.column is not None and known.number in of_numbers}  # fmt: skip

    def filters(self, flows: Collection[int], link: int, library: bytes) -> dict[int, bytes | Filter]:
        """Likewise, made for a link (FFPF_NODE_*) with bitcode of csrc/kernel/nodes.bpf.c. KeptError."""
        found = dict[int, bytes | Filter]()
        for column, node in self.columns(flows).items():
            try:
                lowered = CLASSES[node.kind].instance(node)
                if lowered.filter is None:
                    raise KeptError(f"{node} is no filter")
                found[column] = lowered.filter(link, library)
            except (KeyError, GraphError, NotInKernelError) as error:
                raise KeptError(f"{node}: {error}") from error
        return found

    def delivers_to(self, flow: int) -> int | None:
        """The flow's column; None: it has none, or is not known."""
        return next((kept.delivery.column for kept in self.instances if kept.flow == flow and kept.delivery), None)

    def check_format(self) -> None:
        if self.format != FORMAT:
            raise KeptError(f"the ffpfd before kept them in form {self.format}, and this one knows {FORMAT}")

    def _of(self, flows: Collection[int]) -> list[Instance]:
        return [_instance(kept) for kept in self.instances if kept.flow in flows]


def map_names(serial: int) -> tuple[str, str]:
    """Of the maps that all nodes share."""
    return f"nodes.{serial}.work", f"nodes.{serial}.states"


def mbuf_name(serial: int) -> str:
    return f"mbuf.{serial}"


def node_of(kept: KeptNode) -> Node:
    insns = None if kept.insns is None else base64.b64decode(kept.insns, validate=True)
    calls = tuple(Callee(one.name, one.kind, one.argument, one.mbuf) for one in kept.calls)
    return Node(
        kept.kind, kept.argument, tuple(kept.inputs), kept.mbuf, kept.name, insns, kept.private, kept.deliver, calls,
        tuple(Read(one.name, one.node) for one in kept.reads),
    )  # fmt: skip


def keep_node(node: Node) -> KeptNode:
    insns = None if node.insns is None else base64.b64encode(node.insns).decode()
    return KeptNode(
        node.kind,
        node.argument,
        list(node.inputs),
        node.mbuf,
        node.name,
        insns,
        node.private,
        node.deliver,
        [KeptCallee(one.name, one.kind, one.argument, one.mbuf) for one in node.calls],
        [KeptRead(one.name, one.node) for one in node.reads],
    )


def keep(
    maps: int,
    nodes: Iterable[Running],
    instances: Iterable[Instance],
    deliveries: Mapping[int, tuple[int, int]],
    past: Mapping[str, list[int]],
) -> KeptStage:
    """deliveries: by flow, number and column."""
    return KeptStage(
        FORMAT,
        maps,
        [KeptRunning(node.number, node.key.scope, node.column, node.mbuf_serial) for node in nodes],
        [
            KeptInstance(
                instance.flow,
                [keep_node(node) for node in instance.nodes],
                [
                    KeptPlaced(
                        where.level, where.reason, where.number, where.shared, where.here, where.by_worker, where.how
                    )
                    for where in instance.placed
                ],
                list(instance.delivered),
                KeptDelivery(*deliveries[instance.flow]) if instance.flow in deliveries else None,
            )
            for instance in instances
        ],
        {kind: list(counted) for kind, counted in past.items()},
    )


def restored(kept: KeptStage, flows: Collection[int]) -> tuple[Merged, list[Instance]]:
    """The nodes of these flows, and nobody else's, as they ran, without descriptors. KeptError when they are no
    whole."""
    kept.check_format()
    instances = kept._of(flows)
    missing = set(flows) - {instance.flow for instance in instances}
    if missing:
        raise KeptError(f"the nodes of flow {min(missing)} were not kept")
    users, merged, seen = _first_users(instances), Merged(), {DEVICE_NUMBER}
    for known in kept.running:
        if known.number not in users:
            continue
        instance, position, node = users[known.number]
        merged.add(_running(known, instance, position, node, seen))
        seen.add(known.number)
    for instance in instances:
        for where in instance.placed:
            if where.level is Level.KERNEL and where.number != DEVICE_NUMBER:
                if where.number not in seen:
                    raise KeptError(f"node {where.number} of flow {instance.flow} was not kept")
                merged[where.number].users.add(instance.flow)
    return merged, instances


def _running(known: KeptRunning, instance: Instance, position: int, node: Node, seen: set[int]) -> Running:
    inputs = [instance.placed[at].number for at in node.inputs]
    what = CLASSES.get(node.kind)
    try:
        lowered = what.instance(node) if what is not None else None
    except (GraphError, NotInKernelError) as error:
        raise KeptError(f"{node}: {error}") from error
    in_place = 0 < known.number <= NODES_MAX and known.number not in seen and seen.issuperset(inputs)
    if what is None or lowered is None or not in_place:
        raise KeptError(f"{node} of flow {instance.flow} is no node that this ffpfd can run")
    may_have, must_have = lowered.filter is not None, lowered.filter is not None and not lowered.alone
    has_column = may_have if known.column is not None else not must_have
    whole = has_column and bool(known.mbuf) == bool(lowered.mbuf_bytes)
    if not whole:
        raise KeptError(f"{node} of flow {instance.flow} lacks its column or its MBuf")
    key = key_of(instance.flow, position, node, what, lowered, inputs, "")
    key = type(key)(key.kind, key.canonical, key.inputs, key.mbuf_bytes, known.scope)
    how = instance.placed[position].how
    return Running(known.number, key, lowered, node.private, known.column, mbuf_serial=known.mbuf, how=how)


def _instance(kept: KeptInstance) -> Instance:
    """KeptError unless it is a graph, each node of which has a place."""
    try:
        nodes = [node_of(node) for node in kept.nodes]
        check(nodes)
        placed = [
            Placed(Level(where.level), where.reason, where.number, where.shared, where.by_worker, where.here, where.how)
            for where in kept.placed
        ]
    except (GraphError, ValueError) as error:
        raise KeptError(f"flow {kept.flow}: {error}") from error
    if len(placed) != len(nodes) or not all(0 <= at < len(nodes) for at in kept.delivered):
        raise KeptError(f"flow {kept.flow}: its nodes and their places do not match")
    return Instance(kept.flow, nodes, placed, list(kept.delivered))


def _first_users(instances: Sequence[Instance]) -> dict[int, tuple[Instance, int, Node]]:
    """By number of a node that runs: some flow that has it, and where. All that have it ask for the same."""
    found: dict[int, tuple[Instance, int, Node]] = {}
    for instance in instances:
        for position, (node, where) in enumerate(zip(instance.nodes, instance.placed, strict=True)):
            if where.level is Level.KERNEL and node.kind != DEVICE:
                found.setdefault(where.number, (instance, position, node))
    return found
