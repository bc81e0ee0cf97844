# SPDX-License-Identifier: BSD-3-Clause
"""The door: text to a checked program, and on to code.

check(text)                  -> Checked: the tree, what it costs
compile_native(text, ...)    -> native.Code
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fpl.fpl2 import merges, native, tails, tree
from fpl.fpl2.check import Checker, Cost, Policy
from fpl.fpl2.files import Folders
from fpl.fpl2.found import LINKS
from fpl.fpl2.lower import Lower
from fpl.fpl2.names import Names
from fpl.fpl2.parse import parse
from fpl.fpl2.prologue import prologue
from fpl.fpl2.report import Source
from fpl.fpl2.scope import Scope, standard
from fpl.percpu import Merge

MBUF_MIN = 8


@dataclass
class Checked:
    """A program that may run. program begins with the prologue, where a name needs it."""

    source: Source
    program: tree.Program
    cost: Cost
    mbuf_bytes: int
    link: str  # a key of names.LINKS
    prologue: int = 0  # how many statements of the program it is
    merges: tuple[Merge, ...] = ()  # of an MBuf of which each CPU has one; (): all share one

    def ir(self) -> str:
        """Text of LLVM IR, not optimised: lower.py says what the function is."""
        return Lower(self.mbuf_bytes, self.cost, atomic=not self.merges).module(self.program)


def interface_number(name: str) -> int | None:
    """IFINDEX of an interface, in the network namespace of this process."""
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError):  # there is none; or the name has a 0 in it
        return None


def mbuf_size(asked: int) -> int:
    """Octets that an MBuf gets: a power of two, at least 8; 0 stays 0."""
    return 0 if asked == 0 else max(MBUF_MIN, 1 << (asked - 1).bit_length())


def check(
    text: str,
    *,
    name: str = "<fpl-2>",
    mbuf_bytes: int = 0,
    link: str = "ethernet",
    policy: Policy | None = None,
    fields: Sequence[Source] = (),
    files: Folders | None = None,
    interface: Callable[[str], int | None] | None = interface_number,
) -> Checked:
    """mbuf_bytes: as asked for; mbuf_size() has what it becomes. fields: macros of the user's, each text seeing those
    before it; files: what USE may name; interface: numbers of interfaces by name;
    None where packets come of files, which number theirs otherwise. Raises FplError, whose text is the
    report."""
    policy = policy or Policy()
    source = Source(text, name)
    if link not in LINKS:
        raise ValueError(f"no link {link!r}: it is one of {', '.join(LINKS)}")
    size = mbuf_size(mbuf_bytes)
    if size > policy.mbuf_bytes:
        raise source.error(f"an MBuf of {mbuf_bytes} octets is larger than {policy.mbuf_bytes}", 0)
    names = Names(Scope(source, standard()), files=files, interface=interface)
    for text_of_fields in fields:
        names.use(text_of_fields)
    statements, declared = merges.taken(source, parse(source), size)
    program = names.program(statements)
    before = prologue(names.found, link)
    cost = Checker(source, policy, size).program(before + program)
    return Checked(source, before + program, cost, size, link, len(before), declared)


def compile_native(checked: Checked, target: str = "x86-64") -> native.Code:
    """Raises native.BackendError."""
    program = tails.unshared(checked.program, checked.prologue)
    loops = any(isinstance(node, tree.For) for node in tree.within(checked.program[checked.prologue :]))
    text = Lower(checked.mbuf_bytes, checked.cost, atomic=not checked.merges).module(program)
    return native.compile_module(text, target, briefly=not loops and tails.size(program) > tails.SIZE_MAX)
