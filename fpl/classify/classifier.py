# SPDX-License-Identifier: BSD-3-Clause
"""All filters on one source, as the control plane sees them: 1,024 columns that each hold one filter.

takes    per column: octets of struct sock_filter[], a Filter in another language, or None (accept everything)
gives    programs in the source's program array, behind slot 0: scratch -> verdict bits

A column is changed while it is idle: no bit of control.active says that it counts. When set() returns, every packet
whose classification begins has the new filter's verdict in it, and every one that began before has ended; so the caller
may make it active at once. Verdicts of all other columns are exact at every instant.

A filter is prepared first (prepared.py), which may take seconds when it becomes code, in any thread; all other calls
are of one thread at a time.
"""

from __future__ import annotations

import base64
import contextlib
import mmap
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpl.classify import bpf, layout
from fpl.classify.bytecode import ClassifyRefused
from fpl.classify.chain import Chain, Cost, Entry
from fpl.classify.compiler import Compiler, Compilers, Module
from fpl.classify.filter_bpf import BpfFilter
from fpl.classify.filters import Filter
from fpl.classify.ir import SOCKET, Place
from fpl.classify.prepared import NotReady, Prepared
from fpl.classify.rules import Rule
from fpl.classify.symbolic import NotTable
from fpl.classify.tables import Tables

STATE_VERSION = 1
BANKS = (layout.SLOT_CHAIN, 32)  # where a chain may begin: a restarted control plane builds its own beside the old one
RESERVED = "graph"
MARKS = (31, 63)  # at the end of each bank: what it puts into slot 0 stands here first


@dataclass(frozen=True)
class Maps:
    """Descriptors of the source's maps, borrowed: the caller closes them after the Classifier."""

    progs: int
    scratch: int
    control: int
    columns: int
    column_bytes: int = 8  # a value of `columns`: u32 result, and what else its owner keeps there
    place: Place = SOCKET  # what the programs are made for


