# SPDX-License-Identifier: BSD-3-Clause
"""(packetcount): how many packets came. MBuf: u64. All CPUs add to it atomically."""

from __future__ import annotations

from fpl.graph.classes import KernelClass, Lowered, mbuf_of
from fpl.graph.code import ALWAYS, Code
from fpl.graph.node import GraphError, Node

OCTETS = 8


def _emit(code: Code) -> str:
    code.say("%{n}.was = atomicrmw add ptr %{n}.mbuf, i64 1 monotonic, align 8")
    return ALWAYS


def instance(node: Node) -> Lowered:
    if node.argument:
        raise GraphError("packetcount has no argument")
    return Lowered("", _emit, mbuf_of(node, OCTETS))


CLASS = KernelClass("packetcount", stateful=True, instance=instance)
