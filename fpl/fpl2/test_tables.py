# SPDX-License-Identifier: BSD-3-Clause
"""Large sets as tables, and code that finds them behind itself, on both processors: aarch64's under qemu."""

from __future__ import annotations

import random
import struct
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpl.fpl2 import check, compile_native, elf, tables
from fpl.fpl2.compile import Checked
from fpl.fpl2.packets import ethernet, ip4, tcp
from fpl.fpl2.reference import Machine
from fpl.fpl2.test_back_ends import CASES, FACTS, FIELDS, MBUF, PACKETS
from fpl.fpl2.testing import Native
from fpl.fpl2.values import OWN_FACTS

QEMU = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 64), st.sampled_from([9, 12, 33, 100, 400]), st.sampled_from([12, 20, 32, 48, 64]))
def test_a_table_has_its_numbers_and_no_others(seed: int, count: int, bits: int) -> None:
    chance = random.Random(seed)
    numbers = sorted({chance.getrandbits(bits) for _ in range(count)} | {0, (1 << bits) - 1})
    table = tables.table_of(numbers)
    assert table is not None
    assert len(table.words) == table.buckets + table.slots <= 5 * len(numbers)
    asked = [chance.getrandbits(64) for _ in range(200)] + [chance.getrandbits(bits) for _ in range(200)]
    for number in [*numbers, *asked, *(abs(number + step) for number in numbers for step in (-1, 1))]:
        assert (table.words[table.slot(number)] == number) == (number in numbers), (seed, number)


@pytest.mark.parametrize(
    "numbers",
    [range(0, 9000, 9), range(0, 1 << 40, 1 << 32), [n << 52 for n in range(300)], [n * n for n in range(1, 500)],
     [0x0A000007 + (n << 8) for n in range(250)]],
    ids=["steps", "high", "highest", "squares", "hosts of nets"],
)  # fmt: skip
def test_numbers_that_are_alike_are_told_apart(numbers: list[int]) -> None:
    table = tables.table_of(list(numbers))
    assert table is not None
    assert all(table.words[table.slot(number)] == number for number in numbers)


def test_small_sets_and_dense_ones_are_compared() -> None:
    assert tables.table_of(range(0, 8000, 1000)) is None
    assert tables.table_of(range(1000, 1060, 2)) is None


def of_hosts(chance: random.Random) -> tuple[str, list[int]]:
    """A set as text: hosts, ranges of them, a port; and numbers in it."""
    hosts = [chance.getrandbits(32) for _ in range(chance.choice((9, 40, 150)))]
    ranges = [
        (low, low + chance.randrange(1, 12))
        for low in (chance.getrandbits(31) for _ in range(chance.choice((0, 3, 7))))
    ]
    words = [*map(str, hosts), *(f"{low}..{high}" for low, high in ranges), "80"]
    chance.shuffle(words)
    return f"{{{', '.join(words)}}}", [*hosts, *(number for span in ranges for number in span)]


PROGRAM = "MEM[0] = PKT.U32[0] IN {0}; MEM[1] = PKT.U64[4] NOT IN {1}; RETURN 1 + (PKT.U32[4] IN {0});"


def programs() -> list[tuple[str, list[bytes]]]:
    chance = random.Random(5)
    found = []
    for _ in range(6):
        (one, numbers), (wide, _) = of_hosts(chance), of_hosts(chance)
        wide = wide[:-1] + ", " + ", ".join(str(1 << 63 | n << 20) for n in range(12)) + "}"
        packets = [chance.randbytes(12) for _ in range(4)]
        packets += [struct.pack("!IQ", chance.choice(numbers), 1 << 63 | n << 20) for n in range(3)]
        packets += [struct.pack("!III", chance.choice(numbers) + step, number, 0)
                    for step, number in zip((-1, 0, 1), chance.choices(numbers, k=3), strict=True)
                    if 0 <= step + numbers[0] < 1 << 32]  # fmt: skip
        found.append((PROGRAM.replace("{0}", one).replace("{1}", wide), packets))
    return found


