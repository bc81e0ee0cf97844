# SPDX-License-Identifier: BSD-3-Clause
"""Frames for the live tests, made by hand: no field is guessed by a library."""

from __future__ import annotations

import struct

FROM = bytes.fromhex("02000000000a")
TO = bytes.fromhex("02000000000b")  # nobody's address: the stack drops it unanswered
BROADCAST = b"\xff" * 6
ETH_EXPERIMENTAL = 0x88B5  # IEEE 802, local experimental: no protocol of the kernel takes it


def ethernet(payload: bytes, ethertype: int = ETH_EXPERIMENTAL, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """A frame; tags are (TPID, TCI), outermost first."""
    shown = b"".join(struct.pack("!HH", tpid, tci) for tpid, tci in tags)
    return TO + FROM + shown + struct.pack("!H", ethertype) + payload


def numbered(number: int, size: int = 60, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """A frame of `size` octets without its tags that carries a number behind its type."""
    return ethernet(struct.pack("!I", number).ljust(size - 14, b"\xa5"), tags=tags)


def number_of(frame: bytes) -> int:
    """The number of an untagged numbered frame."""
    (number,) = struct.unpack_from("!I", frame, 14)
    return int(number)


def udp(source_port: int, destination_port: int, payload: bytes = b"") -> bytes:
    """An IPv4 packet from 10.0.0.2 to 10.0.0.1, without checksums that anybody looks at here."""
    segment = struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 17, 0, b"\x0a\0\0\x02", b"\x0a\0\0\x01")
    return header + segment


TAGGINGS: dict[str, tuple[tuple[int, int], ...]] = {
    "untagged": (),
    "vlan": ((0x8100, 0x0064),),
    "vlan with priority": ((0x8100, 0xA064),),
    "priority tag": ((0x8100, 0x6000),),
    "null tag": ((0x8100, 0x0000),),
    "service tag": ((0x88A8, 0x0FFE),),
    "QinQ": ((0x88A8, 0x0064), (0x8100, 0x000A)),
    "two of the old kind": ((0x8100, 0x0064), (0x8100, 0x000A)),
    "vendor's TPID": ((0x9100, 0x0064), (0x8100, 0x000A)),
    "three tags": ((0x88A8, 0x0001), (0x88A8, 0x0002), (0x8100, 0x0003)),
}
