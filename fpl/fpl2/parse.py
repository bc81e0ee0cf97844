# SPDX-License-Identifier: BSD-3-Clause
"""First pass: text to tree. The grammar is grammar.lark; precedence is C's.

takes    text
gives    tree.Program, names as they were written
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken

from fpl.fpl2 import literals, tree
from fpl.fpl2.literals import LiteralError
from fpl.fpl2.report import FplError, Source

WORDS_MAX = 65536  # octets of a program's text
DEPTH_MAX = 40  # of nested statements and parentheses: all passes recurse
CHAIN_MAX = 64  # operands of a - b - c ...: each is one deeper
# A chain of one of these is as deep as its logarithm: any grouping will do.
EVEN = ("||", "&&", "|", "^", "&", "+", "*")
_Read = TypeVar("_Read")
# Strings and comments are passed over, without their ends, too, lest each be looked for again;
# and so is whatever is of no interest; group 1 is what nests.
_NESTING = re.compile(
    r"\"(?:[^\"\\\n]|\\.)*\"?|//[^\n]*|/\*(?s:.*?)(?:\*/|\Z)|(\b(?:if|for|fi|rof)\b|[()\[\]{}!~-])|\w+|\S",
    re.IGNORECASE,
)

SAID = {
    "ADDRESS": "an address", "NUMBER": "a number",
    "NAME": "a name", "STRING": "a string", "SEMICOLON": "';'", "RPAR": "')'", "LPAR": "'('",
    "RSQB": "']'", "LSQB": "'['", "LBRACE": "'{'", "RBRACE": "'}'", "COMMA": "','", "ASSIGN": "'='",
    "STEP": "'++' or '--'", "THEN": "THEN", "FI": "FI", "ROF": "ROF", "ELSE": "ELSE", "$END": "the end",
    "OTHER": "another filter's memory",
    "MERGED": "sum, max, min or or",
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


def _literal(read: Callable[[str], _Read], token: Token) -> _Read:
    """What a token means; its place is that of the error where it means nothing."""
    try:
        return read(str(token))
    except LiteralError as error:
        raise _RefusedError(error.message, token.start_pos or 0, error.hint) from None


def number_of(token: Token) -> int:
    return _literal(literals.number, token)


def _halves(at: int, value: int, text: str = "") -> tree.Wide:
    low = value & literals.NUMBER_MAX
    return tree.Wide(at, tree.Number(at, value >> 64), tree.Number(at, low), text)


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

    def percpu(self, meta: Any, items: list[Any]) -> tree.PerCpu:
        name, unit, span, by = items
        low, high = span or (None, None)
        return tree.PerCpu(_start(meta), str(name), str(unit) if unit else None, low, high, str(by).lower())

    def span(self, meta: Any, items: list[Any]) -> list[tree.Number | None]:
        return [self.number(meta, [end]) if end else None for end in items]

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
        plain = _literal(literals.octets, name)[0].decode(errors="replace") if quoted else str(name)
        return tree.Extern(_start(meta), plain, quoted, read_at, write_at)

    def use(self, meta: Any, items: list[Any]) -> tree.Use:
        return tree.Use(_start(meta), *self._file(items[0]))

    def listed(self, meta: Any, items: list[Any]) -> tree.Listed:
        return tree.Listed(_start(meta), *self._file(items[0]))

    @staticmethod
    def _file(token: Token) -> tuple[str, str]:
        return _literal(literals.octets, token)[0].decode(errors="replace"), str(token)

    # ---- expressions

    def number(self, meta: Any, items: list[Any]) -> tree.Number:
        return tree.Number(_start(meta), number_of(items[0]), str(items[0]))

    def address(self, meta: Any, items: list[Any]) -> tree.Address:
        return tree.Address(_start(meta), _literal(literals.address, items[0]), str(items[0]))

    def address6(self, meta: Any, items: list[Any]) -> tree.Wide:
        return _halves(_start(meta), _literal(literals.address6, items[0]), str(items[0]))

    def mac(self, meta: Any, items: list[Any]) -> tree.Number:
        return tree.Number(_start(meta), literals.mac(str(items[0])), str(items[0]))

    def text(self, meta: Any, items: list[Any]) -> tree.Text:
        octets, any_case = _literal(literals.octets, items[0])
        if any_case:
            raise _RefusedError("a name has one case", _start(meta), "Leave out the i behind it.")
        return tree.Text(_start(meta), octets, str(items[0]))

    def network(self, meta: Any, items: list[Any]) -> tree.Range:
        at, span = _start(meta), _literal(literals.network, items[0])
        if span.wide:
            return tree.Range(at, _halves(at, span.low), _halves(at, span.high), str(items[0]))
        return tree.Range(at, tree.Address(at, span.low), tree.Address(at, span.high), str(items[0]))

    def element(self, meta: Any, items: list[Any]) -> tree.Range:
        if isinstance(items[0], tree.Range):
            return items[0]
        low, high = items
        return tree.Range(_start(meta), low, high or low)

    def member(self, meta: Any, items: list[Any]) -> tree.Member:
        value, negated, *elements = items
        ranges = [each for each in elements if isinstance(each, tree.Range)]
        listed = [each for each in elements if isinstance(each, tree.Listed)]
        return tree.Member(_start(meta), value, ranges, negated is not None, listed)

    def contains(self, meta: Any, items: list[Any], op: str = "CONTAINS") -> tree.Search:
        value, negated, token = items
        octets, any_case = _literal(literals.octets, token)
        return tree.Search(_start(meta), value, op, octets, any_case, negated is not None, str(token))

    def starts(self, meta: Any, items: list[Any]) -> tree.Search:
        return self.contains(meta, items, "STARTS WITH")

    def group(self, meta: Any, items: list[Any]) -> tree.Group:
        return tree.Group(_start(meta), items[0])

    def hash(self, meta: Any, items: list[Any]) -> tree.Hash:
        return tree.Hash(_start(meta), *items)

    def pair(self, meta: Any, items: list[Any]) -> tree.Wide:
        return tree.Wide(_start(meta), *items)

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
        if op:
            return self._even(meta, op, items)
        signs = [str(sign) for sign in items[1::2]]
        if len({*signs}) == 1 and signs[0] in EVEN:
            return self._even(meta, signs[0], items[::2])
        if len(signs) >= CHAIN_MAX:
            raise _RefusedError(f"more than {CHAIN_MAX} operands in a row", _start(meta), "Put some in parentheses.")
        left: tree.Expr = items[0]
        for sign, right in zip(signs, items[2::2], strict=True):
            left = tree.Binary(_start(meta), sign, left, right)
        return left

    def _even(self, meta: Any, op: str, operands: list[tree.Expr]) -> tree.Expr:
        if len(operands) == 1:
            return operands[0]
        half = (len(operands) + 1) // 2
        left, right = self._even(meta, op, operands[:half]), self._even(meta, op, operands[half:])
        return tree.Binary(_start(meta), op, left, right)

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
    """Before anything recurses: brackets, operators of one operand in a row, and statements that hold others."""
    depth = row = 0
    for found in _NESTING.finditer(source.text):
        word = (found[1] or "").lower()
        row = row + 1 if word in ("-", "!", "~") else 0
        if word in ("(", "[", "{", "if", "for"):
            depth += 1
        elif word in (")", "]", "}", "fi", "rof"):
            depth = max(0, depth - 1)
        if depth + row > DEPTH_MAX:
            raise source.error(f"more than {DEPTH_MAX} things within each other", found.start())


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
