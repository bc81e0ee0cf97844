# SPDX-License-Identifier: BSD-3-Clause
"""Nodes of flows: what is read of them, what they count, what they keep."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from pyffpf import descriptors, mbufs
from pyffpf._core import ffi, lib
from pyffpf.engine_core import Deadline
from pyffpf.errors import new_error
from pyffpf.graph import Counters, GraphInstance, counters_of
from pyffpf.graph_text import text_at
from pyffpf.pulled import Pulled
from pyffpf.reading import Reading

if TYPE_CHECKING:
    from pyffpf.batch import Batch
    from pyffpf.flow import Flow


class Readable(Reading):
    """What packets can be read from: a node, or a flow, which stands for what its last stage lets through.

    All of pyffpf.reading is there. Packets that come from the first read on are queued, until they are read; when the
    queue is full this reader loses packets, and no other. A node has one reader.
    """

    _flow: Flow
    _number: int

    def _pulled(self) -> Pulled:
        return self._flow._read_from(self._number)

    @property
    def comes(self) -> bool:
        """Whether packets can come: the flow is active."""
        return self._flow.state == "active"

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
        self.instance = flow.graph.id_here(int(struct.instance))  # id among Graph.instances(); 0 before instantiate

    @property
    def flow(self) -> Flow:
        """Whose node it is."""
        return self._flow

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
