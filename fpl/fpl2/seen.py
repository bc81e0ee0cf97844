# SPDX-License-Identifier: BSD-3-Clause
"""For decide.py: where what a program sees lies in the scratch, which has a VLAN tag beside the packet.

    the program, with a tag in place     | 12 octets | TPID | TCI | packet from 12 |
    the scratch, as fields of classify   | 12 octets | packet from 12 |  vlan_tpid, vlan_tci

A Loaded is a number that the packet, or the hook, says; a Msh the length of an IPv4 header, on which offsets are built.
"""

from __future__ import annotations

from typing import NamedTuple

from fpl.classify import bytecode, layout
from fpl.classify.intervals import Intervals, normal
from fpl.classify.symbolic import Field, NotTable, Source
from fpl.fpl2.meaning import ALL

ADDRESSES, TAG = 12, 4  # octets in front of a tag, and of it
WORD = (1 << 32) - 1
CAPTURED = Field(Source("captured", layout.SCRATCH_DATA_LEN), WORD)
_FACTS = {name: Source(name, offset, size) for name, offset, size in bytecode.ANCILLARY.values()}
TAGGED = Field(_FACTS["vlan_present"], _FACTS["vlan_present"].full)
FACTS = {"IFINDEX": _FACTS["ifindex"], "PKTTYPE": _FACTS["pkttype"]}
TCI, TPID = _FACTS["vlan_tci"], _FACTS["vlan_tpid"]
LENGTH = Source("length")


class Loaded(NamedTuple):
    """((source & mask) >> shift) + plus, modulo 2^64. The source has up to 8 octets, where the program sees them."""

    source: Source
    mask: int
    shift: int = 0
    plus: int = 0

    def numbers(self, values: Intervals) -> Intervals:
        """What (source & mask) >> shift is when the whole is one of these values."""
        pieces = list[tuple[int, int]]()
        for low, high in values:
            first, last = (low - self.plus) & ALL, (high - self.plus) & ALL
            pieces += [(first, last)] if first <= last else [(first, ALL), (0, last)]
        return normal(pieces)

    def halves(self) -> tuple[Loaded, Loaded]:
        """The upper and the lower 32 bits of the source, of 8 octets, masked."""
        source = self.source
        upper = source._replace(size=4)
        lower = source._replace(offset=source.offset + 4, size=4)
        return Loaded(upper, self.mask >> 32), Loaded(lower, self.mask & WORD)

    def narrow(self) -> Loaded:
        """Without octets, of the source's end or begin, that the mask leaves out."""
        source, mask, shift = self.source, self.mask, self.shift
        while source.size > 1 and source.is_packet:
            half = source.size // 2
            if mask >> 8 * half == 0:
                source = source._replace(offset=source.offset + half, size=half)
            elif mask & (1 << 8 * half) - 1 == 0 and shift >= 8 * half:
                source, mask, shift = source._replace(size=half), mask >> 8 * half, shift - 8 * half
            else:
                break
        return Loaded(source, mask, shift, self.plus)


class Msh(NamedTuple):
    """4 * (packet[base] & 15) + added, where the program sees that octet."""

    base: int
    added: int

    @property
    def field(self) -> Loaded:
        return Loaded(Source("packet", self.base, 1), 15)

    def numbers(self, values: Intervals) -> Intervals:
        """What packet[base] & 15 is when the whole is one of these values."""
        return normal((n, n) for n in range(16) if any(low <= 4 * n + self.added <= high for low, high in values))


def end_in_scratch(source: Source, tagged: bool) -> Source:
    """The last octet of a source, to be asked for whether the packet reaches it. With a tag the packet has 12."""
    last = source.offset + source.size - 1
    if source.base >= 0:
        base, last = _behind(source.base, tagged), _behind(last, tagged)
        if last + bytecode.MAX_MSH >= layout.SCRATCH_DATA_BYTES - TAG:
            raise NotTable("it loads far behind a header")
        return Source("packet", last, 1, base)
    if tagged and last >= ADDRESSES:
        last = max(last - TAG, ADDRESSES - 1)
    return Source("packet", last, 1)


def _behind(offset: int, tagged: bool) -> int:
    if not tagged:
        return offset
    if offset < ADDRESSES + TAG:
        raise NotTable("it takes an IPv4 header to begin where a VLAN tag may be")
    return offset - TAG


def in_scratch(loaded: Loaded, tagged: bool) -> Loaded:
    """Of a source that was reached, and has up to 4 octets."""
    source = loaded.source
    if not source.is_packet or not tagged or (source.base < 0 and source.offset + source.size <= ADDRESSES):
        return loaded
    if source.base >= 0:
        return loaded._replace(
            source=source._replace(base=_behind(source.base, tagged), offset=_behind(source.offset, tagged))
        )
    if source.offset >= ADDRESSES + TAG:
        return loaded._replace(source=source._replace(offset=source.offset - TAG))
    for whole, first in ((TPID, ADDRESSES), (TCI, ADDRESSES + 2)):
        below = first + 2 - source.offset - source.size
        if first <= source.offset and below >= 0:
            return Loaded(whole, loaded.mask << 8 * below, loaded.shift + 8 * below, loaded.plus)
    raise NotTable("it loads across the border of a VLAN tag")
