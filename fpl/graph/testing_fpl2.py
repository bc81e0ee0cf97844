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
    """Programs in one program of the kernel. Those that it refused are in `refused`, by number, with the reason."""

    def __init__(self, made: TestStage, programs: Sequence[str], mbuf: int) -> None:
        self._made, self.refused = made, dict[int, str]()
        self._numbers: dict[int, int] = {}
        for flow, text in enumerate(programs):
            made.flows.add(flow)
            node = Node("FPL-2", text, (0,), mbuf or None, private=True, deliver=False)
            placed = made.stage.prepare(flow, [DEVICE, node], "g", {}, made.columns).placed[1]
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
        before = made.source.verdicts(cpu)[1]
        yield
        after = made.source.verdicts(cpu)[1]
        assert after[SCRATCH_FIRST:] == before[SCRATCH_FIRST:], "the packet was changed"

    def _run(self, numbers: Sequence[int]) -> list[int]:
        self._made.source.run()
        (cpu,) = os.sched_getaffinity(0)
        work = bpf.map_lookup(self._made.stage.work, cpu, emit.WORK_BYTES)
        places = (emit.WORK_RESULTS + 4 * self._numbers[number] for number in numbers)
        return [int(struct.unpack_from("=I", work, place)[0]) for place in places]

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
