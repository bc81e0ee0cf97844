# SPDX-License-Identifier: BSD-3-Clause
"""The instructions: csrc/fpl1/isa.h in Python, which a test holds against C. docs/fpl-1.md tells what each does."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum

STACK_MAX = 64
LOCALS = 64
HASH_MAX = 64
INSN_BYTES = 8
FACTS = ("LEN", "CAPLEN", "IFINDEX", "PKTTYPE", "VLAN_PRESENT", "VLAN_TCI")
LOADS = (("u8", 8), ("u16", 16), ("u32", 32), ("u64", 64), ("s8", 8), ("s16", 16), ("s32", 32))
KIND_SIGNED = 8


class Form(Enum):
    """What an instruction's operands are; those that are not named are 0."""

    PLAIN = 0
    NUMBER = 1  # k
    JUMP = 2  # k: an instruction
    CASE = 3  # b: a number; k: an instruction
    LOCAL = 4  # a
    FACT = 5  # a
    PACKET = 6  # k
    MEMORY = 7  # k; there must be memory
    PART = 8  # a: kind; b: bits of the whole
    KIND = 9  # a
    HASH = 10  # b: octets; k: size of the table, 0 for 2^32
    CALL = 11  # k: an external function


@dataclass(frozen=True)
class Op:
    code: int
    name: str
    form: Form
    takes: int  # values of the stack
    gives: int


@dataclass(frozen=True)
class Insn:
    op: int
    a: int = 0
    b: int = 0
    k: int = 0

    def to_bytes(self) -> bytes:
        return struct.pack("<BBHI", self.op, self.a, self.b, self.k)

    @classmethod
    def from_bytes(cls, octets: bytes) -> Insn:
        return cls(*struct.unpack("<BBHI", octets))


def _plain(first: int, names: str, takes: int, gives: int) -> list[Op]:
    return [Op(first + i, name, Form.PLAIN, takes, gives) for i, name in enumerate(names.split())]


def _table() -> dict[int, Op]:
    ops = [
        Op(0x01, "nop", Form.PLAIN, 0, 0), Op(0x02, "ret", Form.PLAIN, 1, 0), Op(0x03, "retk", Form.NUMBER, 0, 0),
        Op(0x04, "jmp", Form.JUMP, 0, 0), Op(0x05, "jz", Form.JUMP, 1, 0), Op(0x06, "jnz", Form.JUMP, 1, 0),
        Op(0x07, "case", Form.CASE, 1, 1), Op(0x08, "call", Form.CALL, 2, 1),
        Op(0x10, "push", Form.NUMBER, 0, 1), Op(0x11, "pushs", Form.NUMBER, 0, 1), Op(0x12, "high", Form.NUMBER, 1, 1),
        Op(0x13, "dup", Form.PLAIN, 1, 2), Op(0x14, "drop", Form.PLAIN, 1, 0), Op(0x15, "swap", Form.PLAIN, 2, 2),
        Op(0x16, "over", Form.PLAIN, 2, 3), Op(0x17, "get", Form.LOCAL, 0, 1), Op(0x18, "set", Form.LOCAL, 1, 0),
        Op(0x19, "fact", Form.FACT, 0, 1),
        Op(0x1A, "getx", Form.PLAIN, 1, 1), Op(0x1B, "setx", Form.PLAIN, 2, 0),
        *_plain(0x20, "add sub mul div.u div.s mod.u mod.s and or xor shl shr.u shr.s", 2, 1),
        *_plain(0x2D, "neg not lnot", 1, 1),
        *_plain(0x30, "eq ne lt.u lt.s le.u le.s gt.u gt.s ge.u ge.s", 2, 1),
        Op(0x70, "part", Form.PART, 2, 1), Op(0x71, "put", Form.PART, 3, 1), Op(0x72, "ext", Form.KIND, 1, 1),
        Op(0x73, "hash", Form.HASH, 1, 1),
    ]  # fmt: skip
    for i, (kind, _) in enumerate(LOADS):
        ops += [
            Op(0x40 + i, f"pkt.{kind}", Form.PACKET, 0, 1), Op(0x48 + i, f"pktx.{kind}", Form.PACKET, 1, 1),
            Op(0x50 + i, f"mem.{kind}", Form.MEMORY, 0, 1), Op(0x58 + i, f"memx.{kind}", Form.MEMORY, 1, 1),
        ]  # fmt: skip
        if kind[0] == "u":
            ops += [Op(0x60 + i, f"stm.{kind}", Form.MEMORY, 1, 0), Op(0x68 + i, f"stmx.{kind}", Form.MEMORY, 2, 0)]
    for i, verb in enumerate(("add", "and", "or", "xor")):
        for j, (way, takes) in enumerate((("m", 1), ("mx", 2))):
            for n, kind in enumerate(("u32", "u64")):
                ops.append(Op(0x78 + 4 * i + 2 * j + n, f"{verb}{way}.{kind}", Form.MEMORY, takes, 0))
    return {op.code: op for op in ops}


OPS = _table()
BY_NAME = {op.name: op for op in OPS.values()}


def kind_bits(kind: int) -> int:
    return 1 << (kind & 7)


def is_kind(kind: int) -> bool:
    return kind & ~KIND_SIGNED <= 6


def kind_name(kind: int) -> str:
    return f"{'s' if kind & KIND_SIGNED else 'u'}{kind_bits(kind)}"


KINDS = {kind_name(kind): kind for kind in range(16) if is_kind(kind)}
