# SPDX-License-Identifier: BSD-3-Clause
"""What graphs have whose flows are ffpfd's: how its sources are opened, numbers and names, and one run for all.

What ffpfd's kernel runs passes packets whether this process does anything or not. What it leaves to this process is a
graph of the core, whose devices are what ffpfd delivers: packets pass it while it is run, or a flow is read.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpl.graph.node import Node
from pyffpf.engine_choice import is_interface
from pyffpf.engine_core import Deadline
from pyffpf.errors import BadGraph
from pyffpf.graph import Graph, GraphInstance, Ran
from pyffpf.graph_nodes import leading_to
from pyffpf.shared_flow import SharedFlow

if TYPE_CHECKING:
    from pyffpf.flow import Flow
    from pyffpf.remote_flow import RemoteFlow

LOOK_S = 0.1  # between two looks at what ffpfd has to say


class JoinedGraph(Graph):
    """group: the flow group, of which the user must be a member, None for its own; program: what ffpfd is told, for
    people; socket: where ffpfd listens, None for FFPF_SOCKET or the usual place. here: what Graph takes."""

    def __init__(
        self, *, snaplen: int, promisc: bool, group: str | None, program: str, socket: Path | None, **here: Any
    ) -> None:
        Graph.__init__(self, snaplen=snaplen, promisc=promisc, **here)
        self.snaplen = snaplen
        self.promisc = promisc
        self.group = group
        self.program = program
        self.socket = socket
        self._ids: dict[Hashable, int] = {}  # of instances, by what they are
        self._numbers = 0
        self._hidden: weakref.WeakSet[Flow] = weakref.WeakSet()
        self._told: int | None = None  # packets of all sources, as run has said

    def open(self, source: str) -> SharedFlow:
        """A flow of one of ffpfd's sources, empty. ControlError."""
        return SharedFlow(
            source, program=self.program, group=self.group,
            promisc=self.promisc and source != "any" and is_interface(source), snap_len=self.snaplen,
            socket=self.socket,
        )  # fmt: skip

    @property
    def flows(self) -> list[Flow]:
        """The flows that are not closed, oldest first."""
        return [flow for flow in super().flows if flow not in self._hidden]

    @property
    def remote_flows(self) -> list[RemoteFlow]:
        """Those of ffpfd."""
        from pyffpf.remote_flow import RemoteFlow

        return [flow for flow in self.flows if isinstance(flow, RemoteFlow)]

    def hide(self, flow: Flow) -> None:
        """It is part of a flow in ffpfd."""
        self._hidden.add(flow)

    def leading_to(self, owner: str, name: str) -> list[Node]:
        """The node of that name of a flow ("": of any), last, behind what leads to it. BadGraph: there is none, or
        several flows have different ones."""
        found = [
            leading_to(flow.graph_nodes, position)
            for flow in self.remote_flows
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

    def mbuf_bytes_here(self, number: int) -> int:
        """Of an instance of this process's part, by the core's number."""
        return next(one.mbuf_bytes for one in self.instances_here() if one.id == number)

    def instances(self) -> list[GraphInstance]:
        """What runs for flows of ffpfd, there and here, inputs before what they feed. `flows` counts those of this
        graph."""
        found: dict[int, GraphInstance] = {}
        for flow in self.remote_flows:
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
        remote = self.remote_flows
        drives = len(remote) < len(self.flows) or any(flow.delivers for flow in remote)
        while True:
            for flow in remote:
                flow.check()
            seen = self._seen() - (self._told or 0) if packets else 0
            if deadline.over() or (packets and seen >= packets):
                self._told = (self._told or 0) + seen if packets else self._told
                return Ran(seen, False)
            left = deadline.milliseconds() / 1000
            wait = LOOK_S if left < 0 else min(LOOK_S, left)
            if drives and Graph.run(self, 0, wait).ended:
                if all(flow.delivers for flow in remote):
                    return Ran(seen, True)
                drives = False  # what only counts goes on
            elif not drives:
                time.sleep(wait)

    def _seen(self) -> int:
        """Packets that the hooks of all sources were given."""
        found: dict[str, int] = {}
        for flow in self.remote_flows:
            found |= flow.packets_seen()
        return sum(found.values())
