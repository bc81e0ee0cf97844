# SPDX-License-Identifier: BSD-3-Clause
"""How large values can be, so that a processor of 32 bits need not count to 2^64: for microengine.py.

Ranges(program)         -> of registers and expressions: nothing of the order in which statements run, but a FOR's count
without_unread(program) -> the program without what its prologue finds for nobody: there are few registers, too
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fpl.fpl2 import meaning, tree
from fpl.fpl2.check import loop_of
from fpl.fpl2.found import BANKS, FOUND, SCRATCH, register
from fpl.fpl2.meaning import ALL

WORD = (1 << 32) - 1
OFFSET_MAX = 1 << 24  # of what the prologue finds in a packet: it passes over a few headers of at most 2 KiB
ROUNDS = 8  # of looking at all assignments; what grows still may be anything
_FOUND_MOST = {
    "ETHERNET": 1, "VLAN_TAGS": 4, "VLAN_OUTER": 0xFFFF, "VLAN_INNER": 0xFFFF, "L2TYPE": 0xFFFF, "L4PROTO": 0xFF,
    "EXTENSIONS": ALL, "IP_OPTIONS": WORD,
}  # fmt: skip


def _hidden() -> dict[int, int]:
    found = {register(name, 0): OFFSET_MAX for name in SCRATCH}
    for bank in range(BANKS):
        found |= {register(name, bank): _FOUND_MOST.get(name, OFFSET_MAX) for name in FOUND}
    return found


HIDDEN = _hidden()


def without_unread(program: Sequence[tree.Statement]) -> list[tree.Statement]:
    """Without what the prologue finds and nobody looks at, but to find more of the same."""
    kept, before = list(program), -1
    while before != (before := sum(1 for _ in tree.within(kept))):  # a test that is gone has read something, too
        roots: set[int] = set()
        feeds: dict[int, set[int]] = {}  # a register of the prologue -> those that it is made of
        _readers(kept, roots, feeds)
        waiting = list(roots)
        while waiting:
            more = feeds.get(waiting.pop(), set()) - roots
            roots |= more
            waiting += more
        kept = _kept(kept, roots)
    return kept


def _hidden_target(statement: tree.Statement) -> int | None:
    target = statement.target if isinstance(statement, tree.Assign) else None
    if isinstance(target, tree.Register) and isinstance(target.index, tree.Number) and target.index.value in HIDDEN:
        return target.index.value
    return None


def _read(*roots: object) -> set[int]:
    return {node.index.value for node in tree.within(*roots)
            if isinstance(node, tree.Register) and isinstance(node.index, tree.Number)}  # fmt: skip


def _readers(program: Sequence[tree.Statement], roots: set[int], feeds: dict[int, set[int]]) -> None:
    for statement in program:
        hidden = _hidden_target(statement)
        if hidden is not None and isinstance(statement, tree.Assign):
            feeds.setdefault(hidden, set()).update(_read(statement.value))
        elif isinstance(statement, tree.If):
            roots |= _read(statement.test)
            _readers([*statement.then, *statement.otherwise], roots, feeds)
        elif isinstance(statement, tree.For):
            roots |= _read(statement.first, statement.test, statement.step)
            _readers(statement.body, roots, feeds)
        else:
            roots |= _read(statement)


def _kept(program: Sequence[tree.Statement], needed: set[int]) -> list[tree.Statement]:
    found: list[tree.Statement] = []
    for statement in program:
        hidden = _hidden_target(statement)
        if hidden is not None and hidden not in needed:
            continue
        if isinstance(statement, tree.If):
            statement = replace(statement, then=_kept(statement.then, needed),
                                otherwise=_kept(statement.otherwise, needed))  # fmt: skip
            if not statement.then and not statement.otherwise and _has_no_guard(statement.test):
                continue
        elif isinstance(statement, tree.For):
            statement = replace(statement, body=_kept(statement.body, needed))
        found.append(statement)
    return found


def _has_no_guard(expr: tree.Expr) -> bool:
    """It cannot end the filter: registers and numbers compared, and what the prologue reads."""
    return all(isinstance(node, (tree.Number, tree.Register, tree.Unary, tree.Member, tree.Range)) or
               (isinstance(node, tree.Packet) and node.soft) or
               (isinstance(node, tree.Binary) and node.op not in ("/", "%")) for node in tree.within(expr))  # fmt: skip


class Ranges:
    """registers: the most that is in each which is ever written; those that are not are 0. indexed: one is read or
    written whose number is known when the program runs."""

    def __init__(self, program: Sequence[tree.Statement]) -> None:
        nodes = list(tree.within(list(program)))
        self.indexed = any(isinstance(node, tree.Register) and not isinstance(node.index, tree.Number)
                           for node in nodes)  # fmt: skip
        self.registers: dict[int, int] = {}
        for node in nodes:
            if isinstance(node, tree.Assign) and isinstance(node.target, tree.Register):
                for number in self._numbers(node.target):
                    self.registers[number] = HIDDEN.get(number, 0)
        for at in range(ROUNDS + 1):
            before = dict(self.registers)
            self._block(program)
            if before == self.registers:
                return
            if at == ROUNDS - 1:
                for number, value in self.registers.items():
                    if value != before[number]:
                        self.registers[number] = ALL

    def _numbers(self, place: tree.Register) -> list[int]:
        return [place.index.value] if isinstance(place.index, tree.Number) else list(range(tree.REGISTERS))

    # ---- statements ----

    def _block(self, statements: Sequence[tree.Statement]) -> None:
        for statement in statements:
            if isinstance(statement, tree.Assign):
                self._assign(statement)
            elif isinstance(statement, tree.If):
                self._block(statement.then)
                self._block(statement.otherwise)
            elif isinstance(statement, tree.For):
                self._for(statement)

    def _grows(self, place: tree.Register, most: int) -> None:
        for number in self._numbers(place):
            if number not in HIDDEN:
                self.registers[number] = max(self.registers[number], min(most, ALL))

    def _assign(self, statement: tree.Assign) -> None:
        target, op = statement.target, statement.op[:-1]
        if not isinstance(target, tree.Register):
            return
        if target.sub:
            self._grows(target, ALL)
        elif not op:
            self._grows(target, self.largest(statement.value))
        else:
            self._grows(target, self.largest(tree.Binary(0, op, target, statement.value)))

    def _for(self, statement: tree.For) -> None:
        loop = loop_of(statement)
        if statement.first:
            self._assign(statement.first)
        place = tree.Register(0, tree.Number(0, loop.register))
        count = loop.count()
        first = self.largest(loop.first) if loop.first is not None else self.registers.get(loop.register, 0)
        if loop.step >> 63:
            self._grows(place, first if count is not None else ALL)
        elif loop.op in ("<", "<="):
            self._grows(place, max(first, self.largest(loop.bound) + loop.step))
        else:
            self._grows(place, ALL)
        self._block(statement.body)

    # ---- expressions ----

    def largest(self, expr: tree.Expr) -> int:
        if isinstance(expr, tree.Number):
            return expr.value
        if isinstance(expr, tree.Fact):
            return {"VLAN_PRESENT": 1, "PKTTYPE": 0xFF, "VLAN_TCI": 0xFFFF}.get(expr.name, WORD)
        if isinstance(expr, (tree.Register, tree.Memory, tree.Packet)):
            return self._place(expr)
        if isinstance(expr, tree.Unary):
            return 1 if expr.op == "!" else ALL
        if isinstance(expr, tree.When):
            return self.largest(expr.value)
        if isinstance(expr, (tree.Member, tree.Contains)):
            return 1
        if isinstance(expr, tree.Hash):
            assert isinstance(expr.size, tree.Number)
            return expr.size.value - 1
        if isinstance(expr, tree.Binary):
            return self._binary(expr)
        return ALL

    def _place(self, place: tree.Register | tree.Memory | tree.Packet) -> int:
        if place.sub:
            return ALL if place.sub.kind.signed else (1 << place.sub.kind.bits) - 1
        if isinstance(place, tree.Register):
            return max(self.registers.get(number, 0) for number in self._numbers(place))
        return ALL if place.kind.signed else (1 << place.kind.bits) - 1

    def _binary(self, expr: tree.Binary) -> int:
        op = expr.op
        if op not in ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"):
            return 1
        left, right = self.largest(expr.left), self.largest(expr.right)
        if op == "&":
            return min(left, right)
        signed = meaning.is_signed(expr.left) if op == ">>" else meaning.meets_signed(expr.left, expr.right)
        if op == "-" or (signed and op in ("/", "%", ">>")):
            return ALL
        return min(ALL, _of_two(op, left, right, expr.right))


def _of_two(op: str, left: int, right: int, count: tree.Expr) -> int:
    """Of numbers without signs."""
    if op == "+":
        return left + right
    if op == "*":
        return left * right
    if op == "/":
        return left
    if op == "%":
        return min(left, max(right - 1, 0))
    if op == "<<":
        return left << right if right < 64 else left << (right & 63) if isinstance(count, tree.Number) else ALL
    if op == ">>":
        return left >> (right & 63) if isinstance(count, tree.Number) else left
    return (1 << max(left, right).bit_length()) - 1  # | ^
