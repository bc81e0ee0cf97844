# SPDX-License-Identifier: BSD-3-Clause
"""What is read, what is refused and with which words, and the formatter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpl.fpl2 import FplError, check, pretty
from fpl.fpl2.parse import grammar, parse
from fpl.fpl2.random_programs import Programs
from fpl.fpl2.report import Source
from fpl.fpl2.scope import standard

FIGURE_7 = """// R[0] initially 0 stores no. of dynports found
IF (PKT.IP_PROTO==PROTO_TCP) THEN
IF (PKT.TCP_DPORT==554) THEN
MEM[R[0]]=EXTERN("GetDynTCPDPortFromRTSP",0,0);
R[0]++;
ELSE
FOR (R[1]=0; R[1] < R[0]; R[1]++)
IF (PKT.TCP_DPORT == M[ R[1] ] ) THEN
RETURN TRUE;
FI
ROF
FI
FI
RETURN FALSE;
"""

FORMATTED = """IF (PKT.IP_PROTO == PROTO_TCP) THEN
    IF (PKT.TCP_DPORT == 554) THEN
        MEM[R[0]] = EXTERN("GetDynTCPDPortFromRTSP", 0, 0);
        R[0]++;
    ELSE
        FOR (R[1] = 0; R[1] < R[0]; R[1]++)
            IF (PKT.TCP_DPORT == M[R[1]]) THEN
                RETURN TRUE;
            FI
        ROF
    FI
