# SPDX-License-Identifier: BSD-3-Clause
"""First pass: text to tree. The grammar is grammar.lark; precedence is C's.

takes    text
gives    tree.Program, names as they were written
"""

from __future__ import annotations

import codecs
import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken

from fpl.fpl2 import tree
from fpl.fpl2.report import FplError, Source

WORDS_MAX = 65536  # octets of a program's text
DEPTH_MAX = 40  # of nested statements and parentheses: all passes recurse
NUMBER_MAX = (1 << 64) - 1

SAID = {
    "NUMBER": "a number", "NAME": "a name", "STRING": "a string", "SEMICOLON": "';'", "RPAR": "')'", "LPAR": "'('",
    "RSQB": "']'", "LSQB": "'['", "LBRACE": "'{'", "RBRACE": "'}'", "COMMA": "','", "ASSIGN": "'='",
    "STEP": "'++' or '--'", "THEN": "THEN", "FI": "FI", "ROF": "ROF", "ELSE": "ELSE", "$END": "the end",
}  # fmt: skip


@lru_cache(maxsize=1)
def grammar() -> Lark:
    text = (Path(__file__).parent / "grammar.lark").read_text()
    return Lark(text, start=["start", "macros"], parser="lalr", propagate_positions=True, maybe_placeholders=True)


