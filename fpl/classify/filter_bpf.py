# SPDX-License-Identifier: BSD-3-Clause
"""Filters in classic BPF: what Linux would attach."""

from __future__ import annotations

from fpl.classify import bytecode, lower_bpf
from fpl.classify.bytecode import Program
from fpl.classify.filters import Filter, Lines, Table
from fpl.classify.rules import rules_of
from fpl.classify.symbolic import graph


def accepted_results(program: Program) -> set[int] | None:
    """What the filter returns when it accepts; None: whatever A holds."""
    returns = [program[at] for at in bytecode.reachable(program) if program[at].kind == bytecode.RET]
    if any(insn.code & bytecode.RVAL_A for insn in returns):
        return None
    return {insn.k for insn in returns} - {0}


def one_result(program: Program) -> int:
    """What ffpf_kernel_column.result is to be: the one value, or 0 when the scratch holds it."""
    results = accepted_results(program)
    if results is None or len(results) > 1:
        return 0
    return next(iter(results), bytecode.WORD)


class BpfFilter(Filter):
    """octets: of struct sock_filter[], little endian."""

    def __init__(self, octets: bytes) -> None:
        """Raises ClassifyRefused: Linux would not attach it, or the hook does not have what it loads."""
        self.key = self.octets = octets
        self._program = bytecode.decode(octets)
        self.fetch_len, self.result = bytecode.fetch_len(self._program), one_result(self._program)

    def as_table(self) -> Table:
        return Table(rules_of(graph(self._program)), self.fetch_len)

    def lower(self, name: str, out: Lines) -> str:
        return lower_bpf.lower(self._program, name, out)
