# SPDX-License-Identifier: BSD-3-Clause
"""The back end for the emulated IXP1200: microengine C (paper, section 4.2.1), for the slot of the framework's loop.

takes    a checked program
gives    emit():       text of microengine C with one function
             uint32_t ffpf_filter(uint32_t record, uint32_t octets_captured)
         microcode():  the object that an engine is loaded with: the slot compiled with a main() around it

record: SDRAM address of a struct ffpf_record of csrc/layout.h, behind which the packet lies. Contexts of an engine
share MBuf and take turns where they wait, so an assignment operator on memory is one reference where there is one
(+= -= |= of double words), and else holds the engine from reading to writing. What a microengine cannot do is refused
with the reason: the program belongs on the host then.
"""

from __future__ import annotations

from fpl.fpl2 import meaning, tree
from fpl.fpl2.check import loop_of
from fpl.fpl2.compile import Checked
from fpl.fpl2.meaning import ALL, RESULT_MAX
from fpl.fpl2.microengine_lines import NotForBoardError as NotForBoardError
from fpl.fpl2.microengine_lines import Value
from fpl.fpl2.microengine_values import Values, extended
from fpl.fpl2.ranges import WORD, Ranges, without_unread
from ixp_driver import framework
from ixp_driver.microc import CompileError, Object, compile_text

MBUF_MAX = 1 << 18  # octets of SRAM that a filter has for it: BOARD_MBUF_BYTES of ixp_driver/board/memory.h
HEADER = "fpl2.h"


