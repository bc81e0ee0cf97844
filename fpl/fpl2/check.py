# SPDX-License-Identifier: BSD-3-Clause
"""Third pass: what a program may do, and what it costs at most. Nothing is changed but FOR.most, which is filled in.

takes    tree.Program, names resolved
gives    Cost; or FplError for what has no meaning, or goes beyond the Policy

Signed: a value of a kind S1 to S64, or what comes of two such; a number written down is either. Where signed and
unsigned meet, it is an error: C's answer surprises.

Loops: FOR (R[k] = a; R[k] < b; R[k] += c), R[k] not written within, so the number of rounds is known on entry. The
bound b is worked out once. Where a, b and c are numbers the rounds are counted here; else MAX says how many at most;
else as many as MBuf has double words.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fpl.fpl2 import tree
from fpl.fpl2.externals import External, Known, Library
from fpl.fpl2.report import FplError, Source

HASH_MAX = 64  # octets that HASH takes
CONTAINS_MAX = 64  # octets of a byte string
SCAN_MAX = 1536  # octets of a packet that CONTAINS looks at
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True)
class Policy:
    """The most that a program may need; an administrator may ask for less."""

    iterations: int = 65536  # of all FORs, nested ones multiplied
    steps: int = 1_000_000  # operations, of the longest way
    mbuf_bytes: int = 1 << 24
    externals: tuple[External, ...] = ()  # that may be called beside the library's
    library: Library | None = None


@dataclass
class Cost:
    iterations: int = 0  # of loops' bodies, at most
    steps: int = 0  # operations, at most; a load, a store, an operator, a comparison each count for one
    deepest: int = 0  # loops within each other
    uses_memory: bool = False
    calls: dict[str, External] = field(default_factory=dict)  # uses of external functions, by their key

    @property
    def uses(self) -> tuple[External, ...]:
        """Of external functions, in the order in which the program's code finds them."""
        return tuple(sorted(self.calls.values(), key=lambda external: external.name))

    @property
    def externals(self) -> tuple[str, ...]:
        """Names of the uses, in that order."""
        return tuple(external.name for external in self.uses)


