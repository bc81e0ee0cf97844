# SPDX-License-Identifier: BSD-3-Clause
"""A graph whose flows are ffpfd's where it serves them, and this process's where not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pyffpf.graph import JOIN, Graph, GraphInstance, Ran
from pyffpf.joined_graph import JoinedGraph


class AutoGraph(JoinedGraph):
    """Graph(), and the process's own graph. What Graph takes is for the flows of this process, snaplen and promisc for
    all; group, program, socket: see JoinedGraph. A flow says by `flow.engine` which it is."""

    engine = "auto"

    def __init__(
        self,
        *,
        batch: int = 0,
        queue_slots: int = 0,
        store_bytes: int = 0,
        snaplen: int = 0,
        delay: float = 0.0,
        buffer_size: int = 0,
        promisc: bool = True,
        immediate: bool = False,
        group: str | None = None,
        program: str = "pyffpf",
        socket: Path | None = None,
        engine: str = "auto",
    ) -> None:
        super().__init__(
            snaplen=snaplen, promisc=promisc, group=group, program=program, socket=socket, batch=batch,
            queue_slots=queue_slots, store_bytes=store_bytes, delay=delay, buffer_size=buffer_size,
            immediate=immediate,
        )  # fmt: skip

    def id_here(self, number: int) -> int:
        return self.instance_id(("", number)) if number else 0

    def instances(self) -> list[GraphInstance]:
        """What runs, in ffpfd and here, inputs before what they feed. `flows` counts those of this process."""
        found = super().instances()
        known = {one.id for one in found}
        used = {node.instance for flow in self.flows if flow.engine != "shared" for node in flow.nodes}
        for one in self.instances_here():
            inputs = tuple(self.id_here(number) for number in one.inputs)
            here = replace(one, id=self.id_here(one.id), inputs=inputs)
            if here.id not in known and (here.id in used or (one.class_name == JOIN and used.issuperset(inputs))):
                found.append(here)
        return found

    def run(self, packets: int = 0, seconds: float | None = None) -> Ran:
        """As Graph has it, while no flow is in ffpfd; else as JoinedGraph has it, and flows of this process run
        along."""
        return super().run(packets, seconds) if self.remote_flows else Graph.run(self, packets, seconds)
