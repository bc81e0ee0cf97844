# SPDX-License-Identifier: BSD-3-Clause
"""For decide.py: questions about a packet, and what their answers say of other questions.

Known is asked about what the program sees; it asks about fields of the scratch, each question once: AskedError has the
first that has no answer yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fpl.classify import bytecode, intervals, layout
from fpl.classify.intervals import Intervals
from fpl.classify.symbolic import Field, NotTable, Source, on_field
from fpl.fpl2.seen import ADDRESSES, CAPTURED, LENGTH, TAGGED, TPID, WORD, Loaded, Msh, end_in_scratch, in_scratch

TPIDS = ((0x8100, 0x8100), (0x88A8, 0x88A8))


@dataclass(frozen=True)
class Reaches:
    """Does the packet reach the end of this source, of the scratch?"""

    source: Source

    @property
    def most(self) -> int:
        """Octets that it has, at most, if it does."""
        return self.source.end if self.source.base < 0 else self.source.end + bytecode.MAX_MSH


@dataclass(frozen=True)
class Within:
    """Does the field, which is there, lie in these values?"""

    field: Field
    values: Intervals


class AskedError(Exception):
    """A question without an answer yet."""

    def __init__(self, question: Reaches | Within) -> None:
        super().__init__(question)
        self.question = question


class Known:
    def __init__(self, answers: Sequence[bool]) -> None:
        """answers: to the first questions, in order."""
        self._answers = list(reversed(answers))
        # the kernel takes out no other tags: eth_type_vlan(), include/linux/if_vlan.h of Linux 6.1
        self._sets: dict[Field, Intervals] = {Field(TPID, TPID.full): TPIDS}
        self._reached: list[Source] = []

    def _ask(self, question: Reaches | Within) -> bool:
        if not self._answers:
            raise AskedError(question)
        return self._answers.pop()

    def has(self, field: Field, values: Intervals) -> bool:
        """Whether a field of the scratch, which is there, has one of these values."""
        before = self._sets.get(field, ((0, field.top),))
        inside = intervals.intersection(before, values)
        if not inside or inside == before:
            return bool(inside)
        yes = self._ask(Within(field, values))
        self._sets[field] = inside if yes else intervals.difference(before, values, field.top)
        return yes

    def _has_octets(self, source: Source) -> bool:
        """Of the scratch."""
        if any(other.implies(source) for other in self._reached):
            return True
        if source.base >= 0:
            yes = self._ask(Reaches(source))
        else:
            before = self._sets.get(CAPTURED, ((0, CAPTURED.top),))
            inside = intervals.intersection(before, ((source.end, CAPTURED.top),))
            yes = bool(inside) and (inside == before or self._ask(Reaches(source)))
            self._sets[CAPTURED] = inside if yes else intervals.intersection(before, ((0, source.end - 1),))
        if yes:
            self._reached.append(source)
        return yes

    # ---- about what the program sees ----

    def _is_tagged(self) -> bool:
        """A tag was put in place: there is one, and place for it."""
        return self.has(TAGGED, ((1, TAGGED.top),)) and self._has_octets(Source("packet", ADDRESSES - 1, 1))

    def is_length_tagged(self) -> bool:
        """A tag is part of what LEN says."""
        return self.has(TAGGED, ((1, TAGGED.top),)) and self.has(Field(LENGTH, WORD), ((ADDRESSES, WORD),))

    def reaches(self, source: Source) -> bool:
        """Whether all octets of a source were captured."""
        if source.base < 0 and source.end > layout.SCRATCH_DATA_BYTES:
            return False
        needs_tag = source.base >= 0 or source.end > ADDRESSES
        return self._has_octets(end_in_scratch(source, needs_tag and self._is_tagged()))

    def within(self, value: Loaded | Msh, values: Intervals) -> bool:
        """Whether a number that was loaded is one of these."""
        numbers = value.numbers(values)
        loaded = value.field if isinstance(value, Msh) else value
        if loaded.source.size == 8:
            return self._within_wide(loaded, numbers)
        loaded = loaded.narrow()
        source = loaded.source
        needs_tag = source.is_packet and (source.base >= 0 or source.offset + source.size > ADDRESSES)
        placed = in_scratch(loaded, needs_tag and self._is_tagged())
        asked = on_field(placed.source, placed.mask, placed.shift, intervals.intersection(numbers, ((0, WORD),)))
        return asked if isinstance(asked, bool) else self.has(*asked)

    def _within_wide(self, loaded: Loaded, numbers: Intervals) -> bool:
        """Of 64 bits: by halves, the lower where the upper does not decide."""
        upper, lower = loaded.halves()
        if loaded.mask >> 32 == 0:
            return self.within(lower._replace(shift=loaded.shift), numbers)
        if loaded.mask & WORD == 0 and loaded.shift >= 32:
            return self.within(upper._replace(shift=loaded.shift - 32), numbers)
        if loaded.mask >> loaded.shift != (1 << 64 - loaded.shift) - 1 or loaded.shift >= 32:
            raise NotTable("it masks 64 bits in the middle")
        top = (1 << 64 - loaded.shift) - 1
        scaled = [(low << loaded.shift, high << loaded.shift | (1 << loaded.shift) - 1)
                  for low, high in intervals.intersection(numbers, ((0, top),))]  # fmt: skip
        whole, parts = _by_upper(scaled)
        if whole and self.within(upper, whole):
            return True
        for lows, tops in parts.items():
            if self.within(upper, intervals.normal((n, n) for n in tops)):
                kept = tuple((low >> loaded.shift, high >> loaded.shift) for low, high in lows)
                return self.within(lower._replace(shift=loaded.shift), kept)
        return False


def _by_upper(spans: Sequence[tuple[int, int]]) -> tuple[Intervals, dict[Intervals, list[int]]]:
    """Spans of 64 bits: upper halves with which any lower half will do; lower halves, and the upper ones that they are
    with."""
    whole, by_top = list[tuple[int, int]](), dict[int, list[tuple[int, int]]]()
    for low, high in spans:
        first, last = low >> 32, high >> 32
        for top in {first, last}:
            part = (low & WORD if top == first else 0, high & WORD if top == last else WORD)
            if part == (0, WORD):
                whole.append((top, top))
            else:
                by_top.setdefault(top, []).append(part)
        if last - first > 1:
            whole.append((first + 1, last - 1))
    parts = dict[Intervals, list[int]]()
    for top, lows in by_top.items():
        parts.setdefault(intervals.normal(lows), []).append(top)
    return intervals.normal(whole), parts
