# SPDX-License-Identifier: BSD-3-Clause
"""For the classify stage: a program without memory as tests on fields of the packet, by running it on symbols.

takes    a checked program
gives    Node (fpl/classify/symbolic.py): Need, Test, Leaf, as of a filter in BPF
         NotTable: something is computed, or compared, that is no field

The program is run again and again, each time up to the first question about the packet that has no answer yet, and
then with both answers: loops are gone through round by round, and what earlier answers imply is not asked (known.py).
It sees the packet with its VLAN tag in place; fields are those of the scratch, which has the tag beside it (seen.py),
so that whether there is one is a question, too. What the prologue finds is left out where nobody asks for it; where it
computes what is no field, it goes on, and whoever asks for that is no table.
"""

from __future__ import annotations

from collections.abc import Sequence

from fpl.classify import layout
from fpl.classify.intervals import Intervals, complement, normal
from fpl.classify.symbolic import Leaf, Need, Node, NotTable, Source, Test
from fpl.fpl2 import meaning, tree
from fpl.fpl2.check import FLIPPED
from fpl.fpl2.compile import Checked
from fpl.fpl2.found import HIDDEN
from fpl.fpl2.known import AskedError, Known, Reaches
from fpl.fpl2.meaning import ALL
from fpl.fpl2.seen import ADDRESSES, CAPTURED, FACTS, LENGTH, TAG, TAGGED, TCI, Loaded, Msh
from fpl.fpl2.statements import DoneError, Statements

RUNS_MAX = 600
Value = int | Loaded | Msh


class _Unknown(str):
    """Why what is in a register is no number, field, or length."""


