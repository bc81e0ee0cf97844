# SPDX-License-Identifier: BSD-3-Clause
"""For tests: packets, header by header. Checksums are 0."""

from __future__ import annotations

import struct


def ethernet(payload: bytes, kind: int = 0x0800, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    tagged = b"".join(struct.pack("!HH", tpid, tci) for tpid, tci in tags)
    return b"\x02\0\0\0\0\1\x02\0\0\0\0\2" + tagged + struct.pack("!H", kind) + payload


def ip4(proto: int, payload: bytes, *, options: bytes = b"", fragment: int = 0, src: bytes = b"\x0a\0\0\1") -> bytes:
    head = 5 + len(options) // 4
    return struct.pack("!BBHHHBBH", 0x40 | head, 0, 4 * head + len(payload), 7, fragment, 64, proto, 0) + src + (
        b"\x0a\0\0\2" + options + payload)  # fmt: skip


def tcp(sport: int, dport: int, payload: bytes = b"", flags: int = 0x18, *, options: bytes = b"") -> bytes:
    """options: a multiple of four octets."""
    offset = (5 + len(options) // 4) << 4
    return struct.pack("!HHIIBBHHH", sport, dport, 1, 2, offset, flags, 1000, 0, 0) + options + payload


def udp(sport: int, dport: int, payload: bytes = b"") -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def ip6(next_header: int, payload: bytes, *, src: bytes = bytes(range(16)), dst: bytes = bytes(range(16, 32))) -> bytes:
    return struct.pack("!IHBB", 0x60012345, len(payload), next_header, 64) + src + dst + payload


def icmp(kind: int, code: int = 0, rest: bytes = b"\0\7\0\1") -> bytes:
    return struct.pack("!BBH", kind, code, 0) + rest


def sctp(sport: int, dport: int, chunks: bytes) -> bytes:
    return struct.pack("!HHII", sport, dport, 0x01020304, 0x05060708) + chunks


def dns(number: int, flags: int, name: str, kind: int, *, answers: int = 0) -> bytes:
    """One question."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return struct.pack("!HHHHHH", number, flags, 1, answers, 0, 0) + labels + struct.pack("!HH", kind, 1)


def gre(kind: int, payload: bytes, *, flags: int = 0, options: bytes = b"") -> bytes:
    return struct.pack("!HH", flags, kind) + options + payload


def vxlan(number: int, frame: bytes, *, dport: int = 4789) -> bytes:
    """With its UDP header."""
    return udp(50000, dport, struct.pack("!II", 0x08000000, number << 8) + frame)


def geneve(number: int, kind: int, payload: bytes, *, options: bytes = b"") -> bytes:
    """With its UDP header; options: a multiple of four octets."""
    return udp(50000, 6081, struct.pack("!BBHI", len(options) // 4, 0, kind, number << 8) + options + payload)


def mpls(labels: list[int], payload: bytes) -> bytes:
    stack = b"".join(struct.pack("!I", label << 12 | (place == len(labels) - 1) << 8 | 64)
                     for place, label in enumerate(labels))  # fmt: skip
    return stack + payload


def pppoe(session: int, protocol: int, payload: bytes) -> bytes:
    return struct.pack("!BBHHH", 0x11, 0, session, len(payload) + 2, protocol) + payload
