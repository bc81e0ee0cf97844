# SPDX-License-Identifier: BSD-3-Clause
"""The paper's Figure 5, a case for each of its operators, statements, types and forms of access; signed and unsigned.

What is expected is written down here, worked out by hand: neither back end is held against the other alone.
"""

from __future__ import annotations

import pytest

from fpl.fpl2 import check, compile_native
from fpl.fpl2.check import Policy
from fpl.fpl2.externals import External
from fpl.fpl2.meaning import fnv
from fpl.fpl2.reference import Machine
from fpl.fpl2.testing import Native

MBUF = 64
# octet:  0     1     2     3     4     5     6     7     8     9     10    11    12    13    14    15
PACKET = bytes.fromhex("80 01 fe 7f 12 34 56 78 9a bc de f0 ff ff ff fe".replace(" ", ""))

# what is written, what it is; -5 is PKT.S8[2] - 3, and -2 PKT.S8[2]
ARITHMETIC = [
    ("7 + R[0]", 10), ("7 - R[0]", 4), ("7 / R[0]", 2), ("7 * R[0]", 21), ("7 % R[0]", 1),
    ("PKT.S8[2] + 7", 5), ("7 - PKT.S8[2]", 9), ("-7 / PKT.S8[2]", 3), ("PKT.S8[2] * -3", 6),
    ("(PKT.S8[2] - 5) / 2 == 0 - 3", 1), ("(PKT.S8[2] - 5) % 2 == 0 - 1", 1), ("7 % PKT.S8[2]", 1),
    ("(0 - 7) / R[0] > 1 << 61", 1),  # unsigned: near 2^64 / 3
]  # fmt: skip
ASSIGNMENT = [
    ("= 5", 5), ("*= 5", 85), ("/= 5", 3), ("%= 5", 2), ("+= 5", 22), ("-= 5", 12), ("<<= 5", 544), (">>= 2", 4),
    ("&= 24", 16), ("^= 24", 9), ("|= 24", 25), ("++", 18), ("--", 16),
]  # fmt: skip
RELATIONAL = [
    ("R[0] == 3", 1), ("R[0] != 3", 0), ("R[0] > 2", 1), ("R[0] > 3", 0), ("R[0] < 4", 1), ("R[0] < 3", 0),
    ("R[0] >= 3", 1), ("R[0] >= 4", 0), ("R[0] <= 3", 1), ("R[0] <= 2", 0), ("R[0] && 0", 0), ("R[0] && 4", 1),
    ("0 || R[0]", 1), ("0 || R[1]", 0), ("!R[0]", 0), ("!R[1]", 1),
    ("PKT.S8[2] < 1", 1), ("PKT.U8[2] < 1", 0), ("PKT.S8[2] > 1", 0), ("PKT.U8[2] > 1", 1),
    ("PKT.S8[2] <= PKT.S8[3]", 1), ("PKT.U8[2] <= PKT.U8[3]", 0), ("PKT.S8[2] >= PKT.S8[3]", 0),
    ("PKT.S8[2] == PKT.S16[14]", 1), ("PKT.U8[2] == PKT.U16[14]", 0), ("PKT.S8[2] != PKT.S16[14]", 0),
]  # fmt: skip
BITWISE = [
    ("PKT.B[4] & 0x1f", 0x12), ("PKT.B[4] | 0x0f", 0x1F), ("PKT.B[4] ^ 0xff", 0xED), ("PKT.B[4] << 4", 0x120),
    ("PKT.B[4] >> 1", 9), ("~PKT.B[4] & 0xff", 0xED), ("PKT.S8[2] >> 1 == 0 - 1", 1), ("PKT.U8[2] >> 1", 0x7F),
    ("PKT.S8[2] & 0x0f", 14), ("PKT.S8[2] ^ PKT.S8[2]", 0), ("(PKT.S8[2] << 1) == 0 - 4", 1),
]  # fmt: skip
# Every type: bits, nibbles, octets, words, double words and quad words, signed or not; by number and by octet.
ACCESS = [
    ("PKT.B[4]", 0x12), ("PKT.W[2]", 0x1234), ("PKT.D[1]", 0x12345678), ("PKT.Q[0] >> 32", 0x8001FE7F),
    ("PKT.U8[5]", 0x34), ("PKT.U16[5]", 0x3456), ("PKT.U32[5]", 0x3456789A), ("PKT.U64[5] >> 32", 0x3456789A),
    ("-PKT.S8[2]", 2), ("-PKT.S16[14]", 2), ("-PKT.S32[12]", 2), ("-PKT.S64[8] >> 48", 0x6543),
    ("PKT.B[R[0] + 1]", 0x12), ("PKT.W[R[0] - 1]", 0x1234), ("PKT.U16[PKT.B[1] + 4]", 0x3456),
    ("PKT.B[0].U1[0]", 1), ("PKT.B[0].U1[7]", 0), ("PKT.B[1].U1[7]", 1), ("PKT.B[4].U1[R[0]]", 1),
    ("PKT.B[4].U4[0]", 1), ("PKT.B[4].U4[1]", 2), ("PKT.B[9].U4[1]", 0xC), ("PKT.B[4].U8[0]", 0x12),
    ("PKT.W[2].U1[3]", 1), ("PKT.W[2].U4[3]", 4), ("PKT.W[2].U8[1]", 0x34), ("PKT.W[2].U16[0]", 0x1234),
    ("PKT.D[1].U1[31]", 0), ("PKT.D[1].U4[7]", 8), ("PKT.D[1].U8[2]", 0x56), ("PKT.D[1].U16[1]", 0x5678),
    ("PKT.Q[1].U32[0]", 0x9ABCDEF0), ("PKT.Q[1].U16[1]", 0xDEF0), ("PKT.Q[1].U1[0]", 1),
    ("PKT.U16[5].U8[1]", 0x56), ("PKT.S16[5].U8[1]", 0x56),
    ("-PKT.B[0].S1[0]", 1), ("-PKT.B[2].S4[0]", 1), ("-PKT.B[2].S4[1]", 2), ("-PKT.W[1].S8[0]", 2),
    ("-PKT.D[3].S16[1]", 2), ("-PKT.Q[1].S32[1]", 2), ("PKT.W[1].S8[1]", 0x7F),
    ("PKT.W[R[0] - 1].U8[R[0] - 2]", 0x34),
]  # fmt: skip
# The same of memory and of registers, which are written too: statements, what is then returned.
PLACES = [
    ("MEM[2] = 0x12345678; RETURN MEM[2];", 0x12345678), ("M[R[0]] = 9; RETURN MEM[3];", 9),
    ("MEM.B[9] = 0x34; RETURN MEM[2];", 0x3400), ("MEM.W[5] = 0x1234; RETURN MEM.D[2];", 0x12340000),
    ("MEM.D[1] = 5; RETURN MEM.U32[4];", 5), ("MEM.Q[1] = 1 << 40; RETURN MEM[3];", 256),
    ("MEM.U8[4] = 7; MEM.U16[6] = 8; RETURN MEM[1];", 0x80007), ("MEM.S8[4] = -2; RETURN MEM.S8[4] == -2;", 1),
    ("MEM.S16[4] = -2; RETURN MEM.U16[4];", 0xFFFE), ("MEM.S32[4] = -2; RETURN MEM.S32[4] + 3;", 1),
    ("MEM.S64[8] = -2; RETURN MEM.S64[8] / -1;", 2), ("MEM.U64[8] = 3; RETURN MEM.Q[1];", 3),
    ("MEM[0].U1[31] = 1; RETURN MEM[0];", 1), ("MEM[0].U4[6] = 0xf; RETURN MEM.B[0];", 0xF0),
    ("MEM.W[0].U8[0] = 0xab; RETURN MEM.W[0];", 0xAB00), ("MEM.B[3].U4[1] = 0x1f; RETURN MEM.B[3];", 0xF),
    ("MEM[1] = 0x80; RETURN -MEM[1].S8[3];", 128), ("R[1].U8[7] = 0x1ff; RETURN R[1];", 0xFF),
    ("R[1].U1[0] = 1; RETURN R[1] >> 63;", 1), ("R[1].U32[1] = -1; RETURN -R[1].S32[1];", 1),
    ("R[R[0]] = 5; RETURN R[3];", 5), ("R[15] = 6; RETURN R[15];", 6),
]  # fmt: skip
# Statements.
STATEMENTS = [
    ("IF (R[0] == 3) THEN RETURN 1; ELSE RETURN 2; FI", 1), ("IF (R[0] == 4) THEN RETURN 1; ELSE RETURN 2; FI", 2),
    ("IF R[0] == 4 THEN RETURN 1; FI RETURN 3;", 3), ("IF (R[0]) THEN IF (R[1]) THEN R[2] = 1; ELSE R[2] = 2; FI FI; "
     "RETURN R[2];", 2),
    ("FOR (R[1] = 0; R[1] < 4; R[1]++) R[2] += R[1]; ROF RETURN R[2];", 6),
    ("FOR (R[1] = 0; R[1] < 4; R[1]++) IF (R[1] == 2) THEN BREAK; FI R[2]++; ROF RETURN R[2];", 2),
    ("FOR (R[1] = 0; R[1] < 3; R[1]++) FOR (R[2] = 0; R[2] < 9; R[2]++) IF R[2] == 2 THEN BREAK; FI R[3]++; ROF ROF "
     "RETURN R[3];", 6),  # BREAK leaves the inner one
    ("FOR (R[1] = 0; R[1] < PKT.B[4]; R[1]++) MAX 100 R[2]++; ROF RETURN R[2];", 18),
    ("MEM[0] = EXTERN(\"twice\", 8, 4); RETURN MEM[0] + MEM[1];", 77 + 5), ("EXTERN(twice,8,4); RETURN MEM[1];", 5),
    ("RETURN EXTERN(twice,8,4);", 77),
    ("R[1] = HASH(4, 8, 256); RETURN R[1];", fnv(PACKET[4:12]) % 256), ("RETURN Hash(0,1,7);", fnv(b"\x80") % 7),
    ("RETURN (5);", 5), ("RETURN 5;", 5), ("RETURN TRUE;", 1), ("RETURN FALSE;", 0), ("R[1] = 5;", 0),
]  # fmt: skip


