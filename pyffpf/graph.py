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
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from pyffpf._core import ffi, lib
from pyffpf.errors import BadGraph, FfpfError, SystemFailure, WrongState, check, exception_of, new_error
from pyffpf.picture import FlowShape, Instance, Picture, Stage

if TYPE_CHECKING:
    from pyffpf.compose import Part
    from pyffpf.custom import CustomFilter
    from pyffpf.flow import Flow
    from pyffpf.hook import Hook

LEVELS = {lib.FFPF_LEVEL_NIC: "nic", lib.FFPF_LEVEL_KERNEL: "kernel", lib.FFPF_LEVEL_USERSPACE: "userspace"}
ETHERNET = 1  # DLT_EN10MB
ENGINES = ("embedded", "shared")  # this process alone; ffpfd
JOIN = "join"  # the class, for people, of what joins the ends of a flow for its reader


def _show_the_compiler() -> None:
    """FPL-2 is compiled by fplc, which lies beside this Python where PATH does not lead to it."""
    beside = Path(sys.executable).parent / "fplc"
    if "FFPF_FPLC" not in os.environ and shutil.which("fplc") is None and beside.exists():
        os.environ["FFPF_FPLC"] = str(beside)


@dataclass(frozen=True)
class FilterClass:
    """What a word in graph text means. levels: where it can run."""

    name: str
    summary: str
    arguments: str
    levels: tuple[str, ...]
    mbuf_bytes: int
    source: bool


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


class Ran(NamedTuple):
    """What Graph.run did. ended: every device that was needed has ended."""

    packets: int
    ended: bool


def check_engine(name: str) -> None:
    """ValueError unless flows can be made by it."""
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r} for flows; there are {', '.join(ENGINES)}")


def text_at(pointer: Any) -> str:
    """A C string; "" for NULL."""
    return "" if pointer == ffi.NULL else bytes(ffi.string(pointer)).decode("utf-8", "replace")


def classes() -> list[FilterClass]:
    """All filter classes that graph text can name, also those of installed packages, in the order of their names."""
    found = []
    for number in range(lib.ffpf_class_count):
        one = lib.ffpf_classes[number]
        levels = tuple(name for bit, name in LEVELS.items() if one.levels & bit)
        found.append(
            FilterClass(text_at(one.name), text_at(one.summary), text_at(one.arguments), levels, one.mbuf_bytes,
                        bool(one.source))
        )  # fmt: skip
    known = {one.name for one in found}
    for name, point in custom_classes().items():
        if name not in known:
            kind = point.load()
            size = kind.mbuf.itemsize if kind.mbuf is not None else 0
            found.append(FilterClass(name, kind.summary, kind.arguments, ("userspace",), size, False))
    return sorted(found, key=lambda one: one.name)


def custom_classes() -> dict[str, Any]:
    """Classes in Python that installed packages have, as entry points, by name."""
    from pyffpf.custom import installed

    return installed()


def counters_of(struct: Any) -> Counters:
    """From a struct ffpf_node_counters."""
    dropped = {
        text_at(lib.ffpf_node_drop_name(cause)): int(struct.dropped[cause]) for cause in range(len(struct.dropped))
    }
    return Counters(getattr(struct, "in"), struct.out, struct.filtered, dropped)


def text_error(error: Any, text: bytes) -> FfpfError:
    """What to raise for a `struct ffpf_graph_error *` about that text: BadGraph, or what opening a device raises; both
    show the place, where there is one."""
    of_text = error.error.code in (lib.FFPF_E_INVALID, lib.FFPF_E_BAD_FILTER)
    placed = error.offset != lib.FFPF_GRAPH_NOWHERE
    story = _shown(error, text) if placed else text_at(error.error.text)
    if of_text:
        return BadGraph(story, error.offset, error.line, error.column) if placed else BadGraph(story, None, None, None)
    failure = exception_of(ffi.addressof(error.error))
    return type(failure)(failure.errno, story) if isinstance(failure, SystemFailure) else type(failure)(story)


def _shown(error: Any, text: bytes) -> str:
    shown = ffi.new("struct ffpf_text *")
    try:
        lib.ffpf_graph_error_show(error, text, len(text), shown)
        return text_at(lib.ffpf_text_get(shown)).rstrip("\n")
    finally:
        lib.ffpf_text_free(shown)


