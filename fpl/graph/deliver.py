# SPDX-License-Identifier: BSD-3-Clause
"""Who runs what only userspace can run, and whose packets come to the flow's own process, by which way.

    kernel -> IBuf of the flow -> its process            no node of those that it reads is the worker's
    kernel -> IBuf of the worker -> worker -> IBufs of the flow, second hand -> its process            one of them is

One way for all that it reads: a packet that comes out of several nodes comes once. Light, as node.py.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace

from fpl.graph.node import COUNTING, Level, Node, Placed, last

WorkerRule = Callable[[Node], str]  # why a group's worker does not run a node of its class; "": it does


def delivers(nodes: Sequence[Node], position: int) -> bool:
    """Whether packets that come out of the node are for the application: as it asks; else what comes to an end, unless
    that counts."""
    node = nodes[position]
    if node.deliver is not None:
        return node.deliver
    return position in last(nodes) and node.kind not in COUNTING


def to_worker(nodes: Sequence[Node], placed: Sequence[Placed], why_not_class: WorkerRule) -> list[Placed]:
    """The same, with what the group's worker is to run of what runs in userspace: all but what is the application's
    own, and what stands behind that. why_not_class: "" for a class that a worker runs."""
    outside: dict[int, str] = {}
    before = -1
    while before != len(outside):  # what reads a node, and what is read, are in one process
        before = len(outside)
        for position, where in enumerate(placed):
            if where.level is Level.USERSPACE and (why := _why_not_worker(position, nodes, outside, why_not_class)):
                outside.setdefault(position, why)
    return [
        replace(where, by_worker=position not in outside, here=outside.get(position, ""))
        if where.level is Level.USERSPACE
        else where
        for position, where in enumerate(placed)
    ]


def _why_not_worker(position: int, nodes: Sequence[Node], outside: Container[int], why_not_class: WorkerRule) -> str:
    """A packet does not leave the application again."""
    node = nodes[position]
    if node.private:
        return "its flow shares nothing"
    for at, other in enumerate(nodes):
        if at in outside and any(read.node == at for read in node.reads):
            return f"{other}, whose MBuf it reads, runs in the application"
        if at in outside and any(read.node == position for read in other.reads):
            return f"{other}, which reads its MBuf, runs in the application"
    before = next((nodes[at] for at in node.inputs if at in outside), None)
    return f"its input {before} runs in the application" if before is not None else why_not_class(node)


def _read(nodes: Sequence[Node], placed: Sequence[Placed]) -> list[int]:
    """Positions of nodes that run elsewhere, and whose packets come to the application: those that it reads, and those
    that lead to nodes which it runs."""
    here = [where.level is Level.USERSPACE and not where.by_worker for where in placed]
    leading = {at for position, node in enumerate(nodes) if here[position] for at in node.inputs}
    return [
        position
        for position in range(len(placed))
        if not here[position] and (delivers(nodes, position) or position in leading)
    ]


def relayed(nodes: Sequence[Node], placed: Sequence[Placed]) -> list[int]:
    """Positions of nodes whose packets the worker hands on; none: the kernel delivers, if anybody does."""
    found = _read(nodes, placed)
    return found if any(placed[position].by_worker for position in found) else []


def delivered(nodes: Sequence[Node], placed: Sequence[Placed]) -> list[int]:
    """Positions of nodes in the kernel whose packets go to the flow's IBuf."""
    return [] if relayed(nodes, placed) else _read(nodes, placed)
