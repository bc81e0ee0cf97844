# SPDX-License-Identifier: BSD-3-Clause
"""Sets of unsigned integers as intervals.

Intervals ::= ((low, high), ...)      ascending, disjoint, never touching: one set has one form
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Intervals = tuple[tuple[int, int], ...]


def normal(pieces: Iterable[tuple[int, int]]) -> Intervals:
    """Of pieces in any order, which may overlap."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(pieces):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def union(a: Intervals, b: Intervals) -> Intervals:
    return normal([*a, *b])


def intersection(a: Intervals, b: Intervals) -> Intervals:
    if len(a) > len(b):
        a, b = b, a
    starts = [low for low, _ in b] if len(a) * 8 < len(b) else None
    out = []
    at = 0
    for low, high in a:
        if starts is not None:
            at = max(at, bisect_right(starts, low) - 1)
        while at < len(b) and b[at][1] < low:
            at += 1
        ahead = at
        while ahead < len(b) and b[ahead][0] <= high:
            out.append((max(low, b[ahead][0]), min(high, b[ahead][1])))
            ahead += 1
        at = max(at, ahead - 1)
    return tuple(out)


def complement(a: Intervals, top: int) -> Intervals:
    """What of 0..top is not in a."""
    out = []
    start = 0
    for low, high in a:
        if low > start:
            out.append((start, low - 1))
        start = high + 1
    return (*out, (start, top)) if start <= top else tuple(out)


def difference(a: Intervals, b: Intervals, top: int) -> Intervals:
    return intersection(a, complement(b, top))


def count(a: Intervals) -> int:
    """How many integers are in a."""
    return sum(high - low + 1 for low, high in a)
