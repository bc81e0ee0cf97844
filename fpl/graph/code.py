# SPDX-License-Identifier: BSD-3-Clause
"""What a class writes its part of the program with: LLVM IR, line by line, with names of the node's own.

{n} in a line stands for the node's prefix. There are
    %scratch, %data, %work           as in fpl/classify/ir.py; %work is struct ffpf_node_work
    %{n}.mbuf                        ptr to the node's MBuf, where it has one
    %{n}.state                       ptr to 64 octets of its own, zeros at first, which all CPUs share
An atomicrmw whose result is used must be seq_cst: LLVM's back end makes a monotonic one an instruction without result.
A class begins in a block of its own and ends in one that it leaves open; what it keeps in registers nobody else sees.
"""

from __future__ import annotations

from dataclasses import dataclass

from fpl.classify import layout
from fpl.classify.ir import signed64

ALWAYS = "true"  # an i1: the packet passes


@dataclass(frozen=True)
class Function:
    """text: a module, ir.of_functions(). What is the same is compiled once."""

    text: str
    calls_library: bool = False


class Code:
    def __init__(self, prefix: str, link: int, column: int | None = None) -> None:
        """link: how packets of the source begin, FFPF_NODE_* of csrc/kernel/node_layout.h. column: of classify, of a
        node that is a filter."""
        self._prefix = prefix
        self.link = link
        self._column = column
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.functions: dict[str, Function] = {}  # of its own, which it declares, by names that begin with the prefix

    def say(self, text: str) -> None:
        self.lines += [f"  {line.strip()}" for line in text.replace("{n}", self._prefix).strip().splitlines()]

    def name(self, text: str) -> str:
        """%PREFIX.text"""
        return f"%{self._prefix}.{text}"

    def call(self, name: str, kind: str, function: str, *arguments: tuple[str, str | int]) -> str:
        """%{n}.NAME: what a function of csrc/kernel/nodes.bpf.c returns, of arguments (type, value)."""
        self.declarations.add(f"declare {kind} @{function}({', '.join(of for of, _ in arguments)})")
        values = ", ".join(f"{of} {signed64(value) if isinstance(value, int) else value}" for of, value in arguments)
        self.say(f"{'' if kind == 'void' else f'%{{n}}.{name} = '}call {kind} @{function}({values})")
        return self.name(name)

    def scratch(self, name: str, offset: int) -> None:
        """%{n}.NAME (i32): a word of the scratch, loaded anew: nothing stays in a register from node to node."""
        self.say(f"""
            %{{n}}.{name}.p = getelementptr i8, ptr %scratch, i64 {offset}
            %{{n}}.{name} = load volatile i32, ptr %{{n}}.{name}.p, align 4""")

    @property
    def is_filter(self) -> bool:
        """The node has a column of classify."""
        return self._column is not None

    def accepted(self) -> str:
        """i1: the node's column of classify accepts the packet."""
        assert self._column is not None
        word, bit = divmod(self._column, 64)
        self.say(f"""
            %{{n}}.v.p = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_VERDICT + 8 * word}
            %{{n}}.v = load volatile i64, ptr %{{n}}.v.p, align 8
            %{{n}}.v.bit = and i64 %{{n}}.v, {1 << bit if bit < 63 else -(1 << 63)}
            %{{n}}.accepted = icmp ne i64 %{{n}}.v.bit, 0""")
        return self.name("accepted")
