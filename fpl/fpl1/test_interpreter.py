# SPDX-License-Identifier: BSD-3-Clause
"""The interpreter in C gives what the reference gives, result and memory: on programs by hand, and at random."""

from __future__ import annotations

import random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib

from fpl.fpl1 import assemble
from fpl.fpl1.isa import OPS, Form, Insn
from fpl.fpl1.machine import LoadError, Machine
from fpl.fpl1.object import Area, Object
from fpl.fpl1.random_programs import Programs
from fpl.fpl1.reference import Machine as Reference
from fpl.fpl1.verify import VerifyError, verify

FACTS = {"IFINDEX": 3, "VLAN_TCI": 0x2005, "VLAN_PRESENT": 1, "PKTTYPE": 4}
MEMORY = 64


def run(program: Object, packet: bytes, memory: bytes = b"") -> tuple[int, bytes]:
    """Result and memory, of the reference and of C alike."""
    room = bytearray(memory.ljust(program.data_bytes, b"\0"))
    reference = Reference(program, room)
    machine = Machine(program)
    if room:
        machine.data = bytes(room)
    expected = reference.run(packet, FACTS)
    assert machine.run(packet, FACTS) == expected
    assert machine.data == bytes(room)
    assert machine.exhausted == reference.exhausted
    return expected, bytes(room)


def test_the_table_of_instructions_is_that_of_c() -> None:
    for code in range(256):
        info, op = lib.ffpf_fpl1_op_info(code), OPS.get(code)
        if op is None:
            assert info == ffi.NULL, code
        else:
            assert (ffi.string(info.name).decode(), info.form, info.takes, info.gives) == (
                op.name, op.form.value, op.takes, op.gives)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 64))
def test_random_programs(seed: int) -> None:
    program, chance = Programs(seed).program(), random.Random(seed)
    verify(program)
    packet, memory = chance.randbytes(chance.choice((0, 20, 90, 150))), chance.randbytes(program.data_bytes)
    result, after = run(program, packet, memory)
    event(f"{'passes' if result else 'is turned away'}, memory {'stays' if after == memory else 'changes'}")


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 1 << 64))
def test_what_is_refused_is_refused_by_both(seed: int) -> None:
    """Programs that were bent: the loader and verify.py agree, and what both take runs alike."""
    chance, program = random.Random(seed), Programs(seed).program()
    for _ in range(chance.randint(1, 3)):
        at, code = chance.randrange(len(program.code)), program.code
        insn = code[at]
        code[at] = chance.choice([
            Insn(chance.randrange(256), insn.a, insn.b, insn.k), Insn(insn.op, chance.randrange(256), insn.b, insn.k),
            Insn(insn.op, insn.a, chance.randrange(80), insn.k),
            Insn(insn.op, insn.a, insn.b, chance.randrange(2 * len(code))),
            Insn(chance.choice((0x04, 0x05, 0x06, 0x07)), k=chance.randrange(len(code))), Insn(0x14), Insn(0x13),
        ])  # fmt: skip
    try:
        verify(program)
    except VerifyError as error:
        event("refused")
        with pytest.raises(LoadError) as caught:
            Machine(program)
        # Which of several ways is looked at first is the same in both, and so are the words.
        assert str(caught.value) == str(error)
        return
    event("accepted")
    run(program, chance.randbytes(100), chance.randbytes(program.data_bytes))


