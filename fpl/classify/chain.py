# SPDX-License-Identifier: BSD-3-Clause
"""The chain of programs that run the filters that stay code.

    slot 0 -> slot first -> first + 1 -> ... -> the first empty slot: STORE

A part is one program for some filters. It tail-calls the slot behind it and, when that is empty, STORE; so a part can
be replaced, or appended, in one store, without touching its neighbours. There are no gaps: a part that lost its filters
stays as an empty one, until it is the last.

Each filter is first verified alone, against a limit of its own; parts are filled by what their filters cost alone: up
to a small budget while there are slots for more parts, then up to a large one. What a part refuses beside others goes
to the next.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from fpl.classify import bpf, emit_code, ir, layout
from fpl.classify.bytecode import ClassifyRefused, Program
from fpl.classify.compiler import Compiler
from fpl.classify.emit_code import Decided

PARTS_MAX = 28  # the kernel follows 33 tail calls: the hook's two, and these
ALONE_STEPS, ALONE_INSNS = 200_000, 8_000
SMALL_STEPS, SMALL_INSNS = 20_000, 800  # a part that is quick to compile anew
PART_STEPS, PART_INSNS = 300_000, 12_000  # jumps of BPF reach 32,767 instructions
MEASURED_MAX = 4096


@dataclass(frozen=True)
class Cost:
    steps: int  # of the verifier
    insns: int


@dataclass
class _Entry:
    program: Program
    cost: Cost
    columns: set[int] = field(default_factory=set)


@dataclass
class _Part:
    slot: int
    fd: int = -1
    entries: dict[bytes, _Entry] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)  # columns that the loaded program still decides, and must not for long

    def has_room(self, cost: Cost, steps: int, insns: int) -> bool:
        costs = [cost, *(entry.cost for entry in self.entries.values())]
        return sum(c.steps for c in costs) <= steps and sum(c.insns for c in costs) <= insns


class Chain:
    def __init__(self, compiler: Compiler, scratch_fd: int, progs_fd: int, first_slot: int, place: ir.Place) -> None:
        self._compiler, self._scratch, self._progs, self._first = compiler, scratch_fd, progs_fd, first_slot
        self._place = place
        self._parts: list[_Part] = []
        self._alone: dict[bytes, Cost] = {}

    def measure(self, octets: bytes, program: Program) -> Cost:
        """What the filter costs alone. Raises ClassifyRefused when that is too much, or it cannot be compiled."""
        if octets not in self._alone:
            fd, insns = self._load([Decided(program, (0,))], self._first)
            cost = Cost(bpf.prog_verified(fd), insns)
            os.close(fd)
            if len(self._alone) >= MEASURED_MAX:
                self._alone.clear()
            self._alone[octets] = cost
        cost = self._alone[octets]
        if cost.steps > ALONE_STEPS or cost.insns > ALONE_INSNS:
            raise ClassifyRefused(f"{cost.insns} instructions that the verifier follows in {cost.steps} steps: "
                                  f"the limits are {ALONE_INSNS} and {ALONE_STEPS}")  # fmt: skip
        return cost

    def add(self, column: int, octets: bytes, program: Program) -> None:
        """Lets the filter decide the column, which none decides now. Raises ClassifyRefused, having changed nothing."""
        cost = self.measure(octets, program)
        candidates = self._candidates(octets, cost)
        # A part that the column's last filter must leave anyway comes first: it is compiled once for both.
        for part in sorted(candidates, key=lambda part: column not in part.stale):
            self.purge(column, besides=part)
            there = part.entries.get(octets)
            entry = _Entry(program, cost, {column, *(there.columns if there else ())})
            try:
                self._replace(part, {**part.entries, octets: entry})
            except ClassifyRefused:
                continue
            if part not in self._parts:
                self._parts.append(part)
            return
        raise ClassifyRefused(f"{PARTS_MAX} programs are full of filters that are code")

    def _candidates(self, octets: bytes, cost: Cost) -> list[_Part]:
        """Parts that may take a filter, the best first."""
        same = [part for part in self._parts if octets in part.entries]
        if same:
            return same
        found = [part for part in self._parts if part.has_room(cost, SMALL_STEPS, SMALL_INSNS)]
        if len(self._parts) < PARTS_MAX:
            return [*found, _Part(self._first + len(self._parts))]
        larger = [part for part in self._parts if part not in found and part.has_room(cost, PART_STEPS, PART_INSNS)]
        return [*found, *sorted(larger, key=lambda part: sum(e.cost.insns for e in part.entries.values()))]

    def drop(self, column: int) -> None:
        """The column is of no interest any more. Its verdict is left as it is until something must be compiled."""
        for part in self._parts:
            for octets, entry in list(part.entries.items()):
                if column in entry.columns:
                    entry.columns.discard(column)
                    part.stale.add(column)
                    if not entry.columns:
                        del part.entries[octets]
        while self._parts and not self._parts[-1].entries:
            part = self._parts.pop()
            bpf.map_delete(self._progs, part.slot)
            os.close(part.fd)

    def purge(self, column: int, besides: _Part | None = None) -> None:
        """Before another filter decides a dropped column: no program does any more."""
        for part in self._parts:
            if column in part.stale and part is not besides:
                self._replace(part, part.entries)

    def _replace(self, part: _Part, entries: dict[bytes, _Entry]) -> None:
        filters = [Decided(entry.program, tuple(sorted(entry.columns))) for entry in entries.values()]
        fd, _ = self._load(filters, part.slot)
        bpf.prog_array_set(self._progs, part.slot, fd)
        if part.fd >= 0:
            os.close(part.fd)
        part.fd, part.entries = fd, entries
        part.stale.clear()

    def _load(self, filters: list[Decided], slot: int) -> tuple[int, int]:
        """(descriptor, instructions) of a part for a slot."""
        lines = emit_code.body(filters)
        then = [slot + 1] if slot + 1 < min(layout.PROGS, self._first + PARTS_MAX) else []
        insns = self._compiler.compile(
            ir.module(self._scratch, self._progs, lines.allocas, lines.body, then, place=self._place)
        )
        try:
            return self._place.load(insns, "ffpf_code"), len(insns) // bpf.INSN_BYTES
        except bpf.VerifierError as error:
            raise ClassifyRefused(f"the verifier refused: {error}") from error

    @property
    def slots(self) -> list[int]:
        return [part.slot for part in self._parts]

    @property
    def descriptors(self) -> list[int]:
        return [part.fd for part in self._parts]

    def close(self) -> None:
        for part in self._parts:
            os.close(part.fd)
        self._parts.clear()
