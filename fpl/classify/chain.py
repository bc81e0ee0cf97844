# SPDX-License-Identifier: BSD-3-Clause
"""The chain of programs that run the filters that stay code.

    slot 0 -> slot first -> first + 1 -> ... -> the first empty slot: STORE

A part is one program for some filters. It tail-calls the slot behind it and, when that is empty, STORE; so a part can
be replaced, or appended, in one store, without touching its neighbours. There are no gaps: a part that lost its filters
stays as an empty one, until it is the last, or another filter takes its place.

Which columns a filter decides is memory (rows.py). A filter is made ready first: compiled and verified alone, against a
limit of its own, as a program that can be put into any slot. That is done beside everything else, and what the verifier
saw then is what runs: a large filter is a part of its own. Small ones share parts, which are compiled anew when one
comes, up to a small budget while there may be more parts. Where large ones have all their parts, one is made ready
together with those of a part that has room, and takes their place.

ready(), Ready.close(): any thread. All else: one thread at a time. The lock is held for moments only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from fpl.classify import bpf, emit_code, ir, rows
from fpl.classify.bytecode import ClassifyRefused
from fpl.classify.compiler import Compiler
from fpl.classify.emit_code import Decided
from fpl.classify.filters import WORK_BYTES, Filter

PARTS_MAX = 28  # the kernel follows 33 tail calls: the hook's two, and these
LARGE_MAX = 12  # of them, for large filters
ALONE_STEPS, ALONE_INSNS = 200_000, 8_000
SMALL_STEPS, SMALL_INSNS = 20_000, 800  # a filter that is small, and a part that is quick to compile anew
PART_STEPS, PART_INSNS = 300_000, 12_000  # jumps of BPF reach 32,767 instructions
MEASURED_MAX = 4096


@dataclass(frozen=True)
class Cost:
    steps: int  # of the verifier
    insns: int

    @property
    def is_small(self) -> bool:
        return self.steps <= SMALL_STEPS and self.insns <= SMALL_INSNS


@dataclass(eq=False)
class Entry:
    """A filter in a part's program."""

    filter: Filter
    cost: Cost
    row: int
    columns: set[int] = field(default_factory=set)
    held: int = 0  # by filters made ready that are the same

    @property
    def is_shared(self) -> bool:
        """By all columns that want the filter. Where it returns several values, its row has one column."""
        return self.filter.result != 0

    @property
    def is_needed(self) -> bool:
        return bool(self.columns) or self.held > 0


@dataclass(eq=False)
class _Part:
    slot: int
    fd: int = -1
    entries: list[Entry] = field(default_factory=list)
    is_claimed: bool = False  # a large filter is being made ready to join it

    def needed(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.is_needed]

    @property
    def is_large(self) -> bool:
        return any(not entry.cost.is_small for entry in self.entries)

    def has_room(self, cost: Cost, steps: int, insns: int) -> bool:
        costs = [cost, *(entry.cost for entry in self.needed())]
        return sum(c.steps for c in costs) <= steps and sum(c.insns for c in costs) <= insns


@dataclass(eq=False)
class Ready:
    """A filter that add() takes. close() gives back what it holds, also after that."""

    filter: Filter
    cost: Cost
    chain: Chain
    there: Entry | None = None  # it runs already
    row: int = -1
    fd: int = -1  # of a part for it, and those in `beside`
    part: _Part | None = None  # that it joins
    beside: list[Entry] = field(default_factory=list)
    is_promised: bool = False  # one of LARGE_MAX

    def close(self) -> None:
        self.chain.give_back(self)