class Control:
    """Words of struct ffpf_kernel_control, which the hook reads for each packet: each is changed by one store. (Not by
    struct.pack_into, which clears what it is about to write: a packet that came between found no columns.)"""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, layout.CONTROL_BYTES)
        self._words: npt.NDArray[np.uint32] = np.frombuffer(self._memory, dtype=np.uint32)

    def get(self, offset: int) -> int:
        return int(self._words[offset // 4])

    def set(self, offset: int, value: int) -> None:
        self._words[offset // 4] = value

    def close(self) -> None:
        del self._words
        self._memory.close()


@dataclass(frozen=True)
class ColumnInfo:
    """How a column's filter runs."""

    result: int  # what the filter returns when it accepts; 0: scratch.results says it for each packet
    kind: str  # "table" or "code"; RESERVED: decided elsewhere
    insns: int  # of eBPF, when it is code, alone; 0 for a table
    steps: int  # that the verifier needed for it, alone; 0 for a table
    fetch_len: int  # how many octets of a packet it may look at
    compiled: bool  # whether something was compiled for it
    why_code: str = ""  # why it is no table, when it is code


@dataclass(frozen=True)
class _Column:
    prepared: Prepared | None  # None: RESERVED
    info: ColumnInfo

    @property
    def octets(self) -> bytes | None:
        """Of BPF; b"" of another language; None: everything, or RESERVED."""
        return self.prepared.filter.octets if self.prepared is not None and self.prepared.filter is not None else None


class Classifier:
    def __init__(
        self,
        maps: Maps,
        state: Mapping[str, Any] | None = None,
        compiler: Compiler | None = None,
        preparing: Compilers | None = None,
        filters: Mapping[int, bytes | Filter] | None = None,
    ) -> None:
        """With a state that export_state() gave, also another process's: the same filters stand in the same columns,
        and take over from the programs of that process without a gap. filters: by column, more of them: those in other
        languages than BPF a state does not have. What cannot run in the hook any more is in `refused`, and its column
        accepts everything. Compilers that are given are shared, and stay their owner's: one for what must be done at
        once, others for what is prepared.
        """
        self._maps = maps
        self._columns: dict[int, _Column] = {}
        self._needed = 0  # octets of a packet, by programs of others
        self.refused: dict[int, str] = {}
        old_bank = self._bank_in_force(int(state["bank"]) if state else 1)
        self._bank = 1 - old_bank
        with contextlib.ExitStack() as made:
            self._compiler = compiler or Compiler()
            if compiler is None:
                made.callback(self._compiler.close)
            self._preparing = preparing or Compilers(self._compiler)
            self._control = Control(maps.control)
            made.callback(self._control.close)
            self._grace = bpf.Grace()
            made.callback(self._grace.close)
            self._tables = Tables(
                self._compiler,
                maps.scratch,
                maps.progs,
                BANKS[self._bank],
                MARKS[self._bank],
                self._grace.wait,
                maps.place,
            )
            made.callback(lambda: self._tables.close())
            self._chain = Chain(self._compiler, maps.scratch, maps.progs, BANKS[self._bank], maps.place)
            made.callback(self._chain.close)
            self._empty_bank(self._bank)
            self._restore(state or {}, filters or {})
            self._tables.put_in_force()
            self._grace.wait()
            self._empty_bank(old_bank)
            self._closing = made.pop_all()

    def _bank_in_force(self, said: int) -> int:
        """Whose program is in slot 0. A control plane that was killed while it took over had put its own there, or had
        not: no state could say which, so the program array is asked. `said` by the state holds where neither mark is
        there, or one was replaced and slot 0 not yet: both happen within a bank's own life only."""
        in_force = self._prog_at(layout.SLOT_CLASSIFY)
        for bank, mark in enumerate(MARKS):
            if in_force is not None and self._prog_at(mark) == in_force:
                return bank
        return said

    def _prog_at(self, slot: int) -> int | None:
        """The kernel's number of the program in a slot."""
        try:
            return int(struct.unpack("=I", bpf.map_lookup(self._maps.progs, slot, 4))[0])
        except FileNotFoundError:
            return None

    def _restore(self, state: Mapping[str, Any], others: Mapping[int, bytes | Filter]) -> None:
        columns: Mapping[str, str | None] = state.get("columns", {})
        filters: dict[int, bytes | Filter | None] = {
            int(name): base64.b64decode(text) if text is not None else None for name, text in columns.items()
        }
        filters |= others
        self._restoring = True
        self._prepare(filters.values())
        for column, known in filters.items():
            try:
                self.set(column, known)
            except ClassifyRefused as error:
                self.refused[column] = str(error)
                self.set(column, None)
        for column in state.get("reserved", ()):
            self.reserve(column)
        self._restoring = False

    def _prepare(self, filters: Iterable[bytes | Filter | None]) -> None:
        """One program for the shapes of all, instead of one for each shape. What has none is left for set() to say."""
        rules: list[Rule] = []
        for known in filters:
            with contextlib.suppress(NotTable, ClassifyRefused):
                if known is not None:
                    rules += (BpfFilter(known) if isinstance(known, bytes) else known).as_table().rules
        with contextlib.suppress(ClassifyRefused):
            self._tables.prepare(rules)

    def _empty_bank(self, bank: int) -> None:
        """Backwards, so that no packet on its way through an old chain misses a part."""
        after = {layout.SLOT_CHAIN: BANKS[1]}.get(BANKS[bank], layout.PROGS)
        for slot in reversed(range(BANKS[bank], after)):
            if slot == layout.SLOT_GRAPH:
                continue  # not of this room
            with contextlib.suppress(FileNotFoundError):
                bpf.map_delete(self._maps.progs, slot)

    def learn(self, function: Module) -> None:
        """Any thread: a function of programs that are to come is compiled, by those who have time, and known. Raises
        ClassifyRefused."""
        with self._preparing.one() as compiler:
            self._compiler.learn(function, compiler)

    def prepare(self, what: bytes | Filter | None) -> Prepared:
        """A filter for set(), to be closed by the caller when it was set, or is not wanted. Octets: of BPF. Any thread.
        Raises ClassifyRefused."""
        return Prepared(BpfFilter(what) if isinstance(what, bytes) else what, self._chain, self._preparing)

    def set(self, column: int, insns: bytes | Filter | Prepared | None) -> ColumnInfo:
        """Puts a filter into an idle column. Raises ClassifyRefused, or NotReady when one that was prepared must be
        compiled first, and leaves everything as it was. What was not prepared is, which may take a while.
        """
        if isinstance(insns, Prepared):
            return self._set(column, insns)
        with contextlib.closing(self.prepare(insns)) as prepared:
            try:
                prepared.compile()
                return self._set(column, prepared)
            except NotReady:
                prepared.compile()
                return self._set(column, prepared)

    def _set(self, column: int, prepared: Prepared) -> ColumnInfo:
        if not 0 <= column < layout.COLUMNS:
            raise ClassifyRefused(f"there is no column {column}: a source has {layout.COLUMNS}")
        compilations = self._compiler.count
        self._raise_fetch_len(prepared.fetch_len)
        before = self._columns.get(column)
        entries = self._forget(column)
        try:
            kind, cost = self._put(column, prepared)
        except (ClassifyRefused, NotReady):
            if before is not None:
                self._put_back(column, before, entries)
            raise
        self._chain.sweep()
        self._write_result(column, prepared.result)
        compiled = prepared.was_compiled or self._compiler.count > compilations
        why_code = prepared.why_code if kind == "code" else ""
        info = ColumnInfo(prepared.result, kind, cost.insns, cost.steps, prepared.fetch_len, compiled, why_code)
        self._columns[column] = _Column(prepared, info)
        self._write_control()
        if not self._restoring:
            self.wait()
        return info

    def reserve(self, column: int) -> ColumnInfo:
        """An idle column whose verdict and results programs behind these decide."""
        self._forget(column)
        self._chain.sweep()
        self._write_result(column, 0)
        info = ColumnInfo(0, RESERVED, 0, 0, 0, compiled=False)
        self._columns[column] = _Column(None, info)
        self._write_control()
        if not self._restoring:
            self.wait()
        return info

    def need(self, octets: int) -> None:
        """Programs behind these look at so many octets of a packet."""
        self._needed = octets
        self._write_control()

    def clear(self, column: int) -> None:
        """Empties an idle column."""
        self._forget(column)
        self._chain.sweep()
        self._write_control()

    def _put(self, column: int, prepared: Prepared) -> tuple[str, Cost]:
        """As tables if it can be, else as code."""
        if prepared.filter is None:
            self._tables.put_always(column)
            return "table", Cost(0, 0)
        if prepared.table is not None:
            try:
                self._tables.put(column, prepared.table.rules)
            except ClassifyRefused as error:
                prepared.be_code(str(error))
                raise NotReady from error
            return "table", Cost(0, 0)
        ready = prepared.ready
        self._chain.add(column, ready)
        return "code", ready.cost

    def _put_back(self, column: int, before: _Column, entries: Iterable[Entry]) -> None:
        """What was in a column before, which fitted then, and so fits now: nothing was swept."""
        if before.info.kind == "code":
            self._chain.take_back(column, entries)
        elif before.prepared is not None:
            self._put(column, before.prepared)
        self._columns[column] = before

    def _forget(self, column: int) -> Iterable[Entry]:
        """What decided the column as code."""
        if self._columns.pop(column, None) is None:
            return ()
        self._tables.take(column)
        return self._chain.drop(column)

    def _write_result(self, column: int, result: int) -> None:
        value = bpf.map_lookup(self._maps.columns, column, self._maps.column_bytes)
        at = layout.COLUMN_RESULT
        bpf.map_update(self._maps.columns, column, value[:at] + struct.pack("=I", result) + value[at + 4 :])

    def _raise_fetch_len(self, octets: int) -> None:
        """Before a program that needs more is in force. Packets under way are waited for before set() returns."""
        if octets > self._control.get(layout.CONTROL_FETCH_LEN):
            self._control.set(layout.CONTROL_FETCH_LEN, octets)

    def _write_control(self) -> None:
        fetch_len = max((entry.info.fetch_len for entry in self._columns.values()), default=0)
        fetch_len = max(fetch_len, self._needed)
        words = max(self._columns, default=-1) // 64 + 1
        if not self._restoring:
            self._control.set(layout.CONTROL_FETCH_LEN, fetch_len)
            self._control.set(layout.CONTROL_WORDS, words)

    def wait(self) -> None:
        """Until every packet that is being classified has been."""
        self._grace.wait()
        self._tables.rested()
        self._chain.rested()

    def measure_load(self) -> tuple[int, int, float]:
        """(instructions, the verifier's steps, seconds to verify and translate) of the program in slot 0."""
        return self._tables.measure_load()

    def info(self, column: int) -> ColumnInfo | None:
        entry = self._columns.get(column)
        return entry.info if entry else None

    @property
    def prog_ids(self) -> dict[int, int]:
        """Slot to the kernel's number of the program in it."""
        return {slot: bpf.prog_id(fd) for slot, fd in self._programs()}

    @property
    def instructions(self) -> dict[int, int]:
        """Slot to the size of the program in it."""
        return {slot: bpf.prog_insns(fd) for slot, fd in self._programs()}

    def _programs(self) -> list[tuple[int, int]]:
        """Slot and descriptor of each."""
        slots = [layout.SLOT_CLASSIFY, *self._chain.slots]
        return list(zip(slots, [self._tables.prog_fd, *self._chain.descriptors], strict=True))

    def export_state(self) -> dict[str, Any]:
        """For JSON: all that a Classifier of another process needs to go on, beside filters in other languages."""
        columns = {
            str(column): None if octets is None else base64.b64encode(octets).decode()
            for column, octets in (
                (n, entry.octets) for n, entry in self._columns.items() if entry.prepared is not None
            )
            if octets != b""
        }
        reserved = [column for column, entry in self._columns.items() if entry.prepared is None]
        return {"version": STATE_VERSION, "bank": self._bank, "columns": columns, "reserved": reserved}

    def close(self) -> None:
        """Programs stay in the program array, and go on."""
        self._closing.close()
