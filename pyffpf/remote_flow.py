# SPDX-License-Identifier: BSD-3-Clause
"""Flows in ffpfd, with the methods of pyffpf.flow.

    with Flow('(device,eth0) -> web=(BPF,"tcp port 80") -> n=(packetcount)', engine="shared") as flow:
        flow["n"].mbuf["packets"]                   # the kernel's own memory: no packet comes here for it

Nodes that the kernel can run are run by ffpfd's hook, for all flows of a group once. The others run in this process,
over the packets that ffpfd delivers to it, as soon as it reads, waits, or runs the graph. The packets of a node can be
read when they are delivered: those of the last stage are, unless it counts; of others they are if `deliver` names them.

In ffpfd a flow ends with the connection that made it: there is none that outlives its process.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from fpl.graph.node import DEVICE, last
from fpl.graph.node import Node as GraphNode
from pyffpf.cli.control import ControlError
from pyffpf.delivery import Delivery
from pyffpf.engine_choice import VARIABLE, engine_named
from pyffpf.engine_core import warn_unclosed
from pyffpf.errors import BadGraph, Busy, NotSupported, WrongState, raised_by_ffpfd
from pyffpf.flow import ALLOWED, Flow
from pyffpf.flow_node import Node, Readable
from pyffpf.graph import Counters, Graph, GraphInstance
from pyffpf.graph_nodes import FilterError, nodes_of
from pyffpf.graph_text import before_flow, filter_text
from pyffpf.joined_graph import JoinedGraph
from pyffpf.remote_node import Delivers, RemoteNode
from pyffpf.remote_plan import Plan, plan
from pyffpf.shared_flow import NodeState, SharedFlow

if TYPE_CHECKING:
    from pyffpf.compose import Part

BY_HOOK = "the hook of ffpfd runs it"


def _graph_of_ones_own() -> JoinedGraph:
    from pyffpf.remote_graph import RemoteGraph

    return RemoteGraph()


class RemoteFlow(Delivers, Flow):
    """A flow of ffpfd. graph: a RemoteGraph, None for one of its own, which it closes. deliver: names or positions of
    nodes whose packets are to be read. share: False makes it run nodes of its own, whose MBufs can be written."""

    engine = "shared"

    def __init__(
        self,
        text: str | Part | None = None,
        *,
        name: str | None = None,
        graph: Graph | None = None,
        share: bool = True,
        engine: str = "shared",
        deliver: Iterable[str | int] = (),
    ) -> None:
        self._closed = True
        if graph is not None and not isinstance(graph, JoinedGraph):
            raise ValueError("a flow of ffpfd needs a graph of ffpfd: Graph(engine='shared')")
        found = graph if graph is not None else self._choice.graph
        self._owns_graph = found is None
        self.graph: JoinedGraph = found if found is not None else _graph_of_ones_own()
        self._number = -1
        self._state = "created"
        self._process = os.getpid()
        self._private = not share
        self._deliver = list(deliver)
        self._nodes: list[GraphNode] = []
        self._plan = Plan((), ())
        self._parts: list[SharedFlow] = []
        self._states: list[list[NodeState]] = []
        self._instances: list[int] = []
        self._devices: list[Flow | None] = []  # by part: what it delivers, as a flow of this process
        self._locals: dict[int, Flow] = {}  # by position: what delivers its packets here, or runs it
        self._joined: dict[tuple[int, ...], Flow] = {}
        self._begin(name if name is not None else f"flow{self.graph.next_number()}", text)

    # ---- states ----

    @property
    def state(self) -> str:
        return self._state

    def _for(self, call: str) -> Any:
        if self._state not in ALLOWED[call]:
            raise WrongState(f"the flow {self._name!r} is {self._state}: {call} has no meaning")
        return None

    def populate(self, text: str | Part) -> Self:
        """Says what the flow is. It may continue from a node of another flow of this graph, by its name: what leads to
        that is then this flow's too, and in the kernel the same. Raises BadGraph, with the place where there is one."""
        self._for("populate")
        words = str(text)
        nodes = nodes_of(words, self.graph.leading_to, arguments=True)
        self._nodes, self._text, self._state = nodes, words.encode(), "populated"
        return self

    def deliver(self, key: str | int) -> None:
        """Packets of this node are to be read: to be said before instantiate."""
        self._for("instantiate")
        self._deliver.append(key)

    def deliver_last(self) -> None:
        """The same of what the last stage lets through, also if it counts."""
        self._for("instantiate")
        self._deliver += last(self._nodes)

    def instantiate(self) -> Self:
        """Makes or finds its nodes in ffpfd. Raises Denied, NoServer, NotSupported, BadGraph with ffpfd's reason; the
        flow is then still populated."""
        self._for("instantiate")
        self._plan = plan(self._nodes, [self._position(key) for key in self._deliver], private=self._private)
        try:
            for part in self._plan.parts:
                opened = self._choice.opened
                source = part.source
                self._parts.append(opened.pop(source) if source in opened else self.graph.open(source))
                self._states.append(self._parts[-1].instantiate(part.nodes, self.text, worker=True))
            self._make_locals()
        except BaseException as failure:
            self._end()
            if isinstance(failure, ControlError):
                raise raised_by_ffpfd(failure.code, f"{self._why()}{failure}") from failure
            if isinstance(failure, FilterError):
                raise BadGraph(str(failure), None, None, None) from failure
            raise
        self._state = "instantiated"
        return self

    def _why(self) -> str:
        """Who wants it in ffpfd, if it was not the call: before ffpfd's reason why it cannot be."""
        return f"{VARIABLE}=shared: " if self._choice.graph and engine_named("auto") == "shared" else ""

    def activate(self) -> Self:
        """Packets count from now on: one store in ffpfd for each of its sources."""
        self._for("activate")
        for flow in self._hidden():
            if flow.state == "instantiated":
                flow.activate()
        self._ask(lambda part: part.activate())
        self._state = "active"
        return self

    def pause(self) -> Self:
        """Its nodes stand still, but for those that other flows have on. What was delivered before can be read."""
        self._for("pause")
        self._ask(lambda part: part.pause())
        self._state = "paused"
        return self

    def close(self) -> None:
        """Ends the flow; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._state = "closed"
        self._end()
        if self._owns_graph:
            self.graph.close()

    def _end(self) -> None:
        try:
            for flow in reversed(list(self._hidden())):
                flow.close()
        finally:
            self._devices, self._locals, self._joined = [], {}, {}
            for part in self._parts:
                part.close()
            self._parts, self._states, self._instances = [], [], []
            self._choice.end()

    def _ask(self, call: Callable[[SharedFlow], Any]) -> list[Any]:
        if os.getpid() != self._process:  # two would read one another's answers
            raise Busy(f"the flow {self._name!r} belongs to the process that this one was forked from")
        try:
            return [call(part) for part in self._parts]
        except ControlError as refused:
            raise raised_by_ffpfd(refused.code, str(refused)) from refused

    def check(self) -> None:
        """Raises Denied, DeviceGone or NoServer if ffpfd has ended the flow since."""
        for part, events in zip(self._parts, self._ask(lambda part: part.pending_events()), strict=True):
            for event in events:
                if event.get("event") == "revoked":
                    raise raised_by_ffpfd("denied", f"ffpfd has ended the flow: {event.get('reason')}")
                if event.get("event") == "source" and event.get("state") == "gone":
                    raise raised_by_ffpfd("no-such-device", f"{part.source}: the interface has gone")

    def __del__(self) -> None:
        if not self._closed:
            warn_unclosed(f"the flow {self._name!r}", self)
            self.close()

    # ---- packets ----

    @property
    def parts(self) -> list[SharedFlow]:
        """What it is in ffpfd: a flow for each source. None before instantiate."""
        return list(self._parts)

    @property
    def delivers(self) -> bool:
        """Whether any packet comes to this process."""
        return any(flow is not None for flow in self._devices)

    def packets_seen(self) -> dict[str, int]:
        """By source: packets that its hook was given since ffpfd opened it."""
        self._ask(lambda part: part.counters())
        return {part.source: part.packets for part in self._parts}

    def _hidden(self) -> list[Flow]:
        """Flows of this process, those first that others begin from."""
        return [*(flow for flow in self._devices if flow), *self._locals.values(), *self._joined.values()]

    def _here(self, text: str) -> Flow:
        made = Flow(text, name=f"here{self.graph.next_number()}", graph=self.graph, engine="embedded")
        self.graph.hide(made)
        try:
            return made.instantiate()
        except BaseException:
            made.close()
            raise

    def _make_locals(self) -> None:
        for number, (planned, part) in enumerate(zip(self._plan.parts, self._parts, strict=True)):
            self._devices.append(self._deliver_here(part) if part.delivered else None)
            for bit, at in enumerate(part.delivered):
                position, device = planned.positions[at], self._devices[number]
                assert device is not None
                if len(part.delivered) == 1:
                    self._locals[position] = device
                else:
                    self._locals[position] = self._here(f"{device[-1].name} -> {self._new_name()}=(delivered,{bit})")
        for position, node in enumerate(self._nodes):
            if not self.is_there(position):
                self._locals[position] = self._run_here(node)

    def _new_name(self) -> str:
        return f"ffpfd{self.graph.next_number()}"

    def _deliver_here(self, part: SharedFlow) -> Flow:
        name = self._new_name()
        Delivery(part).give(self.graph.core.pointer, name)
        return self._here(f"{name}=(device,given:{name})")

    def _run_here(self, node: GraphNode) -> Flow:
        inputs = " | ".join(self._locals[at][-1].name for at in node.inputs)
        self.graph.add_installed([node.kind, *(callee.kind for callee in node.calls)])
        reads = [(read.name, self._locals[read.node][-1].name) for read in node.reads]
        made = filter_text(node.kind, node.argument, node.mbuf, self._new_name())
        try:
            return self._here(f"{before_flow(node.calls, reads)}{inputs} -> {made}")
        except BadGraph as error:  # its place is in a text that nobody wrote
            words = str(error).partition("\n")[0].removeprefix(f"{error.line}:{error.column}: ")
            raise BadGraph(f"{node}: {words}", None, None, None) from error

    def reader_of(self, positions: tuple[int, ...], words: str) -> Readable:
        """What reads the packets of these nodes. NotSupported: they are not delivered."""
        self._for("read")
        missing = [at for at in positions if at not in self._locals]
        if missing:
            where = "the group's worker" if self.worker_of(missing[0]) else "the kernel"
            raise NotSupported(
                f"packets of {self._nodes[missing[0]]} stay in {where}: name it in deliver=(...) when the flow is made"
            )
        if len(positions) == 1:
            return self._locals[positions[0]][-1]
        if positions not in self._joined:
            joined = self._here(" | ".join(self._locals[at][-1].name for at in positions))
            self._joined[positions] = joined.activate() if self._state != "instantiated" else joined
        return self._joined[positions]

    def _reader(self) -> Readable:
        return self.reader_of(self._plan.ends, self._name)

    # ---- nodes ----

    @property
    def nodes(self) -> list[Node]:
        return [] if self._closed else [RemoteNode(self, number, node) for number, node in enumerate(self._nodes)]

    @property
    def graph_nodes(self) -> list[GraphNode]:
        """Its nodes as ffpfd is asked for them."""
        return list(self._nodes)

    @property
    def shares(self) -> bool:
        """Whether other flows may have its nodes too."""
        return not self._private

    def _position(self, key: str | int) -> int:
        return self[key].number if self._state in ALLOWED["read"] else self._find(key)

    def _find(self, key: str | int) -> int:
        """As __getitem__, before there are instances."""
        if isinstance(key, int):
            if not 0 <= key < len(self._nodes):
                raise IndexError(f"{self._name} has no node {key}: it has {len(self._nodes)}")
            return key
        found = [at for at, node in enumerate(self._nodes) if node.name == key]
        found = found or [at for at, node in enumerate(self._nodes) if node.kind == key]
        if len(found) != 1:
            raise KeyError(f"{self._name} has {len(found)} nodes {key!r}")
        return found[0]

    def _place(self, position: int) -> tuple[int, int] | None:
        """Part of the plan, and position in it; None: it runs here."""
        number = self._plan.part_of(position)
        return None if number is None else (number, self._plan.parts[number].positions.index(position))

    def state_of(self, position: int) -> NodeState | None:
        """What ffpfd said of it; None: ffpfd does not know it."""
        place = self._place(position)
        return None if place is None or not self._states else self._states[place[0]][place[1]]

    def level_of(self, position: int) -> str:
        """Where a node runs: "kernel" or "userspace"."""
        state = self.state_of(position)
        return state.level if state else "userspace"

    def is_there(self, position: int) -> bool:
        """Whether ffpfd's hook, or the group's worker, runs a node: not this process."""
        state = self.state_of(position)
        return state is not None and state.in_ffpfd

    def worker_of(self, position: int) -> str:
        """The group whose worker runs a node; "": none does."""
        state = self.state_of(position)
        return state.worker if state else ""

    def report_of(self, position: int) -> dict[str, Any]:
        """As SharedFlow.report, of a node that a worker runs."""
        place = self._place(position)
        assert place is not None
        part = self._parts[place[0]]
        found: dict[str, Any] = self._ask(lambda one: one.report(place[1]) if one is part else {})[place[0]]
        return found

    def local(self, position: int) -> Flow | None:
        """What delivers its packets here, or runs it."""
        return self._locals.get(position)

    def mbuf_there(self, position: int) -> npt.NDArray[Any] | None:
        """Its MBuf in the kernel, or in the worker."""
        place = self._place(position)
        if place is None or not self._parts:
            return None
        try:
            return self._parts[place[0]].mbuf(place[1])
        except KeyError:
            return None

    def instance_of(self, position: int) -> int:
        """The id among Graph.instances(); 0 before instantiate."""
        if not self._parts:
            return 0
        if not self._instances:
            for at, _ in enumerate(self._nodes):
                place, state = self._place(at), self.state_of(at)
                if place is not None and state is not None and state.worker:
                    key: tuple[Any, ...] = ("worker", state.worker, state.number)
                elif place is not None and state is not None and state.in_ffpfd:
                    key = (self._parts[place[0]].source, state.number)
                else:
                    key = ("", self._locals[at][-1].instance)
                self._instances.append(self.graph.instance_id(key))
        return self._instances[position]

    def counters_of(self, position: int) -> Counters:
        """Of one node, as it stands."""
        place = self._place(position)
        if place is None or not self.is_there(position):
            return self._locals[position][-1].counters
        number, at = place
        part = self._parts[number]
        state = self._ask(lambda one: one.counters() if one is part else [])[number][at]
        lost = self._lost(number, position)
        if state.worker:
            return _counters_of_worker(state, lost)
        came = part.packets if state.came is None else state.came
        out = part.packets if state.out is None else state.out
        return Counters(came, out - sum(lost.values()), came - out, lost)

    def _lost(self, number: int, position: int) -> dict[str, int]:
        """What was lost between ffpfd and this process, if this node is the one that says so."""
        device = self._devices[number]
        part, at = self._parts[number], self._plan.parts[number].positions.index(position)
        tells = part.delivered == [at] or (len(part.delivered) != 1 and self._nodes[position].kind == DEVICE)
        if device is None or not tells:
            return {}
        return dict(device[-1].counters.dropped)

    def instances(self) -> list[GraphInstance]:
        """What serves this flow, in the order of its nodes."""
        found = []
        for position, node in enumerate(self._nodes):
            state = self.state_of(position)
            number, inputs = self.instance_of(position), tuple(self.instance_of(at) for at in node.inputs)
            if state is not None and state.in_ffpfd:
                mbuf = self.mbuf_there(position)
                size = mbuf.nbytes if mbuf is not None else 0
            else:
                size = self.graph.mbuf_bytes_here(self._locals[position][-1].instance)
            reason = self._why_there(position)
            by = f"worker of group {state.worker}" if state is not None and state.worker else ""
            if state is not None and state.in_ffpfd and state.shared and node.kind != DEVICE:
                reason += ", for other flows too"
            found.append(
                GraphInstance(number, node.kind, node.argument, size, inputs, 1, int(self._state == "active"),
                              self.level_of(position), reason, self.counters_of(position), by)
            )  # fmt: skip
        return found

    def explain(self) -> str:
        """A line for each node: where it runs, and why."""
        lines = []
        for position, node in enumerate(self._nodes):
            state = self.state_of(position)
            where = state.where if state else "userspace"
            lines.append(f"{node}: {where}: {self._why_there(position)}")
        return "\n".join(lines)

    def _why_there(self, position: int) -> str:
        """Why a node runs where it does; of what runs in this process, also why no worker has it."""
        state = self.state_of(position)
        if state is None:
            return "packets of several sources come to it"
        if state.here and state.here != state.reason:
            return f"{state.reason}; in this process, since {state.here}"
        return state.reason or (f"{BY_HOOK}, {state.how}" if state.how else BY_HOOK)


def _counters_of_worker(state: NodeState, lost_here: Mapping[str, int]) -> Counters:
    """What the worker lost on the way to the node came to it, too, as a drop. lost_here: from it to this process."""
    came, out = state.came or 0, state.out or 0
    dropped = Counter({"class": state.dropped}) + Counter(state.lost) + Counter(lost_here)
    return Counters(
        came + sum(state.lost.values()), out - sum(lost_here.values()), came - out - state.dropped, dict(dropped)
    )
