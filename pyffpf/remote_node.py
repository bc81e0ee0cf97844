# SPDX-License-Identifier: BSD-3-Clause
"""Nodes of flows in ffpfd (remote_flow.py), with the methods of those of a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from fpl.graph.node import Node as GraphNode
from pyffpf import mbuf_report
from pyffpf.errors import NotSupported
from pyffpf.flow_node import Node, Readable
from pyffpf.graph import Counters
from pyffpf.pulled import Pulled

if TYPE_CHECKING:
    from pyffpf.batch import Batch
    from pyffpf.remote_flow import RemoteFlow


class Delivers(Readable):
    """Reads what arrives in this process, as any node of it."""

    def _reader(self) -> Readable:
        raise NotImplementedError

    def _pulled(self) -> Pulled:
        return self._reader()._pulled()

    def begin(self) -> Self:
        self._reader().begin()
        return self

    def wait(self, packets: int, timeout: float | None = None) -> int:
        return self._reader().wait(packets, timeout)

    def on_packets(self, callback: Callable[[Batch], object], packets: int = 1, seconds: float = 0.0) -> None:
        self._reader().on_packets(callback, packets, seconds)

    @property
    def reader(self) -> dict[str, int]:
        return self._reader().reader


class RemoteNode(Delivers, Node):
    """A node of a flow in ffpfd."""

    _flow: RemoteFlow

    def __init__(self, flow: RemoteFlow, number: int, node: GraphNode) -> None:
        self._flow = flow
        self._number = self.number = number
        self.name = node.name
        self.class_name = node.kind
        self.expression = node.argument
        self.inputs = node.inputs
        self.instance = flow.instance_of(number)

    @property
    def of(self) -> RemoteFlow:
        """The flow that it is a node of."""
        return self._flow

    @property
    def counters(self) -> Counters:
        """What went in and out. Of a device: what the hook was given since ffpfd opened it. What was lost on the way to
        this process is among the drops of the node that delivers, or, where several do, of the device."""
        self._flow._for("read")
        return self._flow.counters_of(self.number)

    @property
    def mbuf(self) -> npt.NDArray[Any]:
        """Its MBuf where it lies; in the kernel, or in the group's worker, it can only be read, unless the flow shares
        nothing. Of a program in the kernel that has one for each CPU (PERCPU): a copy of what they are together now.
        NotSupported: it has none."""
        self._flow._for("read")
        local = self._flow.local(self.number)
        there = self._flow.mbuf_there(self.number)
        if there is not None:
            return there
        if local is None or self._flow.is_there(self.number):
            raise NotSupported(f"{self.class_name}: it has no MBuf")
        return local[-1].mbuf

    def report(self) -> dict[str, Any]:
        self._flow._for("read")
        if self._flow.worker_of(self.number):
            facts: dict[str, Any] = self._flow.report_of(self.number)["facts"]
            return facts
        kernel = self._flow.mbuf_there(self.number)
        if kernel is not None:
            return mbuf_report.facts(self.class_name, self.expression, kernel)
        local = self._flow.local(self.number)
        return local[-1].report() if local and not self._flow.is_there(self.number) else {}

    def report_text(self) -> str:
        local = self._flow.local(self.number)
        if self._flow.worker_of(self.number):
            return str(self._flow.report_of(self.number)["text"])
        if local is not None and not self._flow.is_there(self.number):
            return local[-1].report_text()
        return mbuf_report.text(self.report())

    def _reader(self) -> Readable:
        return self._flow.reader_of((self.number,), str(self))