def run(text: str) -> int:
    """R[0] is 3 before it."""
    checked = check(f"R[0] = 3; {text}", mbuf_bytes=MBUF, policy=Policy(externals=(External("twice", 4, 4),)))

    def twice(_packet: bytes, memory: bytearray, _read_at: int, write_at: int) -> int:
        memory[write_at] = 5
        return 77

    here, there = bytearray(MBUF), bytearray(MBUF)
    expected = Machine(PACKET, {}, here, {"twice": twice}, checked.cost.calls).run(checked.program)
    assert Native(compile_native(checked).octets).run(PACKET, {}, there, [twice]) == expected
    assert here == there
    return expected


EXPRESSIONS = [*ARITHMETIC, *RELATIONAL, *BITWISE, *ACCESS]


@pytest.mark.parametrize(("text", "expected"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS])
def test_expressions(text: str, expected: int) -> None:
    assert run(f"RETURN {text};") == expected


@pytest.mark.parametrize("place", ["R[5]", "MEM[5]", "MEM.B[5]", "MEM.W[5]", "MEM.Q[5]", "MEM.S16[6]", "R[5].U16[1]",
                                   "MEM[5].U8[2]", "MEM.S8[3]"])  # fmt: skip
def test_assignments(place: str) -> None:
    for op, expected in ASSIGNMENT:
        kept = expected & 0xFF if place in ("MEM.B[5]", "MEM[5].U8[2]", "MEM.S8[3]") else expected
        assert run(f"{place} = 17; {place} {op}; RETURN {place} & 0xffff;") == kept, op
    assert run(f"{place} = 17; ++{place}; --{place}; RETURN {place} == 17;") == 1


@pytest.mark.parametrize(("text", "expected"), PLACES, ids=[text for text, _ in PLACES])
def test_places(text: str, expected: int) -> None:
    assert run(text) == expected


@pytest.mark.parametrize(("text", "expected"), STATEMENTS, ids=[text[:60] for text, _ in STATEMENTS])
def test_statements(text: str, expected: int) -> None:
    assert run(text) == expected
