# SPDX-License-Identifier: BSD-3-Clause
"""External functions against known answers, and against what Python computes of the same octets."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from externs.extern_use import Use, udp

ANSWERS = [
    ("crc32c of=packet", b"", 0),
    ("crc32c of=packet", b"123456789", 0xE3069283),
    ("crc32c of=packet", bytes(32), 0x8A9136AA),  # RFC 3720, appendix B.4, as the four that follow
    ("crc32c of=packet", b"\xff" * 32, 0x62A8AB43),
    ("crc32c of=packet", bytes(range(32)), 0x46DD794E),
    ("crc32c of=packet", bytes(range(31, -1, -1)), 0x113FDB5C),
    ("xxhash64 of=packet", b"", 0xEF46DB3751D8E999),
    ("xxhash64 of=packet", b"a", 0xD24EC4F1A98C6E5B),
    ("xxhash64 of=packet", b"abc", 0x44BC2CF5AD770999),
    ("xxhash64 of=payload", udp(b"abc"), 0x44BC2CF5AD770999),
]


@pytest.mark.parametrize(("use", "packet", "answer"), ANSWERS)
def test_known_answers(use: str, packet: bytes, answer: int) -> None:
    with Use(use) as function:
        assert function(packet) == answer


def crc32c(octets: bytes) -> int:
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def xxhash64(octets: bytes, seed: int) -> int:
    """From its description, with Python's numbers."""
    mask = (1 << 64) - 1
    p1, p2, p3, p4, p5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                          0x27D4EB2F165667C5)  # fmt: skip

    def turned(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & mask

    def mixed(lane: int, word: int) -> int:
        return turned((lane + word * p2) & mask, 31) * p1 & mask

    at, lanes = 0, [(seed + p1 + p2) & mask, (seed + p2) & mask, seed, (seed - p1) & mask]
    if len(octets) >= 32:
        while len(octets) - at >= 32:
            lanes = [mixed(lane, word) for lane, word in zip(lanes, struct.unpack_from("<4Q", octets, at), strict=True)]
            at += 32
        value = sum(turned(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & mask
        for lane in lanes:
            value = ((value ^ mixed(0, lane)) * p1 + p4) & mask
    else:
        value = (seed + p5) & mask
    value = (value + len(octets)) & mask
    while len(octets) - at >= 8:
        value = (turned(value ^ mixed(0, struct.unpack_from("<Q", octets, at)[0]), 27) * p1 + p4) & mask
        at += 8
    if len(octets) - at >= 4:
        value = (turned(value ^ struct.unpack_from("<I", octets, at)[0] * p1 & mask, 23) * p2 + p3) & mask
        at += 4
    for octet in octets[at:]:
        value = turned(value ^ octet * p5 & mask, 11) * p1 & mask
    for by, factor in ((33, p2), (29, p3)):
        value = (value ^ value >> by) * factor & mask
    return value ^ value >> 32


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, (1 << 64) - 1))
def test_sums_are_as_their_descriptions_say(octets: bytes, seed: int) -> None:
    with Use("crc32c of=packet") as crc, Use(f"xxhash64 of=packet seed={seed}") as xxh:
        assert crc(octets) == crc32c(octets)
        assert xxh(octets) == xxhash64(octets, seed)


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_digests_are_those_of_hashlib(name: str) -> None:
    size = hashlib.new(name).digest_size
    with Use(f"{name} of=packet", 64) as whole, Use(name, 64) as ranged, Use(f"{name} of=payload", 64) as payload:
        for n in (0, 1, 55, 56, 63, 64, 65, 1500):
            octets = bytes(i * 7 & 0xFF for i in range(n))
            assert whole(octets, 0, 13) == 1
            assert whole.memory == bytes(13) + hashlib.new(name, octets).digest() + bytes(64 - 13 - size)
            assert payload(udp(octets)) == 1
            assert payload.memory[:size] == hashlib.new(name, octets).digest()
            struct.pack_into("=II", ranged.memory, 1, 3, 50)
            assert ranged(octets, 1, 16) == 1
            assert ranged.memory[16 : 16 + size] == hashlib.new(name, octets[3:53]).digest()


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_strsearch_finds_what_python_finds(data: st.DataObject) -> None:
    few = st.lists(st.sampled_from(b"ab\x00"), max_size=90).map(bytes)
    text = data.draw(st.one_of(few, st.binary(max_size=90)))
    inner = st.integers(0, max(0, len(text) - 1)).flatmap(
        lambda at: st.integers(1, 60).map(lambda n: text[at : at + n])
    )
    pattern = data.draw(st.one_of(inner, few, st.binary(max_size=12)).filter(lambda octets: 0 < len(octets) <= 60))
    expected = text.find(pattern) + 1
    escaped = "".join(f"\\x{octet:02x}" for octet in pattern)
    with Use(f"strsearch pattern='{escaped}'") as constant, Use("strsearch", 128) as read:
        assert constant(text) == expected
        for other in (b"b", pattern):  # prepared anew when it changed
            struct.pack_into(f"=I{len(other)}s", read.memory, 5, len(other), other)
            assert read(text, 5) == text.find(other) + 1


def test_strsearch_and_its_patterns() -> None:
    packet = udp(b"x GET / HTTP")
    with Use("strsearch pattern='GET /' of=payload") as function:
        assert function(packet) == packet.index(b"GET /") + 1
        assert function(packet[:-8]) == 0
    with Use("strsearch", 64) as function:
        assert function(packet) == 0  # no pattern yet
        struct.pack_into("=I", function.memory, 0, 61)
        assert function(packet) == 0  # more than there is room for
    for text, words in (("strsearch pattern=\\q", "an escape that is none"), ("strsearch pattern=", "1 to 255 octets"),
                        ("strsearch pattern=" + "a" * 256, "1 to 255 octets"), ("strsearch pattern=\\x4", "escape"),
                        ("strsearch pattern='a", "the quote is not closed")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            Use(text)
    with Use("strsearch pattern=" + "a" * 255) as function:
        assert function(b"b" + b"a" * 255) == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=16, max_size=16), st.integers(1, 20))
