# SPDX-License-Identifier: BSD-3-Clause
"""Second pass: names become what they mean.

takes    tree.Program with Names and Macros
gives    tree.Program in which Register, Memory, Packet, Fact, Number and When stand in their places, without Groups

A name is a part of the packet (PKT.B[n]), of memory (MEM[n], M[n]), a register (R[n]), a fact (LEN), what the prologue
found (L3), or a macro; macros are expanded here, and a name that stands for none is an error with what it may have
meant.
"""

from __future__ import annotations

import copy
import difflib
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from fpl.fpl2 import tree
from fpl.fpl2.parse import parse
from fpl.fpl2.report import FplError, Source

# Units of the paper: octet, word and double word (the paper's machine: 8, 16 and 32 bits); n counts units.
UNITS = {"B": tree.Kind(8), "W": tree.Kind(16), "D": tree.Kind(32), "Q": tree.Kind(64)}
FACTS = {
    "LEN": "octets on the wire", "CAPLEN": "octets captured", "IFINDEX": "the interface's number",
    "PKTTYPE": "who it is for: PACKET_HOST (0) to PACKET_OUTGOING (4)", "VLAN_PRESENT": "1: the kernel took a tag out",
    "VLAN_TCI": "... which was this",
}  # fmt: skip
FOUND = ("L3", "L4", "L2TYPE", "L4PROTO", "VLAN_TAGS", "VLAN_OUTER", "STEP_COUNT")  # hidden registers, in order
DEPTH_MAX = 16  # of macros within macros
EXPANDED_MAX = 20000  # nodes that macros may become
_KIND = re.compile(r"([US])(1|2|4|8|16|32|64)", re.IGNORECASE)


def kind_of(name: str) -> tree.Kind | None:
    """U8, S16 ..."""
    found = _KIND.fullmatch(name)
    return tree.Kind(int(found[2]), found[1].upper() == "S") if found else None


@dataclass
class Scope:
    """Macros in force; FplError names the file in which one was written."""

    source: Source
    macros: dict[str, tree.Macro] = field(default_factory=dict)
    prologue: bool = False  # hidden registers may be written, and the packet is read softly

    def define(self, macro: tree.Macro) -> None:
        name = macro.name.upper()
        if name in UNITS or name in FACTS or name in FOUND or name in ("PKT", "MEM", "M", "R") or kind_of(name):
            raise self.source.error(f"{macro.name} has a meaning of its own", macro.at, "Choose another name.")
        self.macros[name] = macro


@lru_cache(maxsize=16)
def _file(name: str) -> tuple[Source, tree.Program]:
    source = Source((Path(__file__).parent / name).read_text(), name)
    return source, parse(source, "macros" if name == "fields.fpl" else "start")


def standard_macros() -> dict[str, tree.Macro]:
    scope = Scope(_file("fields.fpl")[0])
    for macro in _file("fields.fpl")[1]:
        assert isinstance(macro, tree.Macro)
        scope.define(macro)
    return scope.macros


def prologue(link: str) -> tree.Program:
    """What finds L3 to VLAN_OUTER, resolved; link: a key of LINKS."""
    found: tree.Program = []
    for name in (f"prologue_{link}.fpl", "prologue_ip.fpl"):
        source, program = _file(name)
        found += Names(Scope(source, prologue=True)).program(copy.deepcopy(program))
    return found


LINKS = {"ethernet": 1, "raw": 12, "sll": 113, "sll2": 276}  # DLT_* values


