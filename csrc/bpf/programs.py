# SPDX-License-Identifier: BSD-3-Clause
"""Generated BPF programs, and packets that reach their depths.

`decoded` turns any octets into a program that libpcap's rules accept, so hypothesis can cut and shrink octets.
Constants come from the octets that packets are made of: equality tests then hold now and then.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import strategies as st

from bpf.engines import Insn, Program

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
W, H, B = 0x00, 0x08, 0x10
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR = (op << 4 for op in range(11))
JA, JEQ, JGT, JGE, JSET = (op << 4 for op in range(5))
K, X, A = 0x00, 0x08, 0x10
TAX, TXA = 0x00, 0x80
AD_OFF = 0xFFFFF000

LOADS = [LD | mode | size for mode in (ABS, IND) for size in (W, H, B)] + [LDX | B | MSH]
PLAIN = [LD | IMM, LDX | IMM, LD | LEN, LDX | LEN, MISC | TAX, MISC | TXA]
MEMORY = [LD | MEM, LDX | MEM, ST, STX]
OPERATIONS = (ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR)
ARITHMETIC = [ALU | op | src for op in OPERATIONS for src in (K, X)] + [ALU | NEG]
TESTS = [JMP | op | src for op in (JEQ, JGT, JGE, JSET) for src in (K, X)]
RETURNS = [RET | K, RET | A]
KNOWN_CODES = frozenset([*LOADS, *PLAIN, *MEMORY, *ARITHMETIC, *TESTS, JMP | JA, *RETURNS])
# How often which is drawn: loads and tests make programs that say something about packets.
DRAWN_CODES = LOADS * 3 + PLAIN + MEMORY * 2 + ARITHMETIC + TESTS[::2] * 6 + TESTS + [JMP | JA] + RETURNS

ALPHABET = bytes([0, 1, 2, 4, 6, 0x45, 0x80, 0xFF])
CONSTANTS = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 0x3C, 63, 64, 0xF0, 0xFF, 0x100, 0x1FFF, 0x4000, 0xFFFF, 0x10000,
             0x7FFFFFFF, 0x80000000, 0xFFFF0000, 0xFFFFFFE0, 0xFFFFFFFF]  # fmt: skip
FAR_OFFSETS = [0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFC, 0x80000000, 0x7FFFFFFF, 0x7FFFFFFC, 0x7FFF0000, 0x10000, 0xFFF00000,
               0xFFE00000, *(AD_OFF + at for at in range(0, 66, 4)), AD_OFF + 1, AD_OFF - 1]  # fmt: skip
OCTETS_PER_INSN = 6


def octet_word(a: int, b: int) -> int:
    """A value that words, halves or octets of generated packets have."""
    pick = [ALPHABET[(a >> 3 * i) % 8] for i in range(3)] + [ALPHABET[b % 8]]
    return int.from_bytes(bytes(pick[: (1, 2, 4, 4)[b >> 6]]), "big")


def decoded_insn(octets: bytes, after: int) -> Insn:
    """One instruction from six octets; `after` (1 or more) is how many follow it."""
    which, true, false, kind, a, b = octets
    code = DRAWN_CODES[which % len(DRAWN_CODES)]
    jt = jf = 0
    if code in LOADS:
        k = a % 96 if kind % 16 < 13 else a << 8 | b if kind % 16 < 14 else FAR_OFFSETS[a % len(FAR_OFFSETS)]
    elif code in MEMORY:
        k = a % 16
    elif code in TESTS:
        jt, jf = true % min(after, 256), false % min(after, 256)
        k = octet_word(a, b) if kind % 4 else CONSTANTS[a % len(CONSTANTS)]
    elif code == JMP | JA:
        k = (a << 8 | b) % after
    else:
        k = CONSTANTS[a % len(CONSTANTS)] if kind % 2 else octet_word(a, b)
        if code in (ALU | DIV | K, ALU | MOD | K):
            k = k or 1
    return Insn(code, jt, jf, k)


def decoded(octets: bytes) -> list[Insn]:
    """A program of known codes that goes forward only: a return, and before it one instruction for each six octets."""
    count = len(octets) // OCTETS_PER_INSN
    program = [decoded_insn(octets[i * 6 : i * 6 + 6], count - i) for i in range(count)]
    return [*program, Insn(RET | A, 0, 0, 0)]


def programs(max_insns: int = 40) -> st.SearchStrategy[list[Insn]]:
    return st.binary(max_size=max_insns * OCTETS_PER_INSN).map(decoded)


def chain(rng: random.Random, groups: int, longest: int) -> list[Insn]:
    """As compilers of host and port lists write: a load, a mask perhaps, and equality tests one after the other.

    Targets are the next test, the next group, or one of the returns at the end; far ones are reached over a JA.
    """
    accept, reject = Insn(RET | K, 0, 0, 0x40000), Insn(RET | K, 0, 0, 0)
    out: list[Insn] = []
    for group in range(groups):
        size = rng.choice([W, H, B])
        octets = {W: 4, H: 2, B: 1}[size]
        offset = rng.choice([0, 2, 4, 6, 8, 12, 14, 20, 23, 30])
        body: list[Insn] = [Insn(LD | size | ABS, 0, 0, offset)]
        if rng.random() < 0.2:
            body = [Insn(LDX | B | MSH, 0, 0, 14), Insn(LD | size | IND, 0, 0, offset)]
        mask = 0xFFFFFFFF
        if rng.random() < 0.4:
            mask = rng.choice([0xFFFFFF00, 0xFFF0, 0xFF, 0x0F, 0x3F, 0xFFFF0000])
            body.append(Insn(ALU | AND | K, 0, 0, mask))
        ways = [rng.random() < 0.9 for _ in range(rng.randrange(1, longest + 1))]
        for simple in ways:
            value = int.from_bytes(bytes(rng.choice(ALPHABET) for _ in range(octets)), "big")
            if rng.random() < 0.3:
                value = rng.randrange(256**octets)
            value &= mask if rng.random() < 0.9 else 0xFFFFFFFF
            op = JEQ if simple else rng.choice([JGT, JGE, JSET])
            hit = Insn(RET | K, 0, 0, rng.choice([0x40000, 0, 1, group + 2])) if rng.random() < 0.2 else accept
            body += [Insn(JMP | op | K, 0, 1, value), hit]
        out += body
    return [*out, rng.choice([accept, reject])]


def chains(groups: int = 4, longest: int = 60) -> st.SearchStrategy[list[Insn]]:
    return st.integers(0, 2**32 - 1).map(lambda seed: chain(random.Random(seed), 1 + seed % groups, longest))


def zeroed_memory(program: Program) -> list[Insn]:
    """The same program, where libpcap too begins with zeros in M[]."""
    reads = {(insn.code, insn.k) for insn in program if insn.code in (LD | MEM, LDX | MEM)}
    return [*(Insn(ST, 0, 0, at) for at in sorted({k for _, k in reads})), *program]


def has_meaning_in_libpcap(program: Program) -> bool:
    """No code that bpf_filter() aborts on, no jump back that might never end."""
    return all(i.code in KNOWN_CODES and not (i.code == JMP | JA and i.k >> 31) for i in program)


def mutated(program: Program, changes: Sequence[tuple[int, int, int]]) -> list[Insn]:
    """Each change is (which instruction, which field, its new value or what to add to it)."""
    out = list(program)
    for which, field, value in changes:
        at = which % len(out)
        code, jt, jf, k = out[at]
        fields = {0: (value & 0xFFFF, jt, jf, k), 1: (code, value & 0xFF, jf, k), 2: (code, jt, value & 0xFF, k),
                  3: (code, jt, jf, value & 0xFFFFFFFF), 4: (code ^ 1 << value % 16, jt, jf, k),
                  5: (code, jt, jf, (k - 1 - value % 8) & 0xFFFFFFFF), 6: (JMP | JA, 0, 0, -value % 2**32)}  # fmt: skip
        out[at] = Insn(*fields[field % 7])
    return out


def changes() -> st.SearchStrategy[list[tuple[int, int, int]]]:
    small = st.integers(0, 300)
    return st.lists(st.tuples(small, st.integers(0, 6), small | st.integers(0, 2**32 - 1)), max_size=5)


def packets(max_size: int = 100) -> st.SearchStrategy[bytes]:
    plain = st.binary(max_size=max_size)
    return plain | plain.map(lambda octets: bytes(ALPHABET[octet % 8] for octet in octets))


class _Walker:
    """One run of a program that changes the packet on the way, so that tests come out as a coin says."""

    def __init__(self, program: Program, packet: bytearray, rng: random.Random) -> None:
        self.program, self.packet, self.rng = program, packet, rng
        self.a = self.x = 0
        self.memory = [0] * 16
        self.field: tuple[int, int] | None = None  # offset and octets of what A was loaded from
        self.mask = 0xFFFFFFFF

    def wish(self, value: int) -> None:
        """Makes A this value when it is a masked field of the packet that can be."""
        if self.field is None or value & ~self.mask:
            return
        offset, size = self.field
        if value >> 8 * size:
            return
        old = int.from_bytes(self.packet[offset : offset + size], "big")
        keep = ~self.mask & (256**size - 1)
        self.packet[offset : offset + size] = (old & keep | value).to_bytes(size, "big")
        self.a = value

    def load(self, insn: Insn) -> bool:
        size = {W: 4, H: 2, B: 1}[insn.code & 0x18]
        offset = insn.k + (self.x if insn.code & 0xE0 == IND else 0)
        if offset + size > len(self.packet):
            return False
        self.field, self.mask = (offset, size), 0xFFFFFFFF
        self.a = int.from_bytes(self.packet[offset : offset + size], "big")
        return True

    def compute(self, insn: Insn) -> bool:
        value = self.x if insn.code & X else insn.k
        op = insn.code & 0xF0
        if op == AND and insn.code & X == K:
            self.mask &= value
        else:
            self.field = None
        if op in (DIV, MOD) and value == 0:
            return False
        shift = value if insn.code & X else value & 31
        self.a = {
            ADD: self.a + value, SUB: self.a - value, MUL: self.a * value, OR: self.a | value, AND: self.a & value,
            XOR: self.a ^ value, LSH: self.a << min(shift, 32), RSH: self.a >> min(shift, 32), NEG: -self.a,
            DIV: self.a // (value or 1), MOD: self.a % (value or 1),
        }[op] & 0xFFFFFFFF  # fmt: skip
        return True

    def test(self, insn: Insn) -> bool:
        value, op = self.x if insn.code & X else insn.k, insn.code & 0xF0
        if self.rng.random() < 0.5:
            self.wish(value + (op == JGT))
        return {JEQ: self.a == value, JGT: self.a > value, JGE: self.a >= value, JSET: bool(self.a & value)}[op]

    def set_x(self, insn: Insn) -> None:
        mode = insn.code & 0xE0
        if mode == MSH and insn.k < len(self.packet):
            self.x = (self.packet[insn.k] & 15) << 2
        elif mode == MEM:
            self.x = self.memory[insn.k]
        else:
            self.x = len(self.packet) if mode == LEN else insn.k

    def set_a(self, insn: Insn) -> bool:
        mode = insn.code & 0xE0
        if mode in (ABS, IND):
            return self.load(insn)
        self.field = None
        self.a = {LEN: len(self.packet), MEM: self.memory[insn.k % 16]}.get(mode, insn.k)
        return True

    def run(self, steps: int) -> None:
        at = 0
        for _ in range(steps):
            insn = self.program[at]
            at += 1
            kind = insn.code & 7
            if kind == RET or (kind == LD and not self.set_a(insn)) or (kind == ALU and not self.compute(insn)):
                return
            if kind == LDX:
                self.set_x(insn)
            elif kind in (ST, STX):
                self.memory[insn.k] = self.a if kind == ST else self.x
            elif kind == MISC and insn.code == MISC | TAX:
                self.x = self.a
            elif kind == MISC:
                self.a, self.field = self.x, None
            elif kind == JMP and insn.code & 0xF0 == JA:
                at += insn.k - (insn.k >> 31 << 32)
            elif kind == JMP:
                at += insn.jt if self.test(insn) else insn.jf


def directed(program: Program, rng: random.Random, seed_packet: bytes) -> bytes:
    """A packet, made from another, on which about half of the tests of its way through the program hold.

    The program must have known codes only.
    """
    walker = _Walker(program, bytearray(seed_packet), rng)
    walker.run(2000)
    return bytes(walker.packet)
