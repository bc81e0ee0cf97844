# SPDX-License-Identifier: BSD-3-Clause
"""What C has no word for: references to memories, signals, registers of control and status. README.md lists them.

{sram,sdram,scratch}_{read,write,read_n,add,set_bits,push,pop}, fifo_, hash_; _net behind read and write: the first
octet is the highest; _hold behind what brings something: the context waits without giving up the engine, so that no
other one comes between this and what follows.
"""

from __future__ import annotations

import re

from pycparser import c_ast

from ixp_driver.microc.builder import U32, U64, WORD, Value, constant
from ixp_driver.microc.expressions import Expressions
from ixp_driver.microc.ir import Arb, CompileError, Csr, Leave, Operand, Ref, Wait, X
from ixp_driver.microc.names import Variable
from ixp_driver.microengine import isa

KEPT_XFERS = 2  # of the SRAM transfer registers, for what the allocator keeps in memory
BURST = {"SDRAM": isa.TRANSFERS}  # words at once
_NAME = re.compile(
    r"(sram|sdram|scratch|fifo|hash)_(read_n|read|write|add|set_bits|push|pop|n)(_net)?(_hold)?", re.ASCII
)
# what -> (command, takes words away, brings words)
_COMMANDS = {
    "read": ("READ", False, True), "read_n": ("READ", False, True), "write": ("WRITE", True, False),
    "add": ("ADD", True, True), "set_bits": ("SET_BITS", True, True), "push": ("PUSH", True, False),
    "pop": ("POP", False, True), "n": ("READ", True, True),
}  # fmt: skip


class Intrinsics(Expressions):
    def intrinsic(self, name: str, args: list[c_ast.Node]) -> Value | bool | None:
        found = _NAME.fullmatch(name)
        if found and (found[1] == "hash") == (found[2] == "n"):
            return self._reference(found[1].upper(), found[2], bool(found[3]), bool(found[4]), args)
        other = getattr(self, f"_do_{name}", None)
        return other(*self._exactly(name, other, args)) if other else False

    @staticmethod
    def _exactly(name: str, method: object, args: list[c_ast.Node]) -> list[c_ast.Node]:
        wanted = method.__func__.__code__.co_argcount - 1  # type: ignore[attr-defined]
        if len(args) != wanted:
            raise CompileError(f"{name} takes {wanted} arguments")
        return args

    # ---- references ----

    def _reference(self, unit: str, what: str, net: bool, hold: bool, args: list[c_ast.Node]) -> Value | None:
        command, takes, brings = _COMMANDS[what]
        if net and what not in ("read", "read_n", "write"):
            raise CompileError(f"{what} knows no _net")
        if not args or (what in ("read", "pop")) != (len(args) == 1) or (what in ("add", "set_bits", "push") and
                                                                       len(args) != 2):  # fmt: skip
            raise CompileError(f"{unit.lower()}_{what} takes an address" + ("" if what in ("read", "pop") else
                               " and words"))  # fmt: skip
        into = [self._into(arg) for arg in args[1:]] if what in ("read_n", "n") else []
        words = max(1, len(args) - 1)
        most = BURST.get(unit, isa.TRANSFERS - KEPT_XFERS)
        if unit == "SDRAM" and words % 2:
            if takes:
                raise CompileError("SDRAM is written by pairs of words")
            words += 1
        if words > most:
            raise CompileError(f"{unit} is referred to by at most {most} words at once")
        base, offset = self._address(args[0])
        first = isa.SDRAM_XFER if unit == "SDRAM" else isa.SRAM_XFER
        if takes:
            sent = [self.converted(self.read(v) if what == "n" else self.value(arg), U32)
                    for v, arg in zip(into or args[1:], args[1:], strict=True)]  # fmt: skip
            for at, value in enumerate(sent):
                self.out.move(X(first + at), value.low)
        command += "_NET" if net else ""
        swap = brings and not hold
        self.out.block.body.append(Ref(unit, command, base, offset, X(first), words, takes, brings, swap))
        if brings and hold:
            self.out.block.body.append(Wait(unit))
        if not brings:
            return None
        for at, variable in enumerate(into):
            self.assigned(variable, Value(U32, X(first + at), 0, WORD))
        if into:
            return None
        result = self.out.fresh()
        self.out.move(result, X(first))
        return Value(U32, result, 0, WORD)

    def _into(self, arg: c_ast.Node) -> Variable:
        if not isinstance(arg, c_ast.UnaryOp) or arg.op != "&":
            raise CompileError("words are read into &variable")
        return self.variable(arg.expr)

    def _address(self, node: c_ast.Node) -> tuple[Operand, Operand]:
        """A sum of two, which a reference makes itself."""
        if isinstance(node, c_ast.BinaryOp) and node.op == "+":
            left, right = self.value(node.left), self.value(node.right)
            if not left.type.wide and not right.type.wide:
                return left.low, right.low
            return self.binary("+", left, right, node).low, 0
        return self.value(node).low, 0

    # ---- the rest ----

    def _number(self, arg: c_ast.Node, what: str) -> int:
        number = self.value(arg).number
        if number is None:
            raise CompileError(f"{what} is a number that is known here")
        return number

    def _do_ctx_arb(self, mask: c_ast.Node) -> None:
        self.out.block.body.append(Arb(self._number(mask, "what is waited for")))

    def _do_ctx_swap(self) -> None:
        self.out.block.body.append(Arb(0))

    def _do_ctx_kill(self) -> None:
        self.out.block.body.append(Leave("KILL", 0))

    def _do_halt(self, code: c_ast.Node) -> None:
        self.out.block.body.append(Leave("HALT", self._number(code, "why it halts")))

    def _do_csr_read(self, number: c_ast.Node) -> Value:
        result = self.out.fresh()
        self.out.block.body.append(Csr(False, self._number(number, "a register of control"), result))
        return Value(U32, result, 0, WORD)

    def _do_csr_write(self, number: c_ast.Node, value: c_ast.Node) -> None:
        csr = self._number(number, "a register of control")
        self.out.block.body.append(Csr(True, csr, self.converted(self.value(value), U32).low))

    def _active(self) -> Value:
        result = self.out.fresh()
        self.out.block.body.append(Csr(False, isa.CSRS["ACTIVE"], result))
        return Value(U32, result, 0, 63)

    def _do_ctx_number(self) -> Value:
        return Value(U32, self.out.alu("AND_SHL", self._active().low, 3), 0, 3)

    def _do_engine_number(self) -> Value:
        return Value(U32, self.out.alu("B_SHR", 0, self._active().low, 2), 0, 15)

    def _do_funnel(self, high: c_ast.Node, low: c_ast.Node, count: c_ast.Node) -> Value:
        """The low word of (high, low) >> (count & 31)."""
        values = [self.converted(self.value(arg), U32) for arg in (high, low, count)]
        n = values[2].number
        if n is not None:
            return Value(U32, self.out.alu("DSHR", values[0].low, values[1].low, n & 31), 0, WORD)
        return Value(U32, self.out.alu("DSHR_BY", values[0].low, values[1].low, values[2].low), 0, WORD)

    def _do_pair(self, high: c_ast.Node, low: c_ast.Node) -> Value:
        """64 bits of two words."""
        halves = [self.converted(self.value(arg), U32).low for arg in (high, low)]
        value = Value(U64, halves[1], halves[0])
        return constant(value.number, U64) if value.number is not None else value
