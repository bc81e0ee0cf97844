# SPDX-License-Identifier: BSD-3-Clause
"""Before lowering to native code: what follows a fork of the prologue stands in both its ways.

    IF (tag) THEN ... FI  rest      ->      IF (tag) THEN ... rest ELSE rest FI

Then most packets, which have no tag, go a way on which L3 is a number, guards are compared with numbers, and what
asks for tags or for another protocol is gone. The meaning stays. Programs that would become long are left as they are.
"""

from __future__ import annotations

from dataclasses import replace

from fpl.fpl2 import tree

NODES_MAX = 4000  # of the tree, afterwards
FORKS_MAX = 2  # one behind the other: four copies


def unshared(program: tree.Program, prologue: int) -> tree.Program:
    """prologue: how many statements of the program it is."""
    return _unshared(program, prologue, FORKS_MAX, NODES_MAX)


def _unshared(program: tree.Program, prologue: int, forks: int, room: int) -> tree.Program:
    for at, statement in enumerate(program[:prologue]):
        if not isinstance(statement, tree.If):
            continue
        rest = program[at + 1 :]
        size = sum(1 for _ in tree.within(program))
        if not forks or not rest or 2 * size > room:
            return program
        ahead = _unshared(rest, prologue - at - 1, forks - 1, room // 2)
        fork = replace(statement, then=statement.then + ahead, otherwise=statement.otherwise + ahead)
        return [*program[:at], fork]
    return program
