# SPDX-License-Identifier: BSD-3-Clause
"""Microengine C, compiled and run on engine.c: C's meaning; what is refused, and why."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixp_driver.microc import CompileError, compile_text
from ixp_driver.microc.testing import run

WORD, WIDE = (1 << 32) - 1, (1 << 64) - 1


def wrapped(body: str) -> str:
    return f"void main(void) {{ uint32_t a, b, c; sram_read_n(0, &a, &b, &c); {body} halt(1); }}"


# statements that store words from octet 16 on; the words given; those stored
CASES = [
    ("sram_write(16, a + b, a - b, a * b, a & b, a | b, a ^ b);", (7, 9, 0), [16, WORD - 1, 63, 1, 15, 14]),
    ("sram_write(16, a / b, a % b, a << b, a >> b);", (1000, 7, 0), [142, 6, 128000, 7]),
    ("sram_write(16, (int32_t)a / (int32_t)b, (int32_t)a % (int32_t)b, (int32_t)a >> 1);", (WORD - 6, 2, 0),
     [(1 << 32) - 3, WORD, (1 << 32) - 4]),
    ("sram_write(16, (uint8_t)a, (uint16_t)a, (int8_t)a, (int16_t)a);", (0x1234F6F8, 0, 0),
     [0xF8, 0xF6F8, 0xFFFFFFF8, 0xFFFFF6F8]),
    ("uint8_t small = a; small++; sram_write(16, small, small - 1 < 0);", (255, 0, 0), [0, 1]),
    ("int64_t n = (int32_t)a; sram_write(16, n >> 32, n < 0, (uint64_t)n > 5, n / -3);", (WORD - 8, 0, 0),
     [WORD, 1, 1, 3]),
    ("sram_write(16, a < b, (int32_t)a < (int32_t)b, a == b, a != b, !a, -a);", (WORD, 1, 0), [0, 1, 0, 1, 0, 1]),
    ("uint32_t n = 0, i; for (i = 0; i < a; i++) { if (i == 3) continue; if (i == 6) break; n += i; } "
     "sram_write(16, n, i);", (9, 0, 0), [12, 6]),
    ("uint32_t n = 0; do n++; while (n < a); while (n > b) { n -= 2; } sram_write(16, n);", (9, 4, 0), [3]),
    ("sram_write(16, a ? b : c, a && b, a || b, (a & 4) != 0, a & 0xffff ? 1 : 2);", (4, 0, 8), [0, 0, 1, 1, 1]),
    ("uint32_t n = a; if (n > 5) goto end; n = 99; end: sram_write(16, n);", (6, 0, 0), [6]),
    ("uint64_t x = pair(a, b); x += pair(c, c); sram_write(16, x, x >> 32);", (1, WORD, 2), [1, 4]),
    ("uint64_t x = pair(a, b); x = x << c; sram_write(16, x, x >> 32); x >>= 3; sram_write(24, x, x >> 32);",
     (1, 0x80000001, 33), [0, 2, 0x40000000, 0]),
    ("sram_write(16, funnel(a, b, c), funnel(a, b, 8));", (0x11223344, 0x55667788, 16), [0x33445566, 0x44556677]),
    ("sram_write(16, a * 0x93, a * 16777619, a * 0x85ebca6b);", (12345, 0, 0),
     [12345 * 0x93, 12345 * 16777619 & WORD, 12345 * 0x85EBCA6B & WORD]),
    ("sram_write_net(16, a); sram_write(20, sram_read_net(16), sram_read(16));", (0x11223344, 0, 0),
     [0x44332211, 0x11223344, 0x44332211]),
    ("sram_write(16, sram_add(0, 5), sram_read(0), sram_set_bits(4, 6), sram_read_hold(4));", (1, 9, 0), [1, 6, 9, 15]),
    ("scratch_write(8, a); sdram_write(8, a, b); uint32_t x, y; sdram_read_n(8, &x, &y); "
     "sram_write(16, scratch_read(8), x, y);", (3, 4, 0), [3, 3, 4]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "given_words", "stored"), CASES, ids=[case[0][:50] for case in CASES])
def test_what_c_says(body: str, given_words: tuple[int, ...], stored: list[int]) -> None:
    assert list(run(wrapped(body), given_words).words[4 : 4 + len(stored)]) == stored


def test_functions_share_what_the_file_has_and_are_called_or_inlined() -> None:
    text = """
    #define STEP 3
    enum { FIRST = 2, SECOND };
    static uint32_t total;
    static void add(uint32_t n) { total += n * STEP; }
    static inline uint32_t twice(uint32_t n) { add(n); add(n); return total; }
    static uint64_t wide(uint64_t n, uint32_t m) { return n * m; }
    void main(void) {
        uint32_t a = sram_read(0);
        sram_write(16, twice(a), twice(SECOND), wide(a, a), wide(0x100000000, a) >> 32, FIRST);
        halt(9);
    }
    """
    ran = run(text, (5,))
    assert (ran.words[4:9], ran.code) == ((30, 48, 25, 5, 2), 9)


def test_what_finds_no_register_is_kept_in_memory() -> None:
    names = [f"v{n}" for n in range(50)]
    body = "".join(f"uint32_t {name} = sram_read({4 * n});" for n, name in enumerate(names))
    body += f"uint64_t sum = {' + '.join(f'(uint64_t){name} * {n + 1}' for n, name in enumerate(names))};"
    made = compile_text(f"void main(void) {{ {body} sram_write(240, sum, sum >> 32); halt(0); }}")
    assert made.kept > 0
    words = tuple(0xF0000000 + 977 * n for n in range(50))
    expected = sum(word * (n + 1) for n, word in enumerate(words))
    found = run(f"void main(void) {{ {body} sram_write(240, sum, sum >> 32); halt(0); }}", words).words[60:62]
    assert found[0] | found[1] << 32 == expected & WIDE


def test_four_contexts_take_turns_and_each_knows_its_number() -> None:
    text = """
    extern const uint32_t last;
    void main(void) {
        for (uint32_t n = 0; n < 10; n++)
            scratch_add(0, 1), sram_add(16 + 4 * ctx_number(), n);
        if (scratch_read(0) == last) halt(7);
    }
    """.replace("scratch_add(0, 1), ", "{ scratch_add(0, 1); ").replace("n);\n", "n); }\n", 1)
    ran = run(text, (), {"last": 40}, contexts=4)
    assert (ran.words[4:8], ran.code) == ((45,) * 4, 7)


REFUSED = [
    ("void main(void) { uint32_t *p; }", "no arrays, pointers or structs"),
    ("void main(void) { float x; }", "float: types are"),
    ("static uint32_t f(uint32_t n) { return f(n); } void main(void) { f(1); }", "calls itself"),
    ("void main(void) { x = 1; }", "x is not defined"),
    ("void main(void) { f(1); }", "no function f"),
    ("uint32_t f(void) { return; } void main(void) { f(); }", "f gives a value"),
    ("void main(void) { break; }", "stands in no loop"),
    ("void main(void) { goto nowhere; }", "no label nowhere"),
    ("void main(void) { sram_write(0, 1, 2, 3, 4, 5, 6, 7); }", "at most 6 words"),
    ("void main(void) { sdram_write(0, 1); }", "pairs of words"),
    ("#if 1\nvoid main(void) { }", "no such line"),
    ("void main(void) { return 1 +; }", "Invalid expression"),
    ("static uint32_t x = 5; void main(void) { }", "0 at first"),
    ("uint32_t f(void) { return 1; }", "no main()"),
    (
        "void main(void) { "
        + "".join(f"uint32_t v{n} = sram_read({n * 4});" for n in range(110))
        + "".join(f"sram_write(0, v{n});" for n in range(110))
        + "}",
        "values more than a context has registers for",
    ),
    ("void main(void) { " + "sram_write(sram_read(0), sram_read(4));" * 300 + "}", "microwords; an engine's store"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_is_refused_says_why(text: str, why: str) -> None:
    with pytest.raises(CompileError, match=why.replace("(", r"\(").replace(")", r"\)")):
        compile_text(text)


class Expressions:
    """At random, as C and as a number: (text, value), modulo 2^64, of variables of 64 bits without signs."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.variables = {name: self.chance.choice([0, 1, self.chance.getrandbits(64), self.chance.getrandbits(32)])
                          for name in "xyz"}  # fmt: skip

    def make(self, depth: int) -> tuple[str, int]:
        chance = self.chance
        if not depth:
            if chance.random() < 0.6:
                name = chance.choice("xyz")
                return name, self.variables[name]
            number = chance.choice([chance.randrange(70), chance.getrandbits(32), chance.getrandbits(64)])
            return f"{number}ull", number
        (left, a), (right, b) = self.make(depth - 1), self.make(depth - 1)
        op = chance.choice(["+", "-", "*", "&", "|", "^", "/", "%", "<<", ">>", "<", ">=", "==", "?", "32", "8", "~"])
        if op == "?":
            return f"({left} ? {right} : x)", b if a else self.variables["x"]
        if op in ("32", "8"):
            return f"(uint64_t)(uint{op}_t)({left})", a & (1 << int(op)) - 1
        if op == "~":
            return f"~({left})", ~a & WIDE
        if op in ("<<", ">>"):
            count = chance.randrange(64)
            return f"(({left}) {op} {count})", (a << count if op == "<<" else a >> count) & WIDE
        if op in ("/", "%"):
            b |= 1
            return f"(({left}) {op} (({right}) | 1ull))", a // b if op == "/" else a % b
        value = {"+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b, "<": int(a < b),
                 ">=": int(a >= b), "==": int(a == b)}[op]  # fmt: skip
        return f"(uint64_t)(({left}) {op} ({right}))", value & WIDE


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 64))
def test_random_expressions_have_cs_value(seed: int) -> None:
    made = Expressions(seed)
    text, value = made.make(3)
    given_words = tuple(half for number in made.variables.values() for half in (number & WORD, number >> 32))
    reads = "".join(f"uint32_t {n}l, {n}h; sram_read_n({8 * at}, &{n}l, &{n}h); uint64_t {n} = pair({n}h, {n}l);"
                    for at, n in enumerate(made.variables))  # fmt: skip
    ran = run(f"void main(void) {{ {reads} uint64_t r = {text}; sram_write(32, r, r >> 32); halt(0); }}", given_words)
    assert ran.words[8] | ran.words[9] << 32 == value, (seed, text, made.variables)