class Checker:
    def __init__(self, source: Source, policy: Policy, mbuf_bytes: int) -> None:
        self._source, self._policy, self._mbuf = source, policy, mbuf_bytes
        self._known = Known(policy.externals, policy.library)
        self._loops: list[int] = []  # registers of the loops that we are in
        self.cost = Cost()

    def _error(self, message: str, at: int, hint: str = "") -> FplError:
        return self._source.error(message, at, hint)

    def program(self, statements: tree.Program) -> Cost:
        self.cost.steps = self._block(statements, 1)
        if self.cost.iterations > self._policy.iterations:
            raise self._error(f"its loops run {self.cost.iterations} times, more than {self._policy.iterations}", 0,
                              "Lower a MAX.")  # fmt: skip
        if self.cost.steps > self._policy.steps:
            raise self._error(f"it takes up to {self.cost.steps} steps, more than {self._policy.steps}", 0)
        return self.cost

    # ---- statements: the steps they take, times the rounds of the loops around them ----

    def _block(self, statements: tree.Program, rounds: int) -> int:
        return sum(self._statement(statement, rounds) for statement in statements)

    def _statement(self, statement: tree.Statement, rounds: int) -> int:
        if isinstance(statement, tree.Assign):
            return self._assign(statement) * rounds
        if isinstance(statement, tree.If):
            test = self._value(statement.test)[1] * rounds
            return test + max(self._block(statement.then, rounds), self._block(statement.otherwise, rounds))
        if isinstance(statement, tree.For):
            return self._for(statement, rounds)
        if isinstance(statement, tree.Return):
            return (self._value(statement.value)[1] + 1) * rounds
        if isinstance(statement, tree.Call):
            return self._value(statement.extern)[1] * rounds
        if isinstance(statement, tree.Break) and not self._loops:
            raise self._error("BREAK stands in no FOR", statement.at)
        return rounds

    def _assign(self, statement: tree.Assign) -> int:
        target = statement.target
        kind, steps = self._value(target)
        value, more = self._value(statement.value)
        if isinstance(target, (tree.Register, tree.Memory)) and _calls(target.index, target.sub):
            raise self._error("EXTERN cannot stand in the index of what is written", statement.at,
                              "It could be called more than once: put its value into a register first.")  # fmt: skip
        if isinstance(target, tree.Register) and self._loops:
            if not isinstance(target.index, tree.Number):
                raise self._error("which register is written in a loop must be known", statement.at,
                                  "It may be the one that counts the rounds.")  # fmt: skip
            if target.index.value in self._loops:
                raise self._error(f"R[{target.index.value}] counts the rounds of a FOR around here", statement.at,
                                  "It cannot be written within. To leave early, BREAK.")  # fmt: skip
        if statement.op not in ("=", "<<=", ">>="):
            self._meet(kind, value, statement.at)
        return steps + more + 1

    def _for(self, statement: tree.For, rounds: int) -> int:
        loop = self._shape(statement)
        if loop.register in self._loops:
            raise self._error(f"R[{loop.register}] counts the rounds of a FOR around here", statement.at)
        head = self._value(statement.test)[1] + (self._value(statement.first.value)[1] if statement.first else 0) + 2
        most = loop.count()
        if most is None:
            most = statement.most if statement.most is not None else self._mbuf // 4
            if not most and statement.most is None:
                raise self._error("how often this FOR runs is not known", statement.at, "Write MAX n behind it.")
        elif statement.most is not None:
            most = min(most, statement.most)
        statement.most = most
        self.cost.iterations += most * rounds
        self._loops.append(loop.register)
        self.cost.deepest = max(self.cost.deepest, len(self._loops))
        body = self._block(statement.body, rounds * most)
        self._loops.pop()
        return head * rounds + body + 3 * rounds * most

    def _shape(self, statement: tree.For) -> Loop:
        try:
            return loop_of(statement)
        except ValueError as error:
            raise self._error(str(error), statement.at, "A FOR counts: FOR (R[1] = 0; R[1] < n; R[1]++).") from None

    # ---- values: signed (None: a number, which is either), and steps ----

    def _meet(self, left: bool | None, right: bool | None, at: int) -> bool | None:
        if left is None:
            return right
        if right is None or left == right:
            return left
        raise self._error("signed and unsigned meet", at, "Read one as the other: R[0].S64[0], PKT.U8[n] ...")

    def _all(self, *exprs: tree.Expr) -> int:
        return sum(self._value(expr)[1] for expr in exprs)

    def _value(self, expr: tree.Expr) -> tuple[bool | None, int]:
        if isinstance(expr, tree.Number):
            return None, 0
        if isinstance(expr, tree.Fact):
            return False, 1
        if isinstance(expr, tree.Unary):
            signed, steps = self._value(expr.operand)
            return (False if expr.op == "!" else signed), steps + 1
        if isinstance(expr, tree.Binary):
            return self._binary(expr)
        if isinstance(expr, tree.When):
            test, (signed, steps) = self._all(expr.test), self._value(expr.value)
            return (False if signed is None else signed), test + steps + 1
        if isinstance(expr, tree.Member):
            return False, self._member(expr)
        if isinstance(expr, tree.Hash):
            return False, self._hash(expr)
        if isinstance(expr, tree.Contains):
            if not 0 < len(expr.octets) <= CONTAINS_MAX:
                raise self._error(f"a byte string has 1 to {CONTAINS_MAX} octets", expr.at)
            return False, self._all(expr.value) + SCAN_MAX * 4
        if isinstance(expr, tree.Extern):
            return False, self._extern(expr)
        assert isinstance(expr, (tree.Register, tree.Memory, tree.Packet)), expr
        return self._place(expr)

    def _place(self, expr: tree.Register | tree.Memory | tree.Packet) -> tuple[bool | None, int]:
        steps = self._all(expr.index) + 1
        signed = False if isinstance(expr, tree.Register) else expr.kind.signed
        whole = 64 if isinstance(expr, tree.Register) else expr.kind.bits
        if isinstance(expr, tree.Other):
            steps += self._other(expr)
        elif isinstance(expr, tree.Memory):
            self.cost.uses_memory = True
            if not self._mbuf:
                raise self._error("this filter has no MBuf", expr.at, 'Give the tuple a size: (FPL-2,"...",1024).')
        if expr.sub:
            steps += self._all(expr.sub.index) + 2
            index = expr.sub.index
            if isinstance(index, tree.Number) and index.value >= whole // expr.sub.kind.bits:
                raise self._error(f"there is no {expr.sub.kind}[{index.value}] in {whole} bits", expr.at,
                                  f"They are numbered from 0 to {whole // expr.sub.kind.bits - 1}.")  # fmt: skip
            signed = expr.sub.kind.signed
        return signed, steps

    def _binary(self, expr: tree.Binary) -> tuple[bool | None, int]:
        left, steps = self._value(expr.left)
        right, more = self._value(expr.right)
        if expr.op in ("&&", "||"):
            return False, steps + more + 1
        if expr.op in ("<<", ">>"):
            return left, steps + more + 1
        signed = self._meet(left, right, expr.at)
        if expr.op in ("/", "%") and isinstance(expr.right, tree.Number) and expr.right.value == 0:
            raise self._error("division by 0", expr.right.at)
        return (False if expr.op in FLIPPED else signed), steps + more + 1

    def _member(self, expr: tree.Member) -> int:
        signed, steps = self._value(expr.value)
        for element in expr.elements:
            for end in (element.low, element.high):
                other, more = self._value(end)
                self._meet(signed, other, end.at)
                steps += more
            if isinstance(element.low, tree.Number) and isinstance(element.high, tree.Number) and (
                element.low.value > element.high.value):  # fmt: skip
                raise self._error("a range that ends before it begins", element.at)
        return steps + 2 * len(expr.elements)

    def _hash(self, expr: tree.Hash) -> int:
        length, size = expr.length, expr.size
        if not isinstance(length, tree.Number) or not 0 < length.value <= HASH_MAX:
            raise self._error(f"HASH takes a known number of octets, 1 to {HASH_MAX}", length.at)
        if not isinstance(size, tree.Number) or not 0 < size.value <= 1 << 32:
            raise self._error("HASH's table has a known size, at least 1", size.at)
        return self._all(expr.start) + 3 * length.value + 4

    def _other(self, expr: tree.Other) -> int:
        name = expr.call().name
        external = self._known.find(name)
        if external is None:
            raise self._error(f"no filter {expr.name.lower()} is there whose MBuf could be read", expr.at,
                              "It is a node before this one, alone of that name, with an MBuf.")  # fmt: skip
        self.cost.calls[external.key] = external
        return external.steps

    def _extern(self, expr: tree.Extern) -> int:
        try:
            external = self._known.find(expr.name)
        except ValueError as refusal:
            raise self._error(str(refusal), expr.at) from None
        if external is None:
            known = ", ".join(name for name in self._known.names() if not name.startswith(tree.OTHER)) or "none"
            raise self._error(f"no external function {expr.name} may be called here", expr.at, f"Known: {known}.")
        for offset, octets, does in (
            (expr.read_at, external.reads, "reads"),
            (expr.write_at, external.writes, "writes"),
        ):
            if octets > self._mbuf:
                raise self._error(f"{external.name} {does} {octets} octets of MBuf; this filter has {self._mbuf}",
                                  expr.at)  # fmt: skip
            if isinstance(offset, tree.Number) and octets and offset.value + octets > self._mbuf:
                raise self._error(f"{external.name} {does} {octets} octets from {offset.value} on, beyond the MBuf's "
                                  f"{self._mbuf}", offset.at)  # fmt: skip
        self.cost.calls[external.key] = external
        return self._all(expr.read_at, expr.write_at) + 4 + external.steps