class _Run(Statements):
    """One run, as far as the answers go: AskedError, NotTable. meaning.py and reference.py say what must come of it."""

    def __init__(self, answers: Sequence[bool]) -> None:
        self._known = Known(answers)
        self._registers: list[Value | _Unknown] = [0] * (tree.REGISTERS + HIDDEN)

    def prologue(self, statements: Sequence[tree.Statement]) -> None:
        """They only write registers."""
        for statement in statements:
            try:
                self._statement(statement)
            except NotTable as reason:
                for register in _written(statement):
                    self._registers[register] = _Unknown(reason)

    def _for(self, statement: tree.For) -> None:
        loop = self._begun(statement)
        assert statement.most is not None
        bound = self._value(loop.bound)
        for _ in range(statement.most):
            if not self._compared(loop.op, self._register(loop.register), bound):
                break
            if not self._round(statement):
                break
            self._registers[loop.register] = self._computed("+", self._register(loop.register), loop.step)

    def _assign(self, statement: tree.Assign) -> None:
        target, op = statement.target, statement.op[:-1]
        if not isinstance(target, tree.Register) or target.sub or not isinstance(target.index, tree.Number):
            raise NotTable("it writes to memory, or to a part of a register")
        value = self._value(statement.value)
        if op:
            signed = meaning.is_signed(statement.value) and op not in ("<<", ">>")
            value = self._computed(op, self._register(target.index.value), value, signed=signed)
        self._registers[target.index.value] = value

    # ---- values ----

    def _register(self, number: int) -> Value:
        value = self._registers[number]
        if isinstance(value, _Unknown):
            raise NotTable(value)
        return value

    def _number(self, expr: tree.Expr) -> int:
        value = self._value(expr)
        if not isinstance(value, int):
            raise NotTable("it returns a value of the packet")
        return value

    def _holds(self, expr: tree.Expr) -> bool:
        value = self._value(expr)
        return bool(value) if isinstance(value, int) else not self._known.within(value, ((0, 0),))

    def _value(self, expr: tree.Expr) -> Value:
        if isinstance(expr, (tree.Packet, tree.Register)):
            whole, bits = self._whole(expr)
            return whole if expr.sub is None else self._part(whole, bits, expr.sub)
        if isinstance(expr, tree.Number):
            return expr.value
        if isinstance(expr, tree.Fact):
            return self._fact(expr.name)
        if isinstance(expr, tree.Unary):
            return self._unary(expr)
        if isinstance(expr, tree.Binary):
            return self._binary(expr)
        if isinstance(expr, tree.When):
            return self._value(expr.value) if self._holds(expr.test) else 0
        if isinstance(expr, tree.Member):
            return self._member(expr)
        raise NotTable("it has more than numbers and fields: memory, HASH, CONTAINS or an external function")

    def _fact(self, name: str) -> Value:
        if name == "VLAN_PRESENT":
            return int(self._known.has(TAGGED, ((1, TAGGED.top),)))
        if name == "VLAN_TCI":
            return Loaded(TCI, TCI.full) if self._known.has(TAGGED, ((1, TAGGED.top),)) else 0
        if name == "LEN":
            return Loaded(LENGTH, LENGTH.full, plus=TAG if self._known.is_length_tagged() else 0)
        if name not in FACTS:
            raise NotTable(f"it asks for {name}")
        return Loaded(FACTS[name], FACTS[name].full)

    def _packet(self, expr: tree.Packet) -> Value:
        """Without its sub-field."""
        index, octets = self._value(expr.index), expr.kind.bits // 8
        if expr.kind.signed:
            raise NotTable("it takes octets as signed")
        if isinstance(index, Msh) and expr.scale == 1:
            source = Source("packet", index.added, octets, index.base)
        elif isinstance(index, int):
            source = Source("packet", index * expr.scale & ALL, octets)
        else:
            raise NotTable("it loads at a place that it computes")
        if self._known.reaches(source):
            return Loaded(source, source.full)
        if expr.soft:
            return 0
        raise DoneError(0)

    def _whole(self, place: tree.Packet | tree.Register) -> tuple[Value, int]:
        """Without its sub-field; bits of it."""
        if isinstance(place, tree.Packet):
            return self._packet(place), place.kind.bits
        if not isinstance(place.index, tree.Number):
            raise NotTable("it looks a register up by a number of the packet")
        return self._register(place.index.value), 64

    def _part(self, whole: Value, bits: int, sub: tree.Sub) -> Value:
        index = self._value(sub.index)
        if not isinstance(index, int) or sub.kind.signed:
            raise NotTable("it takes a part of a number, which it computes or takes as signed")
        moved = self._computed(">>", whole, meaning.part_shift(bits, sub.kind.bits, index))
        return self._computed("&", moved, (1 << sub.kind.bits) - 1)

    def _unary(self, expr: tree.Unary) -> Value:
        if expr.op == "!":
            return int(not self._holds(expr.operand))
        value = self._value(expr.operand)
        if not isinstance(value, int):
            raise NotTable("it computes with fields")
        return (-value if expr.op == "-" else ~value) & ALL

    def _binary(self, expr: tree.Binary) -> Value:
        if expr.op in ("&&", "||"):
            left = self._holds(expr.left)
            return int(self._holds(expr.right)) if left == (expr.op == "&&") else int(left)
        left_value, right = self._value(expr.left), self._value(expr.right)
        signed = meaning.is_signed(expr.left) if expr.op == ">>" else meaning.meets_signed(expr.left, expr.right)
        if expr.op in FLIPPED:
            return int(self._compared(expr.op, left_value, right, signed=signed))
        return self._computed(expr.op, left_value, right, signed=signed)

    def _compared(self, op: str, left: Value, right: Value, *, signed: bool = False) -> bool:
        if isinstance(left, int) and isinstance(right, int):
            return bool(meaning.OPERATORS[op](left, right, signed))
        if isinstance(left, int):
            left, right, op = right, left, FLIPPED[op]
        if not isinstance(right, int) or isinstance(left, int):
            raise NotTable("it compares two fields")
        if signed:
            raise NotTable("it compares signed numbers")
        return self._known.within(left, _those(op, right))

    def _computed(self, op: str, left: Value, right: Value, *, signed: bool = False) -> Value:
        if isinstance(left, int) and isinstance(right, int):
            if op in ("/", "%") and right == 0:
                raise DoneError(0)
            return meaning.OPERATORS[op](left, right, signed) & ALL
        if isinstance(left, int) and op in ("+", "*", "&", "|", "^"):
            left, right = right, left
        found = _of_field(op, left, right) if isinstance(right, int) and not isinstance(left, int) else None
        if found is None:
            raise NotTable("it computes with fields")
        return found

    def _member(self, expr: tree.Member) -> int:
        value = self._value(expr.value)
        ends = [(self._value(element.low), self._value(element.high)) for element in expr.elements]
        if isinstance(value, int) or not all(isinstance(end, int) for pair in ends for end in pair):
            found = False
            for element, (low, high) in zip(expr.elements, ends, strict=True):
                signed = any(map(meaning.is_signed, (expr.value, element.low, element.high)))
                found |= self._compared(">=", value, low, signed=signed) and self._compared(
                    "<=", value, high, signed=signed)  # fmt: skip
            return int(found != expr.negated)
        if any(
            meaning.is_signed(part) for element in expr.elements for part in (expr.value, element.low, element.high)
        ):
            raise NotTable("it compares signed numbers")
        known = [(low, high) for low, high in ends if isinstance(low, int) and isinstance(high, int) and low <= high]
        return int(self._known.within(value, normal(known)) != expr.negated)


