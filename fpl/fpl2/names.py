# SPDX-License-Identifier: BSD-3-Clause
"""Second pass: names become what they mean.

takes    tree.Program with Names, Macros, Searches, Wides and Texts
gives    tree.Program in which Register, Memory, Packet, Fact, Number, When and Contains stand in their places, without
         Groups; sets in order

A name is a part of the packet (PKT.B[n]), of memory (MEM[n], M[n]), a register (R[n]), a fact (LEN), what the prologue
found (L3), or a macro; macros are expanded here, and a name that stands for none is an error with what it may have
meant. INNER.name is the same of the packet that this one carries.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from fpl.fpl2 import sets, strings, tree
from fpl.fpl2.check import CONTAINS_MAX
from fpl.fpl2.files import FileRefusedError, Folders
from fpl.fpl2.found import BANKS, FOUND, SCRATCH, Used, register
from fpl.fpl2.literals import MAPPED, NUMBER_MAX, Span
from fpl.fpl2.parse import parse
from fpl.fpl2.report import WORD_MAX, FplError, Source
from fpl.fpl2.scope import FACTS, UNITS, Scope, kind_of

DEPTH_MAX = 16  # of macros within macros
NESTED_MAX = 80  # of terms within terms, macros' among them: all passes recurse
EXPANDED_MAX = 20000  # nodes that macros may become


class Names:
    """bank: of the packet that plain names are about."""

    def __init__(
        self,
        scope: Scope,
        *,
        bank: int = 0,
        files: Folders | None = None,
        interface: Callable[[str], int | None] | None = None,
    ) -> None:
        self._scope, self._bank = scope, bank
        self._files, self._interface = files or Folders(), interface
        self._depth = self._nested = self._expanded = 0
        self._outermost: int | None = None  # where the name stands whose macro we are in
        self.found: Used = set()  # names of the prologue's that were met

    def _error(self, message: str, at: int, hint: str = "") -> FplError:
        return self._scope.source.error(message, at, hint)

    def _at(self, node: tree.Node) -> int:
        """A macro's terms stand where its name stands, so that errors show the program, not the macro."""
        return node.at if self._outermost is None else self._outermost

    # ---- statements ----

    def program(self, statements: tree.Program) -> tree.Program:
        out: tree.Program = []
        for statement in statements:
            if isinstance(statement, tree.Macro):
                self._scope.define(statement)
            elif isinstance(statement, tree.Use):
                self.use(Source(self._read(statement.file, statement.at), statement.file))
            else:
                out.append(self._statement(statement))
        return out

    def use(self, source: Source) -> None:
        """A file of macros: they see those before them, and are seen by what comes behind."""
        scope = Scope(source, self._scope.snapshot())
        for macro in parse(source, "macros"):
            assert isinstance(macro, tree.Macro)
            scope.define(macro)
        self._scope.take(scope)

    def _read(self, file: str, at: int) -> str:
        try:
            return self._files.read(file)
        except FileRefusedError as error:
            raise self._error(error.message, at, error.hint) from None

    def _statement(self, statement: tree.Statement) -> tree.Statement:
        if isinstance(statement, tree.Assign):
            return self._assign(statement)
        if isinstance(statement, tree.If):
            return replace(statement, test=self.expr(statement.test), then=self.program(statement.then),
                           otherwise=self.program(statement.otherwise))  # fmt: skip
        if isinstance(statement, tree.For):
            return replace(
                statement,
                first=self._assign(statement.first) if statement.first else None,
                test=self.expr(statement.test),
                step=self._assign(statement.step) if statement.step else None,
                body=self.program(statement.body),
            )
        if isinstance(statement, tree.Return):
            return replace(statement, value=self.expr(statement.value))
        if isinstance(statement, tree.Call):
            extern = self.expr(statement.extern)
            assert isinstance(extern, tree.Extern)
            return replace(statement, extern=extern)
        return statement

    def _assign(self, statement: tree.Assign) -> tree.Assign:
        target = self._any(statement.target)
        if isinstance(target, (tree.Packet, tree.Wide)):
            raise self._error("a filter cannot change the packet", statement.at, "Write to a register or to MEM.")
        if isinstance(target, tree.Other):
            raise self._error("a filter reads another one's memory, and cannot write it", statement.at,
                              "Write to MEM, or call a filter, which has this one's.")  # fmt: skip
        hidden = isinstance(target, tree.Register) and isinstance(target.index, tree.Number) and (
            target.index.value >= tree.REGISTERS)  # fmt: skip
        if not isinstance(target, (tree.Register, tree.Memory)) or (hidden and not self._scope.prologue):
            raise self._error("only R[n] and MEM[n] can be written", statement.at)
        return replace(statement, target=target, value=self.expr(statement.value))

    # ---- expressions ----

    def expr(self, expr: tree.Expr) -> tree.Expr:
        """A value of 64 bits."""
        found = self._any(expr)
        if isinstance(found, tree.Wide):
            raise self._error("128 bits are compared, by == != and IN, and nothing else", self._at(expr),
                              "Their halves are numbers: PKT.U64[n], IP6_SRC_HIGH, IP6_SRC_LOW ...")  # fmt: skip
        if isinstance(found, tree.Text):
            raise self._error("a string is no number", self._at(expr),
                              'One is looked for, PAYLOAD CONTAINS "GET", or a name, INTERFACE == "eth0".')  # fmt: skip
        return found

    def _any(self, expr: tree.Expr) -> tree.Expr:
        self._expanded += 1
        if self._expanded > EXPANDED_MAX:
            raise self._error(f"with its macros the program is more than {EXPANDED_MAX} terms", self._at(expr))
        self._nested += 1
        if self._nested > NESTED_MAX:
            raise self._error(f"with its macros, more than {NESTED_MAX} terms are within each other", self._at(expr))
        found = _RESOLVERS[type(expr)](self, expr)
        self._nested -= 1
        return found

    def _number(self, expr: tree.Number) -> tree.Expr:
        return expr if self._outermost is None else replace(expr, at=self._outermost)

    def _text(self, expr: tree.Text) -> tree.Expr:
        return tree.Text(self._at(expr), expr.octets, expr.text)

    def _group(self, expr: tree.Group) -> tree.Expr:
        return self._any(expr.inner)

    def _wide(self, expr: tree.Wide) -> tree.Expr:
        return tree.Wide(self._at(expr), self.expr(expr.high), self.expr(expr.low), expr.text)

    def _unary(self, expr: tree.Unary) -> tree.Expr:
        return tree.Unary(self._at(expr), expr.op, self.expr(expr.operand))

    def _binary(self, expr: tree.Binary) -> tree.Expr:
        at = self._at(expr)
        if expr.op == "/" and isinstance(expr.left, (tree.Address, tree.Wide)) and isinstance(expr.right, tree.Number):
            network = f"{expr.left.text}/{expr.right.text}"
            raise self._error(f"{network} is no number", at, f"A network stands in a set: IN {{{network}}}.")
        if expr.op not in ("==", "!="):
            return tree.Binary(at, expr.op, self.expr(expr.left), self.expr(expr.right))
        left, right = self._any(expr.left), self._any(expr.right)
        if isinstance(left, tree.Wide) or isinstance(right, tree.Wide):
            return sets.equal(self._widened(left, at), self._widened(right, at), expr.op, at)
        return tree.Binary(at, expr.op, self._named(left, right), self._named(right, left))

    def _hash(self, expr: tree.Hash) -> tree.Expr:
        return tree.Hash(self._at(expr), self.expr(expr.start), self.expr(expr.length), self.expr(expr.size))

    def _extern(self, expr: tree.Extern) -> tree.Expr:
        return replace(expr, at=self._at(expr), read_at=self.expr(expr.read_at), write_at=self.expr(expr.write_at))

    def _search(self, expr: tree.Search) -> tree.Expr:
        at, value = self._at(expr), self.expr(expr.value)
        if not 0 < len(expr.octets) <= CONTAINS_MAX:
            raise self._error(f"a byte string has 1 to {CONTAINS_MAX} octets", at)
        test = value.test if isinstance(value, tree.When) else None
        start = value.value if isinstance(value, tree.When) else value
        found: tree.Expr
        if expr.op == "CONTAINS":
            octets = strings.small(expr.octets) if expr.any_case else expr.octets
            found = tree.Contains(at, start, octets, expr.any_case)
        else:
            self._no_calls(start, at)
            found = strings.starts(at, start, expr.octets, expr.any_case)
        if test:  # a header that is not there contains nothing
            found = tree.When(at, test, found)
        return tree.Unary(at, "!", found) if expr.negated else found

    def _no_calls(self, expr: tree.Expr, at: int) -> None:
        if any(isinstance(node, tree.Extern) for node in tree.within(expr)):
            raise self._error("EXTERN cannot stand in what is compared piece by piece", at,
                              "It would be called more than once: put its value into a register first.")  # fmt: skip

    # ---- 128 bits, sets, interfaces ----

    def _widened(self, expr: tree.Expr, at: int) -> tree.Wide:
        """Resolved, as 128 bits."""
        if isinstance(expr, tree.Address):
            return tree.Wide(at, tree.Number(at, 0), tree.Number(at, MAPPED | expr.value))
        if not isinstance(expr, tree.Wide):
            raise self._error("128 bits and 64 meet", at, "Compare with an address: 2001:db8::1, 10.0.0.1.")
        self._no_calls(expr, at)
        return expr

    def _named(self, expr: tree.Expr, other: tree.Expr) -> tree.Expr:
        """A string that meets IFINDEX is the number of that interface; all else stays."""
        if not isinstance(expr, tree.Text):
            return expr
        if not isinstance(other, tree.Fact) or other.name != "IFINDEX":
            raise self._error("a string can only be compared with INTERFACE", expr.at,
                              'To look for it in the packet: PAYLOAD CONTAINS "GET".')  # fmt: skip
        name = expr.octets.decode(errors="replace")
        if not self._interface:
            raise self._error("packets of savefiles have no interface of this machine", expr.at,
                              "IFINDEX is the number that a pcapng file gives its own.")  # fmt: skip
        number = self._interface(name)
        if number is None:
            raise self._error(f"there is no interface {name}", expr.at, "`ip link` lists those that there are.")
        return tree.Number(expr.at, number, expr.text)

    def _member(self, expr: tree.Member) -> tree.Expr:
        at, value = self._at(expr), self._any(expr.value)
        spans: list[Span] = []
        others: list[tree.Range] = []
        for element in expr.elements:
            low = self._named(self._any(element.low), value)
            high = low if element.high is element.low else self._named(self._any(element.high), value)
            span = _span(low, high)
            if span and span.low <= span.high:
                spans.append(span)
            else:  # known when it runs; or ends before it begins, of which check tells
                others.append(tree.Range(self._at(element), low, high))
        for listed in expr.listed:
            spans += sets.from_text(Source(self._read(listed.file, self._at(listed)), listed.file))
        if isinstance(value, tree.Wide):
            return self._wide_member(at, value, spans, others, expr.negated)
        if isinstance(value, tree.Text):
            raise self._error("a string is no number", at)
        if any(span.wide for span in spans) or any(isinstance(each.low, tree.Wide) for each in others):
            raise self._error("128 bits and 64 meet", at, "IPv6 addresses are compared with IP6_SRC, SRC, PKT.U128[n].")
        return sets.narrow(at, value, [(span.low, span.high) for span in spans], others, expr.negated)

    def _wide_member(
        self, at: int, value: tree.Wide, spans: list[Span], others: list[tree.Range], negated: bool
    ) -> tree.Expr:
        self._no_calls(value, at)
        ends = []
        for span in spans:
            if not span.wide and not span.address:
                raise self._error("128 bits and 64 meet", at, "Addresses are in a set with addresses.")
            more = MAPPED if span.address else 0
            ends.append((span.low | more, span.high | more))
        single = []
        for other in others:
            if other.high is not other.low:
                raise self._error("a range of 128 bits is between addresses that are written down", other.at)
            single.append(self._widened(other.low, other.at))
        return sets.wide(at, value, ends, single, negated)

    # ---- names ----

    def _name(self, name: tree.Name) -> tree.Expr:
        parts = name.parts
        first = parts[0].name.upper()
        if first == "PKT" and parts[0].index is None and len(parts) > 1:
            parts = parts[1:]
            if self._is_access(parts[0]):
                return self._access(self._at(name), parts, packet=True)
            first = parts[0].name.upper()
        elif first in ("MEM", "M"):
            return self._memory(self._at(name), parts)
        elif "@" in first:
            place = self._memory(self._at(name), parts)
            return tree.Other(place.at, place.kind, place.index, place.scale, place.sub, first.partition("@")[2])
        elif first == "R":
            return self._register(self._at(name), parts)
        bank = self._bank
        while first == "INNER" and parts[0].index is None and len(parts) > 1:
            bank, parts = bank + 1, parts[1:]
            first = parts[0].name.upper()
        if len(parts) > 1 or parts[0].index is not None:
            raise self._unknown(parts, first)
        if bank >= BANKS:
            raise self._error(f"more than {BANKS - 1} packets within each other", self._at(name))
        return self._word(parts[0], first, bank)

    def _word(self, part: tree.Part, word: str, bank: int) -> tree.Expr:
        at = self._at(part)
        if word in FACTS or word == "INTERFACE":
            return tree.Fact(at, "IFINDEX" if word == "INTERFACE" else word)
        if word in FOUND or (word in SCRATCH and self._scope.prologue):
            if word in FOUND:
                self.found.add((bank, word))
            return tree.Register(at, tree.Number(at, register(word, bank)))
        macro, scope = self._scope.lookup(word)
        if macro is None:
            raise self._unknown([part], word)
        if self._depth == DEPTH_MAX:
            raise self._error(f"{word} stands for itself, or for too many macros within each other", at)
        return self._expanded_macro(macro, scope, at, bank)

    def _expanded_macro(self, macro: tree.Macro, scope: Scope, at: int, bank: int) -> tree.Expr:
        """The errors of what a macro stands for are those of the place where its name is: of `self._scope`'s text."""
        outside = self._scope, self._bank, self._outermost
        if scope is not self._scope:
            self._scope = Scope(self._scope.source, scope)
        self._bank, self._outermost = bank, at
        self._depth += 1
        value = self._any(macro.value)
        test = self.expr(macro.test) if macro.test else None
        self._depth -= 1
        self._scope, self._bank, self._outermost = outside
        if not test:
            return value
        if isinstance(value, tree.Wide):
            return tree.Wide(at, tree.When(at, test, value.high), tree.When(at, test, value.low))
        if isinstance(value, tree.Text):
            raise self._error("a string has no WHEN", at)
        return tree.When(at, test, value)

    def _unknown(self, parts: list[tree.Part], word: str) -> FplError:
        known = [*self._scope.names(), *FACTS, *FOUND, "INTERFACE"]
        at = self._at(parts[0])
        if len(parts) == 1 and parts[0].index is not None and word in known:
            return self._error(f"{parts[0].name} is one value: it has no [...]", at)
        near = difflib.get_close_matches(word, known, 3) if len(word) <= WORD_MAX else []
        hint = f"Is it {' or '.join(near)}?" if near else "Fields are written as PKT.IP_PROTO, octets as PKT.B[n]."
        return self._error(f"{'.'.join(part.name for part in parts)} is not known", at, hint)

    @staticmethod
    def _is_access(part: tree.Part) -> bool:
        name = part.name.upper()
        return part.index is not None and (name in UNITS or name == "U128" or kind_of(name) is not None)

    def _sub(self, parts: list[tree.Part], whole: tree.Kind) -> tree.Sub | None:
        """What stands behind PKT.W[n] and the like."""
        if not parts:
            return None
        kind, at = kind_of(parts[0].name), self._at(parts[0])
        if kind is None or parts[0].index is None:
            raise self._error(f"{parts[0].name} is no part of it", at,
                              "Parts are U1, U4, U8 ... and S1, S4, S8 ..., with [m].")  # fmt: skip
        if len(parts) > 1:
            raise self._error("a part has no parts", self._at(parts[1]))
        if kind.bits > whole.bits:
            raise self._error(f"{kind} is larger than what it is to be a part of, {whole}", at)
        return tree.Sub(kind, self.expr(parts[0].index))

    def _access(self, at: int, parts: list[tree.Part], *, packet: bool) -> tree.Expr:
        name = parts[0].name.upper()
        assert parts[0].index is not None
        if name == "U128":
            return self._access_wide(at, parts, packet=packet)
        unit = UNITS.get(name)
        kind = unit or kind_of(name)
        assert kind is not None
        if kind.bits < 8:
            raise self._error(f"{kind} is a part of an octet", self._at(parts[0]), f"Write B[n].{kind}[m].")
        index, scale = self.expr(parts[0].index), kind.bits // 8 if unit else 1
        sub = self._sub(parts[1:], kind)
        if packet:
            return tree.Packet(at, kind, index, scale, sub, self._scope.prologue)
        return tree.Memory(at, kind, index, scale, sub)

    def _access_wide(self, at: int, parts: list[tree.Part], *, packet: bool) -> tree.Expr:
        if not packet or len(parts) > 1:
            raise self._error("only the packet has U128, and that has no parts", at)
        assert parts[0].index is not None
        index = self.expr(parts[0].index)
        behind = tree.Binary(at, "+", index, tree.Number(at, 8))
        high, low = (tree.Packet(at, tree.U64, each, 1, None, self._scope.prologue) for each in (index, behind))
        return tree.Wide(at, high, low)

    def _memory(self, at: int, parts: list[tree.Part]) -> tree.Memory:
        if parts[0].index is not None:  # MEM[n]: the n-th double word
            index = self.expr(parts[0].index)
            return tree.Memory(at, tree.Kind(32), index, 4, self._sub(parts[1:], tree.Kind(32)))
        if len(parts) > 1 and self._is_access(parts[1]):
            place = self._access(at, parts[1:], packet=False)
            assert isinstance(place, tree.Memory)  # 128 bits are refused
            return place
        raise self._error("memory is written as MEM[n], MEM.B[n], MEM.U16[n] ...", at)

    def _register(self, at: int, parts: list[tree.Part]) -> tree.Expr:
        if parts[0].index is None:
            raise self._error("a register is written as R[n]", at)
        index = self.expr(parts[0].index)
        if isinstance(index, tree.Number) and index.value >= tree.REGISTERS:
            raise self._error(f"there is no R[{index.value}]", at, f"Registers are R[0] to R[{tree.REGISTERS - 1}].")
        return tree.Register(at, index, self._sub(parts[1:], tree.U64))


def _span(low: tree.Expr, high: tree.Expr) -> Span | None:
    """Where both ends are numbers."""
    ends = []
    for end in (low, high):
        if isinstance(end, tree.Number):
            ends.append((end.value, False))
        elif isinstance(end, tree.Wide) and isinstance(end.high, tree.Number) and isinstance(end.low, tree.Number):
            ends.append((end.high.value << 64 | end.low.value & NUMBER_MAX, True))
        else:
            return None
    if ends[0][1] != ends[1][1]:
        return None
    return Span(ends[0][0], ends[1][0], ends[0][1], isinstance(low, tree.Address) and isinstance(high, tree.Address))


_RESOLVERS: dict[type[tree.Expr], Callable[..., tree.Expr]] = {
    tree.Name: Names._name, tree.Group: Names._group, tree.Unary: Names._unary, tree.Binary: Names._binary,
    tree.Member: Names._member, tree.Search: Names._search, tree.Hash: Names._hash, tree.Extern: Names._extern,
    tree.Wide: Names._wide, tree.Text: Names._text, tree.Number: Names._number, tree.Address: Names._number,
}  # fmt: skip
