# SPDX-License-Identifier: BSD-3-Clause
"""The classes that run in the kernel: one row each. A class is one file, class_NAME.py, that says

NAME        as in text
STATEFUL    whether what it does with a packet depends on packets before
instance()  Node -> Lowered; GraphError for an argument that is none, NotInKernelError for one that only userspace runs
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fpl.classify import Filter
from fpl.graph.code import Code
from fpl.graph.node import Node
from fpl.percpu import Merge


class NotInKernelError(Exception):
    """The node is right, and the kernel cannot run it: why."""


@dataclass(frozen=True)
class Lowered:
    """One node, ready to be written into a program. canonical: its argument, the same for all that do the same. emit:
    writes what it does with a packet; an i1, whether the packet passes. filter: of a node that is one, for classify:
    what its Classifier.set() takes, made for a link (FFPF_NODE_*) with the library; where it is `alone`, too, and
    classify does not take it, it runs as other nodes do. fetch: octets of a packet that it looks at then. stateless:
    what its class does may depend on packets before, and this node does not. links: FFPF_NODE_* of node_layout.h that
    it takes; None: all. alone: a user's own program, which the verifier is asked of before it comes to others."""

    canonical: str
    emit: Callable[[Code], str]
    mbuf_bytes: int = 0
    mbuf_begin: bytes = b""  # what the MBuf begins with, before the first packet
    table_bytes: int = 0  # of memory of its own, behind the pages of its MBuf; see table_at
    headers: bool = False  # it asks for the headers and the flow of a packet
    own_result: bool = False  # it leaves a classification result in %work
    filter: Callable[[int, bytes], bytes | Filter] | None = None
    why_no_filter: str = ""  # of an `alone` one
    stateless: bool = False
    fetch: int = 0
    links: frozenset[int] | None = None
    alone: bool = False
    merges: tuple[Merge, ...] = ()  # each lane has an MBuf of its own, of which a reader sees this; (): all share one

    def map_bytes(self, at: int) -> int:
        """Of MBuf and table, when the MBuf begins there; of one lane's, where each has its own."""
        end = at + self.mbuf_bytes
        if self.merges:
            return -(-end // LANE_BYTES) * LANE_BYTES
        return table_at(end) + self.table_bytes if self.table_bytes else end


@dataclass(frozen=True)
class KernelClass:
    name: str
    stateful: bool
    instance: Callable[[Node], Lowered]
    linkless: str = ""  # why it takes only Lowered.links
    may_filter: bool = False  # nodes may have a Lowered.filter
    heavy: bool = False  # an instance takes long to make and to compile, and both are remembered (ahead.py)

    def is_stateful(self, lowered: Lowered) -> bool:
        return self.stateful and not lowered.stateless


PAGE_BYTES = 4096
LANE_BYTES = 128  # memories of two lanes share none of these: a processor fetches two cache lines at once
MAP_BYTES_MAX = 8 << 20  # of a node in the kernel: MBuf and table


def table_at(mbuf_end: int) -> int:
    """Where a table of the node's own stands in the map of its MBuf: behind what applications map."""
    return -(-mbuf_end // PAGE_BYTES) * PAGE_BYTES


def mbuf_of(node: Node, least: int) -> int:
    """Octets of MBuf: what the class needs, or more if the node asks for more."""
    return max(least, node.mbuf or 0)
