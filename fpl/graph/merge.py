# SPDX-License-Identifier: BSD-3-Clause
"""What runs on a source: equal prefixes of all flows once.

Two nodes are one when they have the same class, the same canonical argument, the same inputs (which are nodes that
run), as large an MBuf, and the same scope:

    no state                 scope ""            whoever asks: its verdict tells nobody anything of anybody's packets
    state, or an MBuf        the flow's group    a group is one access right: what a node counted its members may read
    private                  the flow            its application may write the MBuf

A node that is there already has a past: who joins finds its counters and its MBuf as they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fpl.graph.classes import KernelClass, Lowered
from fpl.graph.node import NODES_MAX, Node

DEVICE_NUMBER = 0


@dataclass(frozen=True)
class Key:
    kind: str
    canonical: str
    inputs: frozenset[int]
    mbuf_bytes: int
    scope: str


@dataclass(eq=False)
class Running:
    """A node that runs. number: its bit; 0 is the device's. users: flows that have it; on: those of them that are
    active. private: its application may write its MBuf, unless each lane has one. column: of classify, of a filter.
    mbuf: descriptor, -1 where it has none; mbuf_serial: its name among those of the source, 0 where it has none."""

    number: int
    key: Key
    lowered: Lowered
    private: bool = False
    column: int | None = None
    mbuf: int = -1
    mbuf_serial: int = 0
    how: str = ""  # it runs in the kernel, where there are several ways
    users: set[int] = field(default_factory=set)
    on: set[int] = field(default_factory=set)

    @property
    def writable(self) -> bool:
        return self.private and not self.lowered.merges

    @property
    def mbuf_at(self) -> int:
        """Where in its map the MBuf begins. Maps begin with pages, and if all MBufs did, they would be in each other's
        place of the first cache: 16 counters cost 15 ns each, where 4 cost 2."""
        return 64 * self.number

    @property
    def mbuf_end(self) -> int:
        return self.mbuf_at + self.lowered.mbuf_bytes

    @property
    def map_bytes(self) -> int:
        return self.lowered.map_bytes(self.mbuf_at)


def key_of(flow: int, position: int, node: Node, what: KernelClass, lowered: Lowered, inputs: Iterable[int],
           group: str) -> Key:  # fmt: skip
    scope = ""
    if what.is_stateful(lowered) or lowered.mbuf_bytes:
        scope = f"flow {flow}, node {position}" if node.private else f"group {group}"
    return Key(node.kind, lowered.canonical, frozenset(inputs), lowered.mbuf_bytes, scope)


class Merged:
    """The nodes of a source, in an order in which inputs come first."""

    def __init__(self) -> None:
        self._nodes: dict[int, Running] = {}  # by number; insertion keeps the order: inputs were there before

    def __iter__(self) -> Iterator[Running]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, key: Key) -> Running | None:
        return next((node for node in self._nodes.values() if node.key == key), None)

    def free_number(self) -> int | None:
        return next((number for number in range(1, NODES_MAX + 1) if number not in self._nodes), None)

    def add(self, node: Running) -> None:
        self._nodes[node.number] = node

    def of(self, flow: int) -> list[Running]:
        return [node for node in self._nodes.values() if flow in node.users]

    def __getitem__(self, number: int) -> Running:
        return self._nodes[number]

    def release(self, flow: int) -> list[Running]:
        """The flow has none any more; those that nobody has are out."""
        for node in self._nodes.values():
            node.users.discard(flow)
            node.on.discard(flow)
        gone = [node for node in self._nodes.values() if not node.users]
        for node in gone:
            del self._nodes[node.number]
        return gone

    def on_bits(self) -> int:
        """Bit n: some active flow has node n. The device is always on."""
        return 1 << DEVICE_NUMBER | sum(1 << node.number for node in self._nodes.values() if node.on)