class Names:
    def __init__(self, scope: Scope) -> None:
        self._scope, self._depth, self._expanded = scope, 0, 0
        self.found_used = False  # a name of the prologue's was met

    def _error(self, message: str, at: int, hint: str = "") -> FplError:
        return self._scope.source.error(message, at, hint)

    def program(self, statements: tree.Program) -> tree.Program:
        out: tree.Program = []
        for statement in statements:
            if isinstance(statement, tree.Macro):
                self._scope.define(statement)
            else:
                out.append(self._statement(statement))
        return out

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
        target = self.expr(statement.target)
        if isinstance(target, tree.Packet):
            raise self._error("a filter cannot change the packet", statement.at, "Write to a register or to MEM.")
        hidden = isinstance(target, tree.Register) and isinstance(target.index, tree.Number) and (
            target.index.value >= tree.REGISTERS)  # fmt: skip
        if not isinstance(target, (tree.Register, tree.Memory)) or (hidden and not self._scope.prologue):
            raise self._error("only R[n] and MEM[n] can be written", statement.at)
        return replace(statement, target=target, value=self.expr(statement.value))

    def expr(self, expr: tree.Expr) -> tree.Expr:
        self._expanded += 1
        if self._expanded > EXPANDED_MAX:
            raise self._error(f"with its macros the program is more than {EXPANDED_MAX} terms", expr.at)
        if isinstance(expr, tree.Name):
            return self._name(expr)
        if isinstance(expr, tree.Group):
            return self.expr(expr.inner)
        if isinstance(expr, tree.Unary):
            return replace(expr, operand=self.expr(expr.operand))
        if isinstance(expr, tree.Binary):
            return replace(expr, left=self.expr(expr.left), right=self.expr(expr.right))
        if isinstance(expr, tree.Member):
            elements = [replace(e, low=self.expr(e.low), high=self.expr(e.high)) for e in expr.elements]
            return replace(expr, value=self.expr(expr.value), elements=elements)
        if isinstance(expr, tree.Contains):
            return replace(expr, value=self.expr(expr.value))
        if isinstance(expr, tree.Hash):
            return replace(expr, start=self.expr(expr.start), length=self.expr(expr.length), size=self.expr(expr.size))
        if isinstance(expr, tree.Extern):
            return replace(expr, read_at=self.expr(expr.read_at), write_at=self.expr(expr.write_at))
        return expr

    # ---- names ----

    def _name(self, name: tree.Name) -> tree.Expr:
        parts = name.parts
        first = parts[0].name.upper()
        if first == "PKT" and parts[0].index is None and len(parts) > 1:
            parts = parts[1:]
            if self._is_access(parts[0]):
                return self._access(name.at, parts, packet=True)
            first = parts[0].name.upper()
        elif first in ("MEM", "M"):
            return self._memory(name.at, parts)
        elif first == "R":
            return self._register(name.at, parts)
        if len(parts) > 1 or parts[0].index is not None:
            raise self._unknown(parts, first)
        return self._word(parts[0], first)

    def _word(self, part: tree.Part, word: str) -> tree.Expr:
        if word in FACTS:
            return tree.Fact(part.at, word)
        if word in FOUND:
            self.found_used = True
            return tree.Register(part.at, tree.Number(part.at, tree.REGISTERS + FOUND.index(word)))
        macro = self._scope.macros.get(word)
        if macro is None:
            raise self._unknown([part], word)
        if self._depth == DEPTH_MAX:
            raise self._error(f"{word} stands for itself, or for too many macros within each other", part.at)
        self._depth += 1
        value = self.expr(_moved(macro.value, part.at))
        test = self.expr(_moved(macro.test, part.at)) if macro.test else None
        self._depth -= 1
        return tree.When(part.at, test, value) if test else value

    def _unknown(self, parts: list[tree.Part], word: str) -> FplError:
        known = [*self._scope.macros, *FACTS, *FOUND[:-1]]
        if len(parts) == 1 and parts[0].index is not None and word in known:
            return self._error(f"{parts[0].name} is one value: it has no [...]", parts[0].at)
        near = difflib.get_close_matches(word, known, 3)
        hint = f"Is it {' or '.join(near)}?" if near else "Fields are written as PKT.IP_PROTO, octets as PKT.B[n]."
        return self._error(f"{'.'.join(part.name for part in parts)} is not known", parts[0].at, hint)

    @staticmethod
    def _is_access(part: tree.Part) -> bool:
        return part.index is not None and (part.name.upper() in UNITS or kind_of(part.name) is not None)

    def _sub(self, parts: list[tree.Part], whole: tree.Kind) -> tree.Sub | None:
        """What stands behind PKT.W[n] and the like."""
        if not parts:
            return None
        kind = kind_of(parts[0].name)
        if kind is None or parts[0].index is None:
            raise self._error(f"{parts[0].name} is no part of it", parts[0].at,
                              "Parts are U1, U4, U8 ... and S1, S4, S8 ..., with [m].")  # fmt: skip
        if len(parts) > 1:
            raise self._error("a part has no parts", parts[1].at)
        if kind.bits > whole.bits:
            raise self._error(f"{kind} is larger than what it is to be a part of, {whole}", parts[0].at)
        return tree.Sub(kind, self.expr(parts[0].index))

    def _access(self, at: int, parts: list[tree.Part], *, packet: bool) -> tree.Expr:
        unit = UNITS.get(parts[0].name.upper())
        kind = unit or kind_of(parts[0].name)
        assert kind is not None
        assert parts[0].index is not None
        if kind.bits < 8:
            raise self._error(f"{kind} is a part of an octet", parts[0].at, f"Write B[n].{kind}[m].")
        index, scale = self.expr(parts[0].index), kind.bits // 8 if unit else 1
        sub = self._sub(parts[1:], kind)
        if packet:
            return tree.Packet(at, kind, index, scale, sub, self._scope.prologue)
        return tree.Memory(at, kind, index, scale, sub)

    def _memory(self, at: int, parts: list[tree.Part]) -> tree.Expr:
        if parts[0].index is not None:  # MEM[n]: the n-th double word
            index = self.expr(parts[0].index)
            return tree.Memory(at, tree.Kind(32), index, 4, self._sub(parts[1:], tree.Kind(32)))
        if len(parts) > 1 and self._is_access(parts[1]):
            return self._access(at, parts[1:], packet=False)
        raise self._error("memory is written as MEM[n], MEM.B[n], MEM.U16[n] ...", at)

    def _register(self, at: int, parts: list[tree.Part]) -> tree.Expr:
        if parts[0].index is None:
            raise self._error("a register is written as R[n]", at)
        index = self.expr(parts[0].index)
        if isinstance(index, tree.Number) and index.value >= tree.REGISTERS:
            raise self._error(f"there is no R[{index.value}]", at, f"Registers are R[0] to R[{tree.REGISTERS - 1}].")
        return tree.Register(at, index, self._sub(parts[1:], tree.U64))


def _moved(expr: tree.Expr, at: int) -> tree.Expr:
    """A copy that stands where the macro's name stood, so that errors show the program, not the macro."""
    moved = copy.deepcopy(expr)
    for node in tree.within(moved):
        node.at = at
    return moved
