# SPDX-License-Identifier: BSD-3-Clause
"""Declarations PERCPU, beside the passes: each CPU has an MBuf of its own, and a reader sees them merged.

takes    tree.Program as parsed, and how large the MBuf is
gives    the program without them, and which octets are merged how: every octet once; nothing when there are none
"""

from __future__ import annotations

from fpl.fpl2 import tree
from fpl.fpl2.report import Source
from fpl.fpl2.scope import UNITS, kind_of
from fpl.percpu import Merge

ALL_OTHERS = "PERCPU MEM MERGE sum; is about all that no other names."
DOUBLE_WORD = tree.Kind(32)


def taken(source: Source, statements: tree.Program, mbuf_bytes: int) -> tuple[tree.Program, tuple[Merge, ...]]:
    """Raises FplError."""
    declared = [each for each in statements if isinstance(each, tree.PerCpu)]
    if not declared:
        return statements, ()
    if not mbuf_bytes:
        raise source.error("this filter has no MBuf", declared[0].at, 'Give the tuple a size: (FPL-2,"...",1024).')
    return [each for each in statements if not isinstance(each, tree.PerCpu)], _Octets(source, mbuf_bytes).of(declared)


class _Octets:
    def __init__(self, source: Source, mbuf_bytes: int) -> None:
        self._source, self._mbuf = source, mbuf_bytes
        self._merges: list[Merge] = []

    def of(self, declared: list[tree.PerCpu]) -> tuple[Merge, ...]:
        for each in declared:
            if each.low is not None:
                self._add(each, *self._named(each))
        others = [each for each in declared if each.low is None]
        if len(others) > 1:
            raise self._source.error("two declarations are about all the rest", others[1].at,
                                     "Name the places of one: PERCPU MEM[0..3] MERGE max;")  # fmt: skip
        for at, octets in self._gaps():
            if not others:
                raise self._source.error(f"octets {at} to {at + octets - 1} of MBuf have no merge", declared[-1].at,
                                         ALL_OTHERS)  # fmt: skip
            self._add(others[0], at, octets)
        return tuple(sorted(self._merges, key=lambda merge: merge.at))

    def _kind(self, each: tree.PerCpu) -> tuple[tree.Kind, int]:
        """How a place is a number, and octets from one index to the next."""
        if each.name.upper() not in ("MEM", "M"):
            raise self._source.error(f"{each.name} is not memory", each.at, "PERCPU MEM MERGE sum;")
        if not each.unit:
            return DOUBLE_WORD, 4
        unit = UNITS.get(each.unit.upper())
        if unit is not None:
            return unit, unit.bits // 8
        kind = kind_of(each.unit)
        if kind is None or kind.bits < 8:
            raise self._source.error(f"{each.unit} is no unit of memory", each.at,
                                     "B, W, D, Q, or U8, S8 to U64, S64.")  # fmt: skip
        return kind, 1

    def _named(self, each: tree.PerCpu) -> tuple[int, int]:
        """The octets that a declaration names: (first, how many)."""
        assert each.low is not None
        kind, scale = self._kind(each)
        first = each.low.value * scale
        octets = kind.bits // 8 if each.high is None else (each.high.value + 1) * scale - first
        if octets <= 0:
            raise self._source.error("a range that ends before it begins", each.at)
        if first + octets > self._mbuf:
            raise self._source.error(f"this MBuf has {self._mbuf} octets", each.at)
        return first, octets

    def _add(self, each: tree.PerCpu, at: int, octets: int) -> None:
        kind, _ = self._kind(each)
        if at % (kind.bits // 8) or octets % (kind.bits // 8):
            raise self._source.error(f"octets {at} to {at + octets - 1} are no whole {kind}", each.at,
                                     f"A {kind} lies at a multiple of {kind.bits // 8}.")  # fmt: skip
        if any(at < known.at + known.octets and known.at < at + octets for known in self._merges):
            raise self._source.error("of these places another declaration says how they are merged", each.at)
        self._merges.append(Merge(at, octets, kind.bits, kind.signed, each.by))

    def _gaps(self) -> list[tuple[int, int]]:
        found, at = [], 0
        for merge in sorted(self._merges, key=lambda merge: merge.at):
            if merge.at > at:
                found.append((at, merge.at - at))
            at = merge.at + merge.octets
        return [*found, (at, self._mbuf - at)] if at < self._mbuf else found
