# SPDX-License-Identifier: BSD-3-Clause
"""Pass 0: octets to instructions.

takes    octets of struct sock_filter[], little endian
gives    Insn*, valid by the rules of Linux (bpf_check_classic()): known codes, jumps go forward, no load of M[] before
         its store, no constant division by 0
         Refusal: a text that says what cannot run in the hook
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from pyffpf._core import ffi, lib

from fpl.classify import layout

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR = (op << 4 for op in range(11))
JA, JEQ, JGT, JGE, JSET = (op << 4 for op in range(5))
SRC_X, RVAL_A, TXA = 0x08, 0x10, 0x80
SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
MAX_MSH = 60  # 4 * 15
MEMORY_WORDS = 16  # BPF_MEMWORDS
WORD = 0xFFFFFFFF

LL_OFF, AD_OFF, AD_ALU_XOR_X = 0xFFE00000, 0xFFFFF000, 40  # of include/uapi/linux/filter.h; NET_OFF lies between
# Ancillary loads: name, offset in the scratch, octets that the value needs.
ANCILLARY: dict[int, tuple[str, int, int]] = {
    AD_OFF + 0: ("protocol", layout.SCRATCH_PROTOCOL, 2), AD_OFF + 4: ("pkttype", layout.SCRATCH_PKT_TYPE, 1),
    AD_OFF + 8: ("ifindex", layout.SCRATCH_IFINDEX, 4), AD_OFF + 20: ("mark", layout.SCRATCH_MARK, 4),
    AD_OFF + 24: ("queue", layout.SCRATCH_QUEUE, 4), AD_OFF + 28: ("hatype", layout.SCRATCH_HATYPE, 2),
    AD_OFF + 32: ("rxhash", layout.SCRATCH_RXHASH, 4), AD_OFF + 36: ("cpu", layout.SCRATCH_CPU, 4),
    AD_OFF + 44: ("vlan_tci", layout.SCRATCH_VLAN_TCI, 2),
    AD_OFF + 48: ("vlan_present", layout.SCRATCH_VLAN_PRESENT, 1),
    AD_OFF + 60: ("vlan_tpid", layout.SCRATCH_VLAN_TPID, 2),
}  # fmt: skip


class ClassifyRefused(Exception):  # noqa: N818 (an outcome the caller expects: the filter runs in userspace)
    """A filter cannot run in the hook; nothing has changed."""


class Insn(NamedTuple):
    code: int
    jt: int
    jf: int
    k: int

    @property
    def kind(self) -> int:
        return self.code & 7

    @property
    def mode(self) -> int:
        return self.code & 0xE0

    @property
    def op(self) -> int:
        return self.code & 0xF0

    @property
    def size(self) -> int:
        """Octets of a load."""
        return SIZES[self.code & 0x18]

    @property
    def by_x(self) -> bool:
        """The operand is X, not k."""
        return bool(self.code & SRC_X)


Program = Sequence[Insn]


def decode(octets: bytes) -> list[Insn]:
    """Raises ClassifyRefused for what Linux would not attach, and for loads of what the scratch does not hold."""
    if not octets or len(octets) % 8:
        raise ClassifyRefused("a filter is a positive number of 8-octet instructions")
    program = [Insn(*fields) for fields in struct.iter_unpack("<HBBI", octets)]
    if len(program) > lib.FFPF_BPF_KERNEL_MAX_INSNS:
        raise ClassifyRefused(f"{len(program)} instructions: the kernel takes {lib.FFPF_BPF_KERNEL_MAX_INSNS}")
    error = ffi.new("struct ffpf_error *")
    insns = ffi.new("struct ffpf_bpf_insn[]", [tuple(insn) for insn in program])
    if lib.ffpf_bpf_validate(insns, len(program), lib.FFPF_BPF_RULES_KERNEL, error) != 0:
        raise ClassifyRefused(ffi.string(error.text).decode())
    for at, insn in enumerate(program):
        if is_far(insn) and insn.k not in ANCILLARY and insn.k != AD_OFF + AD_ALU_XOR_X:
            raise ClassifyRefused(f"instruction {at} loads at {insn.k:#x}, which the hook's scratch does not hold")
    return program


def is_far(insn: Insn) -> bool:
    """An absolute load at one of the kernel's negative offsets."""
    return insn.kind == LD and insn.mode == ABS and insn.k >= LL_OFF


