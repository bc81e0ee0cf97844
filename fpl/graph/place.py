# SPDX-License-Identifier: BSD-3-Clause
"""Where each node of a graph runs, and why not lower.

The lowest level that can: the kernel, when there is a row for its class and the row takes its argument, all its inputs
are there, and there is room. An administrator's pin holds for a class: `userspace` keeps it out of the kernel;
`kernel` refuses a graph whose node cannot run there.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace

from fpl.graph.classes import MAP_BYTES_MAX, NotInKernelError
from fpl.graph.node import COUNTING, DEVICE, Level, Node, Pins, Placed, last
from fpl.graph.table import CLASSES

WorkerRule = Callable[[Node], str]  # why a group's worker does not run a node of its class; "": it does


def why_not(position: int, nodes: Sequence[Node], placed: Sequence[Placed], pins: Pins) -> str:
    """Why a node cannot run in the kernel, as far as graph and pins say; "" if it may. GraphError for an argument
    that is none."""
    node = nodes[position]
    if node.kind == DEVICE:
        return ""
    outside = next((number for number in node.inputs if placed[number].level is Level.USERSPACE), None)
    if pins.get(node.kind) is Level.USERSPACE:
        return f"the administrator keeps {node.kind} in userspace"
    what = CLASSES.get(node.kind)
    if what is None:
        return f"the kernel has no {node.kind}"
    try:
        octets = what.instance(node).map_bytes(0)
    except NotInKernelError as error:
        return str(error)
    if octets > MAP_BYTES_MAX:
        return f"it takes {octets} octets: the kernel has {MAP_BYTES_MAX} for a node at most"
    if outside is not None:
        return f"its input {nodes[outside]} runs in userspace"
    return ""


def delivers(nodes: Sequence[Node], position: int) -> bool:
    """Whether packets that come out of the node are for the application: as it asks; else what comes to an end, unless
    that counts."""
    node = nodes[position]
    if node.deliver is not None:
        return node.deliver
    return position in last(nodes) and node.kind not in COUNTING


def to_worker(nodes: Sequence[Node], placed: Sequence[Placed], why_not_class: WorkerRule) -> list[Placed]:
    """The same, with what the group's worker is to run of what runs in userspace: nodes whose results are counters and
    MBufs. Where packets of a node, or behind it, are read by the application, it runs in the application.
    why_not_class: "" for a class that a worker runs."""
    found = list(placed)
    outside = {
        position: why
        for position, node in enumerate(nodes)
        if placed[position].level is Level.USERSPACE and (why := _why_not_worker(position, nodes, why_not_class))
    }
    while True:
        more = {
            position: why
            for position in range(len(nodes))
            if placed[position].level is Level.USERSPACE and position not in outside
            and (why := _drawn_along(position, nodes, outside))
        }  # fmt: skip
        if not more:
            break
        outside |= more
    for position, where in enumerate(placed):
        if where.level is Level.USERSPACE:
            found[position] = replace(where, by_worker=position not in outside, here=outside.get(position, ""))
    return found


def _why_not_worker(position: int, nodes: Sequence[Node], why_not_class: WorkerRule) -> str:
    if nodes[position].private:
        return "its flow shares nothing"
    if delivers(nodes, position):
        return "its packets are read by the application"
    return why_not_class(nodes[position])


def _drawn_along(position: int, nodes: Sequence[Node], outside: Container[int]) -> str:
    """A packet does not leave the application again, nor come from the worker to it."""
    for at, node in enumerate(nodes):
        if at in outside and position in node.inputs:
            return f"it leads to {node}, which runs in the application"
        if at in outside and at in nodes[position].inputs:
            return f"its input {node} runs in the application"
    return ""


def delivered(nodes: Sequence[Node], placed: Sequence[Placed]) -> list[int]:
    """Positions of nodes in the kernel whose packets go to the flow's IBuf: those that are to be delivered, and those
    that lead to nodes that the application runs."""
    leading = {
        number
        for position, node in enumerate(nodes)
        if placed[position].level is Level.USERSPACE and not placed[position].by_worker
        for number in node.inputs
    }
    return [
        position
        for position, where in enumerate(placed)
        if where.level is Level.KERNEL and (delivers(nodes, position) or position in leading)
    ]