class Emitter(Values):
    def __init__(self, checked: Checked) -> None:
        self._program = without_unread(checked.program)
        super().__init__(Ranges(self._program), checked.mbuf_bytes)

    def text(self) -> str:
        self._declare()
        self.block(self._program)
        self.say("return 0;")
        head = ["static uint32_t", "ffpf_filter(uint32_t record, uint32_t octets_captured)", "{"]
        return "\n".join([f'#include "{HEADER}"', "", *head, *self.lines, "}", ""])

    def _declare(self) -> None:
        ranges = self.ranges
        for index, most in sorted(ranges.registers.items()):
            if index >= tree.REGISTERS or not ranges.indexed:
                self.say(f"uint{64 if most > WORD else 32}_t {self.register_name(index)} = 0;")
        self.say("")
        self.say("packet = record + RECORD_DATA;")
        self.say("captured = octets_captured;")
        if ranges.indexed:
            self.say("uint32_t file = registers();")
            with self.braces(f"for (uint32_t at = 0; at < {8 * tree.REGISTERS}u; at += 8) {{"):
                self.say("sram_write(file + at, 0, 0);")

    # ---- statements ----

    def block(self, statements: tree.Program) -> None:
        for statement in statements:
            if isinstance(statement, tree.Assign):
                self._assign(statement)
            elif isinstance(statement, tree.If):
                self._if(statement)
            elif isinstance(statement, tree.For):
                self._for(statement)
            elif isinstance(statement, tree.Return):
                self._return(self.value(statement.value))
            elif isinstance(statement, tree.Call):
                self.value(statement.extern)
            elif isinstance(statement, tree.Break):
                self.say("break;")

    def _return(self, value: Value) -> None:
        if value.wide:
            value = self.simple(value)
            self.say(f"return {value.text} > 0x{RESULT_MAX:x}ull ? 0x{RESULT_MAX:x}u : (uint32_t){value.text};")
        else:
            self.say(f"return {value.text};")

    def _if(self, statement: tree.If) -> None:
        with self.braces(f"if ({self.test(statement.test)}) {{", "" if statement.otherwise else "}"):
            self.block(statement.then)
        if statement.otherwise:
            with self.braces("} else {"):
                self.block(statement.otherwise)
        self._forget([*statement.then, *statement.otherwise])

    def _forget(self, statements: tree.Program) -> None:
        """What these change is known no more."""
        for node in tree.within(statements):
            if isinstance(node, tree.Assign) and isinstance(node.target, tree.Register):
                self._forget_register(node.target)

    def _forget_register(self, place: tree.Register) -> None:
        known = [place.index.value] if isinstance(place.index, tree.Number) else range(tree.REGISTERS)
        for index in known:
            self.facts.forget(index)

    def _for(self, statement: tree.For) -> None:
        loop = loop_of(statement)
        assert statement.most is not None
        if statement.first:
            self._assign(statement.first)
        bound = self.simple(self.value(loop.bound))
        if bound.text[0] == "r":  # a register, which may change while the bound does not
            bound = self.let(bound.text, bound.most)
        place = tree.Register(statement.at, tree.Number(statement.at, loop.register))
        self._forget([*statement.body, tree.Assign(0, place, "=", place)])
        counted = loop.count() == statement.most
        test = tree.Binary(0, loop.op, place, tree.Number(0, 0))
        rounds = "" if counted else self.fresh("round")
        if rounds:
            self.say(f"uint32_t {rounds} = 0;")
        with self.braces("for (;;) {"):
            at = self.value(place)
            relation = self.operate(test.op, at, bound, False, 1).text
            more = f"!{relation}" if counted else f"{rounds} == {statement.most}u || !{relation}"
            self.say(f"if ({more})")
            self.say("\tbreak;")
            self.block(statement.body)
            if rounds:
                self.say(f"{rounds}++;")
            self._step(place, loop.step)

    def _step(self, place: tree.Register, step: int) -> None:
        down = step >> 63
        size = (1 << 64) - step if down else step
        at = self.value(place)
        kind = f"{size}ull" if at.wide else f"{size}u"
        self._put_register(place, Value(f"({at.text} {'-' if down else '+'} {kind})", at.most))

    def _assign(self, statement: tree.Assign) -> None:
        target, op = statement.target, statement.op[:-1]
        assert isinstance(target, (tree.Register, tree.Memory))
        if isinstance(target, tree.Memory) and op and not target.sub:
            self._change(target, op, statement)
            return
        if op:
            signed = meaning.is_signed(target) if op in ("<<", ">>") else meaning.meets_signed(target, statement.value)
            most = self.ranges.largest(tree.Binary(0, op, target, statement.value))
            right = self.value(statement.value)
            value = self.operate(op, self.value(target), right, signed, most)
        elif isinstance(target, tree.Memory) and not target.sub and target.kind.bits <= 32:
            word = self.word(statement.value)
            self.store(target.kind.bits, self.address(target), None, word)
            return
        else:
            value = self.value(statement.value)
        if target.sub:
            value = self._with_part(target, value)
        if isinstance(target, tree.Register):
            self._put_register(target, value)
        else:
            self.store(target.kind.bits, self.address(target), value, value.word)

    def _with_part(self, target: tree.Register | tree.Memory, value: Value) -> Value:
        assert target.sub
        bits = 64 if isinstance(target, tree.Register) else target.kind.bits
        value, whole = self.simple(value), self.simple(self.whole(target))
        shift, mask = self.part_shift(bits, target.sub), (1 << target.sub.kind.bits) - 1
        wide = bits == 64
        ones = f"0x{mask:x}{'ull' if wide else 'u'}"
        part, here = (value.double, whole.double) if wide else (value.word, whole.word)
        text = f"(({here} & ~({ones} << {shift.text})) | ({part} & {ones}) << {shift.text})"
        return Value(text, ALL if wide else WORD)

    def _put_register(self, place: tree.Register, value: Value) -> None:
        self._forget_register(place)
        known = place.index.value if isinstance(place.index, tree.Number) else None
        if known is not None and (known >= tree.REGISTERS or not self.ranges.indexed):
            narrow = self.ranges.registers[known] <= WORD
            self.say(f"{self.register_name(known)} = {value.word if narrow else value.text};")
        else:
            kept = self.simple(Value(value.double, ALL)).text
            self.say(f"sram_write({self.register_address(place)}, {kept}, {kept} >> 32);")

    def _change(self, target: tree.Memory, op: str, statement: tree.Assign) -> None:
        """Of memory, so that no other context comes between."""
        bits = target.kind.bits
        signed = meaning.is_signed(target) if op in ("<<", ">>") else meaning.meets_signed(target, statement.value)
        if bits == 32 and op in ("+", "-", "|"):
            word, address = self.word(statement.value), self.address(target)
            call = "sram_set_bits" if op == "|" else "sram_add"
            self.say(f"{call}({address}, {f'0u - {word}' if op == '-' else word});")
            return
        right = self.simple(self.value(statement.value))
        if op in ("/", "%"):
            right = self.divisor(right)
        address = self.let(self.address(target), WORD).text
        before = extended(self.memory(bits, address, hold=True), target.kind)
        most = ALL if signed else min(ALL, self.ranges.largest(tree.Binary(0, op, target, statement.value)))
        value = self._operated(op, before, right, signed, most)
        self.store(bits, address, value, value.word)

    def _operated(self, op: str, left: Value, right: Value, signed: bool, most: int) -> Value:
        """The divisor was looked at before the engine was held."""
        if op not in ("/", "%"):
            return self.operate(op, left, right, signed, most)
        if signed:
            return Value(f"(uint64_t)((int64_t){left.double} {op} (int64_t){right.double})", ALL)
        if left.wide or right.wide:
            return Value(f"({left.double} {op} {right.double})", most)
        return Value(f"({left.text} {op} {right.text})", most)


def refusal(checked: Checked) -> str:
    """Why a microengine cannot run it, as far as is known without trying; "": nothing is."""
    if checked.mbuf_bytes > MBUF_MAX:
        return f"its MBuf has {checked.mbuf_bytes} octets: a filter there has {MBUF_MAX} of SRAM at most"
    if checked.cost.calls:
        return f"a microengine calls no external functions, such as {checked.cost.externals[0]}"
    if checked.merges:
        return "a microengine has one MBuf, none for each processor"
    return ""


def emit(checked: Checked) -> str:
    """Raises NotForBoardError."""
    reason = refusal(checked)
    if reason:
        raise NotForBoardError(reason)
    return Emitter(checked).text()


def around(slot: str, main: str) -> Object:
    """The slot's text with a main() that calls it. Raises NotForBoardError."""
    try:
        return compile_text(f"{slot}\n{main}", "slot.c", lambda name: (framework.FOLDER / name).read_text())
    except CompileError as error:
        raise NotForBoardError(str(error)) from None


def microcode(checked: Checked, main: str = "") -> Object:
    """main: text of microengine C that calls the slot, the framework's loop where there is no other. Raises
    NotForBoardError."""
    return around(emit(checked), main or (framework.FOLDER / "filter.c").read_text())
