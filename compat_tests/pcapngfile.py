# SPDX-License-Identifier: BSD-3-Clause
"""Walks the blocks of a pcapng file: its packets, and without what two captures of the same packets may differ in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

SECTION = 0x0A0D0D0A
STATISTICS = 5
PACKET = 6
PACKET_HEAD_OCTETS = 28  # of its block before the packet
BYTE_ORDER_MAGIC = 0x1A2B3C4D
OPTION_START_TIME = 2
OPTION_END_TIME = 3


@dataclass(frozen=True)
class Packet:
    """Of an enhanced packet block. time: in ticks of its interface; wire: its length there, in octets."""

    interface: int
    time: int
    wire: int
    data: bytes


def is_pcapng(content: bytes) -> bool:
    return len(content) >= 12 and struct.unpack_from("<I", content)[0] == SECTION


def blocks(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(type, start, length) of each block, of a file in this machine's byte order."""
    at = 0
    while at + 12 <= len(content):
        kind, length = struct.unpack_from("<II", content, at)
        assert length >= 12 and length % 4 == 0, f"no block at octet {at}"
        yield kind, at, length
        at += length


def packets(content: bytes) -> Iterator[Packet]:
    """Those of its enhanced packet blocks, which are all that today's programs write."""
    for kind, start, _ in blocks(content):
        if kind == PACKET:
            number, high, low, captured, wire = struct.unpack_from("<IIIII", content, start + 8)
            data = content[start + PACKET_HEAD_OCTETS : start + PACKET_HEAD_OCTETS + captured]
            yield Packet(number, high << 32 | low, wire, data)


def without_statistics_times(content: bytes) -> bytes:
    """The file with zeros in the times of its statistics blocks; a file of another format as it is."""
    if not is_pcapng(content):
        return content
    result = bytearray(content)
    for kind, start, length in blocks(content):
        if kind != STATISTICS:
            continue
        result[start + 12 : start + 20] = bytes(8)
        at = start + 20
        while at + 4 <= start + length - 4:
            code, size = struct.unpack_from("<HH", content, at)
            if code in (OPTION_START_TIME, OPTION_END_TIME):
                result[at + 4 : at + 4 + size] = bytes(size)
            at += 4 + (size + 3) // 4 * 4
    return bytes(result)


def by_interface(content: bytes) -> bytes:
    """The file with its packets behind all other blocks, those of the first interface first.

    A tool that reads each interface in a thread of its own writes them in the order in which its threads ran.
    """
    if not is_pcapng(content):
        return content
    others, packets = [], []
    for kind, start, length in blocks(content):
        block = content[start : start + length]
        if kind == PACKET:
            packets.append((struct.unpack_from("<I", block, 8)[0], block))
        else:
            others.append(block)
    packets.sort(key=lambda packet: packet[0])  # stable: within an interface the order stays
    return b"".join([*others, *(block for _, block in packets)])