class Chain:
    def __init__(self, compiler: Compiler, scratch_fd: int, progs_fd: int, first_slot: int, place: ir.Place) -> None:
        """The compiler is for parts of small filters; who makes one ready brings another. The descriptors are copied: a
        filter may still be being made ready when the source is closed."""
        self._compiler, self._first, self._place = compiler, first_slot, place
        self._scratch, self._progs, self._rows = os.dup(scratch_fd), os.dup(progs_fd), rows.Rows()
        lanes = bpf.possible_cpus() * place.lanes
        self._work = bpf.map_create(bpf.MAP_TYPE_ARRAY, WORK_BYTES, lanes, "ffpf_code")
        self._parts: list[_Part] = []
        self._alone: dict[bytes, Cost] = {}
        self._lock = threading.Lock()
        self._resting: list[int] = []
        self._promised = 0
        self._users = 1  # this, and each filter that is being made ready, or is
        self._is_closed = False

    # ---- made ready

    def ready(self, filter: Filter, compiler: Compiler) -> Ready:
        """Raises ClassifyRefused when the filter is too much for the verifier, or cannot be compiled."""
        with self._lock:
            if self._is_closed:
                raise ClassifyRefused("the capture has ended")
            self._users += 1
            made = Ready(filter, Cost(0, 0), self)
            made.there = self._find(filter)
            if made.there is not None:
                made.there.held += 1
                made.cost = made.there.cost
        try:
            if made.there is None:
                self._make(made, compiler)
        except BaseException:
            made.close()
            raise
        return made

    def _make(self, made: Ready, compiler: Compiler) -> None:
        known = self._alone.get(made.filter.key)
        if known is None or not known.is_small:
            made.row = self._rows.take()
            made.fd, insns = self._load([Decided(made.filter, made.row)], compiler, next_of=made.row)
            known = Cost(bpf.prog_verified(made.fd), insns)
            if len(self._alone) >= MEASURED_MAX:
                self._alone.clear()
            self._alone[made.filter.key] = known
        made.cost = known
        if known.steps > ALONE_STEPS or known.insns > ALONE_INSNS:
            raise ClassifyRefused(f"{known.insns} instructions that the verifier follows in {known.steps} steps: "
                                  f"the limits are {ALONE_INSNS} and {ALONE_STEPS}")  # fmt: skip
        if not known.is_small and not self._promise(made):
            self._join(made, compiler)

    def _promise(self, made: Ready) -> bool:
        """A part of its own."""
        with self._lock:
            made.is_promised = sum(part.is_large for part in self._parts) + self._promised < LARGE_MAX
            self._promised += made.is_promised
        return made.is_promised

    def _join(self, made: Ready, compiler: Compiler) -> None:
        """A program for it and the filters of a part that has room."""
        with self._lock:
            parts = [part for part in self._parts if part.is_large and not part.is_claimed]
            fitting = [part for part in parts if part.has_room(made.cost, PART_STEPS, PART_INSNS)]
            if not fitting:
                raise ClassifyRefused(f"{LARGE_MAX} programs are full of large filters")
            made.part = min(fitting, key=lambda part: sum(entry.cost.insns for entry in part.needed()))
            made.part.is_claimed = True
            made.beside = made.part.needed()
            for entry in made.beside:
                entry.held += 1
        os.close(made.fd)
        made.fd = -1
        filters = [Decided(entry.filter, entry.row) for entry in made.beside]
        made.fd, _ = self._load([*filters, Decided(made.filter, made.row)], compiler, next_of=made.row)

    def give_back(self, made: Ready) -> None:
        """See Ready.close()."""
        with self._lock:
            if made.there is not None:
                made.there.held -= 1
            for entry in made.beside:
                entry.held -= 1
            if made.part is not None:
                made.part.is_claimed = False
            self._promised -= made.is_promised
            self._users -= 1
            is_last = self._users == 0
        if made.fd >= 0:
            os.close(made.fd)
        if made.row >= 0:
            self._rows.give(made.row)
        if is_last:
            self._close_files()

    # ---- in force

    def add(self, column: int, made: Ready) -> None:
        """Lets the filter decide the column, which none decides now. Raises ClassifyRefused, having changed nothing."""
        with self._lock:
            entry = made.there or self._find(made.filter)
        if entry is None:
            entry = self._put(made)
        self._decide(entry, column)

    def _find(self, filter: Filter) -> Entry | None:
        """The filter where it runs already and will, and others may share it."""
        there = (e for part in self._parts for e in part.entries if e.is_needed or not part.is_claimed)
        return next((entry for entry in there if entry.filter.key == filter.key and entry.is_shared), None)

    def _put(self, made: Ready) -> Entry:
        row = made.row if made.row >= 0 else self._rows.take()
        entry = Entry(made.filter, made.cost, row)
        if made.part is not None:
            self._put_ready(made, made.part, [*made.beside, entry])
            return entry
        if made.cost.is_small:
            used = sum(1 for part in self._parts if part.entries and not part.is_large)
            for mates in self._candidates(made.cost, is_full=used >= PARTS_MAX - LARGE_MAX):
                try:
                    self._replace(mates, entry)
                except ClassifyRefused:
                    continue
                made.row = -1
                return entry
            if used >= PARTS_MAX - LARGE_MAX:
                if made.row < 0:
                    self._rows.give(row)
                raise ClassifyRefused(f"{PARTS_MAX - LARGE_MAX} programs are full of filters that are code")
        part = next((part for part in self._parts if not part.entries), None)
        part = part or _Part(self._first + len(self._parts))
        if made.fd >= 0:
            self._put_ready(made, part, [entry])
        else:
            try:
                self._replace(part, entry)
            except ClassifyRefused:
                self._rows.give(row)
                raise
        return entry

    def _put_ready(self, made: Ready, part: _Part, entries: list[Entry]) -> None:
        """The program that was made ready, as the part."""
        self._rows.set_next(made.row, part.slot + 1)
        bpf.prog_array_set(self._progs, part.slot, made.fd)
        before, part.fd = part.fd, made.fd
        made.fd = made.row = -1
        with self._lock:
            gone = [entry for entry in part.entries if entry not in entries]
            part.entries = entries
            self._promised -= made.is_promised
            made.is_promised = False
            if part not in self._parts:
                self._parts.append(part)
        self._gone(before, gone)

    def _gone(self, fd: int, entries: Iterable[Entry]) -> None:
        """A program, and filters that no program has any more."""
        if fd >= 0:
            os.close(fd)
        self._resting += [entry.row for entry in entries]

    def rested(self) -> None:
        """No packet is on its way that was when the last change was made: rows that it may have read are free."""
        for row in self._resting:
            self._rows.give(row)
        self._resting.clear()

    def _candidates(self, cost: Cost, *, is_full: bool) -> list[_Part]:
        """Parts of small filters that one more may join, the best first. is_full: there may be no further part."""
        parts = [part for part in self._parts if part.entries and not part.is_large]
        found = [part for part in parts if part.has_room(cost, SMALL_STEPS, SMALL_INSNS)]
        if not is_full:
            return found
        larger = [part for part in parts if part not in found and part.has_room(cost, PART_STEPS, PART_INSNS)]
        return [*found, *sorted(larger, key=lambda part: sum(entry.cost.insns for entry in part.needed()))]

    def drop(self, column: int) -> list[Entry]:
        """No filter decides the column any more. Which did."""
        with self._lock:
            left = [entry for part in self._parts for entry in part.entries if column in entry.columns]
            for entry in left:
                entry.columns.discard(column)
        for entry in left:
            self._rows.unwant(entry.row, column)
        return left

    def take_back(self, column: int, left: Iterable[Entry]) -> None:
        """As if the column had not been dropped; before sweep()."""
        for entry in left:
            self._decide(entry, column)

    def _decide(self, entry: Entry, column: int) -> None:
        with self._lock:
            entry.columns.add(column)
        self._rows.want(entry.row, column)

    def sweep(self) -> None:
        """Parts that have no filter any more are taken away, or emptied."""
        while self._parts:
            with self._lock:
                last = self._parts[-1]
                if last.is_claimed or last.needed():
                    break
                self._parts.pop()
            bpf.map_delete(self._progs, last.slot)
            self._gone(last.fd, last.entries)
        for part in self._parts:
            if part.entries and not part.is_claimed and not part.needed():
                try:
                    self._replace(part)
                except ClassifyRefused:
                    return  # it stays as it is, and decides nothing

    def _replace(self, part: _Part, *more: Entry) -> None:
        """By a program of the filters that are needed still, and more. Raises ClassifyRefused, having changed nothing.
        Who comes meanwhile finds only those that stay in any case."""
        with self._lock:
            before = part.entries
            part.entries = kept = part.needed()
        filters = [Decided(entry.filter, entry.row) for entry in (*kept, *more)]
        try:
            fd, _ = self._load(filters, self._compiler, slot=part.slot)
        except ClassifyRefused:
            with self._lock:
                part.entries = before
            raise
        bpf.prog_array_set(self._progs, part.slot, fd)
        before_fd, part.fd = part.fd, fd
        with self._lock:
            part.entries = [*kept, *more]
            if part not in self._parts:
                self._parts.append(part)
        self._gone(before_fd, [entry for entry in before if entry not in kept])

    def _load(
        self, filters: list[Decided], compiler: Compiler, *, slot: int = -1, next_of: int = -1
    ) -> tuple[int, int]:
        """(descriptor, instructions) of a part for a slot, or for the one before what a row says."""
        lines = emit_code.body(filters, self._rows.fd)
        then = [slot + 1] if slot >= 0 else []  # behind the last part of a bank is nothing, or the end
        next_at = (self._rows.fd, next_of * rows.ROW_BYTES + rows.NEXT) if next_of >= 0 else None
        work = self._work if lines.uses_work else None
        module = ir.module(self._scratch, self._progs, lines.allocas, lines.body, then, work, self._place,
                           declarations=sorted(lines.declarations), next_at=next_at)  # fmt: skip
        insns = compiler.compile(module, lines.library, lines.functions)
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

    # ---- the end

    def close(self) -> None:
        """Programs stay in their slots. Filters that are being made ready end later."""
        for part in self._parts:
            os.close(part.fd)
        with self._lock:
            self._parts.clear()
            self._is_closed = True
            self._users -= 1
            is_last = self._users == 0
        if is_last:
            self._close_files()

    def _close_files(self) -> None:
        self._rows.close()
        os.close(self._work)
        os.close(self._scratch)
        os.close(self._progs)
