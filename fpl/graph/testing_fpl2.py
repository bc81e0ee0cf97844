# SPDX-License-Identifier: BSD-3-Clause
"""For tests: programs in FPL-2 in the kernel, many in one program of a stage, each run alone."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fpl.classify import bpf, layout
from fpl.classify.testing import Packet
from fpl.fpl2 import check
from fpl.fpl2.compile import Checked
from fpl.fpl2.reference import Machine
from fpl.graph import emit
from fpl.graph.node import Level, Node
from fpl.graph.testing import DEVICE, TestStage

TPID = 0x8100
TYPE_AT = 12


@dataclass(frozen=True)
class Seen:
    """A packet as the scratch has it, as programs see it, and their facts."""

    packet: Packet
    octets: bytes
    facts: Mapping[str, int]


def seen(octets: bytes, tag: int | None = None, *, ifindex: int = 3, pkt_type: int = 4) -> Seen:
    """tag: a VLAN tag that the kernel took out, and the program sees in place."""
    packet = Packet(octets, ifindex=ifindex, pkt_type=pkt_type, vlan_tci=tag)
    facts = {"IFINDEX": ifindex, "PKTTYPE": pkt_type}
    if tag is not None:
        facts |= {"VLAN_PRESENT": 1, "VLAN_TCI": tag}
        if len(octets) >= TYPE_AT:
            octets = octets[:TYPE_AT] + struct.pack("!HH", TPID, tag) + octets[TYPE_AT:]
    return Seen(packet, octets, facts)


class KernelPrograms:
    """Programs in one program of the kernel, but for those that are columns of classify. Those that it refused are in
    `refused`, by number, with the reason; `how` says how the others run."""

    def __init__(self, made: TestStage, programs: Sequence[str], mbuf: int, *, columns: bool = True) -> None:
        """columns: whether there are some."""
        self._made, self.refused = made, dict[int, str]()
        self._numbers: dict[int, int] = {}
        self._columns: dict[int, int] = {}  # by number of the node: equal programs may be one
        self.how: dict[int, str] = {}
        free = made.columns if columns else []
        for flow, text in enumerate(programs):
            made.flows.add(flow)
            node = Node("FPL-2", text, (0,), mbuf or None, private=True, deliver=False)
            before = list(free)
            placed = made.stage.prepare(flow, [DEVICE, node], "g", {}, free).placed[1]
            for column in set(before).difference(free):
                self._columns[placed.number] = column
            self.how[flow] = placed.how
            if placed.level is not Level.KERNEL:
                self.refused[flow] = placed.reason
            self._numbers[flow] = placed.number
        for flow in range(len(programs)):
            made.stage.commit(flow, None)

    def run(self, number: int, packets: Sequence[Seen]) -> list[int]:
        """Results of one of them, alone; the packet must be afterwards what it was."""
        return self.run_each([number], packets)[number]

    def run_each(self, numbers: Sequence[int], packets: Sequence[Seen]) -> dict[int, list[int]]:
        """Results of several, one after the other on each packet, none beside another."""
        results: dict[int, list[int]] = {number: [] for number in numbers}
        for each in packets:
            with self._placed(each):
                for number in numbers:
                    self._made.stage.switch(number, True)
                    results[number] += self._run([number])
                    self._made.stage.switch(number, False)
        return results

    def run_together(self, numbers: Sequence[int], packets: Sequence[Seen]) -> dict[int, list[int]]:
        """Results of several, all on."""
        results: dict[int, list[int]] = {number: [] for number in numbers}
        for number in numbers:
            self._made.stage.switch(number, True)
        for each in packets:
            with self._placed(each):
                for number, result in zip(numbers, self._run(numbers), strict=True):
                    results[number].append(result)
        for number in numbers:
            self._made.stage.switch(number, False)
        return results

    @contextlib.contextmanager
    def _placed(self, each: Seen) -> Iterator[None]:
        made = self._made
        (cpu,) = os.sched_getaffinity(0)
        made.source.place(each.packet, cpu)
        before = self._not_said(made.source.verdicts(cpu)[1])
        yield
        assert self._not_said(made.source.verdicts(cpu)[1]) == before, "the packet was changed"

    def _not_said(self, scratch: bytes) -> bytes:
        """What nobody may change: all but the verdict, and results of columns."""
        left = bytearray(scratch[SCRATCH_FIRST:])
        for column in self._columns.values():
            struct.pack_into("=I", left, 4 * column, 0)
        return bytes(left)

    def _run(self, numbers: Sequence[int]) -> list[int]:
        self._made.source.run()
        (cpu,) = os.sched_getaffinity(0)
        work = bpf.map_lookup(self._made.stage.work, cpu, emit.WORK_BYTES)
        bits, scratch = self._made.source.verdicts(cpu)
        return [self._result(number, work, bits, scratch) for number in numbers]

    def _result(self, number: int, work: bytes, bits: int, scratch: bytes) -> int:
        column = self._columns.get(self._numbers[number])
        if column is None:
            return int(struct.unpack_from("=I", work, emit.WORK_RESULTS + 4 * self._numbers[number])[0])
        said = self._made.source.result(column)
        said = said or int(struct.unpack_from("=I", scratch, layout.SCRATCH_RESULTS + 4 * column)[0])
        return said if bits >> column & 1 else 0

    def memory(self, number: int) -> bytes:
        return self._made.mbuf(number, 1)

    def close(self) -> None:
        for flow in self._numbers:
            self._made.close(flow)


SCRATCH_FIRST = (
    layout.SCRATCH_RESULTS
)  # results and all that lies behind; in front of them is the verdict, which classify writes


def expected(
    program: str | Checked, packets: Sequence[Seen], mbuf: int, link: str = "ethernet"
) -> tuple[list[int], bytes]:
    """What the reference says of them, one after the other, and its memory then."""
    checked = check(program, mbuf_bytes=mbuf, link=link) if isinstance(program, str) else program
    room = bytearray(mbuf)
    return [Machine(each.octets, each.facts, room).run(checked.program) for each in packets], bytes(room)
