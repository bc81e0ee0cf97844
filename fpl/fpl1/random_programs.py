# SPDX-License-Identifier: BSD-3-Clause
"""Programs that are accepted, at random, for property tests; a seed gives the same program again."""

from __future__ import annotations

import random

from fpl.fpl1.isa import FACTS, KINDS, OPS, Form, Insn, kind_bits
from fpl.fpl1.object import Object

NUMBERS = (0, 1, 63, 64, 255, 256, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
DEEPEST = 12
_NO_PLAIN = {"ret", "retk", "jmp", "jz", "jnz", "case", "call"}
_STRAIGHT = [op for op in OPS.values() if op.name not in _NO_PLAIN]


class Programs:
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._code: list[Insn] = []
        self._depth = 0

    def program(self) -> Object:
        self._code, self._depth = [], 0
        self._block(3)
        self._to_depth(1)
        self._emit("ret")
        return Object(self._code, self._chance.choice((1, 40, 1000)), self._chance.choice((8, 64)))

    # ---- instructions ----

    def _emit(self, name: str, a: int = 0, b: int = 0, k: int = 0) -> None:
        op = next(op for op in OPS.values() if op.name == name)
        self._code.append(Insn(op.code, a, b, k))
        self._depth += op.gives - op.takes

    def _number(self) -> int:
        return self._chance.choice(NUMBERS) if self._chance.random() < 0.4 else self._chance.randrange(90)

    def _push(self) -> None:
        kind = self._chance.randrange(4)
        if kind == 0:
            self._emit("fact", self._chance.randrange(len(FACTS)))
        elif kind == 1:
            self._emit("get", self._chance.randrange(4))
        elif kind == 2:
            self._emit("pushs", k=self._chance.choice((0xFFFFFFFF, 0x80000000, 5)))
        else:
            self._emit("push", k=self._number())
        if self._chance.random() < 0.1:
            self._emit("high", k=self._number())

    def _to_depth(self, depth: int) -> None:
        while self._depth > depth:
            self._emit(self._chance.choice(("drop", "add", "xor")) if self._depth >= 2 else "drop")
        while self._depth < depth:
            self._push()

    def _straight(self) -> None:
        op = self._chance.choice(_STRAIGHT)
        while self._depth < op.takes:
            self._push()
        if self._depth - op.takes + op.gives > DEEPEST:
            self._emit("drop")
            return
        a, b, k = 0, 0, 0
        if op.form is Form.LOCAL:
            a = self._chance.randrange(4)
        elif op.form is Form.FACT:
            a = self._chance.randrange(len(FACTS))
        elif op.form in (Form.PART, Form.KIND):
            a = self._chance.choice(list(KINDS.values()))
            b = self._chance.choice([bits for bits in (8, 16, 32, 64) if bits >= kind_bits(a)])
            b = b if op.form is Form.PART else 0
        elif op.form is Form.HASH:
            b, k = self._chance.randint(1, 64), self._number()
        elif op.form in (Form.NUMBER, Form.PACKET, Form.MEMORY):
            k = self._number()
        if op.form is Form.PACKET and op.takes and self._chance.random() < 0.8:
            self._emit("push", k=63)  # most offsets, else, are beyond every packet
            self._emit("and")
            k = 0
        self._emit(op.name, a, b, k)

    # ---- what leaves the depth as it was ----

    def _if(self, deep: int) -> None:
        at_depth = self._depth
        self._push()
        jump = len(self._code)
        self._emit(self._chance.choice(("jz", "jnz")))
        self._block(deep - 1)
        self._to_depth(at_depth)
        self._aim(jump, len(self._code))

    def _case(self, deep: int) -> None:
        self._push()
        at_depth, jump = self._depth, len(self._code)
        self._emit("case", b=self._chance.choice((0, 1, 5, 64, 255)))
        self._block(deep - 1)
        self._to_depth(at_depth)
        self._aim(jump, len(self._code))

    def _loop(self, deep: int) -> None:
        """A local is counted down; or, now and then, steps have to end it."""
        at_depth, local = self._depth, 3 + deep
        self._emit("push", k=self._chance.randrange(5))
        self._emit("set", local)
        head = len(self._code)
        self._block(deep - 1)
        self._to_depth(at_depth)
        if self._chance.random() < 0.9:
            self._emit("get", local)
            self._emit("push", k=1)
            self._emit("sub")
            self._emit("dup")
            self._emit("set", local)
            self._emit("pushs", k=0xFFFFFFFF)
            self._emit("gt.s")
        else:
            self._push()
        jump = len(self._code)
        self._emit("jnz")
        self._aim(jump, head)

    def _aim(self, jump: int, to: int) -> None:
        insn = self._code[jump]
        self._code[jump] = Insn(insn.op, insn.a, insn.b, to)

    def _block(self, deep: int) -> None:
        for _ in range(self._chance.randint(1, 6)):
            kind = self._chance.randrange(10) if deep else 9
            if kind == 0:
                self._if(deep)
            elif kind == 1:
                self._case(deep)
            elif kind == 2:
                self._loop(deep)
            else:
                self._straight()
