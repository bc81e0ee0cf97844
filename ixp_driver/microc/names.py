# SPDX-License-Identifier: BSD-3-Clause
"""What names of microengine C stand for: types, variables, and what is predefined."""

from __future__ import annotations

from dataclasses import dataclass

from pycparser import c_ast

from ixp_driver.microc.builder import Type
from ixp_driver.microc.ir import CompileError, V
from ixp_driver.microengine import isa

TYPES = {f"{sign}int{bits}_t": Type(bits, not sign) for bits in (8, 16, 32, 64) for sign in ("", "u")}
PRELUDE = "".join(
    f"typedef {'signed' if kind.signed else 'unsigned'} {word} {name};\n"
    for bits, word in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
    for name, kind in TYPES.items()
    if kind.bits == bits
)
PREDEFINED = {
    **{f"SIGNAL_{name}": 1 << number for name, number in isa.SIGNALS.items()},
    **{f"CSR_{name}": number for name, number in isa.CSRS.items()},
    "CSR_BOARD": isa.CSR_BOARD,
}


@dataclass
class Variable:
    type: Type
    low: V
    high: V | None


@dataclass(frozen=True)
class Imported:
    """`extern const uint32_t name;`"""

    name: str


Meaning = Variable | Imported | int  # int: a constant


class Scopes:
    def __init__(self) -> None:
        self._scopes: list[dict[str, Meaning]] = [dict(PREDEFINED)]

    def open(self) -> None:
        self._scopes.append({})

    def close(self) -> None:
        self._scopes.pop()

    def define(self, name: str, meaning: Meaning) -> None:
        if name in self._scopes[-1]:
            raise CompileError(f"{name} is defined twice")
        self._scopes[-1][name] = meaning

    def find(self, name: str) -> Meaning:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise CompileError(f"{name} is not defined")

    def of_file(self) -> Scopes:
        """What a function sees that is called from here: the file's names alone."""
        other = Scopes()
        other._scopes = [self._scopes[0], self._scopes[1] if len(self._scopes) > 1 else {}]
        return other


def type_of(node: c_ast.Node) -> Type | None:
    """Of a declaration's type; None: void."""
    if isinstance(node, (c_ast.TypeDecl, c_ast.Typename)):
        return type_of(node.type)
    if isinstance(node, c_ast.IdentifierType):
        words = node.names
        if words == ["void"]:
            return None
        if len(words) == 1 and words[0] in TYPES:
            return TYPES[words[0]]
        raise CompileError(f"{' '.join(words)}: types are void, int8_t to int64_t and uint8_t to uint64_t")
    raise CompileError("no arrays, pointers or structs: a microengine has registers, and memories that are referred to")