@lru_cache(maxsize=256)
def checked(text: str) -> Checked:
    return check(text, mbuf_bytes=MBUF)


@lru_cache(maxsize=256)
def code_for_aarch64(text: str) -> bytes:
    return compile_native(checked(text), "aarch64").octets


def expected(text: str, packet: bytes) -> tuple[int, bytes]:
    room = bytearray(MBUF)
    return Machine(packet, FACTS, room).run(checked(text).program), bytes(room)


def test_sets_of_native_code_are_the_references() -> None:
    for text, packets in programs():
        native = Native(compile_native(checked(text)).octets)
        for packet in packets:
            room = bytearray(MBUF)
            assert (native.run(packet, FACTS, room), bytes(room)) == expected(text, packet), (text, packet.hex())


def on_aarch64(runner: Path, cases: list[tuple[str, bytes]]) -> list[tuple[int, bytes]]:
    """Results and memories, by code for that processor."""
    asked = b""
    for text, packet in cases:
        code = code_for_aarch64(text)
        facts = struct.pack("<4I", *(FACTS.get(name, 0) for name in OWN_FACTS))
        asked += struct.pack("<3I", len(code), len(packet), MBUF) + facts + code + packet + bytes(MBUF)
    said = subprocess.run([*QEMU, str(runner)], input=asked, capture_output=True, check=True).stdout
    return [(int.from_bytes(said[at : at + 4], "little"), said[at + 4 : at + 4 + MBUF])
            for at in range(0, len(said), 4 + MBUF)]  # fmt: skip


def test_code_for_aarch64_does_what_the_reference_does(tmp_path: Path) -> None:
    """The table of cases of all back ends, fields of all packets, and sets."""
    runner = tmp_path / "run_native"
    source = Path(__file__).parent / "run_native.c"
    subprocess.run(["aarch64-linux-gnu-gcc", "-O1", "-Wall", "-Werror", "-o", str(runner), str(source)], check=True)
    cases = [(text, packet) for text, packet, *_ in CASES]
    cases += [(text, packet) for text, _ in FIELDS[::6] for packet in PACKETS[::3]]
    cases += [(text, packet) for text, packets in programs()[:3] for packet in packets]
    cases.append(("RETURN INNER.TCP_DPORT == 80;", ethernet(ip4(4, ip4(6, tcp(1, 80))))))
    results = on_aarch64(runner, cases)
    assert len(results) == len(cases)
    for (text, packet), result in zip(cases, results, strict=True):
        assert result == expected(text, packet), (text, packet.hex())


def test_what_the_code_refers_to_must_come_with_it() -> None:
    with pytest.raises(ValueError, match="the object has no code"):
        elf.code_of(_object([]))
    with pytest.raises(ValueError, match=r"the object has data of its own \(\.data\)"):
        elf.code_of(_object([(".text", b"\xc3"), (".data", b"x")]))
    assert elf.code_of(_object([(".text", b"\xc3"), (".rodata", b"abc")])) == b"\xc3".ljust(16, b"\0") + b"abc"


def _object(parts: list[tuple[str, bytes]]) -> bytes:
    """An ELF file of sections that are loaded, without relocations."""
    parts = [("", b""), *parts, (".names", b"")]
    names = b"".join(label.encode() + b"\0" for label, _ in parts)
    parts[-1] = (".names", names)
    body, table, begin = b"", b"", 0
    for number, (label, octets) in enumerate(parts):
        loaded = 0 < number < len(parts) - 1
        table += struct.pack("<IIQQQQIIQQ", begin, int(loaded), 2 * loaded, 0, 64 + len(body), len(octets), 0, 0, 1, 0)
        body, begin = body + octets, begin + len(label) + 1
    head = b"\x7fELF".ljust(0x28, b"\0") + struct.pack("<Q", 64 + len(body)) + bytes(10)
    return head.ljust(0x3A, b"\0") + struct.pack("<HHH", 64, len(parts), len(parts) - 1) + body + table