def _those(op: str, number: int) -> Intervals:
    """What a number of 64 bits may be that is `op` this one."""
    if op == "!=":
        return complement(((number, number),), ALL)
    below, above = ((0, number - 1),) if number else (), ((number + 1, ALL),) if number < ALL else ()
    return {"==": ((number, number),), "<": below, ">": above, "<=": ((0, number),), ">=": ((number, ALL),)}[op]


def _of_field(op: str, left: Loaded | Msh, number: int) -> Loaded | Msh | None:
    """A field, or a header's length, and a number; None: it is none any more."""
    if op == "-":
        op, number = "+", -number & ALL
    if isinstance(left, Msh):
        added = left.added + number
        return left._replace(added=added) if op == "+" and added < layout.SCRATCH_DATA_BYTES else None
    if op == "+":
        return left._replace(plus=(left.plus + number) & ALL)
    if left.plus:
        return None
    if op in ("|", "^") and not left.mask >> left.shift & number:  # no bit of the one is one of the other
        return left._replace(plus=number)
    if op == "&":
        return left._replace(mask=left.mask & number << left.shift)
    if op == ">>":
        shift = left.shift + (number & 63)
        return left._replace(mask=left.mask & ~((1 << shift) - 1), shift=shift)
    is_length = (
        left.source.is_packet and left.source.base < 0 and (left.source.size, left.mask, left.shift) == (1, 15, 0)
    )
    if is_length and (op, number) in (("*", 4), ("<<", 2)):
        return Msh(left.source.offset, 0)
    return None


def _written(*statements: tree.Statement) -> set[int]:
    """Registers of the prologue that it may write."""
    return {node.target.index.value for node in tree.within(*statements) if isinstance(node, tree.Assign)
            and isinstance(node.target, tree.Register) and isinstance(node.target.index, tree.Number)}  # fmt: skip


def _read(*statements: tree.Statement) -> set[int]:
    """Registers whose numbers stand anywhere, but as what is set as a whole."""
    set_there = {
        id(node.target) for node in tree.within(*statements) if isinstance(node, tree.Assign) and node.op == "="
    }
    return {node.index.value for node in tree.within(*statements) if isinstance(node, tree.Register)
            and isinstance(node.index, tree.Number) and id(node) not in set_there}  # fmt: skip


def _asked_for(prologue: Sequence[tree.Statement], program: Sequence[tree.Statement]) -> list[tree.Statement]:
    """Statements of the prologue that write what is read behind them."""
    kept, wanted = list[tree.Statement](), _read(*program)
    for statement in reversed(prologue):
        if _written(statement) & wanted:
            kept.append(statement)
            wanted |= _read(statement)
    return kept[::-1]


class _Tree:
    def __init__(self, checked: Checked) -> None:
        self._program = checked.program[checked.prologue :]
        self._prologue = _asked_for(checked.program[: checked.prologue], self._program)
        self._runs = 0
        self.fetch_len = ADDRESSES + TAG

    def node(self, answers: list[bool]) -> Node:
        self._runs += 1
        if self._runs > RUNS_MAX:
            raise NotTable("too many ways through the program")
        rank = len(answers)
        try:
            run = _Run(answers)
            run.prologue(self._prologue)
            return Leaf(rank, run.run(self._program))
        except AskedError as asked:
            question = asked.question
        yes, no = self.node([*answers, True]), self.node([*answers, False])
        if isinstance(yes, Leaf) and isinstance(no, Leaf) and yes.result == no.result:
            return yes
        if not isinstance(question, Reaches):
            return Test(rank, question.field, question.values, yes, no)
        source = question.source
        self.fetch_len = max(self.fetch_len, question.most)
        if isinstance(no, Leaf) and not no.result:
            return Need(rank, source, yes)
        if source.base >= 0:
            raise NotTable("it goes on where a header is not all there")
        return Test(rank, CAPTURED, ((source.end, CAPTURED.top),), yes, no)


def graph(checked: Checked) -> tuple[Node, int]:
    """And how many octets of a packet must be there for it to be decided. Raises NotTable."""
    made = _Tree(checked)
    return made.node([]), made.fetch_len
