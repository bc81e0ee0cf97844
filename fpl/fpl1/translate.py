# SPDX-License-Identifier: BSD-3-Clause
"""From FPL-2: for who would rather not write for a stack, and to hold the two languages against each other.

takes    fpl2.compile.Checked
gives    Object that does the same, for the same link header; or TranslateError

R[n] is local n. Behind R[15] come what the prologue found and the program needs, then loops and sets, while they last.
An expression leaves one value on the stack, a statement none. What FPL-2 checks softly is checked here in the code;
all else FPL-1 checks by itself, and with the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fpl.fpl1.isa import BY_NAME, FACTS, KIND_SIGNED, LOCALS, Insn
from fpl.fpl1.object import STEPS_MAX, Object, TranslateError
from fpl.fpl1.verify import VerifyError, verify
from fpl.fpl2 import meaning, tree
from fpl.fpl2.check import SCAN_MAX, loop_of
from fpl.fpl2.compile import Checked
from fpl.fpl2.externals import key_of

BINARY = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor", "==": "eq", "!=": "ne", "<<": "shl"}
SIGNED = {"/": "div", "%": "mod", ">>": "shr", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
ATOMIC = {"+": "add", "-": "add", "&": "and", "|": "or", "^": "xor"}
SCRATCH = tree.REGISTERS  # a local that nothing needs for longer than a few instructions
U32 = (1 << 32) - 1


class _Label:
    """A place in the code that is not known yet."""

    def __init__(self) -> None:
        self.at = -1


def _kind(kind: tree.Kind) -> int:
    return kind.bits.bit_length() - 1 | (KIND_SIGNED if kind.signed else 0)


class _Translator:
    def __init__(self, data_bytes: int) -> None:
        self._code: list[Insn] = []
        self._jumps: dict[int, _Label] = {}
        self._leave: list[_Label] = []  # behind the loops that we are in
        self._taken = SCRATCH + 1  # locals
        self._found: dict[int, int] = {}  # locals of the registers that programs cannot name
        self._externals: dict[str, int] = {}
        self._data_bytes = data_bytes

    def run(self, program: tree.Program) -> Object:
        self._find_registers(program)
        self._block(program)
        self._emit("retk")
        for at, label in self._jumps.items():
            insn = self._code[at]
            self._code[at] = Insn(insn.op, insn.a, insn.b, label.at)
        made = Object(self._code, STEPS_MAX, self._data_bytes, externals=list(self._externals))
        try:
            verify(made)
        except VerifyError as error:
            raise TranslateError(f"FPL-1 is too small for this program: {error}") from None
        return made

    # ---- instructions ----

    def _emit(self, name: str, a: int = 0, b: int = 0, k: int = 0) -> None:
        self._code.append(Insn(BY_NAME[name].code, a, b, k))

    def _all(self, *names: str) -> None:
        for name in names:
            self._emit(name)

    def _jump(self, name: str, label: _Label) -> None:
        self._jumps[len(self._code)] = label
        self._emit(name)

    def _place_label(self, label: _Label) -> None:
        label.at = len(self._code)

    def _number(self, value: int) -> None:
        self._emit("push", k=value & U32)
        if value & meaning.ALL > U32:
            self._emit("high", k=(value & meaning.ALL) >> 32)

    def _local_of(self, register: int) -> int:
        if register < tree.REGISTERS:
            return register
        return self._found[register]

    def _find_registers(self, program: tree.Program) -> None:
        for node in tree.within(program):
            if isinstance(node, tree.Register) and isinstance(node.index, tree.Number):
                number = node.index.value
                if number >= tree.REGISTERS and number not in self._found:
                    self._found[number] = self._taken
                    self._taken += 1
        if self._taken > LOCALS:
            raise TranslateError(f"FPL-1 is too small for this program: it has {LOCALS} locals")

    @contextmanager
    def _local(self) -> Iterator[int]:
        if self._taken == LOCALS:
            raise TranslateError(f"FPL-1 is too small for this program: it has {LOCALS} locals")
        self._taken += 1
        yield self._taken - 1
        self._taken -= 1

    # ---- statements ----

    def _block(self, statements: tree.Program) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: tree.Statement) -> None:
        if isinstance(statement, tree.Assign):
            self._assign(statement)
        elif isinstance(statement, tree.If):
            self._either(statement.test, lambda: self._block(statement.then), lambda: self._block(statement.otherwise))
        elif isinstance(statement, tree.For):
            self._for(statement)
        elif isinstance(statement, tree.Return):
            self._value(statement.value)
            self._emit("ret")
        elif isinstance(statement, tree.Call):
            self._value(statement.extern)
            self._emit("drop")
        elif isinstance(statement, tree.Break):
            self._jump("jmp", self._leave[-1])

    def _either(self, test: tree.Expr, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        no, end = _Label(), _Label()
        self._value(test)
        self._jump("jz", no)
        then()
        self._jump("jmp", end)
        self._place_label(no)
        otherwise()
        self._place_label(end)

    def _for(self, statement: tree.For) -> None:
        loop = loop_of(statement)
        assert statement.most is not None
        if statement.first:
            self._assign(statement.first)
        head, end = _Label(), _Label()
        with self._local() as bound, self._local() as left:
            self._value(loop.bound)
            self._emit("set", bound)
            self._number(statement.most)
            self._emit("set", left)
            self._place_label(head)
            self._emit("get", left)
            self._jump("jz", end)
            self._emit("get", self._local_of(loop.register))
            self._emit("get", bound)
            self._operate(loop.op, False)
            self._jump("jz", end)
            self._step(left, meaning.ALL)
            self._leave.append(end)
            self._block(statement.body)
            self._leave.pop()
            self._step(self._local_of(loop.register), loop.step)
            self._jump("jmp", head)
            self._place_label(end)

    def _step(self, local: int, by: int) -> None:
        self._emit("get", local)
        self._number(by)
        self._emit("add")
        self._emit("set", local)

    def _assign(self, statement: tree.Assign) -> None:
        target, op = statement.target, statement.op[:-1]
        assert isinstance(target, (tree.Register, tree.Memory))
        self._value(statement.value)
        if op in ATOMIC and isinstance(target, tree.Memory) and not target.sub and target.kind.bits >= 32:
            if op == "-":
                self._emit("neg")
            self._offset(target)
            self._emit(f"{ATOMIC[op]}mx.u{target.kind.bits}")
            return
        if op:
            signed = meaning.is_signed(target) if op in ("<<", ">>") else meaning.meets_signed(target, statement.value)
            self._value(target)
            self._emit("swap")
            self._operate(op, signed)
        if target.sub:
            self._whole(target)
            self._emit("swap")
            self._value(target.sub.index)
            self._emit("put", _kind(target.sub.kind), 64 if isinstance(target, tree.Register) else target.kind.bits)
        if isinstance(target, tree.Memory):
            self._offset(target)
            self._emit(f"stmx.u{target.kind.bits}")
        elif isinstance(target.index, tree.Number):
            self._emit("set", self._local_of(target.index.value))
        else:
            self._register(target)
            self._emit("setx")

    # ---- places ----

    def _register(self, place: tree.Register) -> None:
        self._value(place.index)
        self._number(tree.REGISTERS - 1)
        self._emit("and")

    def _offset(self, place: tree.Memory | tree.Packet) -> None:
        self._value(place.index)
        if place.scale != 1:
            self._number(place.scale)
            self._emit("mul")

    def _whole(self, place: tree.Register | tree.Memory | tree.Packet) -> None:
        """Without its sub-field, zero-extended."""
        if isinstance(place, tree.Register):
            if isinstance(place.index, tree.Number):
                self._emit("get", self._local_of(place.index.value))
            else:
                self._register(place)
                self._emit("getx")
            return
        if isinstance(place, tree.Other):
            self._value(place.call())
            return
        self._offset(place)
        if isinstance(place, tree.Memory):
            self._emit(f"memx.u{place.kind.bits}")
        elif place.soft:
            self._soft(place.kind.bits)
        else:
            self._emit(f"pktx.u{place.kind.bits}")

    def _soft(self, bits: int) -> None:
        """What lies beyond the captured octets is 0."""
        beyond, end = _Label(), _Label()
        self._emit("set", SCRATCH)
        self._emit("fact", FACTS.index("CAPLEN"))
        self._number(bits // 8)
        self._emit("ge.u")
        self._jump("jz", beyond)
        self._emit("get", SCRATCH)
        self._emit("fact", FACTS.index("CAPLEN"))
        self._number(bits // 8)
        self._all("sub", "le.u")
        self._jump("jz", beyond)
        self._emit("get", SCRATCH)
        self._emit(f"pktx.u{bits}")
        self._jump("jmp", end)
        self._place_label(beyond)
        self._number(0)
        self._place_label(end)

    # ---- values ----

    def _operate(self, op: str, signed: bool) -> None:
        self._emit(BINARY[op] if op in BINARY else f"{SIGNED[op]}.{'s' if signed else 'u'}")

    def _value(self, expr: tree.Expr) -> None:
        if isinstance(expr, tree.Number):
            self._number(expr.value)
        elif isinstance(expr, tree.Fact):
            self._emit("fact", FACTS.index(expr.name))
        elif isinstance(expr, (tree.Register, tree.Memory, tree.Packet)):
            self._read(expr)
        elif isinstance(expr, tree.Unary):
            self._value(expr.operand)
            self._emit({"!": "lnot", "-": "neg", "~": "not"}[expr.op])
        elif isinstance(expr, tree.Binary):
            self._binary(expr)
        elif isinstance(expr, tree.When):
            self._either(expr.test, lambda: self._value(expr.value), lambda: self._number(0))
        elif isinstance(expr, tree.Member):
            self._member(expr)
        elif isinstance(expr, tree.Hash):
            assert isinstance(expr.length, tree.Number)
            assert isinstance(expr.size, tree.Number)
            self._value(expr.start)
            self._emit("hash", 0, expr.length.value, expr.size.value & U32)
        elif isinstance(expr, tree.Contains):
            self._contains(expr)
        else:
            assert isinstance(expr, tree.Extern), expr
            self._value(expr.read_at)
            self._value(expr.write_at)
            self._emit("call", k=self._externals.setdefault(key_of(expr.name), len(self._externals)))

    def _read(self, place: tree.Register | tree.Memory | tree.Packet) -> None:
        self._whole(place)
        if place.sub:
            self._value(place.sub.index)
            self._emit("part", _kind(place.sub.kind), 64 if isinstance(place, tree.Register) else place.kind.bits)
        elif not isinstance(place, tree.Register) and place.kind.signed:
            self._emit("ext", _kind(place.kind))

    def _truth(self, expr: tree.Expr) -> None:
        self._value(expr)
        self._all("lnot", "lnot")

    def _binary(self, expr: tree.Binary) -> None:
        if expr.op in ("&&", "||"):
            if expr.op == "&&":
                self._either(expr.left, lambda: self._truth(expr.right), lambda: self._number(0))
            else:
                self._either(expr.left, lambda: self._number(1), lambda: self._truth(expr.right))
            return
        self._value(expr.left)
        self._value(expr.right)
        shift = expr.op in ("<<", ">>")
        self._operate(expr.op, meaning.is_signed(expr.left) if shift else meaning.meets_signed(expr.left, expr.right))

    def _member(self, expr: tree.Member) -> None:
        with self._local() as value:
            self._value(expr.value)
            self._emit("set", value)
            self._number(int(expr.negated))
            for element in expr.elements:
                signed = any(meaning.is_signed(each) for each in (expr.value, element.low, element.high))
                for op, end in ((">=", element.low), ("<=", element.high)):
                    self._emit("get", value)
                    self._value(end)
                    self._operate(op, signed)
                self._all("and")
                self._all(*(("lnot", "and") if expr.negated else ("or",)))

    def _contains(self, expr: tree.Contains) -> None:
        head, other, no, end = (_Label() for _ in range(4))
        with self._local() as at, self._local() as stop:
            self._value(expr.value)
            self._emit("set", at)
            self._emit("get", at)
            self._emit("fact", FACTS.index("CAPLEN"))
            self._emit("gt.u")
            self._jump("jnz", no)
            self._stop(at, stop)
            self._place_label(head)
            self._emit("get", at)
            self._number(len(expr.octets))
            self._emit("add")
            self._emit("get", stop)
            self._emit("gt.u")
            self._jump("jnz", no)
            for i, octet in enumerate(expr.octets):
                self._emit("get", at)
                self._emit("pktx.u8", k=i)
                if expr.any_case and chr(octet).isalpha() and octet < 128:
                    self._number(0x20)
                    self._emit("or")
                self._number(octet)
                self._emit("ne")
                self._jump("jnz", other)
            self._number(1)
            self._jump("jmp", end)
            self._place_label(other)
            self._step(at, 1)
            self._jump("jmp", head)
            self._place_label(no)
            self._number(0)
            self._place_label(end)

    def _stop(self, at: int, stop: int) -> None:
        """The end of what is looked at: captured, and within SCAN_MAX octets."""
        short = _Label()
        self._emit("fact", FACTS.index("CAPLEN"))
        self._emit("set", stop)
        self._emit("get", at)
        self._number(SCAN_MAX)
        self._emit("add")
        self._emit("get", stop)
        self._emit("ge.u")
        self._jump("jnz", short)
        self._emit("get", at)
        self._number(SCAN_MAX)
        self._emit("add")
        self._emit("set", stop)
        self._place_label(short)


def translate(checked: Checked) -> Object:
    return _Translator(checked.mbuf_bytes).run(checked.program)