def _calls(index: tree.Expr, sub: tree.Sub | None) -> bool:
    """An EXTERN is somewhere in there."""
    return any(isinstance(node, tree.Extern) for node in tree.within(index, sub))


@dataclass(frozen=True)
class Loop:
    """FOR (R[register] = first; R[register] op bound; R[register] += step)."""

    register: int
    op: str
    first: tree.Expr | None
    bound: tree.Expr
    step: int  # modulo 2^64: a step down is 2^64 - 1

    def count(self) -> int | None:
        """Rounds, where they are known; not more than 2^32 are counted."""
        if not isinstance(self.first, tree.Number) or not isinstance(self.bound, tree.Number):
            return None
        first, bound, down = self.first.value, self.bound.value, self.step >> 63
        size = (1 << 64) - self.step if down else self.step
        if self.op in ("<", "<=") and not down:
            return max(0, -(-(bound + (self.op == "<=") - first) // size))
        if self.op in (">", ">=") and down and bound >= size:  # else it passes 0, and goes on from the top
            return max(0, -(-(first - bound + (self.op == ">=")) // size))
        return None


def _register(expr: tree.Expr | None) -> int | None:
    if isinstance(expr, tree.Register) and expr.sub is None and isinstance(expr.index, tree.Number):
        return expr.index.value
    return None


def loop_of(statement: tree.For) -> Loop:
    """Raises ValueError when it is no loop that counts."""
    test, first, step = statement.test, statement.first, statement.step
    if not isinstance(test, tree.Binary) or test.op not in FLIPPED:
        raise ValueError("a FOR's test compares its register with a bound")
    register, op, bound = _register(test.left), test.op, test.right
    if step is None or step.op not in ("+=", "-=") or not isinstance(step.value, tree.Number) or not step.value.value:
        raise ValueError("a FOR's register goes up or down by a number")
    if _register(step.target) != register:
        register, op, bound = _register(test.right), FLIPPED[test.op], test.left
    if register is None or _register(step.target) != register:
        raise ValueError("a FOR tests and steps one register")
    if first is not None and (first.op != "=" or _register(first.target) != register):
        raise ValueError("a FOR begins by setting the register that it tests")
    size = step.value.value if step.op == "+=" else (1 << 64) - step.value.value
    return Loop(register, op, first.value if first else None, bound, size)
