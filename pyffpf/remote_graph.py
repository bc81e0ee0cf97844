# SPDX-License-Identifier: BSD-3-Clause
"""The flows that a process has in ffpfd, and nowhere else, with the methods of pyffpf.graph.Graph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pyffpf.graph import linger_of
from pyffpf.joined_graph import JoinedGraph
from pyffpf.remote_flow import RemoteFlow

if TYPE_CHECKING:
    from pyffpf.compose import Part


class RemoteGraph(JoinedGraph):
    """Graph(engine="shared"). group, program, socket: see JoinedGraph. snaplen, promisc, delay and immediate as in
    Graph; all else is ffpfd's."""

    engine = "shared"

    def __init__(
        self,
        *,
        snaplen: int = 0,
        delay: float = 0.0,
        promisc: bool = True,
        immediate: bool = False,
        group: str | None = None,
        program: str = "pyffpf",
        socket: Path | None = None,
        engine: str = "shared",
    ) -> None:
        super().__init__(  # ffpfd keeps no packet to itself: a source that is silent holds no other back for long
            snaplen=snaplen, promisc=promisc, group=group, program=program, socket=socket, immediate=True
        )  # fmt: skip
        self.linger = linger_of(delay, immediate)

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
