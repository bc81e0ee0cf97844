# SPDX-License-Identifier: BSD-3-Clause
"""Graphs of ffpfd as lines that are drawn as trees: sources, their groups, the flows of these, and the flows' nodes.

eth0                                       up            1,238,567
  group dialout
    flow 3 ann ffpf-flow (4711)            active
      (device,eth0)                        kernel
      └─ (BPF,tcp)                         kernel        81         40
         ├─ n=(packetcount)              kernel        40         40    128 B
         └─ (rate,1s)                     userspace                          the kernel has no rate
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyffpf.cli.rates import Rate, Rates, node_key, source_key
from pyffpf.daemon.status import GraphStatus, NodeStatus, Status

WORDS_MAX = 48  # characters of a node's name


@dataclass(frozen=True)
class Line:
    """words: with what shows its place in the tree. came, out: packets, None where nobody counts them here."""

    words: str
    where: str = ""  # a level, or a state
    came: int | None = None
    out: int | None = None
    rate: Rate | None = None
    mbuf_bytes: int = 0
    note: str = ""


def lines(status: Status, rates: Rates | None) -> list[Line]:
    """None where no flow is a graph."""
    found: list[Line] = []
    for source in status.sources:
        of_source = [graph for graph in status.graphs if graph.source == source.name]
        if not of_source:
            continue
        rate = rates.sources.get(source_key(source)) if rates else None
        found.append(Line(source.name, source.state, source.packets, None, rate))
        for name in sorted({_group(graph) for graph in of_source}):
            found.append(Line(f"  group {name}"))
            for graph in of_source:
                if _group(graph) == name:
                    found += _flow(graph, rates)
    return found


def _group(graph: GraphStatus) -> str:
    return graph.group or str(graph.gid)


def _flow(graph: GraphStatus, rates: Rates | None) -> Iterator[Line]:
    yield Line(f"    flow {graph.id} {graph.user or graph.uid} {graph.program} ({graph.pid})", graph.state)
    for position, before in _walk(graph):
        node = graph.nodes[position]
        rate = rates.nodes.get(node_key(graph, position)) if rates else None
        where = "worker" if node.worker else node.level
        yield Line(f"      {before}{label(node)}", where, node.came, node.out, rate, node.mbuf_bytes,
                   "; ".join(_notes(graph, node, position)))  # fmt: skip


def _notes(graph: GraphStatus, node: NodeStatus, position: int) -> Iterator[str]:
    if len(node.inputs) > 1:
        yield "also from " + ", ".join(label(graph.nodes[at]) for at in node.inputs[1:] if at < len(graph.nodes))
    if node.shared and node.inputs:
        yield "shared"
    if position in graph.delivered:
        yield "delivers"
    if node.reason:
        yield node.reason


def label(node: NodeStatus) -> str:
    """As in a graph's text, shortened."""
    words = f"({node.kind},{node.argument})" if node.argument else f"({node.kind})"
    words = f"{node.name}={words}" if node.name else words
    return words if len(words) <= WORDS_MAX else words[: WORDS_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _walk(graph: GraphStatus) -> Iterator[tuple[int, str]]:
    """Positions, each below its first input, with what is drawn before it. Iterative: a graph may be deep."""
    children: dict[int | None, list[int]] = {}
    for position, node in enumerate(graph.nodes):
        parent = node.inputs[0] if node.inputs and 0 <= node.inputs[0] < position else None
        children.setdefault(parent, []).append(position)
    left = [(position, "", "") for position in reversed(children.get(None, []))]
    while left:
        position, indent, branch = left.pop()
        yield position, indent + branch
        below = indent + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        mine = children.get(position, [])
        for number, child in reversed(list(enumerate(mine))):
            left.append((child, below, "└─ " if number == len(mine) - 1 else "├─ "))
