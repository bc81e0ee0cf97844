# SPDX-License-Identifier: BSD-3-Clause
"""Instructions as the compiler makes them: blocks that grow, numbers folded on the way, and values of 64 bits as pairs.

A Value has its type, its halves, and the largest number that it may be, as far as that is known: what is below 2^31 may
be compared and shifted without its sign, what is an octet by one instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ixp_driver.microc.ir import Alu, Bit, Block, Byte, Cond, End, Function, Jump, Move, Operand, Program, V, X

WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Type:
    bits: int
    signed: bool

    @property
    def most(self) -> int:
        return (1 << self.bits - self.signed) - 1

    @property
    def wide(self) -> bool:
        return self.bits == 64


U32, I32, U64, I64 = Type(32, False), Type(32, True), Type(64, False), Type(64, True)


@dataclass(frozen=True)
class Value:
    """most: None where the value may be negative, or nothing is known."""

    type: Type
    low: Operand
    high: Operand = 0
    most: int | None = None

    @property
    def number(self) -> int | None:
        """As a number modulo 2^64 or 2^32, where it is known."""
        if isinstance(self.low, int) and (not self.type.wide or isinstance(self.high, int)):
            return self.low | (self.high << 32 if self.type.wide and isinstance(self.high, int) else 0)
        return None


def constant(number: int, kind: Type) -> Value:
    number &= (1 << max(kind.bits, 32)) - 1
    negative = kind.signed and number >> max(kind.bits, 32) - 1
    return Value(kind, number & WORD, number >> 32 if kind.wide else 0, None if negative else number)


FOLDED: dict[str, Callable[[int, int, int], int]] = {  # (a, b, n), to be taken modulo 2^32
    "ADD": lambda a, b, n: a + b, "SUB": lambda a, b, n: a - b,
    "B_SHL": lambda a, b, n: b << n, "B_SHR": lambda a, b, n: b >> n,
    "B_ASR": lambda a, b, n: (b - (b >> 31 << 32)) >> n, "NOT_SHL": lambda a, b, n: ~(b << n),
    "AND_SHL": lambda a, b, n: a & b << n, "AND_SHR": lambda a, b, n: a & b >> n,
    "ANDN_SHL": lambda a, b, n: a & ~(b << n), "OR_SHL": lambda a, b, n: a | b << n,
    "OR_SHR": lambda a, b, n: a | b >> n,
    "XOR_SHL": lambda a, b, n: a ^ b << n, "XOR_SHR": lambda a, b, n: a ^ b >> n,
    "SHL_BY": lambda a, b, n: b << (a & 31), "SHR_BY": lambda a, b, n: b >> (a & 31),
    "ASR_BY": lambda a, b, n: (b - (b >> 31 << 32)) >> (a & 31), "DSHR": lambda a, b, n: (a << 32 | b) >> n,
    "DSHR_BY": lambda a, b, n: (a << 32 | b) >> (n & 31),
}  # fmt: skip


class Builder:
    """One function as it grows."""

    def __init__(self, program: Program, function: Function) -> None:
        self.program, self.function = program, function
        self._labels = 0
        self.block = self.start(self.label("entry"))

    def label(self, what: str) -> str:
        self._labels += 1
        return f"{self.function.name}.{what}.{self._labels}"

    def start(self, label: str) -> Block:
        """From here on instructions are of this block; the one before goes on to it where it has no end."""
        block = Block(label)
        if self.function.blocks and self.block.end is None:
            self.block.end = Jump(label)
        self.function.blocks.append(block)
        self.block = block
        return block

    def end(self, end: End) -> None:
        if self.block.end is None:
            self.block.end = end

    def fresh(self) -> V:
        return self.program.fresh()

    # ---- 32 bits ----

    def alu(self, op: str, a: Operand, b: Operand, n: Operand = 0) -> Operand:
        if isinstance(a, int) and isinstance(b, int) and isinstance(n, int) and op in FOLDED:
            return FOLDED[op](a, b, n) & WORD
        same = self.same(op, a, b, n)
        if same is not None:
            return same
        dst = self.fresh()
        self.block.body.append(Alu(op, dst, a, b, n))
        return dst

    @staticmethod
    def same(op: str, a: Operand, b: Operand, n: Operand) -> Operand | None:
        """What it is without an instruction."""
        if op in ("B_SHL", "B_SHR", "B_ASR") and n == 0:
            return b
        if op in ("ADD", "OR_SHL", "OR_SHR", "XOR_SHL", "XOR_SHR", "SUB", "ANDN_SHL") and b == 0:
            return a
        if op in ("ADD", "OR_SHL", "XOR_SHL") and a == 0 and n == 0:
            return b
        if op in ("AND_SHL", "AND_SHR") and (a == 0 or b == 0):
            return 0
        if op == "AND_SHL" and n == 0 and WORD in (a, b):
            return a if b == WORD else b
        if op in ("SHL_BY", "SHR_BY", "ASR_BY") and isinstance(a, int) and not a & 31:
            return b
        if op == "DSHR" and n == 0:
            return b
        return None

    def flags(self, op: str, a: Operand, b: Operand) -> None:
        self.block.body.append(Alu(op, None, a, b))

    def move(self, dst: V | X, src: Operand) -> None:
        if dst != src:
            self.block.body.append(Move(dst, src))

    def shifted(self, op: str, b: Operand, n: int) -> Operand:
        """By B_SHL, B_SHR or B_ASR, 0 to 32 and more."""
        if n >= 32:
            return self.alu("B_ASR", 0, b, 31) if op == "B_ASR" else 0
        return self.alu(op, 0, b, n)

    def masked(self, b: Operand, mask: int) -> Operand:
        """b & mask: two shifts where the mask is low bits that are no operand."""
        bits = mask.bit_length()
        if mask > 63 and mask == (1 << bits) - 1 and not isinstance(b, int) and mask != WORD:
            return self.alu("B_SHR", 0, self.alu("B_SHL", 0, b, 32 - bits), 32 - bits)
        return self.alu("AND_SHL", b, mask)

    # ---- 64 bits: low half first, carries between ----

    def pair(self, op: str, carried: str, a: Value, b: Value) -> tuple[Operand, Operand]:
        """ADD and ADDC, SUB and SUBC."""
        if isinstance(a.low, int) and isinstance(b.low, int) and a.number is not None and b.number is not None:
            number = a.number + b.number if op == "ADD" else a.number - b.number
            return number & WORD, number >> 32 & WORD
        if b.low == 0:  # nothing is carried, or borrowed
            return a.low, self.alu(op, a.high, b.high)
        low, high = self.fresh(), self.fresh()
        self.block.body.append(Alu(op, low, a.low, b.low))
        self.block.body.append(Alu(carried, high, a.high, b.high))
        return low, high

    def left(self, value: Value, n: int) -> tuple[Operand, Operand]:
        if n >= 32:
            return 0, self.shifted("B_SHL", value.low, n - 32)
        high = self.alu("DSHR", value.high, value.low, 32 - n) if n else value.high
        return self.shifted("B_SHL", value.low, n), high

    def right(self, value: Value, n: int, signed: bool) -> tuple[Operand, Operand]:
        op = "B_ASR" if signed else "B_SHR"
        if n >= 32:
            return self.shifted(op, value.high, n - 32), self.shifted("B_ASR", value.high, 32) if signed else 0
        low = self.alu("DSHR", value.high, value.low, n) if n else value.low
        return low, self.shifted(op, value.high, n)

    # ---- branches ----

    def branch(self, op: str, a: Value, b: Value, yes: str, no: str) -> None:
        """op: == != < <= > >=, of two values of one type."""
        if a.number is not None and b.number is not None:
            self.end(Jump(yes if _compared(op, a, b) else no))
            return
        if op in (">", "<="):
            op, a, b = {">": "<", "<=": ">="}[op], b, a
        signed = a.type.signed and (a.most is None or b.most is None)
        if op in ("==", "!="):
            if op == "!=":
                yes, no = no, yes
            self._equal(a, b, yes, no)
            return
        self.flags("SUB", a.low, b.low)
        if a.type.wide:
            self.flags("SUBC", a.high, b.high)
        less = "LT" if signed else "CC"
        if op == "<":
            self.end(Cond(less, yes, no))
        else:
            self.end(Cond(less, no, yes))

    def _equal(self, a: Value, b: Value, yes: str, no: str) -> None:
        if a.number is not None:
            a, b = b, a
        if not a.type.wide:
            known = b.number
            if a.most is not None and a.most < 256 and known is not None and isinstance(a.low, (V, X)):
                self.end(Byte(a.low, 0, known, yes, no) if known < 256 else Jump(no))
                return
            self.flags("SUB", a.low, b.low)
        elif b.number == 0:
            self.flags("OR_SHL", a.low, a.high)
        else:
            high, low = self.alu("XOR_SHL", a.high, b.high), self.alu("XOR_SHL", a.low, b.low)
            self.flags("OR_SHL", low, high)
        self.end(Cond("EQ", yes, no))

    def branch_bit(self, a: Operand, bit: int, yes: str, no: str) -> None:
        if isinstance(a, int):
            self.end(Jump(yes if a >> bit & 1 else no))
        else:
            self.end(Bit(a, bit, yes, no))


def _compared(op: str, a: Value, b: Value) -> bool:
    left, right = a.number or 0, b.number or 0
    if a.type.signed:
        bits = max(a.type.bits, 32)
        left, right = (n - (1 << bits) if n >> bits - 1 else n for n in (left, right))
    return {"==": left == right, "!=": left != right, "<": left < right, "<=": left <= right, ">": left > right,
            ">=": left >= right}[op]  # fmt: skip
