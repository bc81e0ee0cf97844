# SPDX-License-Identifier: BSD-3-Clause
"""The flows that a process has in ffpfd, with the methods of pyffpf.graph.Graph.

What ffpfd's kernel runs passes packets whether this process does anything or not. What it leaves to this process is a
graph of the core, whose devices are what ffpfd delivers: packets pass it while it is run, or a flow is read.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpl.graph.node import Node
from pyffpf.errors import BadGraph
from pyffpf.graph import Deadline, Graph, GraphInstance, Ran
from pyffpf.graph_nodes import leading_to
from pyffpf.remote_flow import RemoteFlow

if TYPE_CHECKING:
    from pyffpf.compose import Part
    from pyffpf.custom import CustomFilter

LOOK_S = 0.1  # between two looks at what ffpfd has to say


class RemoteGraph(Graph):
    """Graph(engine="shared"). group: the flow group, of which the user must be a member, None for its own; program:
    what ffpfd is told, for people; socket: where ffpfd listens, None for FFPF_SOCKET or the usual place. snaplen and
    promisc as in Graph; all else is ffpfd's."""

    def __init__(
        self,
        *,
        snaplen: int = 0,
        promisc: bool = True,
        group: str | None = None,
        program: str = "pyffpf",
        socket: Path | None = None,
        engine: str = "shared",
    ) -> None:
        super().__init__(immediate=True)
        self.snaplen = snaplen
        self.promisc = promisc
        self.group = group
        self.program = program
        self.socket = socket
        self._ids: dict[Hashable, int] = {}  # of instances, by what they are
        self._numbers = 0
        self._hidden_classes: set[str] = set()
        self._told: int | None = None  # packets of all sources, as run has said

    def flow(
        self,
        text: str | Part | None = None,
        *,
        name: str | None = None,
        share: bool = True,
        deliver: Iterable[str | int] = (),
    ) -> RemoteFlow:
        """A new flow of this graph; see RemoteFlow."""
        return RemoteFlow(text, name=name, graph=self, share=share, deliver=deliver)

    @property
    def flows(self) -> list[Any]:
        """The flows in ffpfd that are not closed, oldest first."""
        return [flow for flow in super().flows if isinstance(flow, RemoteFlow)]

    def leading_to(self, owner: str, name: str) -> list[Node]:
        """The node of that name of a flow ("": of any), last, behind what leads to it. BadGraph: there is none, or
        several flows have different ones."""
        found = [
            leading_to(flow.graph_nodes, position)
            for flow in self.flows
            for position, node in enumerate(flow.graph_nodes)
            if node.name == name and (not owner or flow.name == owner) and flow.shares
        ]
        if not found or any(one != found[0] for one in found):
            words = "several flows have such a node" if found else "no flow of this graph has such a node to share"
            raise BadGraph(f"{owner}{'.' if owner else ''}{name}: {words}", None, None, None)
        return found[0]

    def next_number(self) -> int:
        """For names: never the same."""
        self._numbers += 1
        return self._numbers

    def instance_id(self, key: Hashable) -> int:
        """The id of what runs, from 1."""
        return self._ids.setdefault(key, len(self._ids) + 1)

    def add_hidden(self, kind: type[CustomFilter]) -> None:
        """A class that flows of this graph need here, once."""
        if kind.name not in self._hidden_classes:
            self._hidden_classes.add(kind.name)
            self.add_class(kind)

    def mbuf_bytes_here(self, instance: int) -> int:
        """Of an instance of this process's part."""
        return next(one.mbuf_bytes for one in super().instances() if one.id == instance)

    def instances(self) -> list[GraphInstance]:
        """What runs, in ffpfd and here, inputs before what they feed. `flows` counts those of this graph."""
        found: dict[int, GraphInstance] = {}
        for flow in self.flows:
            for one in flow.instances() if flow.state in ("instantiated", "active", "paused") else ():
                before = found.get(one.id)
                if before:
                    one = replace(one, flows=before.flows + one.flows, active=before.active + one.active)
                found[one.id] = one
        return [found[number] for number in sorted(found)]

    def run(self, packets: int = 0, seconds: float | None = None) -> Ran:
        """Lets packets pass that ffpfd delivers, for so long (None: for ever); sleeps where it delivers none. packets:
        ends when ffpfd's sources have had so many, since this was first asked for, or since the last call that asked;
        Ran.packets is that number, or a few more, and 0 when it was not asked for. Raises Denied, DeviceGone or
        NoServer when ffpfd has ended a flow."""
        deadline = Deadline(seconds)
        if packets and self._told is None:
            self._told = self._seen()
        delivers = any(flow.delivers for flow in self.flows)
        while True:
            for flow in self.flows:
                flow.check()
            seen = self._seen() - (self._told or 0) if packets else 0
            if deadline.over() or (packets and seen >= packets):
                self._told = (self._told or 0) + seen if packets else self._told
                return Ran(seen, False)
            left = deadline.milliseconds() / 1000
            wait = LOOK_S if left < 0 else min(LOOK_S, left)
            if not delivers:
                time.sleep(wait)
            elif super().run(0, wait).ended:
                return Ran(seen, True)

    def _seen(self) -> int:
        """Packets that the hooks of all sources were given."""
        found: dict[str, int] = {}
        for flow in self.flows:
            found |= flow.packets_seen()
        return sum(found.values())