class _RefusedError(Exception):
    def __init__(self, message: str, at: int, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.at, self.hint = message, at, hint


def _start(meta: Any) -> int:
    return int(getattr(meta, "start_pos", 0))


def number_of(token: Token) -> int:
    text = str(token).lower()
    if len(text) > 1 and text[0] == "0" and text.isdigit():
        raise _RefusedError(
            f"'{token}' begins with 0", token.start_pos or 0, "Octal numbers are not known; write 0x for hex."
        )
    value = int(text, 0)
    if value > NUMBER_MAX:
        raise _RefusedError(f"{token} needs more than 64 bits", token.start_pos or 0)
    return value


def _octets(token: Token) -> bytes:
    """A string's octets: C's escapes, \\xHH among them."""
    try:
        return codecs.escape_decode(str(token)[1:-1].encode())[0]
    except ValueError as error:
        raise _RefusedError(f"a string's escape is not known: {error}", token.start_pos or 0) from None


@v_args(meta=True)
class _Builder(Transformer[Token, Any]):
    """Lark's tree to ours, from the leaves up."""

    def start(self, meta: Any, items: list[Any]) -> tree.Program:
        return list(items)

    def block(self, meta: Any, items: list[Any]) -> tree.Program:
        return list(items)

    def macros(self, meta: Any, items: list[Any]) -> tree.Program:
        return list(items)

    def macro(self, meta: Any, items: list[Any]) -> tree.Macro:
        name, test, sign, value = items
        if str(sign) != "=":
            raise _RefusedError(
                f"'{sign}' cannot stand here", sign.start_pos or 0, "A macro's name is followed by '='."
            )
        return tree.Macro(_start(meta), str(name), test, value)

    # ---- statements: lark's methods have the rules' names

    def assign_value(self, meta: Any, items: list[Any]) -> tree.Assign:
        target, op, value = items
        return tree.Assign(_start(meta), target, str(op), value)

    def assign_step(self, meta: Any, items: list[Any]) -> tree.Assign:
        target, op = items
        return tree.Assign(_start(meta), target, f"{str(op)[0]}=", tree.Number(_start(meta), 1, "1"), str(op))

    def assign_step_before(self, meta: Any, items: list[Any]) -> tree.Assign:
        return self.assign_step(meta, [items[1], items[0]])

    def max(self, meta: Any, items: list[Any]) -> int:
        return number_of(items[0])

    def extern(self, meta: Any, items: list[Any]) -> tree.Extern:
        name, read_at, write_at = items
        quoted = name.type == "STRING"
        return tree.Extern(_start(meta), _octets(name).decode(errors="replace") if quoted else str(name), quoted,
                           read_at, write_at)  # fmt: skip

    # ---- expressions

    def number(self, meta: Any, items: list[Any]) -> tree.Number:
        return tree.Number(_start(meta), number_of(items[0]), str(items[0]))

    def address(self, meta: Any, items: list[Any]) -> tree.Number:
        return tree.Number(_start(meta), _address(items[0]), str(items[0]))

    def network(self, meta: Any, items: list[Any]) -> tree.Range:
        at, text = _start(meta), str(items[0])
        try:
            network = ipaddress.IPv4Network(text)
        except ValueError as error:
            raise _RefusedError(f"{text} is no network", at, f"{error}.") from None
        low, high = int(network.network_address), int(network.broadcast_address)
        return tree.Range(at, tree.Number(at, low), tree.Number(at, high), text)

    def element(self, meta: Any, items: list[Any]) -> tree.Range:
        if isinstance(items[0], tree.Range):
            return items[0]
        low, high = items
        return tree.Range(_start(meta), low, high or low)

    def member(self, meta: Any, items: list[Any]) -> tree.Member:
        value, negated, *elements = items
        return tree.Member(_start(meta), value, [e for e in elements if e is not None], negated is not None)

    def contains(self, meta: Any, items: list[Any]) -> tree.Contains:
        value, text = items
        return tree.Contains(_start(meta), value, _octets(text), str(text))

    def group(self, meta: Any, items: list[Any]) -> tree.Group:
        return tree.Group(_start(meta), items[0])

    def hash(self, meta: Any, items: list[Any]) -> tree.Hash:
        return tree.Hash(_start(meta), *items)

    def index(self, meta: Any, items: list[Any]) -> tree.Expr:
        return cast(tree.Expr, items[0])

    def part(self, meta: Any, items: list[Any]) -> tree.Part:
        return tree.Part(_start(meta), str(items[0]), items[1])

    def place(self, meta: Any, items: list[Any]) -> tree.Name:
        return tree.Name(_start(meta), list(items))

    def unary(self, meta: Any, items: list[Any]) -> tree.Unary:
        return tree.Unary(_start(meta), str(items[0]), items[1])

    def _chain(self, meta: Any, items: list[Any], op: str = "") -> tree.Expr:
        """a op b op c, from the left; the operators are tokens among the items, or all are `op`."""
        rest = items[1:]
        pairs = [(op, item) for item in rest] if op else list(zip(map(str, rest[::2]), rest[1::2], strict=True))
        left: tree.Expr = items[0]
        for sign, right in pairs:
            left = tree.Binary(_start(meta), sign, left, right)
        return left

    def bit_or(self, meta: Any, items: list[Any]) -> tree.Expr:
        return self._chain(meta, items, "|")

    def bit_xor(self, meta: Any, items: list[Any]) -> tree.Expr:
        return self._chain(meta, items, "^")

    def bit_and(self, meta: Any, items: list[Any]) -> tree.Expr:
        return self._chain(meta, items, "&")

    def equal(self, meta: Any, items: list[Any]) -> tree.Expr:
        return self._chain(meta, items)

    relation = shift = sum = product = equal


# Rules whose names are words of Python.
def _if(self: _Builder, meta: Any, items: list[Any]) -> tree.If:
    test, then, otherwise = items
    return tree.If(_start(meta), test, then, otherwise or [], otherwise is not None)


def _for(self: _Builder, meta: Any, items: list[Any]) -> tree.For:
    first, test, step, most, body = items
    return tree.For(_start(meta), first, test, step, most, body)


def _break(self: _Builder, meta: Any, items: list[Any]) -> tree.Break:
    return tree.Break(_start(meta))


def _return(self: _Builder, meta: Any, items: list[Any]) -> tree.Return:
    return tree.Return(_start(meta), items[0])


def _or(self: _Builder, meta: Any, items: list[Any]) -> tree.Expr:
    return self._chain(meta, items, "||")


def _and(self: _Builder, meta: Any, items: list[Any]) -> tree.Expr:
    return self._chain(meta, items, "&&")


for _name, _rule in {"if": _if, "for": _for, "break": _break, "return": _return, "or": _or, "and": _and}.items():
    setattr(_Builder, _name, v_args(meta=True)(_rule))


def _address(token: Token) -> int:
    try:
        return int(ipaddress.IPv4Address(str(token)))
    except ValueError as error:
        raise _RefusedError(f"{token} is no address", token.start_pos or 0, f"{error}.") from None


def _as_calls(program: list[Any]) -> tree.Program:
    """An EXTERN that stands alone is a statement."""
    for place, statement in enumerate(program):
        if isinstance(statement, tree.Extern):
            program[place] = tree.Call(statement.at, statement)
        elif isinstance(statement, tree.If):
            _as_calls(statement.then)
            _as_calls(statement.otherwise)
        elif isinstance(statement, tree.For):
            _as_calls(statement.body)
    return cast(tree.Program, program)


def _check_depth(source: Source) -> None:
    """Before anything recurses: brackets, and statements that hold others."""
    depth = 0
    for token in grammar().lex(source.text):
        if token.type in ("LPAR", "LSQB", "LBRACE", "IF", "FOR", "UNARY"):
            depth += 1
        elif token.type in ("RPAR", "RSQB", "RBRACE", "FI", "ROF"):
            depth -= 1
        elif token.type == "SEMICOLON":
            continue
        if depth > DEPTH_MAX:
            raise source.error(f"more than {DEPTH_MAX} things within each other", token.start_pos or 0)


def _unexpected(source: Source, error: UnexpectedToken) -> FplError:
    token = error.token
    expected = sorted({SAID[name] for name in error.accepts or error.expected if name in SAID})
    at = len(source.text.rstrip()) if token.type == "$END" else token.start_pos or 0
    what = "the program ends too early" if token.type == "$END" else f"'{token}' cannot stand here"
    hint = f"Expected {', '.join(expected[:6])}." if expected else ""
    if token.type == "ASSIGN" and str(token) == "=":
        hint = "To compare, write ==."
    return source.error(what, at, hint)


def parse(source: Source, start: str = "start") -> tree.Program:
    """start: "macros" of a file that has nothing else. Raises FplError."""
    if len(source.text) > WORDS_MAX:
        raise source.error(f"a program has at most {WORDS_MAX} octets", WORDS_MAX)
    try:
        _check_depth(source)
        found = grammar().parse(source.text, start=start)
        built = _Builder(visit_tokens=False).transform(found)
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        raise source.error(f"'{source.text[at : at + 1]}' cannot stand here", at) from None
    except UnexpectedToken as error:
        raise _unexpected(source, error) from None
    except UnexpectedEOF:
        raise source.error("the program ends too early", len(source.text.rstrip())) from None
    except _RefusedError as error:
        raise source.error(error.message, error.at, error.hint) from None
    except Exception as error:  # lark wraps what a rule raises
        inner = getattr(error, "orig_exc", None)
        if isinstance(inner, _RefusedError):
            raise source.error(inner.message, inner.at, inner.hint) from None
        raise
    return _as_calls(built)
