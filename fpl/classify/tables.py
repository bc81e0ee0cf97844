# SPDX-License-Identifier: BSD-3-Clause
"""Pass 3: rules to tables, and the program in slot 0 that looks them up.

takes    (column, Rule*), one column at a time
gives    a Store, and a program for its fields; a rule over fields that the program knows changes memory only

A rule has one bit, in a rule line of 64, 128, 256 or 512 rules of as many neighbouring columns: the bit is the column's
in its verdict word, so that a line of rules is or-ed to verdicts as it is. Rules that ask for the same fields share
lines: a packet that misses all of them leaves the line behind at the first such field. Lines become wider where columns
are many, so that there are about as many lines as there are sets of fields.

When classes, blocks or lines run out, everything is put into a larger store, which takes over in one store to slot 0.
Classes and blocks that no rule needs any more are left behind then.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fpl.classify import bpf, emit_tables, intervals, ir, layout
from fpl.classify.bytecode import ClassifyRefused
from fpl.classify.compiler import Compiler
from fpl.classify.intervals import Intervals
from fpl.classify.rules import Rule
from fpl.classify.store import FIELDS_MAX, Full, Size, Store
from fpl.classify.symbolic import Field

SUMMARIES_MAX, WIDTH_MAX, CLASSES_MAX, BLOCKS_MAX = 8, 8, 1 << 13, 1 << 14
LINE_WORDS_MAX = 16  # summaries * width: of memory for each class
PROGRAMS_MAX = 16  # kept, by shape
PLACEHOLDER = 0x7FFFFFF1  # stands for the store's descriptor in programs that are kept


Company = frozenset[Field] | tuple[Field, Intervals]


def company(rule: Rule) -> Company:
    """Rules of one company share lines, since packets tend to miss all of them or few of them: rules that ask for the
    same fields; and rules that leave most values of every wide field open, as negations do, by their first test.
    """
    wide = [(f, values) for f, values in rule[1:] if f.top > 255 and f.mask == f.source.full]
    if rule and all(2 * intervals.count(values) > f.top for f, values in wide):
        return rule[0]
    return frozenset(f for f, _ in rule)


@dataclass
class _Line:
    """A rule line in use."""

    home: int
    company: Company  # of its first rule
    fields: frozenset[Field]  # what its first rule asks for
    rules: dict[int, Rule] = field(default_factory=dict)  # by place
    uses: Counter[Field] = field(default_factory=Counter)  # how many rules ask for a field

    def put(self, place: int, rule: Rule) -> None:
        self.rules[place] = rule
        self.uses.update(f for f, _ in rule)

    def take(self, place: int) -> Rule:
        rule = self.rules.pop(place)
        self.uses.subtract(f for f, _ in rule)
        return rule


class _Generation:
    """A store, and which rules lie where in it."""

    def __init__(self, size: Size) -> None:
        self.store = Store(size)
        self.lines: dict[int, _Line] = {}
        self.places: dict[int, list[int]] = {}  # column to its rule lines
        self.taken = 0  # columns whose rules went
        # Lines without rules, and where their home was: a packet may have loaded `live` of a rule that is gone, and
        # would or it to another verdict word, where the bit is another column's.
        self.resting: dict[int, int] = {}

    def put(self, column: int, rules: Sequence[Rule], *, at_once: bool = True) -> None:
        """The column has no rules. Raises Full; the column is then as if it had none. Not at once: when all have been
        put, put_in_force() is to be called.
        """
        lines: list[int] = []
        home, place = self._where(column)
        try:
            for rule in rules:
                inside = [(f, self.store.split(f, values)) for f, values in rule]
                number = self._line_for(home, place, rule)
                self.lines[number].put(place, rule)
                lines.append(number)
                for f, classes in inside:
                    self.store.mark(f, classes, number, place)
        except Full:
            self._take_back(lines, place)
            raise
        self.places[column] = lines
        if at_once:
            self._in_force(lines, place)

    def _where(self, column: int) -> tuple[int, int]:
        """The home of a column's lines, and its place in them."""
        return divmod(column, 64 * self.store.size.width)

    def put_in_force(self) -> None:
        """All columns, in a store that no program reads yet."""
        live = {number: self._words(line.rules) for number, line in self.lines.items()}
        self._tell_uses(live)
        self._live(live)

    def _words(self, places: Iterable[int]) -> list[int]:
        """A bit for each place."""
        words = [0] * self.store.size.width
        for place in places:
            words[place // 64] |= 1 << place % 64
        return words

    def take(self, column: int) -> None:
        lines = self.places.pop(column, [])
        self.taken += bool(lines)
        _, place = self._where(column)
        for number in lines:
            self.store.live[number, place // 64] &= ~np.uint64(1 << place % 64)
        self._take_back(lines, place)

    def _line_for(self, home: int, place: int, rule: Rule) -> int:
        """A line of the same company; a new one, while its home has not had its share; the most similar."""
        mates, fields = company(rule), frozenset(f for f, _ in rule)
        mine = {n: line for n, line in self.lines.items() if line.home == home}
        free = {n: line for n, line in mine.items() if place not in line.rules}
        for number, line in free.items():
            if line.company == mates and self.store.can_ask(number, fields):
                return number
        homes = {home, *(line.home for line in self.lines.values())}
        size = self.store.size
        number = next((n for n in range(size.lines) if n not in self.lines and self.resting.get(n, home) == home), -1)
        full = number < 0 or not self.store.can_ask(number, fields)
        if full or len(mine) >= size.lines // len(homes):
            can = [n for n in free if self.store.can_ask(n, fields)]
            wider = "width" if len(homes) > 1 and _can_be(size, "width") else "summaries"
            if _can_be(size, wider) or (full and not can):
                raise Full(wider)
            if can:
                return max(can, key=lambda n: len(free[n].fields & fields) - len(free[n].fields ^ fields))
        if full:
            raise Full("summaries")
        self.lines[number] = _Line(home, mates, fields)
        self.store.home[number] = home
        return number

    def _in_force(self, lines: Iterable[int], place: int) -> None:
        changed = set(lines)
        self._tell_uses(changed)
        live = {number: [int(word) for word in self.store.live[number]] for number in changed}
        for words in live.values():
            words[place // 64] |= 1 << place % 64
        self._live(live)

    def _live(self, live: dict[int, list[int]]) -> None:
        self.store.summarize(live)
        for number, words in live.items():
            for at, word in enumerate(words):
                if int(self.store.live[number, at]) != word:
                    self.store.live[number, at] = word
            self.store.alive[number // 64] |= np.uint64(1 << number % 64)

    def _take_back(self, lines: Iterable[int], place: int) -> None:
        """Rules at the place, not in force any more, go."""
        changed = set(lines)
        for number in changed:
            line = self.lines[number]
            for f, _ in line.take(place):
                self.store.unmark(f, number, place)
            if not line.rules:
                self.store.alive[number // 64] &= ~np.uint64(1 << number % 64)
                del self.lines[number]
                self.resting[number] = line.home
        for number in changed - self.lines.keys():
            self.store.forget(number)
        self.store.summarize({n: [int(word) for word in self.store.live[n]] for n in changed & self.lines.keys()})
        self._tell_uses(changed)

    def _tell_uses(self, lines: Iterable[int]) -> None:
        for number in lines:
            line = self.lines.get(number)
            used = {f for f, count in line.uses.items() if count} if line else set()
            mask = np.uint64(1 << number % 64)
            self.store.tell_asks(number, [index for index, f in enumerate(self.store.fields) if f in used])
            for index, f in enumerate(self.store.fields):
                before = self.store.uses[index, number // 64]
                after = before | mask if f in used else before & ~mask
                if after != before:
                    self.store.uses[index, number // 64] = after


class Tables:
    def __init__(
        self,
        compiler: Compiler,
        scratch_fd: int,
        progs_fd: int,
        chain_slot: int,
        mark_slot: int,
        replaced: Callable[[], None],
        place: ir.Place,
    ) -> None:
        """What is put into slot 0 is put into mark_slot first; `replaced` waits until what runs now has ended."""
        self._compiler, self._scratch, self._progs, self._chain_slot = compiler, scratch_fd, progs_fd, chain_slot
        self._mark_slot, self._replaced, self._place = mark_slot, replaced, place
        self._rules: dict[int, Sequence[Rule]] = {}
        self._always: set[int] = set()
        self._programs: dict[tuple[object, ...], bytes] = {}
        self._in_force = False
        lanes = bpf.possible_cpus() * place.lanes
        self._work = bpf.map_create(bpf.MAP_TYPE_ARRAY, emit_tables.WORK_BYTES, lanes, "ffpf_work")
        self._now = _Generation(Size())
        self.prog_fd = self._load(self._now)
        self._asked: set[Field] = set()  # fields that the program in force knows

    def put(self, column: int, rules: Sequence[Rule]) -> None:
        """The column, which accepts nothing now, accepts what one of the rules does. Raises ClassifyRefused, having
        changed nothing.
        """
        self.prepare(rules)
        try:
            self._now.put(column, rules)
        except Full as error:
            self._renew({**self._rules, column: rules}, str(error))
        self._rules[column] = rules

    def rested(self) -> None:
        """No packet is on its way that was when the last change was made."""
        self._now.resting.clear()

    def prepare(self, rules: Sequence[Rule]) -> None:
        """The program in force knows the fields of the rules, after this. Raises ClassifyRefused."""
        if not self._knows(rules):
            self._grow_shape(rules)

    def take(self, column: int) -> None:
        """The column accepts nothing."""
        self._rules.pop(column, None)
        self._now.take(column)
        self._always.discard(column)
        self._write_always(self._now.store)

    def put_always(self, column: int) -> None:
        """The column, which accepts nothing now, accepts everything."""
        self._always.add(column)
        self._write_always(self._now.store)

    def _write_always(self, store: Store) -> None:
        words = [0] * layout.WORDS
        for column in self._always:
            words[column // 64] |= 1 << column % 64
        for number, word in enumerate(words):
            if int(store.always[number]) != word:
                store.always[number] = word

    def _knows(self, rules: Iterable[Rule]) -> bool:
        return all(f in self._asked for rule in rules for f, _ in rule)

    def _grow_shape(self, rules: Sequence[Rule]) -> None:
        """A program that knows the fields of these rules too is put in force; the store stays, if it can."""
        fields = {f for rule in rules for f, _ in rule}
        new = [f for f in dict.fromkeys(f for rule in rules for f, _ in rule) if f not in self._now.store.fields]
        used = {f for rule in self._all_rules() for f, _ in rule}
        if len(used | fields) > FIELDS_MAX:
            raise ClassifyRefused(f"more than {FIELDS_MAX} fields")
        try:
            for f in new:
                self._now.store.add_field(f)
        except Full as error:
            self._renew(self._rules, str(error), rules)
            return
        prog = self._load(self._now, rules)
        self._take_over(prog)

    def _renew(self, columns: dict[int, Sequence[Rule]], why: str, more: Sequence[Rule] = ()) -> None:
        """All columns in a new store, of a size that leaves room. `more`: fields to know besides."""
        size = self._now.store.size
        if why in ("width", "summaries") or (why in ("classes", "blocks") and 2 * self._now.taken < len(self._rules)):
            size = _larger(size, why)  # what was taken away left too little behind
        while True:
            try:
                made = self._filled(size, columns, more)
            except Full as error:
                why = str(error)
            else:
                why = made.store.tight
                if not why or not _can_be(size, why):
                    break
                made.store.close()
            size = _larger(size, why)
        try:
            prog = self._load(made, more)
        except ClassifyRefused:
            made.store.close()
            raise
        before, self._now = self._now, made
        self._take_over(prog)
        before.store.close()

    def _filled(self, size: Size, columns: dict[int, Sequence[Rule]], more: Sequence[Rule]) -> _Generation:
        made = _Generation(size)
        try:
            used = [f for rules in [*columns.values(), more] for rule in rules for f, _ in rule]
            for f in dict.fromkeys(used):
                made.store.add_field(f)
            self._write_always(made.store)
            for column, rules in columns.items():
                made.put(column, rules, at_once=False)
            made.put_in_force()
        except Full:
            made.store.close()
            raise
        return made

    def _all_rules(self) -> Iterable[Rule]:
        return (rule for rules in self._rules.values() for rule in rules)

    def _order(self, generation: _Generation, more: Sequence[Rule]) -> list[Field]:
        """Fields that programs ask first come first: they tell most."""
        places: dict[Field, list[int]] = defaultdict(list)
        for rule in [*self._all_rules(), *more]:
            for place, (f, _) in enumerate(rule):
                places[f].append(place)
        known = list(generation.store.fields)
        return sorted(known, key=lambda f: (sum(places[f]) / len(places[f]) if places[f] else 99, known.index(f)))

    def _load(self, generation: _Generation, more: Sequence[Rule] = ()) -> int:
        """A descriptor of the program for a store."""
        store = generation.store
        order = self._order(generation, more)
        shape = emit_tables.shape(store.size, store, order)
        insns = self._programs.get(shape)
        if insns is None:
            body = emit_tables.body(store, order, PLACEHOLDER)
            insns = self._compiler.compile(
                ir.module(self._scratch, self._progs, [], body, [self._chain_slot], self._work, self._place)
            )
            if len(self._programs) >= PROGRAMS_MAX:
                self._programs.pop(next(iter(self._programs)))
            self._programs[shape] = insns
        try:
            return self._place.load(bpf.with_map_values(insns, {PLACEHOLDER: store.fd}), "ffpf_classify")
        except bpf.VerifierError as error:
            raise ClassifyRefused(f"the verifier refused: {error}") from error

    def measure_load(self) -> tuple[int, int, float]:
        """(instructions, the verifier's steps, seconds to verify and translate) of the program in force."""
        started = time.perf_counter()
        prog = self._load(self._now)
        seconds = time.perf_counter() - started
        figures = bpf.prog_insns(prog), bpf.prog_verified(prog), seconds
        os.close(prog)
        return figures

    def put_in_force(self) -> None:
        bpf.prog_array_set(self._progs, self._mark_slot, self.prog_fd)
        bpf.prog_array_set(self._progs, layout.SLOT_CLASSIFY, self.prog_fd)
        self._in_force = True

    def _take_over(self, prog: int) -> None:
        before, self.prog_fd = self.prog_fd, prog
        self._asked = set(self._now.store.fields)
        if self._in_force:
            self.put_in_force()
            self._replaced()
        os.close(before)

    def close(self) -> None:
        os.close(self.prog_fd)
        os.close(self._work)
        self._now.store.close()


def _larger(size: Size, what: str) -> Size:
    """Raises ClassifyRefused when it is as large as may be."""
    if not _can_be(size, what):
        raise ClassifyRefused(f"the tables are full: {what}")
    factor = 4 if what in ("classes", "blocks") else 2
    return replace(size, **{what: factor * getattr(size, what)})


def _can_be(size: Size, what: str) -> bool:
    """Whether there may be more of it."""
    if what in ("width", "summaries") and 2 * size.summaries * size.width > LINE_WORDS_MAX:
        return False
    most = {"classes": CLASSES_MAX, "blocks": BLOCKS_MAX, "summaries": SUMMARIES_MAX, "width": WIDTH_MAX}
    return bool(getattr(size, what, 0) < most.get(what, 0))
