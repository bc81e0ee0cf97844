# SPDX-License-Identifier: BSD-3-Clause
"""Byte strings that a packet begins with at some place, as comparisons of numbers; and the letters of those that are
looked for anywhere."""

from __future__ import annotations

from fpl.fpl2 import tree

SIZES = (8, 4, 2, 1)


def is_letter(octet: int) -> bool:
    return octet < 128 and chr(octet).isalpha()


def small(octets: bytes) -> bytes:
    """ASCII's letters as small ones."""
    return octets.lower()


def starts(at: int, start: tree.Expr, octets: bytes, any_case: bool) -> tree.Expr:
    """The packet's octets from `start` on begin with these, which were all captured. `start` is worked out often."""
    length = tree.Number(at, len(octets))
    captured = tree.Fact(at, "CAPLEN")
    last = tree.Binary(at, "-", captured, length)
    test: tree.Expr = tree.Binary(at, "&&", tree.Binary(at, ">=", captured, length), tree.Binary(at, "<=", start, last))
    place = 0
    while place < len(octets):
        size = next(size for size in SIZES if place + size <= len(octets))
        piece = octets[place : place + size]
        test = tree.Binary(
            at, "&&", test, _same(at, tree.Binary(at, "+", start, tree.Number(at, place)), piece, any_case)
        )
        place += size
    return test


def _same(at: int, place: tree.Expr, piece: bytes, any_case: bool) -> tree.Expr:
    kind = tree.Kind(8 * len(piece))
    found: tree.Expr = tree.Packet(at, kind, place, 1)
    if any_case:
        piece = small(piece)
        bits = int.from_bytes(bytes(0x20 if is_letter(octet) else 0 for octet in piece), "big")
        found = tree.Binary(at, "|", found, tree.Number(at, bits))
    return tree.Binary(at, "==", found, tree.Number(at, int.from_bytes(piece, "big")))