def successors(program: Program, at: int) -> tuple[int, ...]:
    insn = program[at]
    if insn.kind == RET:
        return ()
    if insn.kind != JMP:
        return (at + 1,)
    if insn.op == JA:
        return (at + 1 + insn.k,)
    return (at + 1 + insn.jt, at + 1 + insn.jf)


def reachable(program: Program) -> list[int]:
    """Instructions that can be reached, in order."""
    found = {0}
    for at in range(len(program)):
        if at in found:
            found.update(successors(program, at))
    return sorted(found)


class _Greatest(NamedTuple):
    """The greatest values that A, X and the words of M[] may have."""

    a: int
    x: int
    memory: tuple[int, ...]

    def or_those_of(self, other: _Greatest) -> _Greatest:
        """Where two ways meet."""
        memory = tuple(max(words) for words in zip(self.memory, other.memory, strict=True))
        return _Greatest(max(self.a, other.a), max(self.x, other.x), memory)


def fetch_len(program: Program) -> int:
    """How many octets of a packet the filter may need. Raises ClassifyRefused when that is more than the scratch has.

    X is followed by its greatest value only.
    """
    before = {0: _Greatest(0, 0, (0,) * MEMORY_WORDS)}
    need = 0
    for at in reachable(program):
        insn, greatest = program[at], before[at]
        if insn.kind == LD and insn.mode in (ABS, IND) and not is_far(insn):
            end = insn.k + insn.size + (greatest.x if insn.mode == IND else 0)
            if insn.mode == IND and end > layout.SCRATCH_DATA_BYTES:
                raise ClassifyRefused(f"instruction {at} may load beyond {layout.SCRATCH_DATA_BYTES} octets")
            need = max(need, end)
        elif insn.kind == LDX and insn.mode == MSH:
            need = max(need, insn.k + 1)
        behind = _greatest_behind(insn, greatest)
        for after in successors(program, at):
            before[after] = before[after].or_those_of(behind) if after in before else behind
    if need > layout.SCRATCH_DATA_BYTES:
        raise ClassifyRefused(f"it loads octet {need}: the hook looks at {layout.SCRATCH_DATA_BYTES}")
    return need


def _greatest_behind(insn: Insn, before: _Greatest) -> _Greatest:
    a, x, memory = before
    if insn.kind in (ST, STX):
        stored = a if insn.kind == ST else x
        return _Greatest(a, x, (*memory[: insn.k], stored, *memory[insn.k + 1 :]))
    if insn.kind == LD:
        sizes = {ABS: WORD if is_far(insn) else 256**insn.size - 1, IND: 256**insn.size - 1, IMM: insn.k}
        return before._replace(a=memory[insn.k] if insn.mode == MEM else sizes.get(insn.mode, WORD))
    if insn.kind == LDX:
        return before._replace(
            x=memory[insn.k] if insn.mode == MEM else {IMM: insn.k, MSH: MAX_MSH}.get(insn.mode, WORD)
        )
    if insn.kind == MISC:
        return before._replace(a=x) if insn.code & TXA else before._replace(x=a)
    return before._replace(a=_greatest_sum(insn, a, x)) if insn.kind == ALU else before


def _greatest_sum(insn: Insn, a: int, x: int) -> int:
    """Of A behind a calculation."""
    operand = x if insn.by_x else insn.k
    greatest = {ADD: a + operand, MUL: a * operand, AND: min(a, operand), LSH: a << min(operand, 32), DIV: a, MOD: a,
                RSH: a if insn.by_x else a >> (insn.k & 31), OR: (1 << max(a.bit_length(), operand.bit_length())) - 1,
                XOR: (1 << max(a.bit_length(), operand.bit_length())) - 1}.get(insn.op, WORD)  # fmt: skip
    return greatest if greatest <= WORD else WORD
