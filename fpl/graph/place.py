# SPDX-License-Identifier: BSD-3-Clause
"""Where each node of a graph runs, and why not lower.

The lowest level that can: the kernel, when there is a row for its class and the row takes its argument, all its inputs
are there, and there is room. An administrator's pin holds for a class: `userspace` keeps it out of the kernel;
`kernel` refuses a graph whose node cannot run there.
"""

from __future__ import annotations

from collections.abc import Sequence

from fpl.graph.classes import MAP_BYTES_MAX, NotInKernelError
from fpl.graph.node import DEVICE, Level, Node, Pins, Placed
from fpl.graph.table import CLASSES


def why_not(position: int, nodes: Sequence[Node], placed: Sequence[Placed], pins: Pins) -> str:
    """Why a node cannot run in the kernel, as far as graph and pins say; "" if it may. GraphError for an argument
    that is none."""
    node = nodes[position]
    if node.kind == DEVICE:
        return ""
    outside = next((number for number in node.inputs if placed[number].level is Level.USERSPACE), None)
    if pins.get(node.kind) is Level.USERSPACE:
        return f"the administrator keeps {node.kind} in userspace"
    if node.reads:
        return f"it reads the MBuf of {nodes[node.reads[0].node]}, which userspace alone does"
    reader = next((other for other in nodes if any(read.node == position for read in other.reads)), None)
    if reader is not None:
        return f"{reader}, which runs in userspace, reads its MBuf"
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


def filters_among(nodes: Sequence[Node]) -> int:
    """How many of them may be columns of classify."""
    return sum(node.kind in CLASSES and CLASSES[node.kind].may_filter for node in nodes)