# program, packet, result, memory behind it (as far as it is not 0); as FPL-2's table in fpl2/test_back_ends.py
CASES = [
    ("ret 7", b"", 7, b""),
    ("push 5; set 0; get 0; push 1; add; push 3; mul; ret", b"", 18, b""),
    ("pkt.u8 1; push 0; part.u4 8; ret", b"\x00\xab", 0xA, b""),
    ("pkt.u8 1; push 1; part.u4 8; ret", b"\x00\xab", 0xB, b""),
    ("pkt.u8 0; push 0; part.u1 8; ret", b"\x80", 1, b""),
    ("pkt.u8 0; push 7; part.u1 8; ret", b"\x80", 0, b""),
    ("pkt.u16 2; push 0; part.u8 16; ret", b"\0\0\x12\x34", 0x12, b""),
    ("pkt.u16 2; ret", b"\0\0\x12\x34", 0x1234, b""),
    ("pkt.u32 0; ret", b"\x80\0\x12\x34", 0x80001234, b""),
    ("push 1; pktx.u16; ret", b"\0\x12\x34", 0x1234, b""),
    ("push 1; pktx.u16 1; ret", b"\0\0\x12\x34", 0x1234, b""),
    ("pkt.s8 0; push 0; lt.s; ret", b"\xff", 1, b""),
    ("pkt.s8 0; pkt.s16 0; eq; ret", b"\xff\xff", 1, b""),
    ("pkt.s8 0; neg; push 2; div.s; ret", b"\x85", 61, b""),
    ("pkt.s8 0; push 2; div.s; pkt.s8 1; eq; ret", b"\x85\xc3", 1, b""),
    ("pkt.s8 0; push 1; shr.s; pkt.s8 1; eq; ret", b"\x85\xc2", 1, b""),
    ("push 1; push 40; shl; ret", b"", 0xFFFFFFFF, b""),
    ("push 1; push 64; shl; ret", b"", 1, b""),
    ("push 10; pkt.u8 0; div.u; ret", b"\0", 0, b""),
    ("push 1; stm.u32 0; push 10; pkt.u8 0; mod.u; ret", b"\0", 0, b"\1"),
    ("push 1; stm.u32 0; pkt.u8 1; stm.u32 0; ret 1", b"\0", 0, b"\1"),
    ("push 1; addm.u32 4; push 4; addm.u32 4; mem.u32 4; ret", b"", 5, b"\0\0\0\0\5"),
    ("push 0x1ff; stm.u8 3; mem.u32 0; ret", b"", 0xFF000000, b"\0\0\0\xff"),
    ("push 0x0102; push 3; stmx.u16; mem.u8 2; ret", b"", 2, b"\0\0\2\1"),
    ("push 9; push 64; stmx.u32; mem.u32 0; ret", b"", 9, b"\x09"),  # 64 octets: it begins anew
    ("push -1; push 1; push 0; put.u8 64; stm.u64 0; mem.u8 7; ret", b"", 1, b"\xff\xff\xff\xff\xff\xff\xff\1"),
    ("push -1; ext.u8; ret", b"", 255, b""),
    ("push 0x123456789abcdef0; push 32; shr.u; ret", b"", 0x12345678, b""),
    ("push -5000000000; push -5000000000; sub; lnot; ret", b"", 1, b""),
    ("push 5; set 1; l: get 0; get 1; add; set 0; get 1; push 1; sub; dup; set 1; jnz l; get 0; ret", b"", 15, b""),
    ("l: jmp l", b"", 0, b""),
    (".steps 1; push 1; l: dup; jnz l; ret 1", b"", 0, b""),
    ("push 3; case 2, no; case 3, yes; no: ret 0; yes: ret", b"", 3, b""),
    ("push 0; hash 4, 256; push 4; hash 4, 256; eq; ret", b"abcdabcd", 1, b""),
    ("push 5; hash 4, 256; ret 1", b"abcdabcd", 0, b""),
    ("push -1; pktx.u8 1; ret 1", b"abcdabcd", 0, b""),
    ("push 6; pktx.u16 1; ret 1", b"abcdabcd", 0, b""),
    ("fact IFINDEX; fact VLAN_TCI; add; fact CAPLEN; add; ret", b"abc", 3 + 0x2005 + 3, b""),
    ("push 1; push 2; over; swap; drop; add; push 9; swap; sub; ret", b"", 7, b""),
]


@pytest.mark.parametrize(("text", "packet", "result", "memory"), CASES, ids=[case[0] for case in CASES])
def test_cases(text: str, packet: bytes, result: int, memory: bytes) -> None:
    assert run(assemble(text, memory_bytes=MEMORY), packet) == (result, memory.ljust(MEMORY, b"\0"))


