# SPDX-License-Identifier: BSD-3-Clause
"""What a program is after parsing. Every node knows where it stands in the text (`at`, an offset).

parse   -> Name (what the author wrote, parts and indices)
resolve -> Register, Memory, Packet, Fact, Number, Binary ... in its place: no Name is left
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

REGISTERS = 16  # R[0] to R[15], 64 bits each; those behind them are the prologue's (found.py), which no index reaches


OTHER = "mem@"  # how external functions begin that read MBufs of other filters: csrc/graph/readable.c


@dataclass(frozen=True)
class Kind:
    """How octets are a number: width in bits, and whether the highest of them is a sign."""

    bits: int
    signed: bool = False

    def __str__(self) -> str:
        return f"{'S' if self.signed else 'U'}{self.bits}"


U64 = Kind(64)
S64 = Kind(64, True)


@dataclass
class Node:
    at: int = field(compare=False)


# ---- expressions ----


@dataclass
class Expr(Node):
    pass


@dataclass
class Number(Expr):
    value: int
    text: str = field(default="", compare=False)  # as the author wrote it


@dataclass
class Address(Number):
    """An IPv4 address as it was written, which may meet 128 bits, too: then it is ::ffff:a.b.c.d (RFC 4291)."""


@dataclass
class Wide(Expr):
    """128 bits: PKT.U128[n], PAIR(high, low), an IPv6 address. Of use to == != and IN alone, which names.py makes
    comparisons of halves of."""

    high: Expr
    low: Expr
    text: str = field(default="", compare=False)  # of an address


@dataclass
class Text(Expr):
    """A string that stands alone: the name of an interface."""

    octets: bytes
    text: str = field(default="", compare=False)


@dataclass
class Part(Node):
    """NAME or NAME[index], a part of a Name."""

    name: str
    index: Expr | None


@dataclass
class Name(Expr):
    parts: list[Part]


@dataclass
class Group(Expr):
    """Parentheses, which a formatter must keep."""

    inner: Expr


@dataclass
class Unary(Expr):
    op: str  # ! - ~
    operand: Expr


@dataclass
class Binary(Expr):
    op: str
    left: Expr
    right: Expr


@dataclass
class Range(Node):
    """An element of a set, inclusive; `text` of a network as it was written."""

    low: Expr
    high: Expr
    text: str = field(default="", compare=False)


@dataclass
class Listed(Node):
    """An element of a set that stands for all entries of a file."""

    file: str
    text: str = field(default="", compare=False)


@dataclass
class Member(Expr):
    """Once resolved nothing is listed; elements made of numbers alone come first, in order, none touching the next."""

    value: Expr
    elements: list[Range]
    negated: bool
    listed: list[Listed] = field(default_factory=list)


@dataclass
class Search(Expr):
    """CONTAINS or STARTS WITH, as written: any_case for ASCII's letters."""

    value: Expr
    op: str
    octets: bytes
    any_case: bool
    negated: bool
    text: str = field(default="", compare=False)


@dataclass
class Contains(Expr):
    """The packet's octets from an offset on have this byte string in them; any_case: its letters are small ones, and
    stand for both."""

    value: Expr
    octets: bytes
    any_case: bool = False


@dataclass
class Hash(Expr):
    start: Expr
    length: Expr
    size: Expr


@dataclass
class Extern(Expr):
    name: str
    quoted: bool
    read_at: Expr
    write_at: Expr


@dataclass
class When(Expr):
    """A macro's value: where its condition does not hold, 0."""

    test: Expr
    value: Expr


# ---- resolved places ----


@dataclass
class Place(Expr):
    """Something that is read, and written if it is not the packet. sub: the sub-field's kind and number."""


@dataclass
class Sub:
    kind: Kind
    index: Expr


@dataclass
class Register(Place):
    index: Expr
    sub: Sub | None = None


@dataclass
class Memory(Place):
    kind: Kind
    index: Expr
    scale: int  # octets from one index to the next: the kind's size, or 1
    sub: Sub | None = None


@dataclass
class Other(Memory):
    """Of the MBuf of another filter, which is read alone. In every back end it is a call of an external function."""

    name: str = ""

    def call(self) -> Extern:
        """For the whole, without its sub-field, zero-extended: of an offset, and how many octets are wanted."""
        offset = self.index if self.scale == 1 else Binary(self.at, "*", self.index, Number(self.at, self.scale))
        return Extern(self.at, f"{OTHER}{self.name}", True, offset, Number(self.at, self.kind.bits // 8))


@dataclass
class Packet(Place):
    kind: Kind
    index: Expr
    scale: int
    sub: Sub | None = None
    soft: bool = False  # of the prologue: beyond the captured octets it reads 0, and the filter goes on


@dataclass
class Fact(Expr):
    """What the hook knows of the packet beside its octets: facts.py has the table."""

    name: str


# ---- statements ----


@dataclass
class Statement(Node):
    pass


@dataclass
class Assign(Statement):
    target: Expr  # Name; resolved: Register or Memory
    op: str  # "=", "+=" ...; ++ is += 1
    value: Expr
    step: str = field(default="", compare=False)  # "++", "--" as written


@dataclass
class If(Statement):
    test: Expr
    then: list[Statement]
    otherwise: list[Statement]
    has_else: bool = field(default=False, compare=False)


@dataclass
class For(Statement):
    first: Assign | None
    test: Expr
    step: Assign | None
    most: int | None
    body: list[Statement]


@dataclass
class Break(Statement):
    pass


@dataclass
class Return(Statement):
    value: Expr


@dataclass
class Call(Statement):
    extern: Extern


@dataclass
class Macro(Statement):
    """A name for an expression, for what comes behind it."""

    name: str
    test: Expr | None
    value: Expr


@dataclass
class PerCpu(Statement):
    """Each CPU has an MBuf of its own: how a reader sees places of them. low None: all that no other names; high None:
    one place. by: one of fpl.percpu.OPERATORS."""

    name: str
    unit: str | None
    low: Number | None
    high: Number | None
    by: str


@dataclass
class Use(Statement):
    """A file of macros."""

    file: str
    text: str = field(default="", compare=False)


Program = list[Statement]


def within(*roots: object) -> Iterator[Node]:
    """Every node of these, themselves included, in no order; what is no node, list or Sub is passed over."""
    waiting = list(roots)
    while waiting:
        item = waiting.pop()
        if isinstance(item, Node):
            yield item
        if isinstance(item, (Node, Sub)):
            waiting += list(vars(item).values())
        elif isinstance(item, list):
            waiting += item
