# SPDX-License-Identifier: BSD-3-Clause
"""Flows: what an application asks of the filter graph, and how it reads it. Paper, sections 2.1 and 3.2.

    with Flow('(device,eth0) -> web=(BPF,"tcp port 80") -> count=(packetcount)') as flow:
        for packet in flow:                       # what the last stage lets through
            ...
        flow["web"].read_batch()                  # any node can be read
        flow["count"].mbuf["packets"]             # memory of filters, as numpy arrays, while they run

States, and what may be called in them (WrongState else):

    created -populate-> populated -instantiate-> instantiated -activate-> active -pause-> paused -activate-> active
    close from anywhere

Flow(text) is populated. `with` instantiates and activates what is not yet, and closes. instantiate opens devices and
makes filters: what can fail, fails there. MBufs can be filled before activate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, cast

from pyffpf._core import ffi, lib
from pyffpf.closing import Closing
from pyffpf.engine_choice import engine_named, explained
from pyffpf.engine_core import warn_unclosed
from pyffpf.errors import FfpfError, WrongState, check, exception_of, new_error
from pyffpf.flow_choice import Choice, choose
from pyffpf.flow_handle import FlowHandle
from pyffpf.flow_node import Node, Readable
from pyffpf.graph import Graph, default_graph
from pyffpf.graph_text import text_at, text_error
from pyffpf.node_pulled import NodePulled
from pyffpf.pulled import Pulled

if TYPE_CHECKING:
    from pyffpf.compose import Part
    from pyffpf.picture import Picture

ALLOWED = {  # by call: states in which it has a meaning; csrc/graph/flow.h has the table
    "populate": ("created", "populated"),
    "instantiate": ("populated",),
    "activate": ("instantiated", "paused"),
    "pause": ("active",),
    "read": ("instantiated", "active", "paused"),
}


class Flow(Readable, Closing):
    """A flow. text: graph text, or a composed graph (pyffpf.compose); None: to be populated later.

    name: by which later flows know it, "flowN" when not given. graph: whose it is, None for the process's own. share:
    whether it shares nodes with other flows; one that does not has its own devices too.

    engine: "embedded" runs it in this process; "shared" in ffpfd, which captures and runs what the kernel can for all
    (pyffpf.remote_flow), and when ffpfd refuses, instantiate raises its reason; "auto" is FFPF_ENGINE, or else ffpfd
    where it is there and grants every source of the text, and this process if not: that is settled here, so a flow
    without text, and one whose devices are files or hooks, is the process's own. `flow.engine` says which it is.

    deliver: names or positions of nodes that are to be read besides the last stage. In ffpfd only their packets come to
    this process, and reading another node raises NotSupported; in this process every node can be read, and nothing need
    be said. A program that says it runs in both. What else differs: docs/flows.md.
    """

    engine = "embedded"
    _choice = Choice()

    def __new__(
        cls,
        text: str | Part | None = None,
        *,
        name: str | None = None,
        graph: Graph | None = None,
        share: bool = True,
        engine: str = "auto",
        deliver: Iterable[str | int] = (),
    ) -> Self:
        made: Any = cls
        choice = choose(text, graph, engine) if cls is Flow else Choice(engine_named(engine) == "shared")
        if choice.shared and cls is Flow:
            from pyffpf.remote_flow import RemoteFlow

            made = RemoteFlow
        flow = object.__new__(made)
        flow._choice = choice
        return cast(Self, flow)

    def __init__(
        self,
        text: str | Part | None = None,
        *,
        name: str | None = None,
        graph: Graph | None = None,
        share: bool = True,
        engine: str = "auto",
        deliver: Iterable[str | int] = (),
    ) -> None:
        self._closed = True  # for __del__, until there is something to close
        if self._choice.shared:
            raise ValueError("a class of flows of ffpfd is made of pyffpf.remote_flow.RemoteFlow")
        self.graph = graph if graph is not None else default_graph()
        self._handle = FlowHandle(self.graph, name, share)
        self._number = lib.FFPF_GRAPH_LAST
        self._callbacks: list[Any] = []
        self._reads: dict[int, NodePulled] = {}  # by node
        self._begin(text_at(lib.ffpf_graph_flow_name(self._handle.pointer)), text)

    def _begin(self, name: str, text: str | Part | None) -> None:
        """There is something to close from now on."""
        self._closed = False
        self._flow = self
        self._text = b""
        self._name = name
        self.graph.enlist(self)
        if text is not None:
            try:
                self.populate(text)
            except BaseException:
                self.close()
                raise

    # ---- states ----

    @property
    def name(self) -> str:
        return self._name

    @property
    def text(self) -> str:
        """What it was populated with."""
        return self._text.decode()

    @property
    def state(self) -> str:
        """created, populated, instantiated, active, paused or closed."""
        if self._closed:
            return "closed"
        number = lib.ffpf_graph_flow_state(self._handle.pointer)
        return text_at(lib.ffpf_graph_state_name(number))

    def populate(self, text: str | Part) -> Self:
        """Says what the flow is. Raises BadGraph, with the place, and leaves it as it was."""
        octets = str(text).encode()
        return self._move("populate", octets, lambda error: lib.ffpf_graph_flow_populate(self._pointer, octets, error))

    def instantiate(self) -> Self:
        """Makes or finds its filters, opens its devices. Raises BadGraph for arguments that a class refuses, and
        what opening a device raises; the flow is then still populated."""
        if self.state == "populated":
            self.graph.add_installed(node.class_name for node in self.nodes)
        try:
            return self._move(
                "instantiate", self._text, lambda error: lib.ffpf_graph_flow_instantiate(self._pointer, error)
            )
        except FfpfError as error:
            told = explained(error, self._choice.refusal)
            if told is error:
                raise
            raise told from self._choice.refusal

    def activate(self) -> Self:
        """Packets count from now on. Costs next to nothing."""
        error = new_error()
        if lib.ffpf_graph_flow_activate(self._pointer, error) < 0:
            raise self._exception(error, "activate")
        return self

    def pause(self) -> Self:
        """Packets do not count until it is activated again; filters keep their memory."""
        error = new_error()
        if lib.ffpf_graph_flow_pause(self._pointer, error) < 0:
            raise self._exception(error, "pause")
        return self

    def close(self) -> None:
        """Ends the flow; a second call does nothing. What filters held back is written first: if that fails it is
        raised, and the flow is closed all the same."""
        if self._closed:
            return
        self._closed = True
        self._end()

    def _end(self) -> None:
        try:
            self._handle.end()
        finally:
            for reads in self._reads.values():
                reads.close()
            self._reads.clear()

    def _read_from(self, node: int) -> Pulled:
        self._for("read")
        found = self._reads.get(node)
        if found is None:  # two threads may both come here
            found = self._reads.setdefault(node, NodePulled(self, node, self._handle))
        return found

    def _move(self, call: str, octets: bytes, change: Callable[[Any], int]) -> Self:
        error = ffi.new("struct ffpf_graph_error *")
        state = self.state
        if change(error) < 0:
            if state not in ALLOWED[call]:
                raise WrongState(text_at(error.error.text))
            raise text_error(error, octets)
        self._text = octets
        return self

    @property
    def _pointer(self) -> Any:
        if self._closed:
            raise WrongState(f"the flow {self._name!r} is closed")
        return self._handle.pointer

    def _for(self, call: str) -> Any:
        """The core's flow, which knows itself what its state forbids; after close there is none to ask."""
        return self._pointer

    def _exception(self, error: Any, call: str) -> FfpfError:
        if error.code == lib.FFPF_E_INVALID and self.state not in ALLOWED[call]:
            return WrongState(text_at(error.text))
        return exception_of(error, self._name)

    def __enter__(self) -> Self:
        try:
            if self.state == "populated":
                self.instantiate()
            if self.state == "instantiated":
                self.activate()
        except BaseException:
            self.close()
            raise
        return self

    def __del__(self) -> None:
        if not self._closed:
            warn_unclosed(f"the flow {self._name!r}", self)  # its state is the core's, which may be busy
            self._closed = True
            self.graph.core.when_free(self._end)

    # ---- nodes ----

    @property
    def nodes(self) -> list[Node]:
        """Its nodes in the order of the text; empty before it is populated, and when it is closed."""
        if self._closed:
            return []
        error, struct = new_error(), ffi.new("struct ffpf_graph_flow_node *")
        found = []
        count = lib.ffpf_graph_flow_node_count(self._handle.pointer)
        if not count and lib.ffpf_graph_flow_node(self._handle.pointer, 0, struct, error) == -lib.FFPF_E_BUSY:
            raise exception_of(error, self._name)  # in a process that was forked off it has none
        for number in range(count):
            check(lib.ffpf_graph_flow_node(self._handle.pointer, number, struct, error), error)
            found.append(Node(self, number, struct))
        return found

    def __getitem__(self, key: str | int) -> Node:
        """A node by its name, by its class when there is one of it, or by its place in the text (negative: from the
        end). KeyError, IndexError."""
        self._for("read")
        nodes = self.nodes
        if isinstance(key, int):
            if not -len(nodes) <= key < len(nodes):
                raise IndexError(f"{self._name} has no node {key}: it has {len(nodes)}")
            return nodes[key]
        named = [node for node in nodes if node.name == key] or [node for node in nodes if node.class_name == key]
        if len(named) == 1:
            return named[0]
        if named:
            raise KeyError(f"{self._name} has {len(named)} nodes of the class {key!r}: give them names")
        known = ", ".join(node.name or node.class_name for node in nodes)
        raise KeyError(f"{self._name} has no node {key!r}; there are {known}")

    def explain(self) -> str:
        """A line for each node: where it runs, and why; and what ffpfd said, where it was asked and does not run it."""
        lines = [f"{node!s}: {one.level}: {one.reason}" for node in self.nodes for one in [node.serving]]
        return "\n".join(lines + ([f"not in ffpfd: {self._choice.refusal}"] if self._choice.refusal else []))

    def picture(self) -> Picture:
        """The whole graph that it belongs to."""
        return self.graph.picture()

    def __repr__(self) -> str:
        return f"<Flow {self._name!r} {self.state}>"
