# SPDX-License-Identifier: BSD-3-Clause
"""Programs of somebody who means harm: each is refused with a report, or does none. The compiler recurses over what it
reads, so depth is bounded before it does; it multiplies what macros stand for, so that is bounded while it does."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fpl.fpl2 import FplError, check, compile_native, pretty
from fpl.fpl2.files import Folders
from fpl.fpl2.parse import parse
from fpl.fpl2.reference import Machine
from fpl.fpl2.report import Source
from fpl.fpl2.testing import Native

MBUF = 64


def refused(text: str) -> str:
    with pytest.raises(FplError) as caught:
        check(text, mbuf_bytes=MBUF)
    assert len(str(caught.value)) < 1000, "a report is for people"
    return caught.value.message


DEEP = "more than 40 things within each other"
LONG = "more than 64 operands in a row"
TERMS = "with its macros, more than 80 terms are within each other"
BOMB = "".join(f"MACRO A{n} = A{n - 1} + A{n - 1};" for n in range(1, 16))
HOSTILE = [
    ("parentheses", "RETURN " + "(" * 20000 + "1" + ")" * 20000 + ";", DEEP),
    ("operators of one operand", "RETURN " + "!" * 60000 + "1;", DEEP),
    ("minus signs", "RETURN " + "- " * 30000 + "1;", DEEP),
    ("indices", "RETURN " + "R[" * 1000 + "0" + "]" * 1000 + ";", DEEP),
    ("IFs", "IF 1 THEN " * 4000 + "FI " * 4000, DEEP),
    ("ELSEs", "IF 1 THEN ELSE " * 3000 + "FI " * 3000, DEEP),
    ("FORs", "FOR (R[1] = 0; R[1] < 2; R[1]++) " * 1000 + "ROF " * 1000, DEEP),
    ("sets", "RETURN " + "1 IN {" * 1000 + "1" + "}" * 1000 + ";", DEEP),
    ("brackets that close", ")" * 1000 + "(" * 60000, DEEP),
    ("brackets in a string", 'RETURN 0 CONTAINS "' + "(" * 100 + '";', "a byte string has 1 to 64 octets"),
    ("operands, from the left", "RETURN 1" + " - 1 + 1" * 5000 + ";", LONG),
    ("shifts", "RETURN 1" + " << 1" * 5000 + ";", LONG),
    ("relations", "RETURN 1" + " < 1" * 5000 + ";", LONG),
    ("a chain of macros", "MACRO A0 = 1;" + "".join(f"MACRO A{n} = A{n - 1};" for n in range(1, 40)) + "RETURN A39;",
     "A23 stands for itself, or for too many macros within each other"),
    ("macros that double", f"MACRO A0 = LEN; {BOMB} RETURN A15;",
     "with its macros the program is more than 20000 terms"),
    ("macros that deepen",
     "MACRO A0 = 1;" + "".join(f"MACRO A{n} = {'(1 - ' * 30}A{n - 1}{')' * 30};" for n in range(1, 9))
     + "RETURN A8;", TERMS),
    ("macros with tests that deepen", "MACRO A0 = 1;" + "".join(f"MACRO A{n} WHEN {'!' * 30}A{n - 1} = 1;"
     for n in range(1, 9)) + "RETURN A8;", TERMS),
    ("a macro of itself in its test", "MACRO A WHEN A = 1; RETURN A;", "A stands for itself, or for too many macros"),
    ("two macros of each other", "MACRO A = B + B; MACRO C = 1; MACRO B1 = A; RETURN B1;", "B is not known"),
    ("digits", "RETURN " + "9" * 60000 + ";", "9" * 64 + "... needs more than 64 bits"),
    ("digits of hex", "RETURN 0x" + "f" * 60000 + ";", "0x" + "f" * 62 + "... needs more than 64 bits"),
    ("digits of MAX", "FOR (R[1]=0; R[1]<R[2]; R[1]++) MAX " + "9" * 5000 + " ROF",
     "9" * 64 + "... needs more than 64 bits"),
    ("digits of an address", "RETURN " + "9" * 5000 + ".1.1.1;", "9" * 64 + "... is no address"),
    ("digits of a prefix", "RETURN 1 IN {1.1.1.1/" + "9" * 5000 + "};", "1.1.1.1/" + "9" * 56 + "... is no network"),
    ("a name", "RETURN " + "A" * 60000 + ";", "A" * 64 + "... is not known"),
    ("an external function's name", f"EXTERN({'A' * 60000},0,0);", f"no external function {'A' * 64}..."),
    ("an interface's name", f'RETURN INTERFACE == "{"A" * 60000}";', f"there is no interface {'A' * 64}..."),
    ("a string", 'RETURN 0 CONTAINS "' + "a" * 60000 + '";', "a byte string has 1 to 64 octets"),
    ("a string's escape", 'RETURN 0 CONTAINS "\\q";', "a string's escape is not known: \\q"),
    ("a string without an end", 'RETURN 0 CONTAINS "' + "a" * 60000, "'\"' cannot stand here"),
    ("a comment without an end", "/*" + "/* " * 20000, "'/' cannot stand here"),
    ("a comment in a comment", "/* /* */ */", "'*' cannot stand here"),
    ("a long program", "R[0] = 1;\n" * 10000, "a program has at most 65536 octets"),
    ("rounds", "FOR (R[1]=0; R[1]<60000; R[1]++) FOR (R[2]=0; R[2]<60000; R[2]++) ROF ROF", "its loops run"),
    ("rounds beyond any number", "FOR (R[1]=0; R[1]<R[2]; R[1]++) MAX 18446744073709551615 " * 30 + "ROF " * 30,
     "R[1] counts the rounds"),
    ("a loop without an end", "FOR (R[1]=0; R[1]>=0; R[1]++) R[2]++; ROF", ""),
    ("a loop that steps over its end", "FOR (R[1]=0; R[1]!=5; R[1]+=2) R[2]++; ROF", ""),
    ("a loop that counts another's register", "FOR (R[1]=0; R[1]<9; R[1]++) FOR (R[1]=0; R[1]<9; R[1]++) ROF ROF",
     "R[1] counts the rounds"),
    ("steps", "FOR (R[1]=0; R[1]<60000; R[1]++) R[2] = HASH(0, 64, 3); ROF", "it takes up to"),
    ("strings looked for again and again", "FOR (R[1]=0; R[1]<9999; R[1]++) R[2] = 0 CONTAINS \"a\"; ROF",
     "it takes up to"),
    ("what the prologue keeps", "L4 = 5;", "only R[n] and MEM[n] can be written"),
    ("a register behind the last", "R[19] = 5;", "there is no R[19]"),
    ("the packet", "PKT.U16[0].U8[0] = 5;", "a filter cannot change the packet"),
    ("a fact", "LEN++;", "only R[n] and MEM[n] can be written"),
    ("a number", "MACRO X = 5; X = 6;", "only R[n] and MEM[n] can be written"),
    ("words of the prologue", "STEP_COUNT = 5;", "STEP_COUNT is not known"),
    ("a NUL", "RETURN \0;", "'\0' cannot stand here"),
    ("half of a character", "RETURN \udcff;", "'\udcff' cannot stand here"),
    ("a folder's files", 'USE "../../etc/passwd";', "a file is named without its folder"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_refused_with_a_report(text: str, message: str) -> None:
    if message:
        assert refused(text).startswith(message)
    else:
        check(text, mbuf_bytes=MBUF)  # MBuf's size bounds it


# What is accepted, and what it returns of four octets.
HARMLESS = [
    ("RETURN PKT.U64[0 - 4];", 0), ("RETURN PKT.Q[0 - 1];", 0), ("RETURN PKT.Q[1 << 61];", 0),  # 8 times that is 2^64
    ("RETURN PKT.U8[4];", 0), ("RETURN PKT.U16[3];", 0), ("RETURN PKT.U64[0];", 0), ("RETURN PKT.U8[3];", 4),
    ("RETURN HASH(0 - 1, 2, 9) + 1;", 0), ("RETURN HASH(3, 2, 9) + 1;", 0),
    ('RETURN (0 - 1) CONTAINS "\\x00";', 0), ('RETURN 4 CONTAINS "\\x00";', 0), ('RETURN 3 CONTAINS "\\x04";', 1),
    ('RETURN (0 - 2) STARTS WITH "\\x01\\x02";', 0), ('RETURN 3 STARTS WITH "\\x04\\x00";', 0),
    ("RETURN PKT.U128[0 - 8] == ::;", 0), ("RETURN PKT.U128[0] == ::;", 0),
    ("MEM[1 << 62] = 7; RETURN MEM[0];", 7), ("MEM[0 - 1] = 7; RETURN MEM[15];", 7),
    ("MEM.Q[0-1] = 3; RETURN MEM.Q[7];", 3),
    ("MEM.U64[63] = 5; RETURN MEM.U64[56];", 5), ("MEM.U32[61] = 5; RETURN MEM[15];", 5),
    ("R[0 - 1 + R[1]] = 9; RETURN R[15];", 9), ("R[1] = 999; R[R[1]] = 9; RETURN R[7];", 9),
    ("R[1] = 64; R[0] = 1 << R[1]; RETURN R[0];", 1), ("RETURN PKT.B[0].U1[R[1] + 9];", 0),
    ("R[1] = 0; RETURN 5 / R[1];", 0), ("R[1] = 0; RETURN 5 % R[1];", 0), ("R[1] = 0; R[2] /= R[1]; RETURN 5;", 0),
    ("RETURN PKT.S8[0] / (PKT.S8[0] - PKT.S8[0]);", 0),
    ("MEM.Q[0] = 1 << 63; MEM.Q[1] = -1; RETURN MEM.S64[0] / MEM.S64[8] == MEM.S64[0];", 1),
    ("MEM.Q[0] = 1 << 63; MEM.Q[1] = -1; RETURN MEM.S64[0] % MEM.S64[8];", 0),
    ("FOR (R[1] = 3; R[1] >= 0; R[1]--) MAX 9 R[2]++; ROF RETURN R[2];", 9),  # unsigned: it never ends by itself
    ("FOR (R[1]=0; R[1]>=0; R[1]++) R[2]++; ROF RETURN R[2];", 16),
    ("FOR (R[1]=0; R[1]!=5; R[1]+=2) R[2]++; ROF RETURN R[2];", 16),
    ("FOR (R[1]=0; R[1]<R[3]; R[1]++) MAX 0 R[2]++; ROF RETURN R[2];", 0),
    ("RETURN " + " + ".join(["1"] * 5000) + ";", 5000), ("RETURN " + " || ".join(["R[0]"] * 3000) + ";", 0),
    ("RETURN " + " ^ ".join(["PKT.B[0]"] * 2001) + ";", 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), HARMLESS, ids=[text[:60] for text, _ in HARMLESS])
def test_harmless(text: str, expected: int) -> None:
    """What lies around packet and memory is checked by Native."""
    packet = b"\1\2\3\4"
    checked = check(text, mbuf_bytes=MBUF)
    here, there = bytearray(MBUF), bytearray(MBUF)
    assert Machine(packet, {}, here).run(checked.program) == expected
    assert Native(compile_native(checked).octets).run(packet, {}, there) == expected
    assert here == there


WORDS = [
    "IF", "THEN", "ELSE", "FI", "FOR", "ROF", "BREAK", "RETURN", "MACRO", "WHEN", "USE", "MAX", "EXTERN", "HASH",
     "PAIR",
    "IN", "NOT", "CONTAINS", "STARTS", "WITH", "R", "M", "MEM", "PKT", "INNER", "B", "W", "D", "Q", "U1", "S8", "U16",
    "U64", "U128", "LEN", "INTERFACE", "IP_SRC", "IP6_SRC", "SRC", "TCP_DPORT", "PAYLOAD", "L4", "DNS_QTYPE", "A",
    "0", "1", "7", "255", "0x1f", "0b1", "10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "::1", "02:00:00:00:00:01",
    '"lo"', '"a"i', '"\\x00"', "(", ")", "[", "]", "{", "}", ".", "..", ",", ";", "=", "+=", "<<=", "++", "--", "==",
     "!=",
    "<", ">=", "<<", ">>", "+", "-", "*", "/", "%", "&&", "||", "&", "|", "^", "!", "~", "//", "/*", "*/", "\n", '"',
]  # fmt: skip


def read(text: str) -> None:
    """Read, refused, or accepted: then it compiles, and its formatted text is the same program."""
    try:
        tree = parse(Source(text))
        assert parse(Source(pretty.program(tree))) == tree
        check(text, mbuf_bytes=MBUF, files=Folders()).ir()
    except FplError as error:
        assert error.line >= 1
        assert error.column >= 1
        assert len(str(error)) < 1000


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40))
@example(["RETURN", "1", "IN", "{", "}", ";"])
def test_soup_of_words(words: list[str]) -> None:
    read(" ".join(words))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_soup_in_an_expression(words: list[str]) -> None:
    read(f"R[0] = {' '.join(words)};")
    read(f"IF ({''.join(words)}) THEN MEM[{' '.join(words)}]++; FI")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    read(text)
    read(f'RETURN 0 CONTAINS "{text}";')
