# SPDX-License-Identifier: BSD-3-Clause
"""A program run on Python's numbers: what the interpreter in C is held against. What operators mean it takes from
FPL-2's meaning.py: the two languages share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fpl.fpl1.isa import FACTS, KIND_SIGNED, LOCALS, OPS, Form, Insn, kind_bits
from fpl.fpl1.object import Object
from fpl.fpl2 import meaning
from fpl.fpl2.tree import Kind

ALL = meaning.ALL
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "and": "&", "or": "|", "xor": "^", "shl": "<<",
         "shr": ">>", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}  # fmt: skip
External = tuple[int, int, Callable[[bytes, bytearray, int, int], int]]  # reads, writes, the function


class _DoneError(Exception):
    def __init__(self, result: int) -> None:
        self.result = result


class Machine:
    """For one packet at a time; memory stays."""

    def __init__(self, program: Object, memory: bytearray, externals: Sequence[External] = ()) -> None:
        assert len(memory) == program.data_bytes
        self._program, self._memory, self._externals = program, memory, externals
        self.exhausted = 0

    def run(self, packet: bytes, facts: Mapping[str, int]) -> int:
        self._packet, self._facts = packet, {"LEN": len(packet), **facts, "CAPLEN": len(packet)}
        self._stack: list[int] = []
        self._locals = [0] * LOCALS
        self._steps, self._pc = self._program.steps, 0
        try:
            while True:
                at = self._pc
                self._pc += 1
                self._step(at, self._program.code[at])
        except _DoneError as done:
            return min(done.result, meaning.RESULT_MAX)

    def _push(self, value: int) -> None:
        self._stack.append(value & ALL)

    def _jump(self, at: int, to: int) -> None:
        if to <= at:
            if at - to + 1 > self._steps:
                self.exhausted += 1
                raise _DoneError(0)
            self._steps -= at - to + 1
        self._pc = to

    def _step(self, at: int, insn: Insn) -> None:
        op = OPS[insn.op]
        stem, _, suffix = op.name.partition(".")
        if op.form in (Form.PACKET, Form.MEMORY):
            self._access(insn, stem, Kind(int(suffix[1:]), suffix[0] == "s"))
        elif stem in SIGNS:
            right, left = self._stack.pop(), self._stack.pop()
            if stem in ("div", "mod") and right == 0:
                raise _DoneError(0)
            self._push(meaning.OPERATORS[SIGNS[stem]](left, right, suffix == "s"))
        elif op.form in (Form.JUMP, Form.CASE):
            top = self._stack.pop() if stem in ("jz", "jnz") else self._stack[-1] if stem == "case" else 0
            taken = {"jmp": True, "jz": top == 0, "jnz": top != 0, "case": top == insn.b}[stem]
            if taken:
                self._jump(at, insn.k)
        else:
            self._other(insn, stem)

    def _access(self, insn: Insn, stem: str, kind: Kind) -> None:
        octets = kind.bits // 8
        at = insn.k
        if stem.endswith("x"):
            base = self._stack.pop()
            at = base + insn.k
            if stem == "pktx" and base + octets > len(self._packet):
                raise _DoneError(0)
        if stem.startswith("pkt"):
            if at + octets > len(self._packet):
                raise _DoneError(0)
            self._push(meaning.extended(int.from_bytes(self._packet[at : at + octets], "big"), kind))
            return
        at = at & (len(self._memory) - 1) & ~(octets - 1)
        here = int.from_bytes(self._memory[at : at + octets], "little")
        if stem in ("mem", "memx"):
            self._push(meaning.extended(here, kind))
            return
        value = self._stack.pop()
        if stem not in ("stm", "stmx"):
            value = meaning.OPERATORS[SIGNS[stem.removesuffix("x").removesuffix("m")]](here, value, False)
        self._memory[at : at + octets] = (value & (1 << kind.bits) - 1).to_bytes(octets, "little")

    def _part(self, insn: Insn, *, put: bool) -> None:
        kind = Kind(kind_bits(insn.a), bool(insn.a & KIND_SIGNED))
        mask = (1 << kind.bits) - 1
        shift = meaning.part_shift(insn.b, kind.bits, self._stack.pop())
        if put:
            value, whole = self._stack.pop(), self._stack.pop()
            self._push(whole & ~(mask << shift) | (value & mask) << shift)
        else:
            self._push(meaning.extended(self._stack.pop() >> shift & mask, kind))

    def _call(self, number: int) -> None:
        reads, writes, function = self._externals[number]
        write_at, read_at = self._stack.pop(), self._stack.pop()
        if any(octets and at + octets > len(self._memory) for at, octets in ((read_at, reads), (write_at, writes))):
            raise _DoneError(0)
        self._push(function(self._packet, self._memory, read_at, write_at))

    def _hash(self, insn: Insn) -> None:
        start = self._stack.pop()
        if start + insn.b > len(self._packet):
            raise _DoneError(0)
        self._push(meaning.fnv(self._packet[start : start + insn.b]) % (insn.k or 1 << 32))

    def _other(self, insn: Insn, stem: str) -> None:
        stack = self._stack
        if stem in ("ret", "retk"):
            raise _DoneError(insn.k if stem == "retk" else stack.pop())
        if stem in ("push", "pushs"):
            self._push(insn.k if stem == "push" else meaning.extended(insn.k, Kind(32, True)))
        elif stem == "high":
            self._push(stack.pop() | insn.k << 32)
        elif stem == "dup":
            self._push(stack[-1])
        elif stem == "drop":
            stack.pop()
        elif stem == "swap":
            stack[-1], stack[-2] = stack[-2], stack[-1]
        elif stem == "over":
            self._push(stack[-2])
        elif stem == "get":
            self._push(self._locals[insn.a])
        elif stem == "set":
            self._locals[insn.a] = stack.pop()
        elif stem == "getx":
            self._push(self._locals[stack.pop() % LOCALS])
        elif stem == "setx":
            at = stack.pop() % LOCALS
            self._locals[at] = stack.pop()
        elif stem == "fact":
            self._push(self._facts.get(FACTS[insn.a], 0))
        elif stem in ("neg", "not"):
            self._push(-stack.pop() if stem == "neg" else ~stack.pop())
        elif stem == "lnot":
            self._push(int(stack.pop() == 0))
        elif stem in ("part", "put"):
            self._part(insn, put=stem == "put")
        elif stem == "ext":
            kind = Kind(kind_bits(insn.a), bool(insn.a & KIND_SIGNED))
            self._push(meaning.extended(stack.pop() & (1 << kind.bits) - 1, kind))
        elif stem == "hash":
            self._hash(insn)
        elif stem == "call":
            self._call(insn.k)
        else:
            assert stem == "nop", stem