def test_every_instruction_is_in_some_random_program() -> None:
    used = {OPS[insn.op] for seed in range(150) for insn in Programs(seed).program().code}
    assert {op.name for op in set(OPS.values()) - used} == {"jmp", "call", "retk"}  # the table by hand has these
    assert any(op.form is Form.CASE for op in used)


# object, what the loader says
BROKEN = [
    (b"", "it does not begin as one"),
    (b"FPL2" + bytes(40), "it does not begin as one"),
    (b"FPL1\2" + bytes(40), "version 2 is not known"),
    (Object([Insn(3)]).to_bytes() + b"x", "it is not as long as it says"),
    (Object([Insn(3)]).to_bytes()[:-1], "it is not as long as it says"),
    (Object([]), "it has not 1 to 4096 instructions"),
    (Object([Insn(3)], steps=0), "its steps are not"),
    (Object([Insn(3)], steps=(1 << 20) + 1), "its steps are not"),
    (Object([Insn(3)], data_bytes=24), "its memory is no power of two"),
    (Object([Insn(3)], data_bytes=1 << 25), "its memory is no power of two"),
    (Object([Insn(3)], areas=[Area(0, 1, 0)]), "an area lies where none can"),
    (Object([Insn(3), Insn(3)], areas=[Area(0, 1, 9)]), "an area lies where none can"),
    (Object([Insn(3), Insn(3)], areas=[Area(0, 1, 1)]), "an area is not empty"),
    (Object([Insn(4, k=1), Insn(3)], areas=[Area(0, 1, 1)]), "reached with nothing on the stack"),
    (Object([Insn(3)], externals=["a\nb"]), "the name of an external function is none"),
    (Object([Insn(3)], externals=["Get"]), "no external function Get may be called here"),
    (Object([Insn(0)]), "instruction 0: there is no such operation"),
    (Object([Insn(1)]), "instruction 0: the program ends behind it without a result"),
    (Object([Insn(2)]), "instruction 0: ret takes 1 values, and the stack has 0"),
    (Object([Insn(0x10)] * 65 + [Insn(2)]), "instruction 64: more than 64 values"),
    (Object([Insn(4, k=7)]), "it jumps out of the program"),
    (Object([Insn(0x50), Insn(2)]), "there is no memory"),
    (Object([Insn(0x10), Insn(5, k=0)]), "the program ends behind it"),
    (Object([Insn(0x10), Insn(4, k=0)]), "it is reached with 0 values on the stack, and with 1"),
    (Object([Insn(8), Insn(3)]), "there is no such external function"),
]


@pytest.mark.parametrize(("program", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_broken_objects_are_refused(program: Object | bytes, words: str) -> None:
    with pytest.raises(LoadError, match=words):
        Machine(program)


def test_a_policy_bounds_steps_and_memory_grows() -> None:
    program = assemble(".steps 1000; .memory 8; ret 1")
    with pytest.raises(LoadError, match="it may take 1000 steps back, more than 999"):
        Machine(program, steps=999)
    assert Machine(program, steps=1000, data_bytes=64).data_bytes == 64


def test_external_functions() -> None:
    seen = []

    def port(packet: bytes, memory: bytearray, read_at: int, write_at: int) -> int:
        seen.append((packet, read_at, write_at))
        memory[write_at] = 7
        return 5004

    text = ".memory 64; pkt.u8 0; pkt.u8 1; call GetPort; ret"
    machine = Machine(assemble(text), [("GetPort", 4, 1, port)])
    assert machine.run(b"\4\x09") == 5004
    assert machine.data[9] == 7
    assert machine.run(b"\x3c\x3f") == 5004  # the last four octets, and the last one
    assert machine.run(b"\x3d\x09") == machine.run(b"\4\x40") == 0
    assert [row[1:] for row in seen] == [(4, 9), (60, 63)]
    with pytest.raises(LoadError, match="GetPort reads 65 octets and writes 1: the memory has 64"):
        Machine(assemble(text), [("GetPort", 65, 1, port)])
