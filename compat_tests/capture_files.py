# SPDX-License-Identifier: BSD-3-Clause
"""Writes savefiles octet by octet: pcap in every variant, pcapng block by block. Independent of libpcap on purpose.

Byte orders are struct's: "<" little, ">" big. Lengths are octets, times are what the file stores: integers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MAGIC_US = 0xA1B2C3D4
MAGIC_NS = 0xA1B23C4D
MAGIC_KUZNETZOV = 0xA1B2CD34
MAGIC_MESQUITA = 0xA1B234CD  # libpcap knows it, and does not read it
MAGIC_NAVTEL = 0xA12B3C4D  # the same

LINKTYPE_NULL = 0
LINKTYPE_ETHERNET = 1
LINKTYPE_PPP = 9
LINKTYPE_RAW = 101
LINKTYPE_IEEE802_11 = 105
LINKTYPE_LOOP = 108
LINKTYPE_LINUX_SLL = 113
LINKTYPE_PFLOG = 117
LINKTYPE_IEEE802_11_RADIOTAP = 127
LINKTYPE_USB_LINUX = 189
LINKTYPE_USB_LINUX_MMAPPED = 220
LINKTYPE_DBUS = 231
LINKTYPE_NFLOG = 239
LINKTYPE_LINUX_SLL2 = 276

BLOCK_SECTION = 0x0A0D0D0A
BLOCK_INTERFACE = 1
BLOCK_PACKET = 2
BLOCK_SIMPLE = 3
BLOCK_NAMES = 4
BLOCK_STATISTICS = 5
BLOCK_ENHANCED = 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D


@dataclass(frozen=True)
class Record:
    """One packet: data as captured, its length on the wire (-1: the same), the time's two words as stored."""

    data: bytes
    wire_len: int = -1
    seconds: int = 1_700_000_000
    fraction: int = 0
    cap_len: int = -1  # what the record says; -1: the truth

    @property
    def lengths(self) -> tuple[int, int]:
        cap_len = len(self.data) if self.cap_len < 0 else self.cap_len
        return cap_len, len(self.data) if self.wire_len < 0 else self.wire_len


@dataclass(frozen=True)
class PcapFormat:
    """The header of a pcap file, and with it the form of its records."""

    order: str = "<"
    magic: int = MAGIC_US
    version: tuple[int, int] = (2, 4)
    snap_len: int = 262144
    link_type: int = LINKTYPE_ETHERNET
    zone: int = 0
    digits: int = 0

    def header(self) -> bytes:
        return struct.pack(
            self.order + "IHHIIII", self.magic, *self.version, self.zone, self.digits, self.snap_len, self.link_type
        )

    def record(self, record: Record) -> bytes:
        cap_len, wire_len = record.lengths
        if self.version < (2, 3) or self.version[0] == 543:
            cap_len, wire_len = wire_len, cap_len
        words = (record.seconds & 0xFFFFFFFF, record.fraction & 0xFFFFFFFF, cap_len, wire_len)
        head = struct.pack(self.order + "IIII", *words)
        if self.magic == MAGIC_KUZNETZOV:
            head += struct.pack(self.order + "IHBB", 2, 0x0800, 0, 0)
        return head + record.data

    def file(self, records: Iterable[Record]) -> bytes:
        return self.header() + b"".join(map(self.record, records))


def option(order: str, code: int, value: bytes) -> bytes:
    """One option of a block, padded; code 0 without a value ends the options."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(order: str, kind: int, body: bytes, *, length: int | None = None, trailer: int | None = None) -> bytes:
    """A block; length and trailer are what it claims when that is not the truth."""
    body += bytes(-len(body) % 4)
    true_len = len(body) + 12
    length = true_len if length is None else length
    trailer = length if trailer is None else trailer
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", trailer)


def section(order: str = "<", *, version: tuple[int, int] = (1, 0), options: bytes = b"", length: int = -1) -> bytes:
    """A section header; length is that of the section, -1 unknown."""
    body = struct.pack(order + "IHHq", BYTE_ORDER_MAGIC, *version, length)
    return block(order, BLOCK_SECTION, body + options)


def interface(
    order: str = "<",
    link_type: int = LINKTYPE_ETHERNET,
    snap_len: int = 262144,
    *,
    resolution: int | None = None,
    offset: int | None = None,
    extra: bytes = b"",
) -> bytes:
    """An interface description: resolution is the octet of if_tsresol, offset the seconds of if_tsoffset."""
    options = extra
    if resolution is not None:
        options += option(order, 9, bytes([resolution]))
    if offset is not None:
        options += option(order, 14, struct.pack(order + "q", offset))
    if options:
        options += option(order, 0, b"")
    return block(order, BLOCK_INTERFACE, struct.pack(order + "HHI", link_type, 0, snap_len) + options)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def enhanced(
    order: str, data: bytes, ticks: int, *, interface_id: int = 0, wire_len: int | None = None, options: bytes = b""
) -> bytes:
    """An enhanced packet block; ticks in the units of its interface, 64 bits."""
    wire_len = len(data) if wire_len is None else wire_len
    ticks &= 0xFFFFFFFFFFFFFFFF
    head = struct.pack(order + "IIIII", interface_id, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire_len)
    return block(order, BLOCK_ENHANCED, head + padded(data) + options)


def obsolete(order: str, data: bytes, ticks: int, *, interface_id: int = 0, drops: int = 0xFFFF) -> bytes:
    """The packet block that the enhanced one replaced."""
    head = struct.pack(order + "HHIIII", interface_id, drops, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, BLOCK_PACKET, head + padded(data))


def simple(order: str, data: bytes, *, wire_len: int | None = None) -> bytes:
    """A simple packet block: no time, no interface, and the captured length follows from the interface's."""
    wire_len = len(data) if wire_len is None else wire_len
    return block(order, BLOCK_SIMPLE, struct.pack(order + "I", wire_len) + padded(data))


@dataclass
class PcapngFile:
    """A pcapng file in the making: one section, then whatever is added."""

    order: str = "<"
    parts: list[bytes] = field(default_factory=list)

    def add(self, *parts: bytes) -> PcapngFile:
        self.parts.extend(parts)
        return self

    def packets(self, packets: Sequence[bytes], *, start: int = 1_700_000_000_000_000, step: int = 1000) -> PcapngFile:
        """Enhanced packets on interface 0, step ticks apart."""
        return self.add(*(enhanced(self.order, data, start + i * step) for i, data in enumerate(packets)))

    def bytes(self) -> bytes:
        return b"".join(self.parts)


def stamped(packets: Sequence[bytes], *, start: int = 1_700_000_000, units: int = 1_000_000) -> list[Record]:
    """Records 250137 units of 1/units seconds apart."""
    gap = 250_137
    return [Record(data, seconds=start + i * gap // units, fraction=i * gap % units) for i, data in enumerate(packets)]
