# SPDX-License-Identifier: BSD-3-Clause
"""Which engine a flow is of. For "auto", ffpfd is asked for every source of the text: what it grants is kept for the
flow, which instantiates it; what it refuses is kept too, for whoever cannot capture in this process either."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyffpf.engine_choice import engine_named, is_file
from pyffpf.errors import FfpfError, raised_by_ffpfd

if TYPE_CHECKING:
    from pyffpf.compose import Part
    from pyffpf.graph import Graph
    from pyffpf.joined_graph import JoinedGraph
    from pyffpf.shared_flow import SharedFlow


@dataclass
class Choice:
    """shared: a flow of ffpfd. graph: whose it is then, None: as the flow says. opened: by source, what ffpfd has
    granted. refusal: why it is none of ffpfd's, where ffpfd was asked."""

    shared: bool = False
    graph: JoinedGraph | None = None
    opened: dict[str, SharedFlow] = field(default_factory=dict)
    refusal: FfpfError | None = None

    def end(self) -> None:
        """Closes what nobody took."""
        while self.opened:
            self.opened.popitem()[1].close()


def choose(text: str | Part | None, graph: Graph | None, engine: str) -> Choice:
    """engine and graph as for Flow. ValueError: there is no such engine."""
    from pyffpf.graph import default_graph
    from pyffpf.joined_graph import JoinedGraph

    named = engine_named(engine)
    if engine == "auto" and graph is not None and graph.engine != "auto":
        return Choice(graph.engine == "shared")
    if engine != "auto":
        return Choice(engine == "shared")
    within = graph if graph is not None else default_graph()
    if named == "embedded" or not isinstance(within, JoinedGraph) or within.closed:
        return Choice()
    if text is None:
        return Choice(named == "shared", within)
    sources = _sources(str(text), within)
    if not sources:
        return Choice()
    return Choice(True, within) if named == "shared" else _granted(within, sources)


def _sources(text: str, graph: JoinedGraph) -> list[str]:
    """What ffpfd has to be asked for. None: the text is wrong (its reader says where), continues from a flow of this
    process, or names what only the process can read."""
    from pyffpf.graph_nodes import nodes_of
    from pyffpf.remote_plan import sources_of

    try:
        sources = sources_of(nodes_of(text, graph.leading_to))
    except (FfpfError, ValueError):
        return []
    return [] if any(is_file(source) for source in sources) else sources


def _granted(graph: JoinedGraph, sources: list[str]) -> Choice:
    from pyffpf.cli.control import ControlError

    choice = Choice(True, graph)
    try:
        for source in sources:
            choice.opened[source] = graph.open(source)
    except ControlError as refused:
        choice.end()
        return Choice(refusal=raised_by_ffpfd(refused.code, str(refused)))
    except BaseException:
        choice.end()
        raise
    return choice
