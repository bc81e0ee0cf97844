# SPDX-License-Identifier: BSD-3-Clause
"""Pass 1: instructions to a decision graph, by running the program on symbols.

takes    Insn*
gives    Node ::= Need(source, then)            the packet must reach that far, else reject
               | Test(field, values, yes, no)   on a field whose source was needed before
               | Leaf(result)
         Source ::= packet[offset : size] | packet[4 * (packet[base] & 15) + offset : size] | ancillary | length
         Field  ::= (source & mask) >> trailing zeros of mask
         NotTable: something is computed, or compared, that is no field

Registers do not survive. Edges lead to nodes of a higher rank, so that rank is a topological order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fpl.classify import bytecode as bpf
from fpl.classify import intervals
from fpl.classify.bytecode import Insn, Program
from fpl.classify.intervals import Intervals

NODES_MAX = 20_000


class NotTable(Exception):  # noqa: N818 (an outcome: the filter stays code)
    """The program asks for more than tables say."""


class Source(NamedTuple):
    kind: str  # "packet", "length", or the name of an ancillary field
    offset: int = 0  # in the packet, or, ancillary, in the scratch
    size: int = 4
    base: int = -1  # of what 4 * (packet[base] & 15) is added to the offset; -1: nothing

    @property
    def is_packet(self) -> bool:
        return self.kind == "packet"

    @property
    def end(self) -> int:
        """How long the packet must be at least."""
        return max(self.base + 1, self.offset + self.size)

    @property
    def full(self) -> int:
        return int(256**self.size - 1)

    def implies(self, other: Source) -> bool:
        """When this one lies in the packet, the other does too."""
        if self.base == other.base:
            return self.offset + self.size >= other.offset + other.size
        if other.base < 0:
            return self.end >= other.end
        return self.base < 0 and self.end >= max(other.base + 1, other.offset + other.size + bpf.MAX_MSH)


class Field(NamedTuple):
    source: Source
    mask: int

    @property
    def shift(self) -> int:
        return (self.mask & -self.mask).bit_length() - 1

    @property
    def top(self) -> int:
        """The greatest value."""
        return self.mask >> self.shift


class Const(NamedTuple):
    value: int


class Msh(NamedTuple):
    """4 * (packet[base] & 15) + added"""

    base: int
    added: int


class Masked(NamedTuple):
    """(source & mask) >> shift"""

    source: Source
    mask: int
    shift: int


Value = Const | Msh | Masked


@dataclass(eq=False)
class Node:
    rank: int


@dataclass(eq=False)
class Leaf(Node):
    result: int


@dataclass(eq=False)
class Need(Node):
    source: Source
    then: Node


@dataclass(eq=False)
class Test(Node):
    field: Field
    values: Intervals
    yes: Node
    no: Node


class State(NamedTuple):
    """What is dead is None, so that states which differ in it only are one."""

    at: int
    a: Value | None
    x: Value | None
    memory: tuple[Value | None, ...]


def live(program: Program) -> list[tuple[bool, bool, int]]:
    """Before each instruction: whether A, X and words of M[] (a bit each) are read later before they are written."""
    out = [(False, False, 0)] * (len(program) + 1)
    for at in reversed(range(len(program))):
        insn = program[at]
        a = x = False
        memory = 0
        for after in bpf.successors(program, at):
            a, x, memory = a | out[after][0], x | out[after][1], memory | out[after][2]
        out[at] = _live_before(insn, a, x, memory)
    return out


def _live_before(insn: Insn, a: bool, x: bool, memory: int) -> tuple[bool, bool, int]:
    by_x = insn.by_x and insn.kind in (bpf.ALU, bpf.JMP)
    if insn.kind == bpf.LD:
        read = 1 << insn.k if insn.mode == bpf.MEM else 0
        xor = bpf.is_far(insn) and insn.k not in bpf.ANCILLARY
        return xor, x or insn.mode == bpf.IND or xor, memory | read
    if insn.kind == bpf.LDX:
        return a, False, memory | (1 << insn.k if insn.mode == bpf.MEM else 0)
    if insn.kind == bpf.ST:
        return True, x, memory & ~(1 << insn.k)
    if insn.kind == bpf.STX:
        return a, True, memory & ~(1 << insn.k)
    if insn.kind == bpf.ALU:
        return True, x or by_x, memory
    if insn.kind == bpf.JMP:
        return (a, x, memory) if insn.op == bpf.JA else (True, x or by_x, memory)
    if insn.kind == bpf.RET:
        return bool(insn.code & bpf.RVAL_A), False, 0
    return (False, True, memory) if insn.code & bpf.TXA else (True, False, memory)


class Builder:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._live = live(program)
        self._nodes: dict[State, Node] = {}
        self._pending: list[tuple[State, Node]] = []

    def build(self) -> Node:
        root = self._at(State(0, Const(0), Const(0), (Const(0),) * 16))
        while self._pending:
            state, node = self._pending.pop()
            if isinstance(node, Need):
                node.then = self._at(self._loaded(state))
            elif isinstance(node, Test):
                insn = self._program[state.at]
                node.yes = self._at(state._replace(at=state.at + 1 + insn.jt))
                node.no = self._at(state._replace(at=state.at + 1 + insn.jf))
        return root

    def _at(self, state: State) -> Node:
        """The node for a state: first, what decides nothing is run."""
        while True:
            state = self._without_the_dead(state)
            found = self._nodes.get(state)
            if found is not None:
                return found
            node = self._node(state)
            if node is not None:
                break
            state = self._step(state)
        if len(self._nodes) == NODES_MAX:
            raise NotTable("too many states")
        self._nodes[state] = node
        self._pending.append((state, node))
        return node

    def _without_the_dead(self, state: State) -> State:
        a, x, memory = self._live[state.at]
        words = tuple(word if memory >> i & 1 else None for i, word in enumerate(state.memory))
        return State(state.at, state.a if a else None, state.x if x else None, words)

    def _node(self, state: State) -> Node | None:
        """The node at a state, its edges not yet known; None when there is nothing to ask."""
        insn = self._program[state.at]
        rank = state.at
        if insn.kind == bpf.RET:
            if not insn.code & bpf.RVAL_A:
                return Leaf(rank, insn.k)
            if not isinstance(state.a, Const):
                raise NotTable("it returns a value of the packet")
            return Leaf(rank, state.a.value)
        nowhere = Leaf(rank, 0)
        source = self._source(insn, state)
        if source is not None:
            return Need(rank, source, nowhere)
        if insn.kind == bpf.JMP and insn.op != bpf.JA:
            tested = self._tested(insn, state)
            if isinstance(tested, tuple):
                return Test(rank, tested[0], tested[1], nowhere, nowhere)
        return None

    def _source(self, insn: Insn, state: State) -> Source | None:
        """What a load reads of the packet."""
        if insn.kind == bpf.LDX and insn.mode == bpf.MSH:
            return Source("packet", insn.k, 1)
        if insn.kind != bpf.LD or insn.mode not in (bpf.ABS, bpf.IND) or bpf.is_far(insn):
            return None
        if insn.mode == bpf.ABS:
            return Source("packet", insn.k, insn.size)
        if isinstance(state.x, Const):
            return Source("packet", state.x.value + insn.k, insn.size)
        if isinstance(state.x, Msh):
            return Source("packet", state.x.added + insn.k, insn.size, state.x.base)
        raise NotTable("it loads behind a header whose length it computes")

    def _loaded(self, state: State) -> State:
        insn = self._program[state.at]
        source = self._source(insn, state)
        assert source is not None
        if insn.kind == bpf.LDX:
            return state._replace(at=state.at + 1, x=Msh(insn.k, 0))
        return state._replace(at=state.at + 1, a=Masked(source, source.full, 0))

    def _step(self, state: State) -> State:
        """Behind an instruction that asks nothing of the packet."""
        insn = self._program[state.at]
        after = state.at + 1
        if insn.kind == bpf.JMP:
            if insn.op == bpf.JA:
                return state._replace(at=after + insn.k)
            return state._replace(at=after + (insn.jt if self._tested(insn, state) is True else insn.jf))
        if insn.kind in (bpf.LD, bpf.LDX):
            value = self._plain(insn, state)
            return state._replace(at=after, a=value) if insn.kind == bpf.LD else state._replace(at=after, x=value)
        if insn.kind in (bpf.ST, bpf.STX):
            words = list(state.memory)
            words[insn.k] = state.a if insn.kind == bpf.ST else state.x
            return state._replace(at=after, memory=tuple(words))
        if insn.kind == bpf.ALU:
            return state._replace(at=after, a=_computed(insn, state))
        return state._replace(at=after, a=state.x) if insn.code & bpf.TXA else state._replace(at=after, x=state.a)

    @staticmethod
    def _plain(insn: Insn, state: State) -> Value | None:
        if insn.mode == bpf.IMM:
            return Const(insn.k)
        if insn.mode == bpf.MEM:
            return state.memory[insn.k]
        if insn.mode == bpf.LEN:
            return Masked(Source("length"), bpf.WORD, 0)
        if insn.k not in bpf.ANCILLARY:
            raise NotTable("it computes A ^ X")
        name, offset, size = bpf.ANCILLARY[insn.k]
        source = Source(name, offset, size)
        return Masked(source, source.full, 0)

    def _tested(self, insn: Insn, state: State) -> bool | tuple[Field, Intervals]:
        operand = state.x if insn.by_x else Const(insn.k)
        if not isinstance(operand, Const):
            raise NotTable("it compares two fields")
        k = operand.value
        if isinstance(state.a, Const):
            value = state.a.value
            return {bpf.JEQ: value == k, bpf.JGT: value > k, bpf.JGE: value >= k, bpf.JSET: bool(value & k)}[insn.op]
        if not isinstance(state.a, Masked):
            raise NotTable("it tests the length of a header")
        source, mask, shift = state.a
        if insn.op == bpf.JSET:
            return on_field(source, mask & k << shift, shift, ((1, bpf.WORD),))
        low = k + 1 if insn.op == bpf.JGT else k
        if low > bpf.WORD:
            return False
        return on_field(source, mask, shift, ((low, k if insn.op == bpf.JEQ else bpf.WORD),))


def on_field(source: Source, mask: int, shift: int, values: Intervals) -> bool | tuple[Field, Intervals]:
    """(source & mask) >> shift in values, as a question about a field, or its answer."""
    mask = mask & source.full & ~((1 << shift) - 1)
    if mask == 0:
        return bool(intervals.intersection(values, ((0, 0),)))
    field = Field(source, mask)
    scale = field.shift - shift
    scaled = [(-(-low >> scale), high >> scale) for low, high in values]
    values = intervals.intersection(intervals.normal(p for p in scaled if p[0] <= p[1]), ((0, field.top),))
    if mask == source.full & ~((1 << field.shift) - 1):  # a prefix: intervals of the whole value say it
        low_bits = (1 << field.shift) - 1
        values = intervals.normal((low << field.shift, high << field.shift | low_bits) for low, high in values)
        field = Field(source, source.full)
    if not values:
        return False
    return True if values == ((0, field.top),) else (field, values)


def _computed(insn: Insn, state: State) -> Value:
    a = state.a
    if insn.op == bpf.NEG:
        if isinstance(a, Const):
            return Const(-a.value & bpf.WORD)
        raise NotTable("it computes with fields")
    operand = state.x if insn.by_x else Const(insn.k)
    if isinstance(operand, Const) and isinstance(a, Const):
        return Const(_arithmetic(insn, a.value, operand.value))
    if not isinstance(operand, Const):
        if insn.op == bpf.ADD and isinstance(a, Const):
            a, operand = operand, a
        else:
            raise NotTable("it computes with fields")
    assert isinstance(operand, Const)
    k = operand.value
    if isinstance(a, Masked) and insn.op == bpf.AND:
        return a._replace(mask=a.mask & k << a.shift)
    if isinstance(a, Masked) and insn.op == bpf.RSH and not insn.by_x:
        return a._replace(shift=a.shift + (k & 31))
    if k == 0 and insn.op in (bpf.ADD, bpf.SUB, bpf.OR, bpf.XOR) and a is not None:
        return a
    if isinstance(a, Msh) and insn.op == bpf.ADD and a.added + k + bpf.MAX_MSH <= bpf.WORD:
        return a._replace(added=a.added + k)
    raise NotTable("it computes with fields")


def _arithmetic(insn: Insn, a: int, k: int) -> int:
    if insn.op in (bpf.DIV, bpf.MOD):
        if k == 0:
            raise NotTable("it divides by 0")
        return a // k if insn.op == bpf.DIV else a % k
    if insn.op in (bpf.LSH, bpf.RSH):
        amount = k if insn.by_x else k & 31
        if amount >= 32:
            return 0
        return (a << amount if insn.op == bpf.LSH else a >> amount) & bpf.WORD
    return {bpf.ADD: a + k, bpf.SUB: a - k, bpf.MUL: a * k, bpf.OR: a | k, bpf.AND: a & k, bpf.XOR: a ^ k}[
        insn.op
    ] & bpf.WORD


def graph(program: Program) -> Node:
    """Raises NotTable."""
    return Builder(program).build()
