# SPDX-License-Identifier: BSD-3-Clause
"""What a program of eBPF takes: instructions, functions, stack.

takes    octets of struct bpf_insn[], as backend.py makes them
gives    Measured

Addresses on the stack are r10, and what is made of it by adding numbers; a register is followed from one instruction to
the next, as they stand. That is what the verifier finds on every way, as LLVM makes an address anew where it needs it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from fpl.classify.bpf import CALL, INSN_BYTES, LD_IMM64, PSEUDO_CALL, PSEUDO_FUNC, functions_of

STACK_BYTES = 512  # of all functions that are in each other
FRAME_STEP = 32  # a frame takes a multiple of these: check_max_stack_depth() in kernel/bpf/verifier.c, Linux 6.1
FRAME = 10  # the register
CLASS_MASK, CLASS_LOAD, CLASS_STORE, CLASS_ALU64 = 0x07, 0x01, (0x02, 0x03), 0x07
WRITES_REGISTER = (0x00, CLASS_LOAD, 0x04, CLASS_ALU64)
MOVE, ADD, FROM_REGISTER, OPERATION_MASK = 0xB0, 0x00, 0x08, 0xF0


@dataclass(frozen=True)
class Measured:
    """functions: instructions of each, the first is where the kernel enters. frames: octets of stack of each; stack: of
    those that call each other, the most, as the kernel counts it: STACK_BYTES are allowed."""

    functions: tuple[int, ...]
    frames: tuple[int, ...]
    stack: int

    @property
    def insns(self) -> int:
        return sum(self.functions)


def parts_of(insns: bytes) -> list[bytes]:
    """Its functions, in order."""
    begins = [INSN_BYTES * at for at in functions_of(insns)]
    return [insns[first:end] for first, end in pairwise([*begins, len(insns)])]


def measure(insns: bytes) -> Measured:
    parts, begins = parts_of(insns), functions_of(insns)
    frames = [_frame(part) for part in parts]
    called = [_called(part, begins, number) for number, part in enumerate(parts)]

    def deepest(number: int) -> int:
        own = -(-max(frames[number], 1) // FRAME_STEP) * FRAME_STEP
        return own + max((deepest(other) for other in called[number]), default=0)

    return Measured(tuple(len(part) // INSN_BYTES for part in parts), tuple(frames), deepest(0))


def _called(part: bytes, begins: list[int], number: int) -> set[int]:
    """Numbers of functions that it calls, or gives to a helper to be called."""
    found = set[int]()
    for at in range(0, len(part), INSN_BYTES):
        code, registers, _offset, value = struct.unpack_from("<BBhi", part, at)
        if (code, registers >> 4) in ((CALL, PSEUDO_CALL), (LD_IMM64, PSEUDO_FUNC)):
            found.add(begins.index(begins[number] + at // INSN_BYTES + 1 + value))
    return found


def _frame(part: bytes) -> int:
    known, deepest = {FRAME: 0}, 0
    for at in range(0, len(part), INSN_BYTES):
        code, registers, offset, value = struct.unpack_from("<BBhi", part, at)
        to, source, kind = registers & 15, registers >> 4, code & CLASS_MASK
        base = source if kind == CLASS_LOAD else to if kind in CLASS_STORE else None
        if base in known:
            deepest = max(deepest, -(known[base] + offset))
        if kind == CLASS_ALU64 and code & OPERATION_MASK == ADD and not code & FROM_REGISTER and to in known:
            known[to] += value
            deepest = max(deepest, -known[to])
        elif kind == CLASS_ALU64 and code & OPERATION_MASK == MOVE and code & FROM_REGISTER and source in known:
            known[to] = known[source]
        elif code == CALL:
            known = {register: place for register, place in known.items() if register > 5}
        elif kind in WRITES_REGISTER:
            known.pop(to, None)
    return deepest
