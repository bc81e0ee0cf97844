# SPDX-License-Identifier: BSD-3-Clause
"""Sets: what IN compares with, brought into order; and 128 bits, which are compared as two halves.

All results are made of what 64 bits have: Member, Binary, Unary.
"""

from __future__ import annotations

from collections.abc import Sequence

from fpl.fpl2 import literals, tree
from fpl.fpl2.literals import NUMBER_MAX, Span
from fpl.fpl2.report import Source

SIGN = 1 << 63
Ends = tuple[int, int]


def merged(spans: Sequence[Ends]) -> list[Ends]:
    """In order, and none touches the next."""
    found: list[Ends] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def from_text(source: Source) -> list[Span]:
    """A file's entries, one a line; what stands behind # is a comment. Raises FplError."""
    found = []
    at = 0
    for line in source.text.split("\n"):
        entry = line.split("#", 1)[0].strip()
        if entry:
            try:
                found.append(literals.entry(entry))
            except literals.LiteralError as error:
                raise source.error(error.message, at + line.index(entry), error.hint) from None
        at += len(line) + 1
    return found


def _range(at: int, low: int, high: int) -> tree.Range:
    first = tree.Number(at, low)
    return tree.Range(at, first, first if low == high else tree.Number(at, high))


def narrow(at: int, value: tree.Expr, spans: Sequence[Ends], others: list[tree.Range], negated: bool) -> tree.Member:
    """spans: of numbers, which mean the same signed and unsigned (below 2^63) if they are to be brought into order."""
    ordered = [_range(at, *ends) for ends in merged([ends for ends in spans if ends[1] < SIGN])]
    large = [_range(at, *ends) for ends in spans if ends[1] >= SIGN]
    return tree.Member(at, value, ordered + large + others, negated)


def leaves_out_zero(elements: Sequence[tree.Range]) -> bool:
    """All are numbers, and 0 is in none."""
    return all(isinstance(element.low, tree.Number) and isinstance(element.high, tree.Number)
               and 0 < element.low.value <= element.high.value < SIGN for element in elements)  # fmt: skip


def known(elements: Sequence[tree.Range]) -> tuple[list[Ends], list[tree.Range]]:
    """Ranges between numbers that mean the same signed and unsigned, in order; and what is no such, nor one number."""
    spans, others = [], []
    for element in elements:
        low, high = element.low, element.high
        if isinstance(low, tree.Number) and isinstance(high, tree.Number):
            if low == high:
                continue
            if high.value < SIGN:
                spans.append((low.value, high.value))
                continue
        others.append(element)
    return merged(spans), others


def equal(left: tree.Wide, right: tree.Wide, op: str, at: int) -> tree.Expr:
    """op: == or !=."""
    halves = (tree.Binary(at, op, left.high, right.high), tree.Binary(at, op, left.low, right.low))
    return tree.Binary(at, "&&" if op == "==" else "||", *halves)


def wide(at: int, value: tree.Wide, spans: Sequence[Ends], others: list[tree.Wide], negated: bool) -> tree.Expr:
    """Whether 128 bits are in one of the spans, or equal to one of the others."""
    whole: list[Ends] = []  # of the upper half, where any lower half will do
    parts: dict[tuple[Ends, ...], list[int]] = {}  # spans of the lower half, and the upper halves that they are with
    by_high: dict[int, list[Ends]] = {}
    for low, high in merged(spans):
        _split(low, high, whole, by_high)
    for top, ends in by_high.items():
        parts.setdefault(tuple(ends), []).append(top)
    tests: list[tree.Expr] = [equal(value, other, "==", at) for other in others]
    if whole:
        tests.append(narrow(at, value.high, merged(whole), [], False))
    for lows, tops in parts.items():
        upper = narrow(at, value.high, [(top, top) for top in tops], [], False)
        tests.append(tree.Binary(at, "&&", upper, narrow(at, value.low, lows, [], False)))
    found = _any(at, tests) if tests else tree.Number(at, 0)
    return tree.Unary(at, "!", found) if negated else found


def _split(low: int, high: int, whole: list[Ends], by_high: dict[int, list[Ends]]) -> None:
    """A span of 128 bits, cut where its upper half changes."""
    first, last = low >> 64, high >> 64
    low, high = low & NUMBER_MAX, high & NUMBER_MAX
    if first == last and (low or high != NUMBER_MAX):
        by_high.setdefault(first, []).append((low, high))
        return
    if low:
        by_high.setdefault(first, []).append((low, NUMBER_MAX))
        first += 1
    if high != NUMBER_MAX:
        by_high.setdefault(last, []).append((0, high))
        last -= 1
    if first <= last:
        whole.append((first, last))


def _any(at: int, tests: list[tree.Expr]) -> tree.Expr:
    if len(tests) == 1:
        return tests[0]
    half = len(tests) // 2
    return tree.Binary(at, "||", _any(at, tests[:half]), _any(at, tests[half:]))
