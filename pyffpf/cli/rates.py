# SPDX-License-Identifier: BSD-3-Clause
"""Rates per second from two status documents. What is new in the later one, or has begun to count anew, has none."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyffpf.daemon.status import FlowStatus, GraphStatus, GroupStatus, SourceStatus, Status


@dataclass(frozen=True)
class Rate:
    """Of a source, seen is what its hook was given; of a group, what was stored for it; of a node, what came, and
    delivered is what it let out."""

    seen: float
    delivered: float = 0.0
    dropped: float = 0.0


@dataclass(frozen=True)
class Rates:
    """By the keys that the functions below make."""

    seconds: float
    sources: dict[str, Rate] = field(default_factory=dict)
    groups: dict[str, Rate] = field(default_factory=dict)
    flows: dict[str, Rate] = field(default_factory=dict)
    nodes: dict[str, Rate] = field(default_factory=dict)


def source_key(source: SourceStatus) -> str:
    return source.name


def group_key(group: GroupStatus) -> str:
    return f"{group.source} {group.gid}"


def flow_key(flow: FlowStatus) -> str:
    return str(flow.id)


def node_key(graph: GraphStatus, position: int) -> str:
    return f"{graph.id} {position}"


def between(earlier: Status, later: Status) -> Rates | None:
    """None when the two are not apart in time."""
    seconds = (later.monotonic_ns - earlier.monotonic_ns) / 1e9
    if seconds <= 0:
        return None
    return Rates(
        seconds,
        _rates(_source_counts(earlier), _source_counts(later), seconds),
        _rates(_group_counts(earlier), _group_counts(later), seconds),
        _rates(_flow_counts(earlier), _flow_counts(later), seconds),
        _rates(_node_counts(earlier), _node_counts(later), seconds),
    )


Counts = dict[str, tuple[int, int, int]]  # seen, delivered, dropped


def _rates(earlier: Counts, later: Counts, seconds: float) -> dict[str, Rate]:
    found = {}
    for key, now in later.items():
        differences = [after - before for before, after in zip(earlier.get(key, ()), now, strict=False)]
        if differences and min(differences) >= 0:
            found[key] = Rate(*(difference / seconds for difference in differences))
    return found


def _source_counts(status: Status) -> Counts:
    return {source_key(source): (source.packets, 0, sum(source.dropped.values())) for source in status.sources}


def _group_counts(status: Status) -> Counts:
    return {group_key(group): (group.records, 0, 0) for group in status.groups}


def _flow_counts(status: Status) -> Counts:
    return {flow_key(flow): (flow.seen, flow.delivered, sum(flow.dropped.values())) for flow in status.flows}


def _node_counts(status: Status) -> Counts:
    return {
        node_key(graph, position): (node.came, node.out, 0)
        for graph in status.graphs
        for position, node in enumerate(graph.nodes)
        if node.came is not None and node.out is not None
    }