def test_topn_is_the_head_of_a_stable_sort(counters: list[int], n: int) -> None:
    with Use(f"topn n={n} slots=16", 256) as function:
        struct.pack_into("=16I", function.memory, 1, *counters)
        found = [(slot, count) for slot, count in enumerate(counters) if count]
        expected = sorted(found, key=lambda pair: -pair[1])[:n]
        assert function(b"", 1, 80) == len(expected)
        flat = [number for pair in expected for number in pair]
        assert function.memory[80 : 80 + 8 * n] == struct.pack(f"={2 * n}I", *flat, *[0] * (2 * n - len(flat)))


def test_payload_is_copied_as_far_as_there_is_room() -> None:
    with Use("payload n=8", 32) as function:
        assert function(udp(b"0123456789"), 0, 3) == 10
        assert function.memory == bytes(3) + struct.pack("=I", 8) + b"01234567" + bytes(17)
        assert function(udp(b"abc"), 0, 3) == 3
        assert function.memory[3:15] == struct.pack("=I", 3) + b"abc34567"
        assert function(b"no packet of ours", 0, 3) == 0
        assert function.memory[3:7] == bytes(4)


def test_samples() -> None:
    with Use("sampling n=10", 8) as function:
        assert [function(b"") for _ in range(30)] == ([0] * 9 + [1]) * 3
        assert function.memory == struct.pack("=Q", 30)
    with Use("sampling n=4 by=random seed=7", 8) as function:
        chosen = [function(b"") for _ in range(4000)]
        assert 1000 - 165 < sum(chosen) < 1000 + 165  # six deviations
        function.memory[:] = bytes(8)
        assert [function(b"") for _ in range(4000)] == chosen
    with Use("sampling n=4 by=hash") as function:
        packets = [udp(b"")[:34] + struct.pack("!H", port) + udp(b"")[36:] for port in range(1, 1001)]
        chosen = [function(packet) for packet in packets]
        assert 250 - 83 < sum(chosen) < 250 + 83
        assert [function(packet + bytes(9)) for packet in packets] == chosen
