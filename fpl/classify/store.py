# SPDX-License-Identifier: BSD-3-Clause
"""The memory of the tables: one mapped array map, written here, read by the emitted program.

    always[16]         columns that accept every packet
    alive[S]           rule lines with a rule in force, a bit each; there are 64 * S
    uses[FIELDS][S]    rule lines with a rule that asks for the field
    live[LINES][L]     rules in force, a bit each: a line is L words of 64 rules
    home[LINES]        the verdict words that a line is or-ed to are L * home and those behind it
    asks[LINES][28]    octets: the fields that a rule line asks for, NO_FIELD behind the last
    ctz[64]            octets: the number of the one bit set in b is ctz[b * DE_BRUIJN >> 58]
    dead[C][S]         by class: rule lines whose live rules the class misses, all
    miss[C][LINES][L]  by class: rules that ask for the class's field and do not have its values
    trie[B][256]       blocks of u32: a class, or INNER | block

A class is a set of values of one field that all rules treat alike; class 0 stands for a field that nobody asked for,
and misses nothing. Each field has a class for packets that do not reach it, which misses every rule that asks for it:
so a negated test costs nothing, and needs its octets too. The octets of a value, from the highest, lead through the
trie to its class.

Every change keeps the classes of all rules that it is not about: a class is split by copying it, before an entry of the
trie leads to the copy; an entry, and a word of any array, is one store. The processor's order of stores is relied on to
be that of the program (as on x86-64), or a barrier lies between (bpf.barrier()).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpl.classify import bpf, intervals, layout
from fpl.classify.intervals import Intervals
from fpl.classify.rules import RULE_FIELDS_MAX
from fpl.classify.symbolic import Field

FIELDS_MAX = 48
ASKS_MAX, ASKS_PADDED, NO_FIELD = RULE_FIELDS_MAX, 28, 255  # in `asks`: room for one group more
ASKED_AT_ONCE = 4
GROUPS_A_LINE = 2  # of so many fields, on average at most: so many turns of its loop the program takes
INNER = 1 << 31
OFTEN_MAX = 16
BLOCK = 256
DE_BRUIJN = 0x03F79D71B4CB0A89
Words = npt.NDArray[np.uint64]


class Full(Exception):  # noqa: N818 (an outcome: the tables are made anew, larger)
    """There is no class, block or rule line left."""


@dataclass(frozen=True)
class Size:
    """Of a store; all powers of two."""

    summaries: int = 1  # S
    width: int = 1  # L
    classes: int = 512  # C
    blocks: int = 256  # B

    @property
    def lines(self) -> int:
        return 64 * self.summaries

    @property
    def line_bytes(self) -> int:
        return 8 * self.width

    @property
    def row_bytes(self) -> int:
        """Of a class in `miss`."""
        return self.lines * self.line_bytes

    @property
    def alive(self) -> int:
        return 8 * layout.WORDS

    @property
    def uses(self) -> int:
        return self.alive + 8 * self.summaries

    @property
    def live(self) -> int:
        return self.uses + 8 * FIELDS_MAX * self.summaries

    @property
    def home(self) -> int:
        return self.live + self.row_bytes

    @property
    def asks(self) -> int:
        return self.home + 8 * self.lines

    @property
    def ctz(self) -> int:
        return self.asks + ASKS_PADDED * self.lines

    @property
    def dead(self) -> int:
        return self.ctz + 64

    @property
    def miss(self) -> int:
        return self.dead + 8 * self.classes * self.summaries

    @property
    def trie(self) -> int:
        return self.miss + self.classes * self.row_bytes

    @property
    def octets(self) -> int:
        return -(-(self.trie + 4 * BLOCK * self.blocks) // mmap.PAGESIZE) * mmap.PAGESIZE


@dataclass
class FieldClasses:
    """One field in the store."""

    levels: int  # of the trie
    root: int
    outside: int  # class of packets that do not reach the field
    classes: list[int]  # all of them
    counts: dict[int, int]  # class to how many values it has
    often: dict[Intervals, set[int]]  # the classes in some values, kept up to date: most rules ask for the same few
    _rows: npt.NDArray[np.intp] | None = None

    @property
    def rows(self) -> npt.NDArray[np.intp]:
        """`classes`, as an index of arrays."""
        if self._rows is None or len(self._rows) < len(self.classes):
            self._rows = np.array(self.classes, dtype=np.intp)
        return self._rows

    @property
    def top(self) -> int:
        return int(BLOCK**self.levels - 1)


class Store:
    def __init__(self, size: Size) -> None:
        self.size = size
        self.fd = bpf.map_create(bpf.MAP_TYPE_ARRAY, size.octets, 1, "ffpf_tables", flags=bpf.F_MMAPABLE)
        self._memory = mmap.mmap(self.fd, size.octets)
        s, n, c, width = size.summaries, size.lines, size.classes, size.width
        self.always: Words = self._array(np.uint64, 0, (layout.WORDS,))
        self.alive: Words = self._array(np.uint64, size.alive, (s,))
        self.uses: Words = self._array(np.uint64, size.uses, (FIELDS_MAX, s))
        self.live: Words = self._array(np.uint64, size.live, (n, width))
        self.home: Words = self._array(np.uint64, size.home, (n,))
        self.dead: Words = self._array(np.uint64, size.dead, (c, s))
        self.miss: Words = self._array(np.uint64, size.miss, (c, n, width))
        self._trie: npt.NDArray[np.uint32] = self._array(np.uint32, size.trie, (size.blocks * BLOCK,))
        self.asks: npt.NDArray[np.uint8] = self._array(np.uint8, size.asks, (n, ASKS_PADDED))
        self.asks[:] = NO_FIELD
        ctz = self._array(np.uint8, size.ctz, (64,))
        for bit in range(64):
            ctz[(DE_BRUIJN << bit) % 2**64 >> 58] = bit
        self._next_class, self._next_block = 1, 0
        self.fields: dict[Field, FieldClasses] = {}

    def _array(self, kind: Any, offset: int, shape: tuple[int, ...]) -> Any:
        count = int(np.prod(shape))
        return np.frombuffer(self._memory, dtype=kind, count=count, offset=offset).reshape(shape)

    @property
    def tight(self) -> str:
        """What is nearly used up; empty: nothing."""
        if 4 * self._next_class > 3 * self.size.classes:
            return "classes"
        return "blocks" if 4 * self._next_block > 3 * self.size.blocks else ""

    def add_field(self, field: Field) -> None:
        """Its values are one class. Raises Full."""
        if len(self.fields) == FIELDS_MAX:
            raise Full("fields")
        levels = max(1, -(-field.top.bit_length() // 8))
        outside, inside = self._new_class(), self._new_class()
        root = self._new_block(inside)
        self.fields[field] = FieldClasses(levels, root, outside, [outside, inside], {inside: BLOCK**levels}, {})

    def _new_class(self) -> int:
        if self._next_class == self.size.classes:
            raise Full("classes")
        self._next_class += 1
        return self._next_class - 1

    def _new_block(self, entry: int) -> int:
        if self._next_block == self.size.blocks:
            raise Full("blocks")
        block = self._next_block
        self._next_block += 1
        self._trie[block * BLOCK : (block + 1) * BLOCK] = entry
        return block

    def split(self, field: Field, values: Intervals) -> set[int]:
        """The classes that lie in the values; none lies in them partly, after this. Raises Full; what was split until
        then stays so.
        """
        known = self.fields[field]
        found = known.often.get(values)
        if found is None:
            outside = intervals.complement(values, known.top)
            if intervals.count(outside) < intervals.count(values):
                found = set(known.counts) - self._split(known, outside)
            else:
                found = self._split(known, values)
            if len(known.often) < OFTEN_MAX:
                known.often[values] = found
        return found

    def _split(self, known: FieldClasses, values: Intervals) -> set[int]:
        found: list[tuple[int, int]] = []
        for low, high in values:
            self._cover(known.root, known.levels - 1, low, high, found)
        covered: dict[int, int] = {}
        for at, span in found:
            old = int(self._trie[at])
            covered[old] = covered.get(old, 0) + span
        copies = {old: self._copy(known, old, n) for old, n in covered.items() if n < known.counts[old]}
        if copies:
            bpf.barrier()
            for at, _ in found:
                copy = copies.get(int(self._trie[at]))
                if copy is not None:
                    self._trie[at] = copy
        return {copies.get(old, old) for old in covered}

    def _copy(self, known: FieldClasses, old: int, count: int) -> int:
        new = self._new_class()
        self.miss[new], self.dead[new] = self.miss[old], self.dead[old]
        known.classes.append(new)
        known.counts[old] -= count
        known.counts[new] = count
        for classes in known.often.values():
            if old in classes:
                classes.add(new)
        return new

    def _cover(self, block: int, level: int, low: int, high: int, found: list[tuple[int, int]]) -> None:
        """Entries of the trie (index, number of values) for low..high below a block; splits those at the ends."""
        span = BLOCK**level
        for octet in range(low // span, high // span + 1):
            at, start = block * BLOCK + octet, octet * span
            entry = int(self._trie[at])
            inside_low, inside_high = max(low - start, 0), min(high - start, span - 1)
            if not entry & INNER:
                if inside_low == 0 and inside_high == span - 1:
                    found.append((at, span))
                    continue
                entry = INNER | self._new_block(entry)
                bpf.barrier()
                self._trie[at] = entry
            self._cover(entry & ~INNER, level - 1, inside_low, inside_high, found)

    def mark(self, field: Field, inside: set[int], line: int, place: int) -> None:
        """The rule at a place of the line asks for the field to be in one of the classes. It is not in force."""
        word, mask = place // 64, np.uint64(1 << place % 64)
        classes = self.fields[field].rows
        hit = np.fromiter(inside, dtype=np.intp)
        self.miss[classes, line, word] |= mask
        self.miss[hit, line, word] &= ~mask

    def unmark(self, field: Field, line: int, place: int) -> None:
        """The rule at a place, not in force, does not ask for the field any more."""
        self.miss[self.fields[field].rows, line, place // 64] &= ~np.uint64(1 << place % 64)

    def tell_asks(self, line: int, fields: list[int]) -> None:
        """The fields, by number, that the rules of a line ask for. Those it had stay, in their places, until there are
        none: a program may be half-way through the list, and what no rule asks for is missed by none.
        """
        if not fields:
            self.asks[line] = NO_FIELD
            return
        had = [int(index) for index in self.asks[line] if index != NO_FIELD]
        for place, index in enumerate((f for f in fields if f not in had), len(had)):
            self.asks[line, place] = index

    def can_ask(self, line: int, fields: Iterable[Field]) -> bool:
        """Whether a line has room for what it would be asked then, and the program's loop has turns for that."""
        wanted = set(fields)
        known = {index for index, f in enumerate(self.fields) if f in wanted}
        there = (self.asks != NO_FIELD).sum(axis=1)
        there[line] = len(known | {int(index) for index in self.asks[line] if index != NO_FIELD})
        groups = -(-there // ASKED_AT_ONCE)
        return bool(there[line] <= ASKS_MAX and np.maximum(groups, 1).sum() <= GROUPS_A_LINE * self.size.lines)

    def summarize(self, live: dict[int, list[int]]) -> None:
        """Brings `dead` up to date, for these lines and what will be live of them, by word: for classes of the fields
        that a line asks for, since others miss nothing.
        """
        fields = list(self.fields.values())
        for line, words in live.items():
            asked = [fields[index].rows for index in self.asks[line] if index != NO_FIELD]
            used = np.concatenate(asked) if asked else np.zeros(0, dtype=np.intp)
            wanted = np.array(words, dtype=np.uint64)
            missed = ((self.miss[used, line] & wanted) == wanted).all(axis=1)
            bit = np.uint64(1 << line % 64)
            column = self.dead[used, line // 64]
            self.dead[used, line // 64] = np.where(missed, column | bit, column & ~bit)

    def forget(self, line: int) -> None:
        """A line that is not alive: it may ask for other fields next."""
        self.dead[: self._next_class, line // 64] &= ~np.uint64(1 << line % 64)

    def close(self) -> None:
        for name in ("always", "alive", "uses", "live", "home", "asks", "dead", "miss", "_trie"):
            delattr(self, name)
        self._memory.close()
        os.close(self.fd)
