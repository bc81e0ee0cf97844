# SPDX-License-Identifier: BSD-3-Clause
"""What operators mean, in one place for every back end, and on Python's numbers for those that fold or interpret.

All arithmetic is modulo 2^64. Division by 0, and octets beyond those captured, end the filter with result 0. Signed
division cuts towards 0. A shift's count is taken modulo 64. Comparisons give 1 or 0. An index into MBuf, the registers
or a whole's parts is taken modulo how many there are, all powers of two. A result above 2^32 - 1 is 2^32 - 1.
"""

from __future__ import annotations

from collections.abc import Callable

from fpl.fpl2 import tree

ALL = (1 << 64) - 1
RESULT_MAX = (1 << 32) - 1
TRIES = 64  # of an assignment operator whose place another processor changes meanwhile: then it is left out
HASH_START, HASH_FACTOR = 2166136261, 16777619  # FNV-1a, 32 bits
MIX = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))  # then: h ^= h >> n; h *= factor


def as_signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _divide(a: int, b: int, signed: bool) -> int:
    if not signed:
        return a // b
    a, b = as_signed(a), as_signed(b)
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _remainder(a: int, b: int, signed: bool) -> int:
    if not signed:
        return a % b
    a, b = as_signed(a), as_signed(b)
    return abs(a) % abs(b) * (-1 if a < 0 else 1)


def _shift_right(a: int, b: int, signed: bool) -> int:
    return (as_signed(a) if signed else a) >> (b & 63)


def _compared(test: Callable[[int, int], bool]) -> Callable[[int, int, bool], int]:
    return lambda a, b, signed: int(test(as_signed(a), as_signed(b)) if signed else test(a, b))


# (left, right, signed) -> value, to be taken modulo 2^64; / and % are never called with right 0
OPERATORS: dict[str, Callable[[int, int, bool], int]] = {
    "+": lambda a, b, signed: a + b,
    "-": lambda a, b, signed: a - b,
    "*": lambda a, b, signed: a * b,
    "/": _divide,
    "%": _remainder,
    "&": lambda a, b, signed: a & b,
    "|": lambda a, b, signed: a | b,
    "^": lambda a, b, signed: a ^ b,
    "<<": lambda a, b, signed: a << (b & 63),
    ">>": _shift_right,
    "==": _compared(lambda a, b: a == b),
    "!=": _compared(lambda a, b: a != b),
    "<": _compared(lambda a, b: a < b),
    "<=": _compared(lambda a, b: a <= b),
    ">": _compared(lambda a, b: a > b),
    ">=": _compared(lambda a, b: a >= b),
}


def fnv(octets: bytes) -> int:
    """HASH before its table's size: FNV-1a, mixed so that its low bits are as good as the others."""
    value = HASH_START
    for octet in octets:
        value = (value ^ octet) * HASH_FACTOR & 0xFFFFFFFF
    for shift, factor in MIX:
        value = (value ^ value >> shift) * factor & 0xFFFFFFFF
    return value


def is_signed(expr: tree.Expr) -> bool:
    """Of a program that passed check: how an operator takes this value. A number written down is unsigned here, and
    what it meets decides."""
    if isinstance(expr, (tree.Memory, tree.Packet, tree.Register)):
        if expr.sub:
            return expr.sub.kind.signed
        return not isinstance(expr, tree.Register) and expr.kind.signed
    if isinstance(expr, tree.Unary):
        return expr.op != "!" and is_signed(expr.operand)
    if isinstance(expr, tree.When):
        return is_signed(expr.value)
    if isinstance(expr, tree.Binary):
        if expr.op in ("<<", ">>"):
            return is_signed(expr.left)
        return expr.op in ("+", "-", "*", "/", "%", "&", "|", "^") and meets_signed(expr.left, expr.right)
    return False


def meets_signed(left: tree.Expr, right: tree.Expr) -> bool:
    return is_signed(left) or is_signed(right)


def is_free(expr: tree.Expr) -> bool:
    """A number, or made of numbers alone."""
    if isinstance(expr, tree.Number):
        return True
    if isinstance(expr, tree.Unary):
        return is_free(expr.operand)
    return isinstance(expr, tree.Binary) and is_free(expr.left) and is_free(expr.right)


def extended(value: int, kind: tree.Kind) -> int:
    """A kind's octets as a number modulo 2^64."""
    if kind.signed and value >> (kind.bits - 1):
        return value | (ALL << kind.bits) & ALL
    return value


def part_shift(whole: int, part: int, index: int) -> int:
    """How far part number `index` lies from the right: parts are numbered from the left, as on the wire."""
    count = whole // part
    return whole - part * ((index & (count - 1)) + 1)
