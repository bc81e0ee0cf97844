# SPDX-License-Identifier: BSD-3-Clause
"""MEM@name: what a program reads of another filter's MBuf, on native code beside the reference."""

from __future__ import annotations

import pytest

from fpl.fpl2 import FplError, check, compile_native, ebpf, pretty
from fpl.fpl2.check import Policy
from fpl.fpl2.externals import External
from fpl.fpl2.parse import parse
from fpl.fpl2.reference import Machine
from fpl.fpl2.report import Source
from fpl.fpl2.testing import Native

THERE = bytes(range(0x80, 0x90)) + bytes(48)
POLICY = Policy(externals=(External("mem@Stats", 0, 0, 1),))


def load(_packet: bytes, _memory: bytearray, read_at: int, octets: int) -> int:
    """What csrc/graph/readable.c does."""
    at = read_at & (len(THERE) - 1) & ~(octets - 1)
    return int.from_bytes(THERE[at : at + octets], "little")


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("MEM@stats[0]", 0x83828180), ("M@STATS[1]", 0x87868584), ("mem@stats[17]", 0x87868584),
        ("MEM@stats.B[2]", 0x82), ("MEM@stats.W[1]", 0x8382), ("MEM@stats.D[3]", 0x8F8E8D8C),
        ("MEM@stats.Q[1] >> 32", 0x8F8E8D8C), ("MEM@stats.U16[3]", 0x8382), ("MEM@stats.U8[3 + R[0]]", 0x83),
        ("MEM@stats.S8[1] < 0", 1), ("MEM@stats.S8[1] == -127", 1), ("MEM@stats.U8[1] < 0", 0),
        ("MEM@stats[0].U8[0]", 0x83), ("MEM@stats[0].U4[7]", 0), ("MEM@stats[0].U1[0]", 1),
        ("MEM@stats[0].S8[3] == -128", 1), ("MEM@stats.W[MEM@stats.B[15] - 0x8e]", 0x8382),
        ("MEM@stats[0] - MEM@stats[0]", 0), ("MEM[MEM@stats.B[4] & 7]", 9), ("PKT.B[MEM@stats.B[0] - 0x80]", 7),
        ("PKT.B[MEM@stats[0]]", 0),
    ],
)  # fmt: skip
def test_reads(value: str, result: int) -> None:
    text = f"MEM[4] = 9; RETURN {value};"
    checked = check(text, mbuf_bytes=64, policy=POLICY)
    assert checked.cost.externals == ("mem@Stats",)
    packet, here, there = b"\7", bytearray(64), bytearray(64)
    assert Native(compile_native(checked).octets).run(packet, {}, there, [load]) == result
    machine = Machine(packet, {}, here, {"mem@stats": load}, checked.cost.calls)
    assert machine.run(checked.program) == result
    assert here == there
    assert pretty.program(parse(Source(pretty.program(parse(Source(text)))))) == pretty.program(parse(Source(text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MEM@stats[0] = 1;", "1:1: a filter reads another one's memory, and cannot write it"),
        ("MEM@stats.B[0]++;", "cannot write it"),
        ("RETURN MEM@stats;", "memory is written as MEM[n]"),
        ("RETURN MEM@stats.U128[0];", "only the packet has U128"),
        ("RETURN MEM@other[0];", "1:8: no filter other is there whose MBuf could be read"),
        ("RETURN MEM@ stats[0];", "1:11"),
        ("RETURN R@stats[0];", "1:9"),
        ("RETURN PKT.MEM@stats[0];", "MEM@stats is not known"),
        ("EXTERN(nothing,0,0);", "Known: none."),
    ],
)
def test_what_cannot_be_read(text: str, words: str) -> None:
    with pytest.raises(FplError) as refused:
        check(text, mbuf_bytes=64, policy=POLICY)
    assert words in str(refused.value)


def test_no_memory_of_its_own_is_needed_and_the_kernel_has_none() -> None:
    checked = check("RETURN MEM@stats[0];", policy=POLICY)
    assert Native(compile_native(checked).octets).run(b"", {}, bytearray(), [load]) == 0x83828180
    with pytest.raises(ebpf.NotForKernelError, match="it reads the MBuf of stats"):
        ebpf.lower(checked)
