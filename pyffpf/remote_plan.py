# SPDX-License-Identifier: BSD-3-Clause
"""Which nodes of a flow are asked of ffpfd, and of which of its sources.

    (device,eth0) -> a -\
                         c -> d        eth0: device, a    eth1: device, b    here: c, d
    (device,eth1) -> b -/

A graph of ffpfd has one source. What packets of several come to runs here, over what is delivered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from fpl.graph.node import DEVICE, Node, last
from pyffpf.errors import NotSupported

FOREIGN = ("file:", "hook:", "given:")  # devices that only this process can open


@dataclass(frozen=True)
class SourcePlan:
    """A graph for ffpfd. positions: of its nodes in the flow."""

    source: str
    nodes: tuple[Node, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """of: by position in the flow, the number of the part that has it; missing: it runs here. ends: positions of what
    the last stage is."""

    parts: tuple[SourcePlan, ...]
    ends: tuple[int, ...]

    def part_of(self, position: int) -> int | None:
        """The part that has this node; None: it runs here."""
        found = [number for number, part in enumerate(self.parts) if position in part.positions]
        return found[0] if found else None


def source_of(device: Node) -> str:
    """The name by which ffpfd knows a device. NotSupported: it cannot be one of ffpfd's."""
    name = device.argument.removeprefix("live:")
    if name.startswith(FOREIGN) or "/" in name or name in ("", "-"):
        raise NotSupported(f"(device,{name}) is read by the process itself: ffpfd does not open it")
    return name


def sources_of(nodes: Sequence[Node]) -> list[str]:
    """Every source that a flow needs, once. NotSupported."""
    return list(dict.fromkeys(source_of(node) for node in nodes if node.kind == DEVICE))


def plan(nodes: Sequence[Node], deliver: Collection[int] = (), *, private: bool = False) -> Plan:
    """deliver: positions of nodes whose packets are wanted besides those of the last stage. private: nodes are not
    shared with other flows. NotSupported."""
    sources: list[set[str]] = []
    for node in nodes:
        sources.append({source_of(node)} if node.kind == DEVICE else set().union(*(sources[at] for at in node.inputs)))
        other = next((read.node for read in node.reads if sources[read.node] != sources[-1]), None)
        if other is not None:
            raise NotSupported(f"{node} reads the MBuf of {nodes[other]}, whose packets come from elsewhere")
    needed = set(deliver)
    for position, node in enumerate(nodes):
        if len(sources[position]) > 1:
            needed |= set(node.inputs)
    parts = []
    for source in sources_of(nodes):
        positions = [position for position, found in enumerate(sources) if found == {source}]
        parts.append(SourcePlan(source, tuple(_renumbered(nodes, positions, needed, private)), tuple(positions)))
    return Plan(tuple(parts), tuple(last(nodes)))


def _renumbered(nodes: Sequence[Node], positions: list[int], needed: set[int], private: bool) -> list[Node]:
    number = {position: at for at, position in enumerate(positions)}
    found = []
    for position in positions:
        node = nodes[position]
        inputs = tuple(number[at] for at in node.inputs)
        wanted = True if position in needed else node.deliver
        if node.kind == DEVICE:
            found.append(replace(node, argument=source_of(node), deliver=wanted))
        else:
            reads = tuple(replace(read, node=number[read.node]) for read in node.reads)
            found.append(replace(node, inputs=inputs, deliver=wanted, private=private, reads=reads))
    return found
