# SPDX-License-Identifier: BSD-3-Clause
"""What the assembler reads, what it refuses and with which words; the disassembler; the page of the language."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpl.fpl1 import Object, assemble, disassemble
from fpl.fpl1.isa import BY_NAME, OPS, Insn
from fpl.fpl1.machine import Machine
from fpl.fpl1.object import Area, ObjectError
from fpl.fpl1.random_programs import Programs
from fpl.fpl2.report import FplError

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "fpl-1.md"

AREA = """
.set RTSP 554   // the well-known port
.memory 100
.steps 0x10
start:  pkt.u16 36; PUSH RTSP; ne; jz control
        pkt.u16 20 + 16 - 0x0
        .area ports 2, hit      # two more
        ret
control: push 0; push ports; call strsearch pattern='GET, /' of=payload
hit:    retk 1
"""


def test_a_program_with_all_that_there_is() -> None:
    program = assemble(AREA)
    assert (program.steps, program.data_bytes) == (16, 128)
    assert program.areas == [Area(5, 2, 11)]
    assert program.externals == ["strsearch pattern='GET, /' of=payload"]
    names = " ".join(OPS[insn.op].name for insn in program.code)
    assert names == "pkt.u16 push ne jz pkt.u16 jmp jmp ret push push call retk"
    assert [program.code[at].k for at in (0, 1, 3, 4, 5, 6)] == [36, 554, 8, 36, 7, 7]
    assert Object.from_bytes(program.to_bytes()) == program


def test_what_is_disassembled_is_assembled_again() -> None:
    program = assemble(AREA)
    assert assemble(disassemble(program)) == program
    for seed in range(50):
        made = Programs(seed).program()
        assert assemble(disassemble(made)) == made


def test_areas_have_numbers_before_they_stand_there() -> None:
    code = assemble("push b; drop; push a; l: .AREA a 1, m; m: .area b 1, n; n: ret").code
    assert [insn.k for insn in (code[0], code[2])] == [1, 0]


def test_numbers() -> None:
    code = assemble("push 10.0.0.1; push 0xffffffffffffffff; push -1; push -2147483649; push 0b11 + 2 - 1; ret").code
    high, pushs = BY_NAME["high"].code, BY_NAME["pushs"].code
    assert code[0].k == 0x0A000001
    assert code[1:3] == [Insn(0x10, k=0xFFFFFFFF), Insn(high, k=0xFFFFFFFF)]
    assert code[3] == Insn(pushs, k=0xFFFFFFFF)
    assert code[4:6] == [Insn(0x10, k=0x7FFFFFFF), Insn(high, k=0xFFFFFFFF)]
    assert code[6].k == 4


# program, what the report begins with, its hint
REFUSED = [
    ("", "<fpl-1>:1:1: it has not 1 to 4096 instructions", ""),
    ("pkt.u8 1\npsh 5\nret", "<fpl-1>:2:1: psh is no operation", "Is it push"),
    ("ret 1; 5", "<fpl-1>:1:8: '5' is no operation", ""),
    ("part.u3 8; ret 1", "<fpl-1>:1:1: part.u3 is no operation", "Is it part."),
    ("push", "<fpl-1>:1:1: push takes a number", ""),
    ("push 1, 2", "<fpl-1>:1:1: push takes a number", ""),
    ("pktx.u8 1, 2", "<fpl-1>:1:1: pktx.u8 takes an offset", ""),
    ("jmp there", "<fpl-1>:1:5: there is no label there", ""),
    ("thera: jmp there", "<fpl-1>:1:12: there is no label there", "Is it thera?"),
    ("a: a: ret 1", "<fpl-1>:1:4: the label a is there already", ""),
    (".set A 1; .set A 2", "<fpl-1>:1:16: the name A is there already", ""),
    ("push 1; .area A 1, l; .area A 1, l; l: ret", "<fpl-1>:1:29: the name A is there already", ""),
    (".set A 1; push 1; .area A 1, l; l: ret", "<fpl-1>:1:6: the name A is there already", ""),
    (".area 5 1, l", "<fpl-1>:1:7: .area begins with a name", ""),
    (".set 5 1", "<fpl-1>:1:6: .set begins with a name", ""),
    (".org 5", "<fpl-1>:1:1: .org is no directive", "Known: .memory, .steps, .set, .area."),
    (".area a 5", "<fpl-1>:1:1: .area takes something else", ".area NAME SLOTS, LABEL"),
    (".area a 0, b", "<fpl-1>:1:9: an area has 1 to 4096 instructions", ""),
    ("push B", "<fpl-1>:1:6: B is no number", "Names of numbers are made with .set"),
    (".set BB 1; push B", "<fpl-1>:1:17: B is no number", "Is it BB?"),
    ("push 08", "<fpl-1>:1:6: 08 begins with 0", "Octal numbers are not known"),
    ("push 10.0.0.300", "<fpl-1>:1:6: 10.0.0.300 is no address", ""),
    ("push 18446744073709551616", "<fpl-1>:1:6: it does not fit into 64 bits", ""),
    ("push 1 2", "<fpl-1>:1:6: '1 2' is no number", ""),
    ("push 1 +", "<fpl-1>:1:6: '1 +' is no number", ""),
    ("push @", "<fpl-1>:1:6: '@' is no number", ""),
    ("retk 4294967296", "<fpl-1>:1:6: it does not fit into 32 bits", ""),
    ("get 64", "<fpl-1>:1:5: locals are 0 to 63", ""),
    ("fact TIME", "<fpl-1>:1:6: TIME is not known of a packet", "Known: LEN, CAPLEN"),
    ("push 1; case 65536, a", "<fpl-1>:1:14: case compares with 0 to 65535", ""),
    ("push 1; hash 65, 2", "<fpl-1>:1:14: a hash is of 1 to 64 octets", ""),
    ("push 1; hash 6, 0", "<fpl-1>:1:17: the table of a hash has 1 to 2^32 places", ""),
    ("push 1; push 1; part.u16 8", "<fpl-1>:1:26: a part of 16 bits is not in 8", "The whole has"),
    ("push 1; push 1; call 7", "<fpl-1>:1:22: call takes the name of an external function", ""),
    ("push 1; push 1; call " + "x" * 128, "<fpl-1>:1:22: call takes the name of an external function", "127"),
    ("mem.u8 0; ret", "<fpl-1>:1:1: there is no memory", "Begin with .memory OCTETS."),
    ("push 1\nadd\nret", "<fpl-1>:2:1: add takes 2 values, and the stack has 1", ""),
    ("ret 1\n", "", ""),
    ("push 1\nl: push 1\n  jmp l", "<fpl-1>:2:4: it is reached with 1 values on the stack, and with 2", ""),
    ("push 1", "<fpl-1>:1:1: the program ends behind it without a result", ""),
    (".memory 999999999; ret 1", "<fpl-1>:1:1: its memory is no power of two from 8 to", ""),
    (".steps 0; ret 1", "<fpl-1>:1:1: its steps are not 1 to", ""),
]


@pytest.mark.parametrize(("text", "report", "hint"), REFUSED, ids=[text[:60] for text, _, _ in REFUSED])
def test_refusals(text: str, report: str, hint: str) -> None:
    if not report:
        assert assemble(text).code
        return
    with pytest.raises(FplError) as caught:
        assemble(text)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(report), caught.value
    assert lines[2].index("^") == caught.value.column + 1
    assert hint in lines[-1]


def test_octets_that_are_no_object() -> None:
    octets = assemble(AREA).to_bytes()
    for broken in (b"", octets[:20], b"FPL2" + octets[4:], octets[:4] + b"\2" + octets[5:], octets[:-1], octets + b"x"):
        with pytest.raises(ObjectError):
            Object.from_bytes(broken)


MIXES = [
    "push", "ret", "jmp", "l:", "l", "1", ",", ";", "\n", "call", "x", ".area", ".memory", "-", "+", "//", "pkt.u8",
    "part.u1", "8", "0x", "10.0.0.1", ":", "\0", "é", "case", "add",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 64))
def test_any_text_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    text = " ".join(chance.choices(MIXES, k=chance.randrange(1, 25)))
    if chance.random() < 0.5:
        text = disassemble(Programs(seed).program())
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(MIXES) + text[at + chance.randrange(3) :]
    try:
        program = assemble(text)
    except FplError as error:
        assert error.line >= 1
        assert error.column >= 1
    else:
        assert assemble(disassemble(program)) == program


def test_the_page_has_every_operation_with_its_code_and_stack() -> None:
    rows = re.findall(r"^\| (0x[^|]+) \| (`[^|]+) \| ([^|]*?) ?\| [^\n]*\|$", PAGE.read_text(), re.MULTILINE)
    told: dict[str, int] = {}
    for codes, words, stack in rows:
        names = re.findall(r"`([^`]+)`", words)
        numbers = [int(code, 16) for code in re.findall(r"0x[0-9a-f]+", codes)]
        if "..." in codes:
            numbers = list(range(numbers[0], numbers[1] + 1))
        assert len(names) == len(numbers), words
        told |= {name.replace(".KIND", ""): code for name, code in zip(names, numbers, strict=True)}
        if ", or" not in stack:
            takes, _, gives = stack.partition("--") if "--" in stack else (stack, "", "")
            op = OPS[numbers[0]]
            assert (len(takes.split()), len(gives.split())) == (op.takes, op.gives), words
    assert told == {op.name: op.code for op in OPS.values()}


def listings() -> list[str]:
    """Of the page: blocks that are programs."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text(), re.MULTILINE)
    return [block for block in blocks if ".memory" in block]


def test_the_pages_programs() -> None:
    first, second = map(assemble, listings())
    assert first.data_bytes == 1024
    assert second.externals == ["ExtendWithPort"]
    machine = Machine(second, extend=True)
    packets = [bytes(36) + port.to_bytes(2, "big") for port in (5004, 5004, 80)]
    assert [machine.run(packet) for packet in packets] == [0, 1, 0]
