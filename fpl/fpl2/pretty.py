# SPDX-License-Identifier: BSD-3-Clause
"""The formatter: a program as text, one way of writing each thing; the text parses back to the same tree.

takes    tree.Program as parsed (names not resolved), or a Source, whose comments and empty lines stay
gives    text
"""

from __future__ import annotations

from fpl.fpl2 import tree
from fpl.fpl2.comments import Beside, Comment
from fpl.fpl2.parse import parse
from fpl.fpl2.report import Source

INDENT = "    "


def program(statements: tree.Program) -> str:
    return _Writer(Beside("")).text(statements, 0)


def source(text: Source) -> str:
    """A comment stays before the statement it stands before, or behind the line it stands behind; one in the middle of
    a statement goes behind it. Of empty lines in a row one stays. Raises FplError."""
    return _Writer(Beside(text.text)).text(parse(text), len(text.text))


class _Writer:
    def __init__(self, beside: Beside) -> None:
        self._lines: list[str] = []
        self._opened = 0  # lines before the block that we are in
        self._beside, self._waiting = beside, list(reversed(beside.comments))

    def text(self, statements: tree.Program, end: int) -> str:
        self._block(statements, 0)
        self._before(end, 0, gap=False)
        return "".join(f"{line}\n" for line in self._lines)

    def _say(self, depth: int, text: str) -> None:
        self._lines.append(f"{INDENT * depth}{text}")

    def _gap(self, at: int) -> None:
        """An empty line, where there was one; not as the first of a block."""
        if len(self._lines) > self._opened and self._lines[-1] and self._beside.gap_before(at):
            self._lines.append("")

    def _before(self, at: int, depth: int, *, gap: bool = True) -> None:
        """Comments that stand before an offset."""
        while self._waiting and self._waiting[-1].at < at:
            self._comment(self._waiting.pop(), depth)
        if gap:
            self._gap(at)

    def _comment(self, comment: Comment, depth: int) -> None:
        last = self._lines[-1] if self._lines else ""
        if comment.alone or not last or "//" in last or "/*" in last or "\n" in comment.text:
            self._gap(comment.at)
            self._say(depth, comment.text)
        else:
            self._lines[-1] = f"{last}  {comment.text}"

    def _block(self, statements: tree.Program, depth: int) -> None:
        self._opened = len(self._lines)
        for statement in statements:
            self._before(statement.at, depth)
            self._statement(statement, depth)

    def _statement(self, statement: tree.Statement, depth: int) -> None:
        ends = self._beside.ends.get(statement.at)
        if isinstance(statement, tree.If):
            self._say(depth, f"IF {expression(statement.test)} THEN")
            self._block(statement.then, depth + 1)
            if statement.has_else:
                self._until(ends.otherwise if ends else None, depth)
                self._say(depth, "ELSE")
                self._block(statement.otherwise, depth + 1)
            self._until(ends.end if ends else None, depth)
            self._say(depth, "FI")
        elif isinstance(statement, tree.For):
            first = _assign(statement.first) if statement.first else ""
            step = _assign(statement.step) if statement.step else ""
            most = f" MAX {statement.most}" if statement.most is not None else ""
            self._say(depth, f"FOR ({first}; {expression(statement.test)}; {step}){most}")
            self._block(statement.body, depth + 1)
            self._until(ends.end if ends else None, depth)
            self._say(depth, "ROF")
        else:
            self._say(depth, f"{_simple(statement)};")

    def _until(self, at: int | None, depth: int) -> None:
        """Comments before ELSE, FI and ROF are of the block that these end."""
        if at is not None:
            self._before(at, depth + 1, gap=False)


def _simple(statement: tree.Statement) -> str:
    if isinstance(statement, tree.Assign):
        return _assign(statement)
    if isinstance(statement, tree.Return):
        return f"RETURN {expression(statement.value)}"
    if isinstance(statement, tree.Call):
        return expression(statement.extern)
    if isinstance(statement, tree.Macro):
        test = f" WHEN {expression(statement.test)}" if statement.test else ""
        return f"MACRO {statement.name}{test} = {expression(statement.value)}"
    if isinstance(statement, tree.PerCpu):
        return _percpu(statement)
    if isinstance(statement, tree.Use):
        return f"USE {statement.text}"
    return "BREAK"


def _percpu(statement: tree.PerCpu) -> str:
    place = statement.name + (f".{statement.unit}" if statement.unit else "")
    if statement.low:
        place += f"[{expression(statement.low)}{f'..{expression(statement.high)}' if statement.high else ''}]"
    return f"PERCPU {place} MERGE {statement.by}"


def _assign(statement: tree.Assign) -> str:
    target = expression(statement.target)
    return f"{target}{statement.step}" if statement.step else f"{target} {statement.op} {expression(statement.value)}"


def _element(element: tree.Range) -> str:
    if element.text:
        return element.text
    low = expression(element.low)
    return low if element.high is element.low else f"{low}..{expression(element.high)}"


def expression(expr: tree.Expr) -> str:
    if isinstance(expr, tree.Number):
        return expr.text or str(expr.value)
    if isinstance(expr, tree.Name):
        return ".".join(part.name + (f"[{expression(part.index)}]" if part.index else "") for part in expr.parts)
    if isinstance(expr, tree.Group):
        return f"({expression(expr.inner)})"
    if isinstance(expr, tree.Unary):
        inner = expression(expr.operand)
        return f"{expr.op} {inner}" if inner.startswith(expr.op) else f"{expr.op}{inner}"
    if isinstance(expr, tree.Binary):
        return f"{expression(expr.left)} {expr.op} {expression(expr.right)}"
    if isinstance(expr, tree.Member):
        word = "NOT IN" if expr.negated else "IN"
        elements = [*map(_element, expr.elements), *(f"USE {listed.text}" for listed in expr.listed)]
        return f"{expression(expr.value)} {word} {{{', '.join(elements)}}}"
    if isinstance(expr, tree.Search):
        return f"{expression(expr.value)} {'NOT ' if expr.negated else ''}{expr.op} {expr.text}"
    if isinstance(expr, tree.Text):
        return expr.text
    if isinstance(expr, tree.Wide):
        return expr.text or f"PAIR({expression(expr.high)}, {expression(expr.low)})"
    if isinstance(expr, tree.Hash):
        return f"HASH({expression(expr.start)}, {expression(expr.length)}, {expression(expr.size)})"
    if isinstance(expr, tree.Extern):
        name = '"' + expr.name.replace("\\", "\\\\").replace('"', '\\"') + '"' if expr.quoted else expr.name
        return f"EXTERN({name}, {expression(expr.read_at)}, {expression(expr.write_at)})"
    raise TypeError(f"{type(expr).__name__} has no text: it was resolved")
