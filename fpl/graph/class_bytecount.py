# SPDX-License-Identifier: BSD-3-Clause
"""(bytecount,,8): how many octets came, on the wire, as packets' records say. MBuf: u64. All CPUs add atomically."""

from __future__ import annotations

from fpl.graph.classes import KernelClass, Lowered, mbuf_of
from fpl.graph.code import ALWAYS, Code
from fpl.graph.node import GraphError, Node

OCTETS = 8


def _emit(code: Code) -> str:
    code.call("len", "i32", "ffpf_node_wire_len", ("ptr", "%scratch"), ("i32", code.link))
    code.say("""
        %{n}.octets = zext i32 %{n}.len to i64
        %{n}.was = atomicrmw add ptr %{n}.mbuf, i64 %{n}.octets monotonic, align 8""")
    return ALWAYS


def instance(node: Node) -> Lowered:
    if node.argument:
        raise GraphError("bytecount has no argument")
    return Lowered("", _emit, mbuf_of(node, OCTETS))


CLASS = KernelClass("bytecount", stateful=True, instance=instance)
