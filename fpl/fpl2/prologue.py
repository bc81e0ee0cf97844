# SPDX-License-Identifier: BSD-3-Clause
"""The prologue of a program: those of found.py's parts that find what its names need, and nothing else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fpl.fpl2 import tree
from fpl.fpl2.found import Used, finds, parts, register
from fpl.fpl2.names import Names
from fpl.fpl2.parse import parse
from fpl.fpl2.report import Source
from fpl.fpl2.scope import Scope


def prologue(used: Used, link: str) -> tree.Program:
    """Resolved; link: a key of found.LINKS. Its nodes are shared by all programs: nobody may change them."""
    needed = set(used)
    found: list[tree.Program] = []
    for bank, part in reversed(list(parts(link))):
        if finds(bank, part) & needed:
            program, names = _part(part.file, bank)
            found.append(program)
            needed |= names
    return [statement for program in reversed(found) for statement in program]


@lru_cache(maxsize=64)
def _part(file: str, bank: int) -> tuple[tree.Program, Used]:
    source = Source((Path(__file__).parent / file).read_text(), file)
    names = Names(Scope(source, prologue=True), bank=bank)
    program = names.program(parse(source))
    if bank and file == "prologue_ethernet.fpl":  # a tunnel may carry something else
        there = tree.Register(0, tree.Number(0, register("ETHERNET", bank)))
        program = [tree.If(0, there, program, [])]
        names.found.add((bank, "ETHERNET"))
    return program, names.found
