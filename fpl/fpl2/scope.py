# SPDX-License-Identifier: BSD-3-Clause
"""Macros in force, and the words that have a meaning of their own.

A macro sees what was in force where it was written: a program's own IS_TCP changes nothing of TCP_DPORT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from fpl.fpl2 import tree
from fpl.fpl2.found import FOUND, SCRATCH
from fpl.fpl2.parse import parse
from fpl.fpl2.report import Source

# Units of the paper: octet, word and double word (the paper's machine: 8, 16 and 32 bits); n counts units.
UNITS = {"B": tree.Kind(8), "W": tree.Kind(16), "D": tree.Kind(32), "Q": tree.Kind(64)}
FACTS = {
    "LEN": "octets on the wire", "CAPLEN": "octets captured", "IFINDEX": "the interface's number; INTERFACE, too",
    "PKTTYPE": "who it is for: PACKET_HOST (0) to PACKET_OUTGOING (4)", "VLAN_PRESENT": "1: the kernel took a tag out",
    "VLAN_TCI": "... which was this",
}  # fmt: skip
RESERVED = {"PKT", "MEM", "M", "R", "INNER", "INTERFACE", "U128"}
FIELDS = "fields.fpl"
_KIND = re.compile(r"([US])(1|2|4|8|16|32|64)", re.IGNORECASE)
_MACRO = re.compile(r"^MACRO\s+(\w+).*?;$", re.MULTILINE | re.DOTALL)


def kind_of(name: str) -> tree.Kind | None:
    """U8, S16 ..."""
    found = _KIND.fullmatch(name)
    return tree.Kind(int(found[2]), found[1].upper() == "S") if found else None


class Scope:
    """Macros of a text, before those of what is around it. prologue: hidden registers may be written, the packet is
    read softly."""

    def __init__(self, source: Source, outer: Scope | None = None, *, prologue: bool = False) -> None:
        self.source, self.prologue = source, prologue
        self._outer = outer
        self._own: dict[str, tuple[tree.Macro, Scope]] = {}

    def define(self, macro: tree.Macro) -> None:
        name = macro.name.upper()
        if name in {*UNITS, *FACTS, *FOUND, *SCRATCH, *RESERVED} or kind_of(name):
            raise self.source.error(f"{macro.name} has a meaning of its own", macro.at, "Choose another name.")
        if name in self._own and self._own[name][1] is self:
            raise self.source.error(f"{macro.name} is defined already", macro.at, "A name has one meaning in a text.")
        self._own[name] = macro, self

    def take(self, other: Scope) -> None:
        """Another text's macros as if they were defined here."""
        self._own |= other._own

    def snapshot(self) -> Scope:
        """As it is now, whatever is defined here afterwards."""
        copy = Scope(self.source, self._outer, prologue=self.prologue)
        copy._own = dict(self._own)
        return copy

    def lookup(self, name: str) -> tuple[tree.Macro | None, Scope]:
        found = self._own.get(name)
        if found:
            return found
        return self._outer.lookup(name) if self._outer else (None, self)

    def names(self) -> Iterator[str]:
        yield from self._own
        if self._outer:
            yield from self._outer.names()


class Standard(Scope):
    """fields.fpl, of which a macro is parsed when it is first asked for: a program needs a few of hundreds."""

    def __init__(self) -> None:
        text = (Path(__file__).parent / FIELDS).read_text()
        super().__init__(Source(text, FIELDS))
        self._texts = {found[1]: found[0] for found in _MACRO.finditer(text)}

    def lookup(self, name: str) -> tuple[tree.Macro | None, Scope]:
        if name in self._texts and name not in self._own:
            (macro,) = parse(Source(self._texts[name], FIELDS), "macros")
            assert isinstance(macro, tree.Macro)
            self.define(macro)
        return super().lookup(name)

    def names(self) -> Iterator[str]:
        return iter(self._texts)


@lru_cache(maxsize=1)
def standard() -> Standard:
    return Standard()
