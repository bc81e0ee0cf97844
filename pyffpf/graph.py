# SPDX-License-Identifier: BSD-3-Clause
"""The filter graph of a process: all its flows, merged, and what drives them. Paper, sections 2.2 to 2.4.

    graph = Graph()
    web = graph.flow('(device,"web.pcap") -> (BPF,"tcp port 80") -> count=(packetcount)').instantiate().activate()
    graph.run()                                  # packets pass while this runs, or while a flow is read
    print(web["count"].mbuf["packets"], graph.instances())

Flows whose texts begin alike share what they have in common: it runs once a packet. Nothing runs by itself: packets
pass while some thread is in `Graph.run`, reads a flow, or hands packets to a hook. `default_graph()` is that of flows
that name none. Any thread may make any call; a graph belongs to the process that made it.
"""

from __future__ import annotations

import os
import shutil
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from pyffpf._core import ffi, lib
from pyffpf.closing import Closing
from pyffpf.engine_choice import ENGINES
from pyffpf.engine_core import Core, Deadline
from pyffpf.errors import FfpfError, WrongState, check, exception_of, new_error
from pyffpf.filter_classes import LEVELS, custom_classes
from pyffpf.graph_text import text_at
from pyffpf.picture import FlowShape, Instance, Picture, Stage

if TYPE_CHECKING:
    from pyffpf.compose import Part
    from pyffpf.custom import CustomFilter
    from pyffpf.custom_extern import ExternalFunction
    from pyffpf.flow import Flow
    from pyffpf.hook import Hook

ETHERNET = 1  # DLT_EN10MB
JOIN = "join"  # the class, for people, of what joins the ends of a flow for its reader


def _show_the_compilers() -> None:
    """FPL-1 and FPL-2 are compiled by programs that lie beside this Python, where PATH does not lead to them."""
    for program in ("fpl1", "fplc"):
        beside, variable = Path(sys.executable).parent / program, f"FFPF_{program.upper()}"
        if variable not in os.environ and shutil.which(program) is None and beside.exists():
            os.environ[variable] = str(beside)


@dataclass(frozen=True)
class Counters:
    """Packets of a node. Always: packets_in = packets_out + filtered + the sum of dropped.

    dropped: by cause, all causes, also those that are 0; "paused": came while no flow with this device was active,
    "class": the filter had no room, the others are those of a reader (pyffpf.Statistics). What the filter on an
    interface's socket turned away was never there: docs/flows.md.
    """

    packets_in: int
    packets_out: int
    filtered: int
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class GraphInstance:
    """A filter that runs for one or more flows."""

    id: int
    class_name: str
    arguments: str
    mbuf_bytes: int
    inputs: tuple[int, ...]  # ids
    flows: int  # that have it
    active: int  # of those, the active ones
    level: str
    reason: str  # why it runs there
    counters: Counters
    by: str = ""  # who runs it there, where that is neither the kernel nor this process: "worker of group GROUP"

    @property
    def where(self) -> str:
        """Level, and who runs it there."""
        return f"{self.level} ({self.by})" if self.by else self.level


class Ran(NamedTuple):
    """What Graph.run did. ended: every device that was needed has ended."""

    packets: int
    ended: bool


def linger_of(delay: float, immediate: bool) -> float:
    """Seconds that a read of a graph's nodes waits for company of packets that come fast; delay 0: not said."""
    return 0.0 if immediate else delay or 0.1


def counters_of(struct: Any) -> Counters:
    """From a struct ffpf_node_counters."""
    dropped = {
        text_at(lib.ffpf_node_drop_name(cause)): int(struct.dropped[cause]) for cause in range(len(struct.dropped))
    }
    return Counters(getattr(struct, "in"), struct.out, struct.filtered, dropped)