def check_text(text: str | Part) -> str:
    """The text in its one form: single blanks, quotation marks where needed. BadGraph when it is none."""
    octets = str(text).encode()
    out, error = ffi.new("struct ffpf_graph_text **"), ffi.new("struct ffpf_graph_error *")
    if lib.ffpf_graph_text_parse(out, octets, len(octets), error) < 0:
        raise text_error(error, octets)
    shown = ffi.new("struct ffpf_text *")
    try:
        lib.ffpf_graph_text_format(out[0], shown)
        return text_at(lib.ffpf_text_get(shown))
    finally:
        lib.ffpf_text_free(shown)
        lib.ffpf_graph_text_free(out[0])


class Deadline:
    """From seconds, None for ever, to what the core's waits take, again and again."""

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and seconds < 0:
            raise ValueError(f"{seconds} seconds are over already")
        self._end = None if seconds is None else time.monotonic() + seconds

    def milliseconds(self) -> int:
        """Until then, rounded up; -1 for ever."""
        if self._end is None:
            return -1
        return max(0, min(2**31 - 1, int((self._end - time.monotonic()) * 1000 + 0.999)))

    def over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end


class Core:
    """A graph of the core, and what Python owes it. Whoever needs the graph holds this: it is freed with the last."""

    def __init__(self, pointer: Any) -> None:
        self.pointer = ffi.gc(pointer, lib.ffpf_engine_destroy)
        self.failures: list[BaseException] = []  # of callbacks and filters: whoever drives the graph raises them
        self.kept: list[Any] = []  # what the core may use as long as it lives
        self._holder: int | None = None
        self._later: list[Callable[[], None]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """The calling thread is in a filter: the core holds the graph, and waits for it."""
        before, self._holder = self._holder, threading.get_ident()
        try:
            yield
        finally:
            self._holder = before

    def when_free(self, call: Callable[[], None]) -> None:
        """Calls it now, or, when garbage is collected in the middle of a filter, when the core has returned."""
        if self._holder == threading.get_ident():
            self._later.append(call)
        else:
            call()

    def returned(self) -> None:
        """The core has returned to Python: does what was put off, and raises what callbacks raised."""
        while self._later:
            self._later.pop()()
        if self.failures:
            raise self.failures.pop(0)


class Graph:
    """A filter graph of its own: its flows share with each other, and with no other graph. A context manager.

    batch: packets that pass together, 1 to 1024; queue_slots: unread packets of one reader of a node, a power of two;
    store_bytes: of packets that wait for their readers, all together; the rest is for interfaces: snaplen, octets
    captured of a packet; delay, seconds that packets may wait to come together; buffer_size, octets of the kernel's
    ring; promisc, also packets for others; immediate, every packet at once. 0 is the default of each. engine: "shared"
    makes it a graph of ffpfd, whose flows run there; see pyffpf.remote_graph, also for what that has besides.
    """

    def __new__(cls, *, engine: str = "embedded", **more: Any) -> Self:
        check_engine(engine)
        made: Any = cls
        if engine == "shared" and cls is Graph:
            from pyffpf.remote_graph import RemoteGraph

            made = RemoteGraph
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
        engine: str = "embedded",
    ) -> None:
        if engine != "embedded":
            raise ValueError("a class of graphs of ffpfd is made of pyffpf.remote_graph.RemoteGraph")
        config = ffi.new(
            "struct ffpf_engine_config *",
            {
                "batch": batch, "queue_slots": queue_slots, "store_bytes": store_bytes, "snap_len": snaplen,
                "timeout_ms": int(delay * 1000 + 0.5), "buffer_bytes": buffer_size, "promisc": promisc,
                "immediate": immediate,
            },
        )  # fmt: skip
        out, error = ffi.new("struct ffpf_engine **"), new_error()
        _show_the_compiler()
        check(lib.ffpf_engine_create(out, config, error), error)
        self.core = Core(out[0])
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

    def add_installed(self, names: Iterable[str]) -> None:
        """Adds those classes that are not there and that an installed package has."""
        for name in dict.fromkeys(names):
            octets = name.encode()
            in_core = lib.ffpf_class_find(octets, len(octets)) != ffi.NULL
            if not in_core and name not in self._added and name in custom_classes():
                self._added.add(name)
                self.add_class(custom_classes()[name].load())

    # ---- what there is ----

    def instances(self) -> list[GraphInstance]:
        """What runs, inputs before what they feed."""
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        _default[:] = [(os.getpid(), Graph())]
    return _default[0][1]


def warn_unclosed(words: str, source: object) -> None:
    """Of something that is collected before it was closed."""
    warnings.warn(f"{words} was not closed", ResourceWarning, source=source, stacklevel=3)
