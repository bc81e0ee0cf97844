# SPDX-License-Identifier: BSD-3-Clause
"""What a graph means, in Python, one flow alone: the oracle of the tests. Filters are pairs of offset and octet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fpl.graph.node import DEVICE, Node, last


@dataclass
class ModelNode:
    node: Node
    came: int = 0
    out: int = 0
    value: int = 0  # what its MBuf counts

    def passes(self, octets: bytes) -> bool:
        """A packet came."""
        self.came += 1
        self.value += len(octets) if self.node.kind == "bytecount" else 1
        decided = self._decide(octets)
        self.out += decided
        return decided

    def _decide(self, octets: bytes) -> bool:
        if self.node.kind == "BPF":
            at, value = (int(word) for word in self.node.argument.split())
            return octets[at] == value
        if self.node.kind == "sampler":
            return self.came % int(self.node.argument) == 0
        return True


@dataclass
class Model:
    nodes: Sequence[Node]
    running: list[ModelNode] = field(init=False)

    def __post_init__(self) -> None:
        self.running = [ModelNode(node) for node in self.nodes]

    def handle(self, octets: bytes) -> list[bool]:
        """Which nodes let the packet out."""
        out: list[bool] = []
        for known in self.running:
            comes = known.node.kind == DEVICE or any(out[number] for number in known.node.inputs)
            out.append(comes and (known.node.kind == DEVICE or known.passes(octets)))
        return out

    @property
    def ends(self) -> list[int]:
        """Positions whose packets the flow gets."""
        return [n for n in last(self.nodes) if self.nodes[n].kind not in ("packetcount", "bytecount")]
