# SPDX-License-Identifier: BSD-3-Clause
"""What a program is between C and microwords: functions of blocks of instructions, on as many registers as it takes.

Block := { label, body: [Ins ...], end: End }
Ins   := Alu | Move | Ref | Wait | Arb | Csr | Import | Call | Leave
End   := Jump | Cond | Bit | Byte | Return | Stop

Operands are registers (V), transfer registers (X, as operands of isa.h), and numbers of 32 bits. A Cond looks at what
the last Alu of its block has set. Functions share registers: those of the file's variables, which are live everywhere,
and a called function's parameters and results, which exist once, since nothing calls itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


class CompileError(Exception):
    """What the author of the C must change; or what the engine has too few of."""


@dataclass(frozen=True)
class V:
    """A register, which has no number of the engine's yet."""

    number: int


@dataclass(frozen=True)
class X:
    """A transfer register: of operands 32 to 47."""

    number: int


Operand = V | X | int


@dataclass
class Ins:
    pass


@dataclass
class Alu(Ins):
    """dst None: for the condition codes alone. n: a shift; DSHR_BY's is a register."""

    op: str
    dst: V | X | None
    a: Operand
    b: Operand
    n: Operand = 0


@dataclass
class Move(Ins):
    """Sets no condition codes."""

    dst: V | X
    src: Operand


@dataclass
class Ref(Ins):
    """A reference; swap: another context runs until it is done. takes, brings: transfer registers."""

    unit: str
    command: str
    base: Operand
    offset: Operand
    first: X
    words: int  # of transfer registers
    takes: bool
    brings: bool
    swap: bool

    def covered(self) -> range:
        return range(self.first.number, self.first.number + self.words)


@dataclass
class Wait(Ins):
    """Until the unit's signal comes, without giving up the engine."""

    unit: str


@dataclass
class Arb(Ins):
    mask: int


@dataclass
class Csr(Ins):
    write: bool
    number: int
    value: Operand


@dataclass
class Import(Ins):
    """A number that the loader fills in."""

    dst: V
    name: str


@dataclass
class Call(Ins):
    function: str
    takes: tuple[V, ...]
    gives: tuple[V, ...]
    link: V


@dataclass
class Leave(Ins):
    """KILL or HALT."""

    op: str
    code: int


@dataclass
class Jump:
    target: str


@dataclass
class Cond:
    """op: of isa.h's conditions, on what the block's last Alu has set."""

    op: str
    yes: str
    no: str


@dataclass
class Bit:
    a: Operand
    bit: int
    yes: str  # where it is set
    no: str


@dataclass
class Byte:
    a: Operand
    byte: int
    value: int
    yes: str  # where it is the value
    no: str


@dataclass
class Return:
    pass


@dataclass
class Stop:
    """What is behind a KILL or HALT."""


End = Jump | Cond | Bit | Byte | Return | Stop
NEGATED = {"EQ": "NE", "NE": "EQ", "CS": "CC", "CC": "CS", "LT": "GE", "GE": "LT", "GT": "LE", "LE": "GT", "MI": "PL",
           "PL": "MI"}  # fmt: skip


@dataclass
class Block:
    label: str
    body: list[Ins] = field(default_factory=list)
    end: End | None = None


@dataclass
class Function:
    name: str
    link: V
    takes: tuple[V, ...] = ()
    gives: tuple[V, ...] = ()
    blocks: list[Block] = field(default_factory=list)  # the first one is where it begins


@dataclass
class Program:
    main: Function
    functions: dict[str, Function]
    shared: list[V]  # the file's variables
    registers: int = 0

    def all(self) -> list[Function]:
        return [self.main, *self.functions.values()]

    def fresh(self) -> V:
        self.registers += 1
        return V(self.registers - 1)


def reads(ins: Ins) -> Iterator[Operand]:
    """Registers among them: V and X; numbers too."""
    if isinstance(ins, Alu):
        yield ins.a
        yield ins.b
        if ins.op == "DSHR_BY":
            yield ins.n
    elif isinstance(ins, Move):
        yield ins.src
    elif isinstance(ins, Ref):
        yield ins.base
        yield ins.offset
    elif isinstance(ins, Csr) and ins.write:
        yield ins.value
    elif isinstance(ins, Call):
        yield from ins.takes


def writes(ins: Ins) -> Iterator[V]:
    if isinstance(ins, (Alu, Move, Import)) and isinstance(ins.dst, V):
        yield ins.dst
    elif isinstance(ins, Csr) and not ins.write and isinstance(ins.value, V):
        yield ins.value
    elif isinstance(ins, Call):
        yield from ins.gives
        yield ins.link


def end_reads(end: End | None) -> Iterator[Operand]:
    if isinstance(end, (Bit, Byte)):
        yield end.a


def targets(end: End | None) -> tuple[str, ...]:
    if isinstance(end, Jump):
        return (end.target,)
    if isinstance(end, (Cond, Bit, Byte)):
        return (end.yes, end.no)
    return ()