class Graph(Closing):
    """A filter graph of its own: its flows share with each other, and with no other graph. A context manager.

    batch: packets that pass together, 1 to 1024; queue_slots: unread packets of one reader of a node, a power of two;
    store_bytes: of packets that wait for their readers, all together; the rest is for interfaces: snaplen, octets
    captured of a packet; delay, seconds that packets may wait to come together: 0 stands for 0.01 in the kernel, and
    0.1 before they are read where they come fast (reading.py); buffer_size, octets of the kernel's ring; promisc, also
    packets for others; immediate, every packet at once. 0 is the default of each. shown:
    other processes can be given each node's counters and MBuf to read.

    engine: "embedded" runs all its flows in this process, "shared" in ffpfd (pyffpf.remote_graph), "auto" each where
    Flow says.
    """

    engine = "embedded"

    def __new__(cls, *, engine: str = "auto", **more: Any) -> Self:
        if engine not in ENGINES:
            raise ValueError(f"there is no engine {engine!r}; there are {', '.join(ENGINES)}")
        made: Any = cls
        if cls is Graph and engine != "embedded":
            from pyffpf.auto_graph import AutoGraph
            from pyffpf.remote_graph import RemoteGraph

            made = RemoteGraph if engine == "shared" else AutoGraph
        return cast(Self, object.__new__(made))

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
        shown: bool = False,
        engine: str = "auto",
    ) -> None:
        config = ffi.new(
            "struct ffpf_engine_config *",
            {
                "batch": batch, "queue_slots": queue_slots, "store_bytes": store_bytes, "snap_len": snaplen,
                "timeout_ms": int(delay * 1000 + 0.5), "buffer_bytes": buffer_size, "promisc": promisc,
                "immediate": immediate, "shown": shown,
            },
        )  # fmt: skip
        out, error = ffi.new("struct ffpf_engine **"), new_error()
        _show_the_compilers()
        check(lib.ffpf_engine_create(out, config, error), error)
        self.core = Core(out[0])
        self.linger = linger_of(delay, immediate)
        self._flows: weakref.WeakValueDictionary[int, Flow] = weakref.WeakValueDictionary()
        self._next = 0
        self._added: set[str] = set()  # classes of installed packages
        self._closed = False

    # ---- flows ----

    def flow(
        self,
        text: str | Part | None = None,
        *,
        name: str | None = None,
        share: bool = True,
        deliver: Iterable[str | int] = (),
    ) -> Flow:
        """A new flow of this graph; see Flow."""
        from pyffpf.flow import Flow

        return Flow(text, name=name, graph=self, share=share, deliver=deliver)

    def enlist(self, flow: Flow) -> None:
        """A flow says that it is of this graph."""
        self._flows[self._next] = flow
        self._next += 1

    @property
    def flows(self) -> list[Flow]:
        """The flows that are not closed, oldest first."""
        return [flow for _, flow in sorted(self._flows.items()) if flow.state != "closed"]

    # ---- packets ----

    def run(self, packets: int = 0, seconds: float | None = None) -> Ran:
        """Lets packets pass: that many (0: without end), for so long (None: for ever), until all devices have ended.

        Ctrl-C ends it with KeyboardInterrupt. What a callback raised is raised here.
        """
        total, deadline = 0, Deadline(seconds)
        done, error = ffi.new("uint64_t *"), new_error()
        while True:
            outcome = lib.ffpf_engine_run(
                self._open(), packets - total if packets else 0, deadline.milliseconds(), done, error
            )
            total += done[0]
            self.core.returned()
            if outcome == lib.FFPF_FAILED:
                raise exception_of(error)
            if outcome == lib.FFPF_END:
                return Ran(total, True)
            if outcome == lib.FFPF_BATCH or (packets and total >= packets) or deadline.over():
                return Ran(total, False)
            # FFPF_INTERRUPTED: Python has run signal handlers before it comes back here

    def wake(self) -> None:
        """Makes a call that waits look round, from any thread: its time may be over, its signal handled."""
        lib.ffpf_engine_wake(self._open())

    def hook(self, name: str, link_type: int = ETHERNET) -> Hook:
        """A source that the application feeds: flows name it as (device,hook:NAME)."""
        from pyffpf.hook import Hook

        return Hook(self, name, link_type)

    def add_class(self, kind: type[CustomFilter]) -> None:
        """A filter class in Python, for flows of this graph; see pyffpf.custom. Raises FfpfError for a name that is
        taken."""
        from pyffpf.custom import Registration

        registered, error = Registration(self, kind), new_error()
        check(lib.ffpf_engine_add_class(self._open(), registered.struct, error), error)
        self.core.kept.append(registered)

    def add_function(self, function: ExternalFunction) -> None:
        """An external function in Python, for programs in FPL-2 of this graph that are instantiated from now on; see
        pyffpf.custom_extern. Raises FfpfError for a name that is taken."""
        from pyffpf.custom_extern import FunctionRegistration

        registered, error = FunctionRegistration(self, function), new_error()
        check(lib.ffpf_engine_add_extern(self._open(), registered.struct, error), error)
        self.core.kept.append(registered)

    def _add_installed_functions(self) -> None:
        from pyffpf.custom_extern import installed

        for name, point in installed().items():
            if f"EXTERN {name}" not in self._added:
                self._added.add(f"EXTERN {name}")
                self.add_function(point.load()())

    def add_installed(self, names: Iterable[str]) -> None:
        """Adds those classes that are not there and that an installed package has."""
        for name in dict.fromkeys(names):
            octets = name.encode()
            if name == "FPL-2":
                self._add_installed_functions()
            in_core = lib.ffpf_class_find(octets, len(octets)) != ffi.NULL
            if not in_core and name not in self._added and name in custom_classes():
                self._added.add(name)
                self.add_class(custom_classes()[name].load())

    # ---- what there is ----

    def instances(self) -> list[GraphInstance]:
        """What runs, inputs before what they feed."""
        return self.instances_here()

    def id_here(self, number: int) -> int:
        """The id among `instances` of what the core of this process knows by this number."""
        return number

    def instances_here(self) -> list[GraphInstance]:
        """What runs in this process, by the core's numbers."""
        error, found = new_error(), []
        struct = ffi.new("struct ffpf_engine_instance *")
        for index in range(lib.ffpf_engine_instance_count(self._open())):
            check(lib.ffpf_engine_instance_at(self._open(), index, struct, error), error)
            found.append(
                GraphInstance(
                    struct.id, text_at(getattr(struct, "class")) or JOIN, text_at(struct.arguments), struct.mbuf_bytes,
                    tuple(struct.inputs[at] for at in range(struct.input_count)), struct.flows, struct.active,
                    LEVELS.get(struct.level, "userspace"), text_at(struct.reason), counters_of(struct.counters),
                )
            )  # fmt: skip
        return found

    def picture(self, title: str = "") -> Picture:
        """All flows that are instantiated, and what serves them."""
        instances = self.instances()
        names = {one.id: f"n{one.id}" for one in instances}
        circles = tuple(
            Instance(
                names[one.id], one.class_name, one.arguments, one.level, tuple(names[at] for at in one.inputs),
                one.counters.packets_in, one.counters.packets_out, one.counters.dropped, one.mbuf_bytes, one.reason,
            )
            for one in instances
        )  # fmt: skip
        return Picture(tuple(_shapes(self.flows, names)), circles, title)

    # ---- the end ----

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Closes all flows; a second call does nothing. What they held back is written; the first failure is raised."""
        if self._closed:
            return
        failures = []
        for flow in self.flows:
            try:
                flow.close()
            except FfpfError as error:
                failures.append(error)
        self._closed = True
        if failures:
            raise failures[0]

    def _open(self) -> Any:
        if self._closed:
            raise WrongState("the graph is closed")
        return self.core.pointer


def _shapes(flows: Sequence[Flow], names: Mapping[int, str]) -> Iterator[FlowShape]:
    for flow in flows:
        stages = []
        for node in flow.nodes:
            if node.instance not in names:
                break
            words = f"{node.class_name} {node.expression}".strip() if node.class_name else "(another flow's)"
            stages.append(Stage(f"{node.name}: {words}" if node.name else words, names[node.instance], node.inputs))
        else:
            if stages:
                yield FlowShape(flow.name, tuple(stages), flow.state)


_default: list[tuple[int, Graph]] = []  # the process it belongs to, and the graph


def default_graph() -> Graph:
    """The graph of flows that name none: made when it is first needed, and anew in a forked process."""
    if not _default or _default[0][0] != os.getpid() or _default[0][1].closed:
        _default[:] = [(os.getpid(), Graph(engine="auto"))]
    return _default[0][1]