FI
RETURN FALSE;
"""


def test_the_papers_figure_7_is_read_and_formatted() -> None:
    assert pretty.program(parse(Source(FIGURE_7))) == FORMATTED


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 64))
def test_formatted_text_is_the_same_program(seed: int) -> None:
    program = parse(Source(Programs(seed).program()))
    once = pretty.program(program)
    again = parse(Source(once))
    assert again == program
    assert pretty.program(again) == once


@pytest.mark.parametrize(
    "text",
    ["return (1);", "Return True;", "RETURN 0x10;", "return 0b11;", "IF 1 THEN FI; ; RETURN 1;",
     "/* a\nb */ RETURN 1; // c", "EXTERN(foo,1,2); R[0] = EXTERN(\"foo\",1,2);", "m[0]++; mem[1]--; Mem[2] = 1;",
     "R[0]=R[1]<<2>>1;", "FOR (; R[1] < 5; R[1]++) ROF",
     "R[0] = - -1; R[0] = !!R[1]; R[0] = 1 - -1;", "PERCPU MEM MERGE Sum; percpu mem.s16[0x10..31] merge max;"],
)  # fmt: skip
def test_forms_that_are_read(text: str) -> None:
    program = parse(Source(text))
    assert parse(Source(pretty.program(program))) == program


# program, what the report begins with, its hint
REFUSED = [
    ("IF (R[0]=1) THEN RETURN 1; FI", "<fpl-2>:1:9: '=' cannot stand here", "To compare, write ==."),
    ("R[0] = 1;\nR[0] = ;", "<fpl-2>:2:8: ';' cannot stand here", "Expected '(', a name, a number, a"),
    ("RETURN 08;", "<fpl-2>:1:8: '08' begins with 0", "Octal numbers are not known; write 0x for hex."),
    ("IF 1 THEN", "<fpl-2>:1:10: the program ends too early", "Expected"),
    ("R[0]=10.0.0.300;", "<fpl-2>:1:6: 10.0.0.300 is no address", "Octet 300"),
    ("R[0]=LEN IN {10.0.0.1/8};", "<fpl-2>:1:14: 10.0.0.1/8 is no network", "10.0.0.1/8 has host bits set."),
    ("R[0]=18446744073709551616;", "<fpl-2>:1:6: 18446744073709551616 needs more than 64 bits", ""),
    ("@", "<fpl-2>:1:1: '@' cannot stand here", ""),
    ("RETURN " + "(" * 60 + "1" + ")" * 60 + ";", "<fpl-2>:1:48: more than 40 things within each other", ""),
    ("R[16]=1;", "<fpl-2>:1:1: there is no R[16]", "Registers are R[0] to R[15]."),
    ("PKT.B[1]=3;", "<fpl-2>:1:1: a filter cannot change the packet", "Write to a register or to MEM."),
    ("L3 = 3;", "<fpl-2>:1:1: only R[n] and MEM[n] can be written", ""),
    ("LEN = 3;", "<fpl-2>:1:1: only R[n] and MEM[n] can be written", ""),
    ("R[0]=PKT.IP_PROT;", "<fpl-2>:1:10: IP_PROT is not known", "Is it IP_PROTO"),
    ("R[0]=PKT.IP_PROTO[1];", "<fpl-2>:1:10: IP_PROTO is one value: it has no [...]", ""),
    ("R[0]=R;", "<fpl-2>:1:6: a register is written as R[n]", ""),
    ("R[0]=MEM;", "<fpl-2>:1:6: memory is written as MEM[n], MEM.B[n], MEM.U16[n] ...", ""),
    ("R[0]=PKT.U4[1];", "<fpl-2>:1:10: U4 is a part of an octet", "Write B[n].U4[m]."),
    ("R[0]=PKT.B[1].U16[0];", "<fpl-2>:1:15: U16 is larger than what it is to be a part of, U8", ""),
    ("R[0]=PKT.B[1].U1[8];", "<fpl-2>:1:6: there is no U1[8] in 8 bits", "They are numbered from 0 to 7."),
    ("R[0]=PKT.W[1].U8[0].U1[0];", "<fpl-2>:1:21: a part has no parts", ""),
    ("R[0]=5/0;", "<fpl-2>:1:8: division by 0", ""),
    ("R[0]=PKT.S8[1]+PKT.U8[2];", "<fpl-2>:1:6: signed and unsigned meet", "Read one as the other"),
    ("R[0]=R[1] < PKT.S8[0];", "<fpl-2>:1:6: signed and unsigned meet", "Read one as the other"),
    ("FOR (R[1]=0; R[1] < PKT.S8[0]; R[1]++) MAX 3 ROF", "<fpl-2>:1:14: signed and unsigned meet", "Read one"),
    ("FOR (R[1]=0; R[1] < R[2]; R[1]++) ROF", "<fpl-2>:1:1: how often this FOR runs is not known", "Write MAX n"),
    ("FOR (R[1]=0; R[1]; R[1]++) ROF", "<fpl-2>:1:1: a FOR's test compares its register", "A FOR counts"),
    ("FOR (R[1]=0; R[1] < 5; R[2]++) ROF", "<fpl-2>:1:1: a FOR tests and steps one register", "A FOR counts"),
    ("FOR (R[2]=0; R[1] < 5; R[1]++) ROF", "<fpl-2>:1:1: a FOR begins by setting the register", "A FOR counts"),
    ("FOR (R[1]=0; R[1] < 5; R[1]*=2) ROF", "<fpl-2>:1:1: a FOR's register goes up or down", "A FOR counts"),
    ("FOR (R[1]=0; R[1] < 5; R[1]++) R[1]=4; ROF", "<fpl-2>:1:32: R[1] counts the rounds", "To leave early, BREAK."),
    ("FOR (R[1]=0; R[1] < 5; R[1]++) R[R[2]]=4; ROF", "<fpl-2>:1:32: which register is written in a loop", "It may be"),
    ("FOR (R[1]=0; R[1]<300; R[1]++) FOR (R[2]=0; R[2]<300; R[2]++) ROF ROF", "<fpl-2>:1:1: its loops run 90300 times",
     "Lower a MAX."),
    ("FOR (R[1]=0; R[1]<=18446744073709551615; R[1]++) ROF", "<fpl-2>:1:1: its loops run", "Lower a MAX."),
    ("BREAK;", "<fpl-2>:1:1: BREAK stands in no FOR", ""),
    ("EXTERN(foo,1,2);", "<fpl-2>:1:1: no external function foo may be called here", "Known: none."),
    ("MACRO A = A; R[0]=A;", "<fpl-2>:1:19: A stands for itself", ""),
    ("MACRO LEN = 1;", "<fpl-2>:1:1: LEN has a meaning of its own", "Choose another name."),
    ("MACRO A += 1;", "<fpl-2>:1:9: '+=' cannot stand here", "A macro's name is followed by '='."),
    ("R[0]=HASH(1,R[1],4);", "<fpl-2>:1:13: HASH takes a known number of octets, 1 to 64", ""),
    ("R[0]=HASH(1,65,4);", "<fpl-2>:1:13: HASH takes a known number of octets, 1 to 64", ""),
    ("R[0]=HASH(1,4,0);", "<fpl-2>:1:15: HASH's table has a known size, at least 1", ""),
    ("R[0]=LEN IN {5..3};", "<fpl-2>:1:14: a range that ends before it begins", ""),
    ('R[0]=0 CONTAINS "";', "<fpl-2>:1:6: a byte string has 1 to 64 octets", ""),
    ('R[0]=0 CONTAINS "\\xg";', "<fpl-2>:1:17: a string's escape is not known: \\x", "Known: \\xHH"),
]  # fmt: skip
# likewise, of programs with an MBuf of 64 octets
PERCPU_REFUSED = [
    ("PERCPU MEM[0..3] MERGE max;", "<fpl-2>:1:1: octets 16 to 63 of MBuf have no merge", "PERCPU MEM MERGE sum; is"),
    ("PERCPU MEM.Q[1..6] MERGE or;", "<fpl-2>:1:1: octets 0 to 7 of MBuf have no merge", ""),
    ("PERCPU MEM MERGE sum; PERCPU M MERGE sum;", "<fpl-2>:1:23: two declarations are about all the rest", "Name the"),
    ("PERCPU MEM[0..1] MERGE max; PERCPU MEM.B[7] MERGE or;", "<fpl-2>:1:29: of these places another declaration", ""),
    ("PERCPU MEM[0] MERGE sum; PERCPU MEM.Q MERGE max;", "<fpl-2>:1:26: octets 4 to 63 are no whole U64",
     "A U64 lies at a multiple of 8."),
    ("PERCPU MEM.U16[1] MERGE sum;", "<fpl-2>:1:1: octets 1 to 2 are no whole U16", "A U16 lies at a multiple of 2."),
    ("PERCPU MEM[3..2] MERGE or;", "<fpl-2>:1:1: a range that ends before it begins", ""),
    ("PERCPU MEM[16] MERGE or;", "<fpl-2>:1:1: this MBuf has 64 octets", ""),
    ("PERCPU R MERGE sum;", "<fpl-2>:1:1: R is not memory", "PERCPU MEM MERGE sum;"),
    ("PERCPU MEM.U1 MERGE sum;", "<fpl-2>:1:1: U1 is no unit of memory", "B, W, D, Q, or U8, S8 to U64, S64."),
    ("PERCPU MEM MERGE mean;", "<fpl-2>:1:18: 'mean' cannot stand here", "Expected sum, max, min or or."),
    ("IF 1 THEN PERCPU MEM MERGE sum; FI", "<fpl-2>:1:11: 'PERCPU' cannot stand here", "Expected"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "report", "hint", "mbuf"),
    [*((*row, 0) for row in REFUSED), *((*row, 64) for row in PERCPU_REFUSED)],
    ids=[text[:60] for text, _, _ in [*REFUSED, *PERCPU_REFUSED]],
)
def test_refusals(text: str, report: str, hint: str, mbuf: int) -> None:
    with pytest.raises(FplError) as caught:
        check(text, mbuf_bytes=mbuf)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(report), caught.value
    assert lines[2].index("^") == caught.value.column + 1
    if hint:
        assert hint in lines[3]


def test_merges_are_those_that_were_declared() -> None:
    text = "percpu mem merge SUM; R[0] = 1; PERCPU MEM.S16[0x20..47] MERGE min; percpu m[0] merge or; RETURN 1;"
    assert [str(merge) for merge in check(text, mbuf_bytes=64).merges] == [
        "or of U32 in octets 0 to 3", "sum of U32 in octets 4 to 31", "min of S16 in octets 32 to 47",
        "sum of U32 in octets 48 to 63",
    ]  # fmt: skip
    assert pretty.program(parse(Source(text))).splitlines()[:3] == [
        "PERCPU mem MERGE sum;", "R[0] = 1;", "PERCPU MEM.S16[0x20..47] MERGE min;",
    ]  # fmt: skip
    assert check("MEM[0]++;", mbuf_bytes=64).merges == ()


def test_memory_needs_an_mbuf() -> None:
    with pytest.raises(FplError, match="this filter has no MBuf"):
        check("PERCPU MEM MERGE sum; RETURN 1;")
    with pytest.raises(FplError, match="this filter has no MBuf"):
        check("MEM[0]++;")
    assert check("MEM[0]++;", mbuf_bytes=5).mbuf_bytes == 8


def test_macros_of_a_file_of_the_users() -> None:
    macros = "MACRO TELNET = PKT.TCP_DPORT == 23; // the old one\n"
    assert check("RETURN TELNET;", fields=[Source(macros, "own.fpl")]).program
    with pytest.raises(FplError, match=r"own\.fpl:1:1"):
        check("RETURN TELNET;", fields=[Source("RETURN 1;", "own.fpl")])


def test_all_standard_macros_are_understood() -> None:
    for name in standard().names():
        assert check(f"RETURN {name} == {name};").program


MIXES = [
    "IF", "THEN", "FI", "FOR", "ROF", "R[0]", "MEM[1]", "=", "+", "(", ")", ";", "PKT.B[0]", "1", "IN", "{", "}", "..",
    "\"a\"", "RETURN", "MACRO", "X", "WHEN", "CONTAINS", "BREAK", "ELSE", "10.0.0.0/8", "++", "<", "HASH", ",", "\\",
    "\0", "é", "PERCPU", "MERGE", "sum", "MEM",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 64))
def test_any_text_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    text = " ".join(chance.choices(MIXES, k=chance.randrange(1, 25)))
    if chance.random() < 0.3:
        text = Programs(seed).program()
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(MIXES) + text[at + chance.randrange(3) :]
    try:
        check(text, mbuf_bytes=64)
    except FplError as error:
        assert error.line >= 1
        assert error.column >= 1


def test_the_grammar_is_lalr() -> None:
    assert grammar().options.parser == "lalr"
