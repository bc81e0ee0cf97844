# SPDX-License-Identifier: BSD-3-Clause
"""Walks pcap savefiles octet by octet, to say in words where two of them part. Independent of both libraries."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGICS = {0xA1B2C3D4: "us", 0xA1B23C4D: "ns"}
FILE_HEADER_OCTETS = 24
RECORD_HEADER_OCTETS = 16
LINK_TYPE_BITS = 0x03FFFFFF  # of that word of the file header


@dataclass(frozen=True)
class Record:
    """One packet: `at` is its offset in the file; time in seconds and fractions of the file's tick; lengths: octets."""

    at: int
    seconds: int
    fraction: int
    captured: int
    wire: int
    data: bytes


def byte_order(content: bytes) -> str | None:
    """The struct prefix for a pcap file's order; None when it is not one (pcapng, text, cut short)."""
    if len(content) < FILE_HEADER_OCTETS:
        return None
    for order in "<>":
        if struct.unpack_from(order + "I", content)[0] in MAGICS:
            return order
    return None


def is_savefile(content: bytes) -> bool:
    return byte_order(content) is not None


def link_type(content: bytes) -> int | None:
    """The file's link type, without what its header says of check sequences beside it; None when it is no pcap file."""
    order = byte_order(content)
    return None if order is None else int(struct.unpack_from(order + "I", content, 20)[0]) & LINK_TYPE_BITS


def records(content: bytes) -> Iterator[Record]:
    """The packets of a pcap file; the last may be cut short."""
    order = byte_order(content)
    assert order, "not a pcap savefile"
    at = FILE_HEADER_OCTETS
    while at + RECORD_HEADER_OCTETS <= len(content):
        seconds, fraction, captured, wire = struct.unpack_from(order + "IIII", content, at)
        start = at + RECORD_HEADER_OCTETS
        yield Record(at, seconds, fraction, captured, wire, content[start : start + captured])
        at = start + captured


def first_difference(one: bytes, other: bytes) -> str:
    """Where two pcap files part: in the file header, in a packet (counted from 1), or in their number of packets."""
    head, against = one[:FILE_HEADER_OCTETS], other[:FILE_HEADER_OCTETS]
    if head != against:
        return f"file header: {head.hex(' ')} on stock, {against.hex(' ')} on ffpf"
    first, second = list(records(one)), list(records(other))
    for number, (a, b) in enumerate(zip(first, second, strict=False), 1):
        if a == b:
            continue
        for name in ("seconds", "fraction", "captured", "wire"):
            if getattr(a, name) != getattr(b, name):
                return (
                    f"packet {number} at octet {a.at}: {name} {getattr(a, name)} on stock, {getattr(b, name)} on ffpf"
                )
        octet = next((i for i, (x, y) in enumerate(zip(a.data, b.data, strict=False)) if x != y), len(a.data))
        return f"packet {number} at octet {a.at}: differs at octet {octet} of its data"
    return f"{len(first)} packets ({len(one)} octets) on stock, {len(second)} ({len(other)} octets) on ffpf"
