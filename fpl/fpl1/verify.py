# SPDX-License-Identifier: BSD-3-Clause
"""Whether an object is a program, by the rules of csrc/fpl1/verify.c: said again here so that an assembler can tell on
which line. A test holds the two against each other.

takes    Object
gives    depths of the stack before each instruction, None where no way leads; or VerifyError
"""

from __future__ import annotations

from fpl.fpl1.isa import FACTS, HASH_MAX, LOCALS, OPS, STACK_MAX, Form, Insn, Op, is_kind, kind_bits
from fpl.fpl1.object import AREAS_MAX, DATA_MAX, DATA_MIN, EXTERNALS_MAX, INSNS_MAX, NAME_BYTES, STEPS_MAX, Object

WHOLES = (8, 16, 32, 64)
_USED = {
    Form.PLAIN: "", Form.NUMBER: "k", Form.JUMP: "k", Form.CASE: "bk", Form.LOCAL: "a", Form.FACT: "a",
    Form.PACKET: "k", Form.MEMORY: "k", Form.PART: "ab", Form.KIND: "a", Form.HASH: "bk", Form.CALL: "k",
}  # fmt: skip


class VerifyError(Exception):
    """at: the instruction's number, or -1."""

    def __init__(self, message: str, at: int = -1) -> None:
        super().__init__(message if at < 0 else f"instruction {at}: {message}")
        self.message, self.at = message, at


def verify(program: Object) -> list[int | None]:
    _shape(program)
    for at, insn in enumerate(program.code):
        op = OPS.get(insn.op)
        if op is None:
            raise VerifyError("there is no such operation", at)
        if wrong := _operands_wrong(program, insn, op.form):
            raise VerifyError(wrong, at)
    return _Ways(program).follow_all()


def _shape(program: Object) -> None:
    if not 1 <= program.steps <= STEPS_MAX:
        raise VerifyError(f"its steps are not 1 to {STEPS_MAX}")
    size = program.data_bytes
    if size and (not DATA_MIN <= size <= DATA_MAX or size & (size - 1)):
        raise VerifyError(f"its memory is no power of two from {DATA_MIN} to {DATA_MAX}")
    if not 1 <= len(program.code) <= INSNS_MAX:
        raise VerifyError(f"it has not 1 to {INSNS_MAX} instructions")
    if len(program.areas) > AREAS_MAX or len(program.externals) > EXTERNALS_MAX:
        raise VerifyError(f"it has more than {AREAS_MAX} areas, or {EXTERNALS_MAX} external functions")
    behind = 0
    for area in program.areas:
        if not area.slots or area.first < behind or max(area.end, area.target) >= len(program.code):
            raise VerifyError("an area lies where none can")
        if any(insn != Insn(0x04, k=area.end) for insn in program.code[area.first : area.end]):
            raise VerifyError("an area is not empty")
        behind = area.end
    for name in program.externals:
        if not 0 < len(name) < NAME_BYTES or not all(" " <= letter <= "~" for letter in name):
            raise VerifyError("the name of an external function is none")


def _operands_wrong(program: Object, insn: Insn, form: Form) -> str:
    if form in (Form.JUMP, Form.CASE) and insn.k >= len(program.code):
        return "it jumps out of the program"
    if form is Form.MEMORY and not program.data_bytes:
        return "there is no memory"
    if form is Form.LOCAL and insn.a >= LOCALS:
        return "there is no such local"
    if form is Form.FACT and insn.a >= len(FACTS):
        return "there is no such fact"
    if form is Form.KIND and not is_kind(insn.a):
        return "there is no such kind"
    if form is Form.PART and (not is_kind(insn.a) or insn.b not in WHOLES or insn.b < kind_bits(insn.a)):
        return "there is no such part"
    if form is Form.HASH and not 1 <= insn.b <= HASH_MAX:
        return f"a hash is of 1 to {HASH_MAX} octets"
    if form is Form.CALL and insn.k >= len(program.externals):
        return "there is no such external function"
    unused = [value for name, value in (("a", insn.a), ("b", insn.b), ("k", insn.k)) if name not in _USED[form]]
    return "an operand that it has not is not 0" if any(unused) else ""


class _Ways:
    def __init__(self, program: Object) -> None:
        self._program = program
        self._depths: list[int | None] = [None] * len(program.code)
        self._waiting: list[int] = []

    def follow_all(self) -> list[int | None]:
        self._reach(0, 0, 0)
        while self._waiting:
            self._follow(self._waiting.pop())
        return self._depths

    def _reach(self, at: int, to: int, depth: int) -> None:
        if to >= len(self._depths):
            raise VerifyError("the program ends behind it without a result", at)
        known = self._depths[to]
        if known is None:
            self._depths[to] = depth
            self._waiting.append(to)
        elif known != depth:
            raise VerifyError(f"it is reached with {known} values on the stack, and with {depth}", to)

    def _follow(self, at: int) -> None:
        insn = self._program.code[at]
        op: Op = OPS[insn.op]
        depth = self._depths[at]
        assert depth is not None
        if depth < op.takes:
            raise VerifyError(f"{op.name} takes {op.takes} values, and the stack has {depth}", at)
        after = depth - op.takes + op.gives
        if after > STACK_MAX:
            raise VerifyError(f"more than {STACK_MAX} values are on the stack", at)
        for area in self._program.areas:
            if area.first == at:
                if not depth:
                    raise VerifyError("an area is reached with nothing on the stack to compare", at)
                self._reach(at, area.target, depth)
        if op.name in ("ret", "retk"):
            return
        if op.form in (Form.JUMP, Form.CASE):
            self._reach(at, insn.k, after)
        if op.name != "jmp":
            self._reach(at, at + 1, after)
