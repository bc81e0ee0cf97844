# SPDX-License-Identifier: BSD-3-Clause
"""Pass 3: rules to tables, and the program in slot 0 that looks them up.

takes    (column, Rule*), one column at a time
gives    a Store, and a program for its fields; a rule over fields that the program knows changes memory only

A rule has one bit, in a rule word of 64 rules of 64 neighbouring columns: the bit is the column's in its verdict word,
so that a word of rules is or-ed to a word of verdicts as it is. Rules that ask for the same fields share words: a
packet that misses all of them leaves the word behind at the first such field.

When classes, blocks or words run out, everything is put into a larger store, which takes over in one store to slot 0.
Classes and blocks that no rule needs any more are left behind then.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
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

SUMMARIES_MAX, CLASSES_MAX, BLOCKS_MAX = 8, 1 << 13, 1 << 14
PROGRAMS_MAX = 16  # kept, by shape
PLACEHOLDER = 0x7FFFFFF1  # stands for the store's descriptor in programs that are kept


Company = frozenset[Field] | tuple[Field, Intervals]


def company(rule: Rule) -> Company:
    """Rules of one company share words, since packets tend to miss all of them or few of them: rules that ask for the
    same fields; and rules that leave most values of every wide field open, as negations do, by their first test.
    """
    wide = [(f, values) for f, values in rule[1:] if f.top > 255 and f.mask == f.source.full]
    if rule and all(2 * intervals.count(values) > f.top for f, values in wide):
        return rule[0]
    return frozenset(f for f, _ in rule)


@dataclass
class _Word:
    """A rule word in use."""

    column_word: int
    company: Company  # of its first rule
    fields: frozenset[Field]  # what its first rule asks for
    rules: dict[int, Rule] = field(default_factory=dict)  # by bit


class _Generation:
    """A store, and which rules lie where in it."""

    def __init__(self, size: Size) -> None:
        self.store = Store(size)
        self.words: dict[int, _Word] = {}
        self.places: dict[int, list[int]] = {}  # column to its rule words
        self.taken = 0  # columns whose rules went
        # Words without rules, and what their verdict word was: a packet may have loaded `live` of a rule that is gone,
        # and would or it to another verdict word, where the bit is another column's.
        self.resting: dict[int, int] = {}

    def put(self, column: int, rules: Sequence[Rule], *, at_once: bool = True) -> None:
        """The column has no rules. Raises Full; the column is then as if it had none. Not at once: when all have been
        put, put_in_force() is to be called.
        """
        words: list[int] = []
        bit = column % 64
        try:
            for rule in rules:
                inside = [(f, self.store.split(f, values)) for f, values in rule]
                number = self._word_for(column, rule)
                self.words[number].rules[bit] = rule
                words.append(number)
                for f, classes in inside:
                    self.store.mark(f, classes, number, bit)
        except Full:
            self._take_back(words, bit)
            raise
        self.places[column] = words
        if at_once:
            self._in_force(words, bit)

    def put_in_force(self) -> None:
        """All columns, in a store that no program reads yet."""
        live = {number: sum(1 << bit for bit in word.rules) for number, word in self.words.items()}
        self._tell_uses(live)
        self._live(live)

    def take(self, column: int) -> None:
        words = self.places.pop(column, [])
        self.taken += bool(words)
        bit = column % 64
        for number in words:
            self.store.live[number] &= ~np.uint64(1 << bit)
        self._take_back(words, bit)

    def _word_for(self, column: int, rule: Rule) -> int:
        """A word of the same company; a new one, while its verdict word has not had its share; the most similar."""
        mates, fields = company(rule), frozenset(f for f, _ in rule)
        column_word, bit = divmod(column, 64)
        mine = {n: word for n, word in self.words.items() if word.column_word == column_word}
        free = {n: word for n, word in mine.items() if bit not in word.rules}
        for number, word in free.items():
            if word.company == mates and self.store.can_ask(number, fields):
                return number
        homes = {column_word, *(word.column_word for word in self.words.values())}
        numbers = range(self.store.size.words)
        number = next(
            (n for n in numbers if n not in self.words and self.resting.get(n, column_word) == column_word), -1
        )
        full = number < 0
        if full or len(mine) >= self.store.size.words // len(homes):
            can = [n for n in free if self.store.can_ask(n, fields)]
            if self.store.size.summaries < SUMMARIES_MAX or (full and not can):
                raise Full("words")
            if can:
                return max(can, key=lambda n: len(free[n].fields & fields) - len(free[n].fields ^ fields))
        if full:
            raise Full("words")
        self.words[number] = _Word(column_word, mates, fields)
        self.store.column_word[number] = column_word
        return number

    def _in_force(self, words: Iterable[int], bit: int) -> None:
        changed = set(words)
        self._tell_uses(changed)
        self._live({number: int(self.store.live[number]) | 1 << bit for number in changed})

    def _live(self, live: dict[int, int]) -> None:
        self.store.summarize(live)
        for number, word in live.items():
            self.store.live[number] = word
            self.store.alive[number // 64] |= np.uint64(1 << number % 64)

    def _take_back(self, words: Iterable[int], bit: int) -> None:
        """Rules at the bit, not in force any more, go."""
        changed = set(words)
        for number in changed:
            word = self.words[number]
            for f, _ in word.rules.pop(bit):
                self.store.unmark(f, number, bit)
            if not word.rules:
                self.store.alive[number // 64] &= ~np.uint64(1 << number % 64)
                del self.words[number]
                self.resting[number] = word.column_word
        self._tell_uses(changed)
        self.store.summarize({number: int(self.store.live[number]) for number in changed})

    def _tell_uses(self, words: Iterable[int]) -> None:
        for number in words:
            word = self.words.get(number)
            used = {f for rule in word.rules.values() for f, _ in rule} if word else set()
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
        if why == "words" or (why in ("classes", "blocks") and 2 * self._now.taken < len(self._rules)):
            size = _larger(size, why)  # what was taken away left too little behind
        while True:
            try:
                made = self._filled(size, columns, more)
            except Full as error:
                why = str(error)
            else:
                why = made.store.tight
                if not why or size == _larger(size, why, at_most=True):
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
            return self._place.load(bpf.with_map_value(insns, PLACEHOLDER, store.fd), "ffpf_classify")
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


def _larger(size: Size, what: str, *, at_most: bool = False) -> Size:
    """Raises ClassifyRefused when it is as large as may be; at_most: gives it back then."""
    if what == "classes" and size.classes < CLASSES_MAX:
        return replace(size, classes=4 * size.classes)
    if what == "blocks" and size.blocks < BLOCKS_MAX:
        return replace(size, blocks=4 * size.blocks)
    if what == "words" and size.summaries < SUMMARIES_MAX:
        return replace(size, summaries=2 * size.summaries)
    if at_most:
        return size
    raise ClassifyRefused(f"the tables are full: {what}")
