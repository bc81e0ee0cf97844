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

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy.typing as npt

from pyffpf import descriptors, mbufs
from pyffpf._core import ffi, lib
from pyffpf.errors import FfpfError, WrongState, check, exception_of, new_error
from pyffpf.graph import (
    Core,
    Counters,
    Deadline,
    Graph,
    GraphInstance,
    check_engine,
    counters_of,
    default_graph,
    text_at,
    text_error,
    warn_unclosed,
)

if TYPE_CHECKING:
    from pyffpf.batch import Batch
    from pyffpf.compose import Part
    from pyffpf.packet import Packet
    from pyffpf.picture import Picture

BATCH_ROWS = 4096
ALLOWED = {  # by call: states in which it has a meaning; csrc/graph/flow.h has the table
    "populate": ("created", "populated"),
    "instantiate": ("populated",),
    "activate": ("instantiated", "paused"),
    "pause": ("active",),
    "read": ("instantiated", "active", "paused"),
}


class _Handle:
    """A flow of the core, and whether arrays of its MBufs live: their memory is the flow's, which closes after them."""

    def __init__(self, graph: Graph, name: str | None, share: bool) -> None:
        out, error = ffi.new("struct ffpf_graph_flow **"), new_error()
        sharing = lib.FFPF_GRAPH_SHARE_ALL if share else lib.FFPF_GRAPH_SHARE_NONE
        named = name.encode() if name is not None else ffi.NULL
        check(lib.ffpf_graph_flow_create(out, graph._open(), named, sharing, error), error)
        self._core: Core | None = graph.core
        self.pointer = out[0]
        self.inside = 0  # threads that wait in the core
        self._views = 0
        self._ended = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Another thread may close the flow meanwhile."""
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def view(self, data: Any, octets: int) -> Any:
        """A writable buffer of memory that stays until nobody has it."""
        self._views += 1
        memory = ffi.gc(ffi.cast("uint8_t *", data), self._forget)
        return ffi.buffer(memory, octets)

    def _forget(self, _: Any) -> None:
        self._views -= 1
        if self._ended and not self._views and self._core:
            self._core.when_free(self._destroy)

    def end(self) -> None:
        """Closes the flow, now or with the last view; raises what the core says of it."""
        self._ended = True
        error = new_error()
        if self._views:
            if lib.ffpf_graph_flow_state(self.pointer) == lib.FFPF_GRAPH_ACTIVE:
                lib.ffpf_graph_flow_pause(self.pointer, error)
            return
        code = lib.ffpf_graph_flow_close(self.pointer, error)
        if not self.inside:  # else a thread that waits looks at it once more: the graph frees it with itself
            self._destroy()
        check(code, error)

    def _destroy(self) -> None:
        lib.ffpf_graph_flow_destroy(self.pointer)
        self.pointer = ffi.NULL
        self._core = None


class Readable:
    """What packets can be read from: a node, or a flow, which stands for what its last stage lets through.

    Packets that come from the first read on are queued, until they are read; when the queue is full this reader loses
    packets, and no other. A node has one reader.
    """

    _flow: Flow
    _number: int

    def read_batch(self, size: int = BATCH_ROWS, *, timeout: float | None = None) -> Batch | None:
        """Up to `size` packets that are there, of one link type, copied, as a Batch; None at the end of all devices.

        Waits until there is one, or for `timeout` seconds (0: not at all), after which the batch is empty. Packets pass
        the graph meanwhile, those of other flows as well.
        """
        if size < 1:
            raise ValueError("a batch of at least one packet")
        pointer = self._flow._for("read")
        pending = self._flow._pending.setdefault(self._number, deque())
        if pending:
            return pending.popleft()
        deadline, error = Deadline(timeout), new_error()
        out = ffi.new("struct ffpf_graph_batch *")
        while True:
            with self._flow._handle.waiting():
                outcome = lib.ffpf_graph_getnext_pkt(pointer, self._number, size, deadline.milliseconds(), out, error)
            self._flow.graph.core.returned()
            if outcome == lib.FFPF_BATCH:
                pending.extend(descriptors.batches_of(out))
                check(lib.ffpf_graph_release(pointer, self._number, error), error)
                return pending.popleft()
            if outcome == lib.FFPF_END:
                return None
            if outcome == lib.FFPF_FAILED:
                raise self._flow._exception(error, "read")
            if deadline.over():
                return descriptors.empty_batch()
            # FFPF_INTERRUPTED: Python has run signal handlers before it comes back here

    def batches(self, size: int = BATCH_ROWS) -> Iterator[Batch]:
        """read_batch until the end."""
        while (batch := self.read_batch(size)) is not None:
            yield batch

    def __iter__(self) -> Iterator[Packet]:
        """The packets one after the other, until the end."""
        return chain.from_iterable(self.batches())

    def begin(self) -> Self:
        """Packets that come from now on are queued for this reader, although it reads later."""
        error = new_error()
        code = lib.ffpf_graph_read_begin(self._flow._for("read"), self._number, error)
        if code < 0:
            raise self._flow._exception(error, "read")
        return self

    def wait(self, packets: int, timeout: float | None = None) -> int:
        """wait_for_n_pkts: until so many packets wait to be read, the time is over, or the end: how many there are."""
        pointer = self._flow._for("read")
        deadline, error = Deadline(timeout), new_error()
        outcome = ffi.new("enum ffpf_outcome *")
        while True:
            with self._flow._handle.waiting():
                there = lib.ffpf_graph_wait_for_n_pkts(
                    pointer, self._number, packets, deadline.milliseconds(), outcome, error
                )
            self._flow.graph.core.returned()
            if there < 0:
                raise self._flow._exception(error, "read")
            if outcome[0] in (lib.FFPF_BATCH, lib.FFPF_END) or deadline.over():
                return int(there)

    def on_packets(self, callback: Callable[[Batch], object], packets: int = 1, seconds: float = 0.0) -> None:
        """filter_callback: callback(batch) whenever so many packets were let through, and for the rest at the end.

        It is called by the thread that drives the graph, for `seconds` (0: until the flow is closed). Returning False
        ends it; so does raising, and whoever drives the graph gets the exception.
        """
        graph = self._flow.graph

        def call(_: Any, batch: Any) -> bool:
            try:
                return all(callback(one) is not False for one in descriptors.batches_of(batch))
            except BaseException as failure:
                graph.core.failures.append(failure)
                return False

        function = ffi.callback("bool (*)(void *, const struct ffpf_graph_batch *)", call)
        error = new_error()
        code = lib.ffpf_graph_filter_callback(
            self._flow._for("read"), self._number, function, ffi.NULL, packets, int(seconds * 1000 + 0.5), error
        )
        if code < 0:
            raise self._flow._exception(error, "read")
        self._flow._callbacks.append(function)

    @property
    def reader(self) -> dict[str, int]:
        """Of the reader: let_through = delivered + waiting + dropped_ibuf + dropped_pbuf."""
        struct, error = ffi.new("struct ffpf_graph_reader_counters *"), new_error()
        code = lib.ffpf_graph_flow_reader_counters(self._flow._for("read"), self._number, struct, error)
        if code < 0:
            raise self._flow._exception(error, "read")
        return {name: int(getattr(struct, name)) for name, _ in ffi.typeof(struct[0]).fields}


class Node(Readable):
    """A node of a flow. What it counts and keeps is that of the instance behind it, for all its flows."""

    def __init__(self, flow: Flow, number: int, struct: Any) -> None:
        self._flow = flow
        self._number = number
        self.number = number
        self.name = text_at(struct.name)
        self.class_name = text_at(getattr(struct, "class"))  # "": a node of another flow, by its name
        self.expression = text_at(struct.expression)
        self.inputs = tuple(int(struct.inputs[at]) for at in range(struct.input_count))
        self.instance = int(struct.instance)  # id among Graph.instances(); 0 before instantiate

    @property
    def counters(self) -> Counters:
        """What went in and out, and why not."""
        struct, error = ffi.new("struct ffpf_node_counters *"), new_error()
        code = lib.ffpf_graph_flow_counters(self._flow._for("read"), self._number, struct, error)
        if code < 0:
            raise self._flow._exception(error, "read")
        return counters_of(struct)

    @property
    def serving(self) -> GraphInstance:
        """The instance behind it: level, reason, who shares it."""
        self._flow._for("read")
        return next(one for one in self._flow.graph.instances() if one.id == self.instance)

    @property
    def level(self) -> str:
        """Where it runs: "kernel", "userspace", "nic"."""
        return self.serving.level

    @property
    def mbuf(self) -> npt.NDArray[Any]:
        """Its MBuf where it lies, to be read and written while it runs: an array () of the class's dtype, or octets
        (n,) of a class that has none here. mbuf["packets"] is a number that changes.

        The memory stays as long as the array: a flow that is closed before ends with it. NotSupported: it has no MBuf.
        """
        data, size, error = ffi.new("void **"), ffi.new("size_t *"), new_error()
        code = lib.ffpf_graph_flow_mbuf(self._flow._for("read"), self._number, data, size, error)
        if code < 0:
            raise self._flow._exception(error, "read")
        class_name = self.class_name or self.serving.class_name
        return mbufs.array(class_name, self._flow._handle.view(data[0], size[0]))

    def report(self) -> dict[str, Any]:
        """What it has found out, as the class tells it."""
        found: dict[str, Any] = json.loads(self._report(lib.FFPF_REPORT_JSON) or "{}")
        return found

    def report_text(self) -> str:
        """The same as lines for people."""
        return self._report(lib.FFPF_REPORT_TEXT)

    def _report(self, form: int) -> str:
        out, error = ffi.new("struct ffpf_text *"), new_error()
        try:
            code = lib.ffpf_graph_flow_report(self._flow._for("read"), self._number, form, out, error)
            if code < 0:
                raise self._flow._exception(error, "read")
            return text_at(lib.ffpf_text_get(out))
        finally:
            lib.ffpf_text_free(out)

    def __str__(self) -> str:
        return self.name or f"({self.class_name}{',' if self.expression else ''}{self.expression})"

    def __repr__(self) -> str:
        name = f"{self.name}=" if self.name and self.class_name else self.name
        words = f"({self.class_name},{self.expression})" if self.class_name else ""
        return f"<Node {self.number} {name}{words}>"


class Flow(Readable):
    """A flow. text: graph text, or a composed graph (pyffpf.compose); None: to be populated later.

    name: by which later flows know it, "flowN" when not given. graph: whose it is, None for the process's own. share:
    whether it shares nodes with other flows; one that does not has its own devices too. engine: "shared" makes it a
    flow of ffpfd, which captures and runs what the kernel can for all; see pyffpf.remote_flow. deliver: then, names or
    positions of nodes whose packets are to be read besides those of the last stage; here every node can be read.
    """

    def __new__(
        cls,
        text: str | Part | None = None,
        *,
        name: str | None = None,
        graph: Graph | None = None,
        share: bool = True,
        engine: str = "embedded",
        deliver: Iterable[str | int] = (),
    ) -> Self:
        check_engine(engine)
        made: Any = cls
        if engine == "shared" and cls is Flow:
            from pyffpf.remote_flow import RemoteFlow

            made = RemoteFlow
        return cast(Self, object.__new__(made))

    def __init__(
        self,
        text: str | Part | None = None,
        *,
        name: str | None = None,
        graph: Graph | None = None,
        share: bool = True,
        engine: str = "embedded",
        deliver: Iterable[str | int] = (),
    ) -> None:
        self._closed = True  # for __del__, until there is something to close
        if engine != "embedded":
            raise ValueError("a class of flows of ffpfd is made of pyffpf.remote_flow.RemoteFlow")
        self.graph = graph if graph is not None else default_graph()
        self._handle = _Handle(self.graph, name, share)
        self._closed = False
        self._flow = self
        self._number = lib.FFPF_GRAPH_LAST
        self._callbacks: list[Any] = []
        self._pending: dict[int, deque[Batch]] = {}  # by node: read already; of several link types
        self._text = b""
        self._name = text_at(lib.ffpf_graph_flow_name(self._handle.pointer))
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
        return self._move(
            "instantiate", self._text, lambda error: lib.ffpf_graph_flow_instantiate(self._pointer, error)
        )

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
        self._handle.end()

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

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed:
            warn_unclosed(f"the flow {self._name!r}", self)  # its state is the core's, which may be busy
            self._closed = True
            self.graph.core.when_free(self._handle.end)

    # ---- nodes ----

    @property
    def nodes(self) -> list[Node]:
        """Its nodes in the order of the text; empty before it is populated, and when it is closed."""
        if self._closed:
            return []
        error, struct = new_error(), ffi.new("struct ffpf_graph_flow_node *")
        found = []
        for number in range(lib.ffpf_graph_flow_node_count(self._handle.pointer)):
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
        """A line for each node: where it runs, and why."""
        return "\n".join(f"{node!s}: {one.level}: {one.reason}" for node in self.nodes for one in [node.serving])

    def picture(self) -> Picture:
        """The whole graph that it belongs to."""
        return self.graph.picture()

    def __repr__(self) -> str:
        return f"<Flow {self._name!r} {self.state}>"
