# SPDX-License-Identifier: BSD-3-Clause
"""The formatter: a tree as text, one way of writing each thing; the text parses back to the same tree.

takes    tree.Program as parsed (names not resolved)
gives    text; comments are the lexer's to lose, so `fplc format` refuses a program that has some
"""

from __future__ import annotations

from fpl.fpl2 import tree

INDENT = "    "


def program(statements: tree.Program) -> str:
    return "".join(f"{line}\n" for line in _block(statements, 0))


def _block(statements: tree.Program, depth: int) -> list[str]:
    return [line for statement in statements for line in _statement(statement, depth)]


def _statement(statement: tree.Statement, depth: int) -> list[str]:
    pad = INDENT * depth
    if isinstance(statement, tree.If):
        lines = [f"{pad}IF {expression(statement.test)} THEN", *_block(statement.then, depth + 1)]
        if statement.has_else:
            lines += [f"{pad}ELSE", *_block(statement.otherwise, depth + 1)]
        return [*lines, f"{pad}FI"]
    if isinstance(statement, tree.For):
        first = _assign(statement.first) if statement.first else ""
        step = _assign(statement.step) if statement.step else ""
        most = f" MAX {statement.most}" if statement.most is not None else ""
        head = f"{pad}FOR ({first}; {expression(statement.test)}; {step}){most}"
        return [head, *_block(statement.body, depth + 1), f"{pad}ROF"]
    return [f"{pad}{_simple(statement)};"]


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
    if isinstance(statement, tree.Use):
        return f"USE {statement.text}"
    return "BREAK"


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
