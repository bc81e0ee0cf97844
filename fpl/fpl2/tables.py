# SPDX-License-Identifier: BSD-3-Clause
"""A large set of numbers as a table that one probe decides, for native code: sets.py has those that are ranges.

takes    distinct numbers
gives    Table: a number x is in the set when  words[slot(x)] == x,  where modulo 2^64
             h = x * multiplier, or, where words have 64 bits, (x ^ x >> 32) * multiplier
             bucket = h >> (64 - bucket_bits)
             slot = buckets + (((h >> 32) ^ words[bucket]) & (slots - 1))

Numbers of one bucket are moved together, by what stands in words[bucket], to slots that are free: hash and displace, as
in Belazzougui, Botelho and Dietzfelbinger, "Hash, displace, and compress", ESA 2009. The largest buckets come first. A
free slot holds a number of the set, whose slot is another, so that no number that is not in the set is found there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

ALL = (1 << 64) - 1
LEAST = 9  # numbers: fewer are compared one by one sooner
MOST = 1 << 15  # numbers: their table is smaller than a record takes of code
SEARCHED, EXPANDED = 4, 1024  # ranges that are compared one after the other; numbers that ranges become at most
MULTIPLIERS = tuple(0x9E3779B97F4A7C15 * odd & ALL for odd in range(1, 64, 2))  # tried one after the other
LOW_BITS = 32  # of h, which are passed over: they hang on a number's low bits alone; the highest are the bucket's


@dataclass(frozen=True)
class Table:
    """words: displacements by bucket, then slots."""

    multiplier: int
    bucket_bits: int
    words: tuple[int, ...]

    @cached_property
    def bits(self) -> int:
        """Of each word."""
        return _bits(self.words)

    @property
    def buckets(self) -> int:
        return 1 << self.bucket_bits

    @property
    def slots(self) -> int:
        return len(self.words) - self.buckets

    def slot(self, number: int) -> int:
        """Which word tells."""
        h = _hash(number, self.multiplier, self.bits)
        return self.buckets + ((h >> LOW_BITS ^ self.words[h >> 64 - self.bucket_bits]) & self.slots - 1)


def in_one(single: list[int], spans: list[tuple[int, int]]) -> tuple[list[int], list[tuple[int, int]]]:
    """Numbers and ranges, inclusive; with the ranges' numbers among the others, where searching them would take longer
    than a table that has all of them."""
    within = sum(high - low + 1 for low, high in spans)
    if len(spans) <= SEARCHED or within > EXPANDED:
        return single, spans
    return sorted([*single, *(number for low, high in spans for number in range(low, high + 1))]), []


def table_of(numbers: Sequence[int]) -> Table | None:
    """None: there is none, or comparing is as good."""
    if not LEAST <= len(numbers) <= MOST or max(numbers) - min(numbers) < 64:  # of these one word of bits decides
        return None
    bits = _bits(numbers)
    slots = 1 << (len(numbers) * 5 // 4 - 1).bit_length()
    bucket_bits = max(2, (len(numbers) // 3).bit_length())
    for multiplier in MULTIPLIERS:
        hashes = [(_hash(number, multiplier, bits), number) for number in numbers]
        words = _placed(hashes, bucket_bits, slots)
        if words is not None:
            return Table(multiplier, bucket_bits, tuple(words))
    return None


def _bits(words: Sequence[int]) -> int:
    return 32 if max(words) < 1 << 32 else 64


def _hash(number: int, multiplier: int, bits: int) -> int:
    return (number if bits == 32 else number ^ number >> 32) * multiplier & ALL


def _placed(hashes: Sequence[tuple[int, int]], bucket_bits: int, slots: int) -> list[int] | None:
    buckets: list[list[tuple[int, int]]] = [[] for _ in range(1 << bucket_bits)]
    for h, number in hashes:
        buckets[h >> 64 - bucket_bits].append((h >> LOW_BITS & slots - 1, number))
    moved, placed = [0] * len(buckets), dict[int, int]()
    for at in sorted(range(len(buckets)), key=lambda at: -len(buckets[at])):
        members = [slot for slot, _ in buckets[at]]
        if len(set(members)) < len(members):
            return None
        by = next((by for by in range(slots) if not any(slot ^ by in placed for slot in members)), None)
        if by is None:
            return None
        moved[at] = by
        placed |= {slot ^ by: number for slot, number in buckets[at]}
    return [*moved, *(placed.get(slot, hashes[0][1]) for slot in range(slots))]
