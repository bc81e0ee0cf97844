# SPDX-License-Identifier: BSD-3-Clause
"""How large an offset into the packet can be, as far as its expression says: a guard of one comparison is enough where
an offset and the octets behind it cannot pass 2^64.

most(expr)  -> the largest value that it may have, or None: not known, or too large to matter
split(expr) -> (register, n) of `register of the prologue + n`; None for all else
"""

from __future__ import annotations

from fpl.fpl2 import tree

LARGEST = 1 << 40  # what is known to be larger counts as not known


def most(expr: tree.Expr) -> int | None:
    found = _most(expr)
    return found if found is not None and found <= LARGEST else None


def _most(expr: tree.Expr) -> int | None:
    if isinstance(expr, tree.Number):
        return expr.value
    if isinstance(expr, tree.Fact):
        return (1 << 32) - 1
    if isinstance(expr, (tree.Packet, tree.Memory)):
        kind = expr.sub.kind if expr.sub else expr.kind
        return None if kind.signed else (1 << kind.bits) - 1
    if isinstance(expr, tree.Binary):
        return _of_two(expr.op, most(expr.left), most(expr.right), expr.right)
    return None


def _of_two(op: str, left: int | None, right: int | None, count: tree.Expr) -> int | None:
    if op == "&":  # of signed numbers, too: no bit is set that is not in both
        return min((value for value in (left, right) if value is not None), default=None)
    if left is None or right is None:
        return None
    if op == "+":
        return left + right
    if op == "*":
        return left * right
    if op == "<<" and isinstance(count, tree.Number):
        return left << (right & 63)
    return left if op in (">>", "/", "%") else None


def split(expr: tree.Expr) -> tuple[tree.Register, int] | None:
    if not isinstance(expr, tree.Binary) or expr.op != "+" or not isinstance(expr.right, tree.Number):
        return None
    left, ahead = expr.left, expr.right.value
    if not isinstance(left, tree.Register) or left.sub or not isinstance(left.index, tree.Number):
        return None
    return (left, ahead) if left.index.value >= tree.REGISTERS and ahead <= LARGEST else None
