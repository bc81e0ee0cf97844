# SPDX-License-Identifier: BSD-3-Clause
"""Programs in FPL-2 without memory as filters of classify: tables where their tests are such (fpl/fpl2/decide.py), else
code, one function that the chain's programs call."""

from __future__ import annotations

import hashlib

from fpl.classify import Filter, Module, bytecode
from fpl.classify.filters import Lines, Table
from fpl.classify.rules import rules_of
from fpl.classify.symbolic import NotTable
from fpl.fpl2 import decide, meaning, tree
from fpl.fpl2.check import FLIPPED
from fpl.fpl2.compile import Checked


def is_filter(checked: Checked) -> bool:
    """It keeps nothing, and calls nobody: its verdict is the packet's alone."""
    return not checked.cost.uses_memory and not checked.cost.calls


def _results(expr: tree.Expr) -> set[int] | None:
    """What it may be; None: not known here."""
    if isinstance(expr, tree.Number):
        return {min(expr.value, meaning.RESULT_MAX)}
    if isinstance(expr, tree.When):
        of_value = _results(expr.value)
        return None if of_value is None else of_value | {0}
    if isinstance(expr, (tree.Member, tree.Contains)):
        return {0, 1}
    if isinstance(expr, (tree.Binary, tree.Unary)) and expr.op in (*FLIPPED, "&&", "||", "!"):
        return {0, 1}
    return None


def one_result(program: tree.Program) -> int:
    """As Filter.result."""
    found = set[int]()
    for node in tree.within(program):
        if isinstance(node, tree.Return):
            results = _results(node.value)
            if results is None:
                return 0
            found |= results
    found.discard(0)
    return 0 if len(found) > 1 else next(iter(found), bytecode.WORD)


class Fpl2Filter(Filter):
    def __init__(self, checked: Checked, function: Module, fetch_len: int, link: int, library: bytes) -> None:
        """function: of ebpf.lower(), which looks at so many octets. link: FFPF_NODE_*. library: bitcode of
        csrc/kernel/nodes.bpf.c."""
        self.key = b"FPL-2" + hashlib.sha256(f"{link} {function.text}".encode()).digest()
        self.fetch_len, self.result = fetch_len, one_result(checked.program)
        self._checked, self._function, self._link, self._library = checked, function, link, library

    def as_table(self) -> Table:
        if not self.result:
            raise NotTable("it returns several values")
        node, fetch_len = decide.graph(self._checked)
        return Table(rules_of(node), fetch_len)

    def lower(self, name: str, out: Lines) -> str:
        out.functions[f"{name}.fpl2"] = self._function
        out.declarations |= {
            f"declare void @{name}.fpl2(ptr, ptr, ptr)", "declare void @ffpf_node_program_enter(ptr, ptr, i32)",
            "declare i32 @ffpf_node_program_leave(ptr, ptr)",
        }  # fmt: skip
        out.library, out.uses_work = self._library, True
        out.body += [
            f"  call void @ffpf_node_program_enter(ptr %scratch, ptr %work, i32 {self._link})",
            f"  call void @{name}.fpl2(ptr %scratch, ptr %work, ptr %work)",
            f"  %{name}.said = call i32 @ffpf_node_program_leave(ptr %scratch, ptr %work)",
        ]
        return f"%{name}.said"
