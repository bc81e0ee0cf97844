# SPDX-License-Identifier: BSD-3-Clause
"""Classic BPF as C: one statement an instruction, for gcc -O3 to make of it what it can.

Grammar of what comes out: a function `filter(ctx, pkt, wire_len, cap_len, aux)` with a label for each instruction.
Every load is checked against cap_len as bpf_filter() checks it; ancillary loads, division and shifts by X, and unknown
codes are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Insn(NamedTuple):
    """struct bpf_insn."""

    code: int
    jt: int
    jf: int
    k: int


HEAD = """#include <stdint.h>
#include <string.h>
#define BE16(at) ({ uint16_t v; memcpy(&v, (at), 2); (uint32_t)__builtin_bswap16(v); })
#define BE32(at) ({ uint32_t v; memcpy(&v, (at), 4); __builtin_bswap32(v); })
uint32_t filter(const void *ctx, const uint8_t *p, uint32_t wire_len, uint32_t cap_len, const void *aux)
{
\tuint32_t A = 0, X = 0, M[16] = {0};
\t(void)ctx; (void)aux; (void)wire_len; (void)M;
"""

SIZES = {0x00: (4, "BE32(p + {at})"), 0x08: (2, "BE16(p + {at})"), 0x10: (1, "p[{at}]")}
ARITHMETIC = {0x00: "+", 0x10: "-", 0x20: "*", 0x40: "|", 0x50: "&", 0xA0: "^"}
SHIFTS = {0x60: "<<", 0x70: ">>"}
DIVISIONS = {0x30: "/", 0x90: "%"}
TESTS = {0x10: "A == {b}", 0x20: "A > {b}", 0x30: "A >= {b}", 0x40: "A & {b}"}


def load(insn: Insn) -> str:
    """A statement for a load of A or X, class LD or LDX."""
    to = "A" if insn.code & 7 == 0 else "X"
    mode = insn.code & 0xE0
    k = f"{insn.k}u"
    if mode == 0x00:
        return f"{to} = {k};"
    if mode == 0x60:
        return f"{to} = M[{insn.k}];"
    if mode == 0x80:
        return f"{to} = wire_len;"
    size, octets = SIZES[insn.code & 0x18]
    if mode == 0xA0:
        return f"if ({k} >= cap_len) return 0; X = (p[{k}] & 0xf) << 2;"
    if mode == 0x20:
        return f"if ({k} > cap_len || {size} > cap_len - {k}) return 0; {to} = {octets.format(at=k)};"
    if mode == 0x40:
        at = f"(X + {k})"
        check = f"{k} > cap_len || X > cap_len - {k} || {size} > cap_len - {at}"
        return f"if ({check}) return 0; {to} = {octets.format(at=at)};"
    raise ValueError(f"no C for {insn}")


def statement(insn: Insn, at: int) -> str:
    """The statement of the instruction with number `at`."""
    kind, operation = insn.code & 7, insn.code & 0xF0
    operand = "X" if insn.code & 8 else f"{insn.k}u"
    if kind in (0, 1):
        return load(insn)
    if kind in (2, 3):
        return f"M[{insn.k}] = {'A' if kind == 2 else 'X'};"
    if kind == 4 and operation in ARITHMETIC:
        return f"A = A {ARITHMETIC[operation]} {operand};"
    if kind == 4 and operation in SHIFTS and not insn.code & 8:
        return f"A = A {SHIFTS[operation]} {insn.k & 31};"
    if kind == 4 and operation in DIVISIONS and not insn.code & 8:
        return f"A = A {DIVISIONS[operation]} {insn.k}u;"
    if kind == 5 and operation == 0:
        return f"goto L{at + 1 + insn.k};"
    if kind == 5:
        test = TESTS[operation].format(b=operand)
        return f"if ({test}) goto L{at + 1 + insn.jt}; else goto L{at + 1 + insn.jf};"
    if kind == 6:
        return f"return {'A' if insn.code & 0x18 == 0x10 else operand};"
    if kind == 7:
        return "X = A;" if insn.code & 0xF8 == 0 else "A = X;"
    raise ValueError(f"no C for {insn}")


def translate(program: Sequence[Insn]) -> str:
    """C source of a program; raises ValueError for what has no C here."""
    lines = [f"L{at}: __attribute__((unused)); {statement(insn, at)}" for at, insn in enumerate(program)]
    return HEAD + "\n".join(lines) + "\n}\n"
