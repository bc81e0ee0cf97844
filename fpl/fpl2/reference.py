# SPDX-License-Identifier: BSD-3-Clause
"""The reference: a program run on Python's numbers, slowly, straight from the tree. What back ends are tested against.

takes    a checked program, a packet, its facts, memory
gives    the result (0: not delivered); memory is changed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fpl.fpl2 import meaning, tree
from fpl.fpl2.check import SCAN_MAX
from fpl.fpl2.externals import External, key_of
from fpl.fpl2.found import HIDDEN
from fpl.fpl2.meaning import ALL
from fpl.fpl2.statements import DoneError, Statements

# (packet, memory, offset of the input, offset of the output) -> value
ExternalFunction = Callable[[bytes, bytearray, int, int], int]


class Machine(Statements):
    """One packet's run."""

    def __init__(
        self,
        packet: bytes,
        facts: Mapping[str, int],
        memory: bytearray,
        externals: Mapping[str, ExternalFunction] | None = None,
        calls: Mapping[str, External] | None = None,
    ) -> None:
        """facts: values of scope.FACTS but CAPLEN, which is the packet's length; LEN is that too where it is not given.
        memory: a power of two of octets, or none. externals: by the uses' keys; calls: Cost.calls, when there are any.
        """
        self._packet, self._memory, self._externals = packet, memory, externals or {}
        self._calls = calls or {}
        self._facts = {"LEN": len(packet), **facts, "CAPLEN": len(packet)}
        self._registers = [0] * (tree.REGISTERS + HIDDEN)

    def _for(self, statement: tree.For) -> None:
        loop = self._begun(statement)
        assert statement.most is not None
        bound = self._value(loop.bound)
        test = meaning.OPERATORS[loop.op]
        for _ in range(statement.most):
            if not test(self._registers[loop.register], bound, False):
                break
            if not self._round(statement):
                break
            self._registers[loop.register] = self._registers[loop.register] + loop.step & ALL

    def _assign(self, statement: tree.Assign) -> None:
        value = self._value(statement.value)
        target = statement.target
        if statement.op != "=":
            signed = meaning.is_signed(target) if statement.op in ("<<=", ">>=") else meaning.meets_signed(
                target, statement.value)  # fmt: skip
            value = self._operate(statement.op[:-1], self._value(target), value, signed)
        assert isinstance(target, (tree.Register, tree.Memory))
        if target.sub:
            whole, width = self._whole(target)
            kind = target.sub.kind
            shift = meaning.part_shift(width, kind.bits, self._value(target.sub.index))
            mask = (1 << kind.bits) - 1
            value = whole & ~(mask << shift) | (value & mask) << shift
        if isinstance(target, tree.Register):
            self._registers[self._register(target)] = value & ALL
        else:
            at, octets = self._place(target)
            self._memory[at : at + octets] = (value & (1 << 8 * octets) - 1).to_bytes(octets, "little")

    # ---- places ----

    def _register(self, place: tree.Register) -> int:
        if isinstance(place.index, tree.Number):
            return place.index.value
        return self._value(place.index) & (tree.REGISTERS - 1)

    def _place(self, place: tree.Memory) -> tuple[int, int]:
        octets = place.kind.bits // 8
        at = self._value(place.index) * place.scale & (len(self._memory) - 1) & ~(octets - 1)
        return at, octets

    def _whole(self, place: tree.Register | tree.Memory | tree.Packet) -> tuple[int, int]:
        """Without its sub-field; bits of it."""
        if isinstance(place, tree.Register):
            return self._registers[self._register(place)], 64
        if isinstance(place, tree.Other):
            return self._extern(place.call()), place.kind.bits
        if isinstance(place, tree.Memory):
            at, octets = self._place(place)
            return int.from_bytes(self._memory[at : at + octets], "little"), place.kind.bits
        octets = place.kind.bits // 8
        at = self._value(place.index) * place.scale & ALL
        if at + octets > len(self._packet):
            if place.soft:
                return 0, place.kind.bits
            raise DoneError(0)
        return int.from_bytes(self._packet[at : at + octets], "big"), place.kind.bits

    # ---- values, modulo 2^64 ----

    def _number(self, expr: tree.Expr) -> int:
        return self._value(expr)

    def _holds(self, expr: tree.Expr) -> bool:
        return bool(self._value(expr))

    def _operate(self, op: str, left: int, right: int, signed: bool) -> int:
        if op in ("/", "%") and right == 0:
            raise DoneError(0)
        return meaning.OPERATORS[op](left, right, signed) & ALL

    def _value(self, expr: tree.Expr) -> int:
        if isinstance(expr, tree.Number):
            return expr.value
        if isinstance(expr, tree.Fact):
            return self._facts.get(expr.name, 0)
        if isinstance(expr, (tree.Register, tree.Memory, tree.Packet)):
            whole, width = self._whole(expr)
            if not expr.sub:
                return whole if isinstance(expr, tree.Register) else meaning.extended(whole, expr.kind)
            kind = expr.sub.kind
            shift = meaning.part_shift(width, kind.bits, self._value(expr.sub.index))
            return meaning.extended(whole >> shift & (1 << kind.bits) - 1, kind)
        if isinstance(expr, tree.Unary):
            value = self._value(expr.operand)
            return int(not value) if expr.op == "!" else (-value if expr.op == "-" else ~value) & ALL
        if isinstance(expr, tree.Binary):
            return self._binary(expr)
        if isinstance(expr, tree.When):
            return self._value(expr.value) if self._value(expr.test) else 0
        if isinstance(expr, tree.Member):
            return self._member(expr)
        if isinstance(expr, tree.Hash):
            return self._hash(expr)
        if isinstance(expr, tree.Contains):
            start = self._value(expr.value)
            looked_at = self._packet[start : start + SCAN_MAX] if start <= len(self._packet) else b""
            return int(expr.octets in (looked_at.lower() if expr.any_case else looked_at))
        assert isinstance(expr, tree.Extern)
        return self._extern(expr)

    def _extern(self, expr: tree.Extern) -> int:
        key = key_of(expr.name)
        read_at, write_at = self._value(expr.read_at), self._value(expr.write_at)
        for offset, octets in ((read_at, self._calls[key].reads), (write_at, self._calls[key].writes)):
            if octets and offset + octets > len(self._memory):
                raise DoneError(0)
        return self._externals[key](self._packet, self._memory, read_at, write_at) & ALL

    def _binary(self, expr: tree.Binary) -> int:
        left = self._value(expr.left)
        if expr.op == "&&":
            return int(bool(left and self._value(expr.right)))
        if expr.op == "||":
            return int(bool(left or self._value(expr.right)))
        right = self._value(expr.right)
        signed = (
            meaning.is_signed(expr.left) if expr.op in ("<<", ">>") else meaning.meets_signed(expr.left, expr.right)
        )
        return self._operate(expr.op, left, right, signed)

    def _member(self, expr: tree.Member) -> int:
        value = self._value(expr.value)
        found = False
        for element in expr.elements:  # all ends are worked out, found or not: one of them may end the filter
            signed = meaning.is_signed(expr.value) or meaning.is_signed(element.low) or meaning.is_signed(element.high)
            low, high = self._value(element.low), self._value(element.high)
            found |= bool(meaning.OPERATORS[">="](value, low, signed) and meaning.OPERATORS["<="](value, high, signed))
        return int(found != expr.negated)

    def _hash(self, expr: tree.Hash) -> int:
        assert isinstance(expr.length, tree.Number)
        assert isinstance(expr.size, tree.Number)
        start = self._value(expr.start)
        if start + expr.length.value > len(self._packet):
            raise DoneError(0)
        return meaning.fnv(self._packet[start : start + expr.length.value]) % expr.size.value
