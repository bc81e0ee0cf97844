# SPDX-License-Identifier: BSD-3-Clause
"""Before lowering to native code: what follows a fork of the prologue stands in both its ways.

    IF (tag) THEN ... FI  rest      ->      IF (tag) THEN ... rest ELSE rest FI

Then most packets, which have no tag, go a way on which L3 is a number, guards are compared with numbers, and what
asks for tags or for another protocol is gone. The meaning stays. Programs that would become long, those that look into
tunnels among them, are left as they are: what they gain is a nanosecond, what it costs is time to compile.
"""

from __future__ import annotations

from dataclasses import replace

from fpl.fpl2 import tree

SIZE_MAX = 500  # afterwards: compiling that takes some 50 ms
FORKS_MAX = 2  # one behind the other: four copies


def size(program: tree.Program) -> int:
    """Terms and statements; a set is one, whatever stands in it."""
    return sum(not isinstance(node, (tree.Number, tree.Range)) for node in tree.within(program))


def unshared(program: tree.Program, prologue: int) -> tree.Program:
    """prologue: how many statements of the program it is."""
    return _unshared(program, prologue, FORKS_MAX, SIZE_MAX - size(program))


def _unshared(program: tree.Program, prologue: int, forks: int, room: int) -> tree.Program:
    """room: by how much it may grow."""
    for at, statement in enumerate(program[:prologue]):
        if not isinstance(statement, tree.If):
            continue
        rest = program[at + 1 :]
        more = size(rest)
        if not forks or not rest or more > room:
            return program
        ahead = _unshared(rest, prologue - at - 1, forks - 1, (room - more) // 2)
        fork = replace(statement, then=statement.then + ahead, otherwise=statement.otherwise + ahead)
        return [*program[:at], fork]
    return program
