# SPDX-License-Identifier: BSD-3-Clause
"""What passes ask of a function: which registers are live where, which blocks come before others."""

from __future__ import annotations

from ixp_driver.microc.ir import Block, Call, Function, Ins, Program, Return, V, end_reads, reads, targets, writes


def predecessors(function: Function) -> dict[str, list[Block]]:
    found: dict[str, list[Block]] = {block.label: [] for block in function.blocks}
    for block in function.blocks:
        for target in targets(block.end):
            found[target].append(block)
    return found


def bits(registers: object) -> int:
    """A set of registers as a number: bit n for V(n); all else is passed over."""
    total = 0
    for each in registers:  # type: ignore[attr-defined]
        if isinstance(each, V):
            total |= 1 << each.number
    return total


class Liveness:
    """At the end of each block, as bits. A called function needs what it takes, and all that the file shares."""

    def __init__(self, program: Program, function: Function) -> None:
        self._shared = bits(program.shared)
        self._at_return = self._shared | bits((*function.gives, function.link))
        self.out: dict[str, int] = {block.label: 0 for block in function.blocks}
        into = dict(self.out)
        # what a block needs from outside, and what it makes anew: one look at its instructions is enough
        needs = {block.label: self._through(block, 0) for block in function.blocks}
        everything = (1 << program.registers) - 1
        passes = {block.label: self._through(block, everything) for block in function.blocks}
        changed = True
        while changed:
            changed = False
            for block in reversed(function.blocks):
                label = block.label
                live = self._at_return if isinstance(block.end, Return) else 0
                for target in targets(block.end):
                    live |= into[target]
                self.out[label] = live
                live = needs[label] | (live & passes[label])
                if live != into[label]:
                    into[label], changed = live, True

    def _through(self, block: Block, live: int) -> int:
        live |= bits(end_reads(block.end))
        for ins in reversed(block.body):
            live = self.before(ins, live)
        return live

    def before(self, ins: Ins, live: int) -> int:
        live &= ~bits(writes(ins))
        live |= bits(reads(ins))
        return live | self._shared if isinstance(ins, Call) else live


def touched(program: Program) -> dict[str, int]:
    """All registers that a function, or one that it calls, reads or writes."""
    own: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for function in program.all():
        total = bits((*function.takes, *function.gives, function.link))
        calls[function.name] = set()
        for block in function.blocks:
            total |= bits(end_reads(block.end))
            for ins in block.body:
                total |= bits(reads(ins)) | bits(writes(ins))
                if isinstance(ins, Call):
                    calls[function.name].add(ins.function)
        own[function.name] = total
    for _ in own:  # nothing calls itself: as deep as there are functions
        for name, callees in calls.items():
            for callee in callees:
                own[name] |= own[callee]
    return own
