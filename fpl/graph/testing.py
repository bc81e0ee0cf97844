# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of graph share: a stage on a source without a socket, graphs written shortly, and filters."""

from __future__ import annotations

import itertools
import mmap
import os
import struct
from types import TracebackType
from typing import Any

from fpl.classify import Classifier, Compiler, Compilers
from fpl.classify.testing import Packet, TestSource, octets_of
from fpl.graph.kept import KeptError, KeptStage
from fpl.graph.node import Instance, Node
from fpl.graph.stage import Inherited, Stage
from pyffpf.daemon.kernel_sources import nodes_library
from pyffpf.percpu_mbuf import PerCpuMBuf

NODE_COLUMNS = range(100, 200)
LD_W, LD_H, LD_B, JEQ, JGT, RET = 0x20, 0x28, 0x30, 0x15, 0x25, 0x06


ETHERNET = 0  # FFPF_NODE_ETHERNET


def octet_is(at: int, value: int) -> bytes:
    """A filter that accepts packets with this octet."""
    return octets_of([(LD_B, 0, 0, at), (JEQ, 0, 1, value), (RET, 0, 0, 262144), (RET, 0, 0, 0)])


def bpf_node(at: int, value: int, *inputs: int, **more: Any) -> Node:
    return Node("BPF", f"ether[{at}] = {value}", inputs or (0,), insns=octet_is(at, value), **more)


DEVICE = Node("device", "eth0")


class TestStage:
    """A source without a socket with a Classifier and a Stage. Packets are handled on one processor."""

    __test__ = False

    def __init__(self, compiler: Compiler, link: int = ETHERNET, preparing: Compilers | None = None) -> None:
        """preparing: for what is prepared; None: the compiler."""
        self.source = TestSource()
        self.compiler = compiler
        self.classifier = Classifier(self.source.maps, compiler=self.compiler, preparing=preparing)
        self._link, self._serial = link, itertools.count(1).__next__
        self.stage = self._stage(None)
        self.columns = list(NODE_COLUMNS)
        self.flows: set[int] = set()
        self.flow_columns: dict[int, int] = {}  # of those that deliver

    def _stage(self, inherited: Inherited | None) -> Stage:
        maps = self.source.maps
        return Stage(self.classifier, self.compiler, maps, self._link, nodes_library(), self._serial, inherited)

    def adopt(self, kept: KeptStage, files: dict[str, int], flows: dict[int, bool]) -> None:
        """By a classifier and a stage of another process, as the one before is gone. files: what somebody held for it
        (hold()), which are closed; flows: those that are known, and whether they are active."""
        bank = self.classifier.export_state()["bank"]
        self.stage.close()
        self.classifier.close()
        filters = kept.filters(flows, self._link, nodes_library())
        reserved = [self.flow_columns[flow] for flow in flows if flow in self.flow_columns]
        state = {"bank": bank, "reserved": reserved}
        self.classifier = Classifier(self.source.maps, state, self.compiler, filters=filters)
        try:
            self.stage = self._stage(Inherited(kept, flows, files))
        except KeptError:
            self.stage = self._stage(None)
            raise
        finally:
            for fd in files.values():
                os.close(fd)
        self.flows = set(flows)
        self.flow_columns = {flow: column for flow, column in self.flow_columns.items() if flow in flows}
        self.columns = [column for column in NODE_COLUMNS if column not in self.stage.columns]

    def hold(self) -> dict[str, int]:
        """The files of the stage, as somebody holds them."""
        return {name: os.dup(fd) for name, fd in self.stage.files().items()}

    def __enter__(self) -> TestStage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stage.close()
        self.classifier.close()
        self.source.__exit__(kind, error, tb)

    def open(self, flow: int, nodes: list[Node], group: str = "g", *, on: bool = True, **more: Any) -> Instance:
        """A flow whose column is its number."""
        self.flows.add(flow)
        instance = self.stage.prepare(flow, nodes, group, more.pop("pins", {}), self.columns, **more)
        column = flow if instance.delivered else None
        if column is not None:
            self.classifier.reserve(column)
            self.flow_columns[flow] = column
        self.stage.commit(flow, column)
        if on:
            self.stage.switch(flow, True)
        return instance

    def close(self, flow: int) -> None:
        self.flows.remove(flow)
        self.columns += self.stage.remove(flow)
        if flow in self.flow_columns:
            self.classifier.clear(self.flow_columns.pop(flow))

    def send(self, packet: Packet) -> dict[int, int]:
        """The flows that get a packet, and its result."""
        bits, results = self.source.judge(packet)
        return {flow: results[column]
                for flow, column in self.flow_columns.items() if bits >> column & 1}  # fmt: skip

    def mbuf(self, flow: int, position: int) -> bytes:
        """As a reader sees it."""
        found = self.stage.mbuf(flow, position)
        assert found is not None
        if found.merges:
            with mmap.mmap(found.fd, found.lanes * found.stride, prot=mmap.PROT_READ) as memory:
                return PerCpuMBuf(bytes(memory), at=found.at, octets=found.octets, lanes=found.lanes,
                                  stride=found.stride, merges=found.merges).read().tobytes()  # fmt: skip
        with mmap.mmap(found.fd, found.at + found.octets, prot=mmap.PROT_READ) as memory:
            return memory[found.at :]

    def u64(self, flow: int, position: int) -> int:
        return int(struct.unpack_from("=Q", self.mbuf(flow, position))[0])

    def counts(self, flow: int) -> list[tuple[int, int] | None]:
        """(came, out) by position."""
        return [None if count is None else (count.came, count.out) for count in self.stage.counts(flow)]
