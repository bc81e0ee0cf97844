# SPDX-License-Identifier: BSD-3-Clause
"""Counters in shared pages, read where they lie: places of csrc/layout.h, against which a test holds them."""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

PAGE_BYTES = 4096
LANE_RECORDS = 264
READER_DELIVERED = 192
READER_FILTERED = 200
READER_LAPPED = 208
COUNTS_FIRST = 64  # of ffpf_counts_page; each lane's struct ffpf_counts follows the one before
COUNTS_BYTES = 64
COUNTS_NESTED = 8
COUNTS_NO_LANE = 16
COUNTS_PAGE_BYTES = 20480

_U64 = struct.Struct("=Q")


@contextlib.contextmanager
def _page(descriptor: int, octets: int = PAGE_BYTES) -> Iterator[mmap.mmap]:
    with mmap.mmap(descriptor, octets, mmap.MAP_SHARED, mmap.PROT_READ) as page:
        yield page


def _u64(page: mmap.mmap, at: int) -> int:
    return int(_U64.unpack_from(page, at)[0])


@dataclass(frozen=True)
class ReaderCounts:
    """What a reader says about itself. It may lie."""

    delivered: int
    filtered: int
    lapped: int


def reader_counts(descriptor: int) -> ReaderCounts:
    with _page(descriptor) as page:
        return ReaderCounts(_u64(page, READER_DELIVERED), _u64(page, READER_FILTERED), _u64(page, READER_LAPPED))


def lane_records(descriptor: int) -> int:
    """Packets stored in a lane."""
    with _page(descriptor) as page:
        return _u64(page, LANE_RECORDS)


@dataclass(frozen=True)
class LaneTraffic:
    packets: int
    nested: int
    no_lane: int


def traffic(descriptor: int, lanes: int) -> list[LaneTraffic]:
    """What a source's hook was given, by lane."""
    with _page(descriptor, COUNTS_PAGE_BYTES) as page:
        starts = range(COUNTS_FIRST, COUNTS_FIRST + lanes * COUNTS_BYTES, COUNTS_BYTES)
        return [
            LaneTraffic(_u64(page, at), _u64(page, at + COUNTS_NESTED), _u64(page, at + COUNTS_NO_LANE))
            for at in starts
        ]
