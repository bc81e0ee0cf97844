# SPDX-License-Identifier: BSD-3-Clause
"""Expressions of C: with C's types, promotions and conversions, as instructions.

What has no instruction is a function of runtime.c: products of two variables, division, shifts of 64 bits by a
variable.
"""

from __future__ import annotations

from collections.abc import Callable

from pycparser import c_ast

from ixp_driver.microc.builder import I32, I64, U32, U64, WORD, Builder, Type, Value, constant
from ixp_driver.microc.ir import CompileError, Import, Jump, Operand, V
from ixp_driver.microc.names import Imported, Scopes, Variable, type_of

RELATIONS = ("==", "!=", "<", "<=", ">", ">=")
INLINE_TERMS = 14  # a product with a number becomes so many shifts and sums at most: a call takes 300 cycles


def promoted(kind: Type) -> Type:
    return I32 if kind.bits < 32 else kind


def common(a: Type, b: Type) -> Type:
    """C's usual arithmetic conversions."""
    a, b = promoted(a), promoted(b)
    if a.bits != b.bits:
        return a if a.bits > b.bits else b
    return Type(a.bits, a.signed and b.signed)


class Expressions:
    out: Builder
    scopes: Scopes

    def call(self, name: str, values: list[Value]) -> Value | None:
        """Of a function; functions.py has it."""
        raise NotImplementedError

    def intrinsic(self, name: str, args: list[c_ast.Node]) -> Value | bool | None:
        """False: there is none of this name; intrinsics.py has them."""
        raise NotImplementedError

    # ---- conversions ----

    def converted(self, value: Value, kind: Type) -> Value:
        """As C converts: modulo 2^bits."""
        out, most = self.out, value.most
        if kind.bits < 32 and not (most is not None and most <= kind.most):
            number = value.number
            if number is not None:
                number &= (1 << kind.bits) - 1
                return constant(number - (number >> kind.bits - 1 << kind.bits) * kind.signed, kind)
            if kind.signed:
                low = out.alu("B_ASR", 0, out.alu("B_SHL", 0, value.low, 32 - kind.bits), 32 - kind.bits)
                return Value(kind, low)
            return Value(kind, out.masked(value.low, kind.most), 0, kind.most)
        kept = most if most is not None and most <= kind.most else None
        if kept is None and not kind.signed and not value.type.wide and not value.type.signed:
            kept = min(most if most is not None else WORD, kind.most)
        if not kind.wide:
            return Value(kind, value.low, 0, kept)
        if value.type.wide:
            return Value(kind, value.low, value.high, kept)
        if value.type.signed and most is None:
            return Value(kind, value.low, out.shifted("B_ASR", value.low, 32))
        return Value(kind, value.low, 0, most if most is not None else WORD)

    def assigned(self, variable: Variable, value: Value) -> None:
        value = self.converted(value, variable.type)
        if value.high == variable.low and value.type.wide:  # which is about to change
            value = self.copied(value)
        self.out.move(variable.low, value.low)
        if variable.high is not None:
            self.out.move(variable.high, value.high)

    def read(self, variable: Variable) -> Value:
        kind = variable.type
        most = None if kind.signed else kind.most
        return Value(kind, variable.low, variable.high if variable.high is not None else 0, most)

    def copied(self, value: Value) -> Value:
        """As it is now: what stands in a variable may change before it is used."""
        low, high = value.low, value.high
        if isinstance(low, V):
            self.out.move(copy := self.out.fresh(), low)
            low = copy
        if isinstance(high, V):
            self.out.move(copy := self.out.fresh(), high)
            high = copy
        return Value(value.type, low, high, value.most)

    # ---- values ----

    def value(self, node: c_ast.Node) -> Value:
        found = self.maybe(node)
        if found is None:
            raise self.wrong(node, "this has no value")
        return found

    def maybe(self, node: c_ast.Node) -> Value | None:
        """None: of a call of a function without a result."""
        if isinstance(node, c_ast.Constant):
            return self._constant(node)
        if isinstance(node, c_ast.ID):
            return self._name(node)
        if isinstance(node, c_ast.FuncCall):
            return self._call(node)
        if isinstance(node, c_ast.Cast):
            kind = type_of(node.to_type)
            if kind is None:
                self.maybe(node.expr)
                return None
            return self.converted(self.value(node.expr), kind)
        if isinstance(node, c_ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, c_ast.Assignment):
            return self._assignment(node)
        if isinstance(node, c_ast.TernaryOp):
            return self._ternary(node)
        if isinstance(node, c_ast.BinaryOp):
            if node.op in ("&&", "||", *RELATIONS):
                return self._flag(node)
            left = self.value(node.left)
            if _changes(node.right):
                left = self.copied(left)
            return self.binary(node.op, left, self.value(node.right), node)
        raise self.wrong(node, "microengine C has no such expression")

    def wrong(self, node: c_ast.Node, message: str) -> CompileError:
        at = node.coord
        return CompileError(f"{at.file}:{at.line}: {message}" if at else message)

    def _constant(self, node: c_ast.Constant) -> Value:
        text = node.value.lower()
        digits = text.rstrip("ul")
        suffix = text[len(digits) :]
        if not node.type.endswith("int") and not digits.isdigit():
            raise self.wrong(node, f"{node.value} is no number of microengine C")
        base = 8 if digits[0] == "0" and len(digits) > 1 and digits.isdigit() else 0
        number = int(digits, base)
        wide = number > WORD or suffix.count("l") > 0
        unsigned = "u" in suffix or number > (I64 if wide else I32).most
        return constant(number, {(0, 0): I32, (0, 1): U32, (1, 0): I64, (1, 1): U64}[wide, unsigned])

    def _name(self, node: c_ast.ID) -> Value:
        meaning = self.scopes.find(node.name)
        if isinstance(meaning, int):
            return constant(meaning, I32 if 0 <= meaning <= I32.most else U32)
        if isinstance(meaning, Imported):
            number = self.out.fresh()
            self.out.block.body.append(Import(number, meaning.name))
            return Value(U32, number, 0, WORD)
        return self.read(meaning)

    def variable(self, node: c_ast.Node) -> Variable:
        meaning = self.scopes.find(node.name) if isinstance(node, c_ast.ID) else None
        if not isinstance(meaning, Variable):
            raise self.wrong(node, "only a variable can be written")
        return meaning

    def _call(self, node: c_ast.FuncCall) -> Value | None:
        args = list(node.args.exprs) if node.args else []
        if not isinstance(node.name, c_ast.ID):
            raise self.wrong(node, "only a function that is named can be called")
        try:
            found = self.intrinsic(node.name.name, args)
            if not isinstance(found, bool):
                return found
            values = []
            for arg in args:
                values.append(self.copied(self.value(arg)))
            return self.call(node.name.name, values)
        except CompileError as error:
            raise error if ": " in str(error) else self.wrong(node, str(error)) from None

    def _unary(self, node: c_ast.UnaryOp) -> Value:
        out = self.out
        if node.op in ("++", "--", "p++", "p--"):
            variable = self.variable(node.expr)
            before = self.read(variable)
            kept = self.copied(before) if node.op[0] == "p" else before
            self.assigned(variable, self.binary(node.op[-1], before, constant(1, I32), node))
            return kept if node.op[0] == "p" else self.read(variable)
        if node.op == "!":
            return self._flag(node)
        value = self.value(node.expr)
        value = self.converted(value, promoted(value.type))
        if node.op == "+":
            return value
        if node.op == "-":
            return self.binary("-", constant(0, value.type), value, node)
        if node.op == "~":
            low = out.alu("NOT_SHL", 0, value.low)
            return Value(value.type, low, out.alu("NOT_SHL", 0, value.high) if value.type.wide else 0)
        raise self.wrong(node, f"microengine C has no {node.op}")

    def _assignment(self, node: c_ast.Assignment) -> Value:
        variable = self.variable(node.lvalue)
        if node.op == "=":
            self.assigned(variable, self.value(node.rvalue))
        else:
            before = self.read(variable)
            if _changes(node.rvalue):
                before = self.copied(before)
            self.assigned(variable, self.binary(node.op[:-1], before, self.value(node.rvalue), node))
        return self.read(variable)

    def _joined(self, kind: Type, pieces: list[tuple[str, Callable[[], Value]]], most: int | None) -> Value:
        """The value of whichever labelled piece is reached."""
        out, end = self.out, self.out.label("joined")
        low, high = out.fresh(), out.fresh() if kind.wide else None
        for label, piece in pieces:
            out.start(label)
            value = self.converted(piece(), kind)
            out.move(low, value.low)
            if high is not None:
                out.move(high, value.high)
            out.end(Jump(end))
        out.start(end)
        return Value(kind, low, high if high is not None else 0, most)

    def _flag(self, node: c_ast.Node) -> Value:
        yes, no = self.out.label("true"), self.out.label("false")
        self.condition(node, yes, no)
        return self._joined(I32, [(yes, lambda: constant(1, I32)), (no, lambda: constant(0, I32))], 1)

    def _ternary(self, node: c_ast.TernaryOp) -> Value:
        yes, no = self.out.label("then"), self.out.label("else")
        kind = common(self._type(node.iftrue), self._type(node.iffalse))
        self.condition(node.cond, yes, no)
        return self._joined(kind, [(yes, lambda: self.value(node.iftrue)), (no, lambda: self.value(node.iffalse))],
                            None if kind.signed else kind.most)  # fmt: skip

    def _type(self, node: c_ast.Node) -> Type:
        """Of an expression, without making it: it is made aside, and thrown away."""
        blocks, block, body = len(self.out.function.blocks), self.out.block, len(self.out.block.body)
        end = block.end
        kind = self.value(node).type
        del self.out.function.blocks[blocks:]
        del block.body[body:]
        block.end, self.out.block = end, block
        return kind

    # ---- two operands ----

    def binary(self, op: str, a: Value, b: Value, node: c_ast.Node) -> Value:
        if op in ("<<", ">>"):
            return self._shift(op, self.converted(a, promoted(a.type)), b)
        kind = common(a.type, b.type)
        a, b = self.converted(a, kind), self.converted(b, kind)
        if op in ("&", "|", "^"):
            return self._bitwise(op, kind, a, b)
        if op in ("+", "-"):
            return self._sum(op, kind, a, b)
        if op == "*":
            return self._product(kind, a, b)
        if op in ("/", "%"):
            return self._quotient(op, kind, a, b)
        raise self.wrong(node, f"microengine C has no {op}")

    def _bitwise(self, op: str, kind: Type, a: Value, b: Value) -> Value:
        out = self.out
        if op == "&":
            known = [value.most for value in (a, b) if value.most is not None]
            most = min(known) if known else None
            halves = [_masked(out, x, y) for x, y in ((a.low, b.low), (a.high, b.high))[: 1 + kind.wide]]
        else:
            most = None
            if a.most is not None and b.most is not None:
                most = (1 << max(a.most, b.most).bit_length()) - 1
            name = "OR_SHL" if op == "|" else "XOR_SHL"
            halves = [out.alu(name, x, y) for x, y in ((a.low, b.low), (a.high, b.high))[: 1 + kind.wide]]
        return Value(kind, halves[0], halves[1] if kind.wide else 0, most)

    def _sum(self, op: str, kind: Type, a: Value, b: Value) -> Value:
        most = None
        if op == "+" and a.most is not None and b.most is not None and a.most + b.most <= kind.most:
            most = a.most + b.most
        if not kind.wide:
            return Value(kind, self.out.alu("ADD" if op == "+" else "SUB", a.low, b.low), 0, most)
        if most is not None and most <= WORD:
            return Value(kind, self.out.alu("ADD", a.low, b.low), 0, most)
        low, high = self.out.pair(*(("ADD", "ADDC") if op == "+" else ("SUB", "SUBC")), a, b)
        return Value(kind, low, high, most)

    def _product(self, kind: Type, a: Value, b: Value) -> Value:
        if a.number is not None:
            a, b = b, a
        number, most = b.number, None
        if a.most is not None and b.most is not None and a.most * b.most <= kind.most:
            most = a.most * b.most
        if number is not None:
            if a.number is not None:
                return constant(a.number * number, kind)
            terms = _terms(number, 64 if kind.wide else 32)
            if not terms:
                return constant(0, kind)
            if len(terms) * (1 + 2 * kind.wide) <= INLINE_TERMS:
                return self._by_number(kind, a, terms, most)
        word = not kind.wide or (a.most is not None and b.most is not None and max(a.most, b.most) <= WORD and
                                 most is not None and most <= WORD)  # fmt: skip
        found = self._runtime("multiply32" if word else "multiply64", U32 if word else U64, a, b)
        return Value(kind, found.low, found.high, most)

    def _by_number(self, kind: Type, a: Value, terms: list[tuple[int, int]], most: int | None) -> Value:
        total: Value | None = None
        for shift, sign in terms:
            term = self._shift("<<", Value(Type(kind.bits, False), a.low, a.high), constant(shift, I32))
            if total is None:
                total = term if sign > 0 else self._sum("-", term.type, constant(0, term.type), term)
            else:
                total = self._sum("+" if sign > 0 else "-", term.type, total, term)
        assert total is not None
        return Value(kind, total.low, total.high, most)

    def _quotient(self, op: str, kind: Type, a: Value, b: Value) -> Value:
        number = b.number
        if a.most is not None and b.most is not None:  # no sign matters
            if number and not number & number - 1:
                if op == "%":
                    return self._bitwise("&", kind, a, constant(number - 1, kind))
                return self._shift(">>", a, constant(number.bit_length() - 1, I32))
            word = max(a.most, b.most) <= WORD
            name = ("divide" if op == "/" else "modulo") + ("32" if word else "64")
            found = self._runtime(name, U32 if word else U64, a, b)
            return Value(kind, found.low, found.high, a.most if op == "/" else min(a.most, b.most))
        name = ("divide" if op == "/" else "modulo") + ("64" if kind.wide else "32")
        if kind.signed:
            name = f"signed_{name}"
        found = self._runtime(name, kind, a, b)
        return Value(kind, found.low, found.high)

    def _runtime(self, name: str, kind: Type, *values: Value) -> Value:
        found = self.call(f"__{name}", [self.copied(self.converted(value, kind)) for value in values])
        assert found is not None
        return found

    def _shift(self, op: str, a: Value, count: Value) -> Value:
        out, kind, n = self.out, a.type, count.number
        signed = kind.signed and a.most is None
        if n is not None:
            n &= kind.bits - 1
            if not kind.wide:
                name = "B_SHL" if op == "<<" else "B_ASR" if signed else "B_SHR"
                low, high = out.shifted(name, a.low, n), 0
            else:
                low, high = out.left(a, n) if op == "<<" else out.right(a, n, signed)  # type: ignore[assignment]
            most = None
            if a.most is not None:
                most = a.most >> n if op == ">>" else a.most << n if a.most << n <= kind.most else None
            return Value(kind, low, high, most)
        if not kind.wide:
            name = "SHL_BY" if op == "<<" else "ASR_BY" if signed else "SHR_BY"
            return Value(kind, out.alu(name, count.low, a.low), 0, a.most if op == ">>" else None)
        name = "shift_left" if op == "<<" else "shift_right_signed" if signed else "shift_right"
        found = self.call(f"__{name}", [self.copied(Value(U64, a.low, a.high)), self.copied(Value(U32, count.low))])
        assert found is not None
        return Value(kind, found.low, found.high, a.most if op == ">>" else None)

    # ---- conditions ----

    def condition(self, node: c_ast.Node, yes: str, no: str) -> None:
        """Ends the block: on to `yes` where it is not 0."""
        out = self.out
        if isinstance(node, c_ast.UnaryOp) and node.op == "!":
            self.condition(node.expr, no, yes)
        elif isinstance(node, c_ast.BinaryOp) and node.op in ("&&", "||"):
            more = out.label("more")
            self.condition(node.left, *((more, no) if node.op == "&&" else (yes, more)))
            out.start(more)
            self.condition(node.right, yes, no)
        elif isinstance(node, c_ast.BinaryOp) and node.op in RELATIONS:
            left = self.value(node.left)
            if _changes(node.right):
                left = self.copied(left)
            right = self.value(node.right)
            kind = common(left.type, right.type)
            out.branch(node.op, self.converted(left, kind), self.converted(right, kind), yes, no)
        else:
            self._truth(node, yes, no)

    def _truth(self, node: c_ast.Node, yes: str, no: str) -> None:
        out = self.out
        if isinstance(node, c_ast.BinaryOp) and node.op == "&":
            value, mask = self.value(node.left), self.value(node.right)
            number = mask.number
            if number and not number & number - 1:
                bit = number.bit_length() - 1
                half: Operand = value.low if bit < 32 else self.converted(value, U64).high
                out.branch_bit(half, bit & 31, yes, no)
                return
            value = self.binary("&", value, mask, node)
        else:
            value = self.value(node)
        if value.most == 1:
            out.branch_bit(value.low, 0, yes, no)
        else:
            out.branch("!=", value, constant(0, value.type), yes, no)


def _masked(out: Builder, a: Operand, b: Operand) -> Operand:
    if isinstance(a, int):
        a, b = b, a
    return out.masked(a, b) if isinstance(b, int) and not isinstance(a, int) else out.alu("AND_SHL", a, b)


def _terms(number: int, bits: int) -> list[tuple[int, int]]:
    """A number modulo 2^bits as powers of two that are added and taken away: (shift, sign)."""
    terms, at = [], 0
    while number and at < bits:
        if number & 1:
            sign = -1 if number & 3 == 3 else 1
            terms.append((at, sign))
            number -= sign
        number >>= 1
        at += 1
    return sorted(terms, key=lambda term: -term[1])


def _changes(node: c_ast.Node) -> bool:
    """May change a variable that was read before it."""
    if isinstance(node, (c_ast.Assignment, c_ast.FuncCall)):
        return True
    if isinstance(node, c_ast.UnaryOp) and node.op in ("++", "--", "p++", "p--"):
        return True
    return any(_changes(child) for _name, child in node.children())
