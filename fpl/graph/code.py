# SPDX-License-Identifier: BSD-3-Clause
"""What a class writes its part of the program with: LLVM IR, line by line, with names of the node's own.

{n} in a line stands for the node's prefix. There are
    %scratch, %data, %wire_len       as in fpl/classify/ir.py
    %{n}.mbuf                        ptr to the node's MBuf, where it has one
    %{n}.state                       ptr to 64 octets of its own, zeros at first, which all CPUs share
An atomicrmw whose result is used must be seq_cst: LLVM's back end makes a monotonic one an instruction without result.
A class begins in a block of its own and ends in one that it leaves open; what it keeps in registers nobody else sees.
"""

from __future__ import annotations

from fpl.classify import layout
from fpl.classify.ir import packet_load

ALWAYS = "true"  # an i1: the packet passes


class Code:
    def __init__(self, prefix: str, column: int | None = None) -> None:
        """column: of classify, of a node that is a filter."""
        self._prefix = prefix
        self._column = column
        self.lines: list[str] = []
        self._label = 0

    def say(self, text: str) -> None:
        self.lines += [f"  {line.strip()}" for line in text.replace("{n}", self._prefix).strip().splitlines()]

    def block(self, label: str) -> None:
        self.lines.append(f"{self._prefix}.{label}:")

    def name(self, text: str) -> str:
        """%PREFIX.text"""
        return f"%{self._prefix}.{text}"

    def label(self, text: str) -> str:
        return f"label %{self._prefix}.{text}"

    def scratch(self, name: str, offset: int) -> None:
        """%{n}.NAME (i32): a word of the scratch, loaded anew: nothing stays in a register from node to node."""
        self.say(f"""
            %{{n}}.{name}.p = getelementptr i8, ptr %scratch, i64 {offset}
            %{{n}}.{name} = load volatile i32, ptr %{{n}}.{name}.p, align 4""")

    def packet(self, name: str, pointer: str, size: int) -> None:
        """%{n}.NAME (i32): octets of the packet at a pointer, in network order."""
        self.lines += packet_load(f"{self._prefix}.{name}", pointer, size)

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
