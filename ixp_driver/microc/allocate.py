# SPDX-License-Identifier: BSD-3-Clause
"""Fourth pass: registers of the engine for a program's.

takes    a Program on as many registers as it likes
gives    the same, with `Places`: a GPR for each register, or a slot in memory where there were too few

Registers that are moved into each other become one where they are not needed at the same time; then the graph of those
that are is coloured (Chaitin, with Briggs' optimism). An instruction that reads two GPRs wants one of each bank, which
colouring prefers and `assemble` makes true with the last GPR of the other bank, which is kept for that. Nothing is
kept over a call that the called function touches.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ixp_driver.microc.flow import Liveness, touched
from ixp_driver.microc.ir import (
    Alu,
    Block,
    Call,
    CompileError,
    Csr,
    Function,
    Ins,
    Move,
    Program,
    Ref,
    V,
    end_reads,
    targets,
)
from ixp_driver.microc.ir import reads as read_by
from ixp_driver.microc.ir import writes as written_by
from ixp_driver.microengine import isa

KEPT = isa.BANK_GPRS - 1  # in each bank, for assemble
SLOTS = 64  # words of memory of a context
SLOT_BASE = isa.BANK_GPRS - 2  # GPR of bank A that has their address, where there are any
LOOP_WEIGHT = 8


@dataclass
class Places:
    gpr: dict[int, int] = field(default_factory=dict)  # by V.number
    slot: dict[int, int] = field(default_factory=dict)


class Allocator:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._near: dict[int, int] = {}  # register -> those needed at the same time, as bits
        self._pairs: dict[int, int] = {}  # register -> those read beside it
        self._moves: list[tuple[int, int]] = []
        self._uses: dict[int, int] = {}
        self._whole: set[int] = set()  # may not be kept in memory
        self._alias: dict[int, int] = {}

    def places(self) -> Places:
        clobbers = touched(self._program)
        for function in self._program.all():
            live = Liveness(self._program, function)
            weights = _weights(function)
            for block in function.blocks:
                self._block(block, live, clobbers, weights[block.label], block is function.blocks[0])
        self._coalesce()
        colours, spilled = self._coloured(SLOT_BASE + 1)
        if spilled:
            colours, spilled = self._coloured(SLOT_BASE)
        if len(spilled) > SLOTS:
            raise CompileError(f"it keeps {len(spilled)} values more than a context has registers for; "
                               f"{SLOTS} find room in memory")  # fmt: skip
        slots = {register: slot for slot, register in enumerate(spilled)}
        places = Places()
        for register in self._near:
            root = self._root(register)
            if root in slots:
                places.slot[register] = slots[root]
            else:
                places.gpr[register] = colours[root]
        return places

    # ---- the graph ----

    def _block(self, block: Block, live_at: Liveness, clobbers: dict[str, int], weight: int, first: bool) -> None:
        live = live_at.out[block.label]
        for operand in end_reads(block.end):
            if isinstance(operand, V):
                live |= 1 << operand.number
                self._use(operand, weight)
        for ins in reversed(block.body):
            for v in written_by(ins):
                self._use(v, weight)
            around = live
            if isinstance(ins, Move) and isinstance(ins.src, V) and isinstance(ins.dst, V):
                around &= ~(1 << ins.src.number)  # both may be one register
                self._moves.append((ins.dst.number, ins.src.number))
            for v in written_by(ins):
                self._edges(v.number, around)
            if isinstance(ins, Call):
                across = live
                for v in written_by(ins):
                    across &= ~(1 << v.number)
                self._across(across, clobbers[ins.function])
            live = live_at.before(ins, live)
            self._reads(ins, weight)
        if first:
            for number in _numbers(live):  # what comes from outside comes all at once
                self._edges(number, live)

    def _use(self, v: V, weight: int) -> None:
        self._near.setdefault(v.number, 0)
        self._uses[v.number] = self._uses.get(v.number, 0) + weight

    def _edges(self, number: int, live: int) -> None:
        live &= ~(1 << number)
        self._near[number] = self._near.get(number, 0) | live
        for other in _numbers(live):
            self._near[other] = self._near.get(other, 0) | 1 << number

    def _across(self, live: int, clobbered: int) -> None:
        for number in _numbers(live):
            self._edges(number, clobbered)

    def _reads(self, ins: Ins, weight: int) -> None:
        operands = [each for each in read_by(ins) if isinstance(each, V)]
        for v in operands:
            self._use(v, weight)
        if isinstance(ins, (Alu, Ref)):
            a, b = (ins.a, ins.b) if isinstance(ins, Alu) else (ins.base, ins.offset)
            if isinstance(a, V) and isinstance(b, V) and a != b:
                self._pairs[a.number] = self._pairs.get(a.number, 0) | 1 << b.number
                self._pairs[b.number] = self._pairs.get(b.number, 0) | 1 << a.number
        if isinstance(ins, Csr) and not ins.write and isinstance(ins.value, V):
            self._use(ins.value, weight)

    # ---- one register for what is moved ----

    def _root(self, number: int) -> int:
        while number in self._alias:
            number = self._alias[number]
        return number

    def _coalesce(self) -> None:
        limit = 2 * KEPT
        for a, b in self._moves:
            a, b = self._root(a), self._root(b)
            if a == b or self._near[a] >> b & 1 or self._pairs.get(a, 0) >> b & 1:
                continue
            joint = self._near[a] | self._near[b]
            if sum(1 for each in _numbers(joint) if self._near[each].bit_count() >= limit) >= limit:
                continue  # Briggs: the one that comes of it might find no colour
            self._join(a, b)

    def _join(self, a: int, b: int) -> None:
        """b becomes a."""
        self._alias[b] = a
        for other in _numbers(self._near[b]):
            self._near[other] = self._near[other] & ~(1 << b) | 1 << a
            self._near[a] |= 1 << other
        for other in _numbers(self._pairs.pop(b, 0)):
            self._pairs[other] = self._pairs[other] & ~(1 << b) | 1 << a
            self._pairs[a] = self._pairs.get(a, 0) | 1 << other
        self._uses[a] = self._uses.get(a, 0) + self._uses.get(b, 0)

    # ---- colours ----

    def _coloured(self, bank_a: int) -> tuple[dict[int, int], list[int]]:
        """bank_a: how many GPRs of it there are."""
        there = bank_a + KEPT
        roots = [number for number in self._near if number not in self._alias]
        degree = {number: self._near[number].bit_count() for number in roots}
        left, order = set(roots), []
        while left:
            easy = [number for number in left if degree[number] < there]
            if easy:
                chosen = min(easy, key=lambda number: (degree[number], number))
            else:
                chosen = min(left, key=lambda n: (self._uses.get(n, 0) / max(1, degree[n]), n))
            left.remove(chosen)
            order.append(chosen)
            for other in _numbers(self._near[chosen]):
                if other in left:
                    degree[other] -= 1
        colours: dict[int, int] = {}
        spilled: list[int] = []
        for number in reversed(order):
            taken = {colours[other] for other in _numbers(self._near[number]) if other in colours}
            free = [gpr for gpr in (*range(bank_a), *range(isa.BANK_GPRS, isa.BANK_GPRS + KEPT)) if gpr not in taken]
            if not free:
                spilled.append(number)
                continue
            beside = [colours[other] // isa.BANK_GPRS for other in _numbers(self._pairs.get(number, 0))
                      if other in colours]  # fmt: skip
            colours[number] = min(free, key=lambda gpr: (beside.count(gpr // isa.BANK_GPRS), gpr % isa.BANK_GPRS, gpr))
        return colours, spilled


def _numbers(bits: int) -> list[int]:
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found


def _weights(function: Function) -> dict[str, int]:
    """How often a block is run, roughly: more often between a branch back and where it leads."""
    place = {block.label: at for at, block in enumerate(function.blocks)}
    weights = [1] * len(function.blocks)
    for at, block in enumerate(function.blocks):
        for target in targets(block.end):
            for inner in range(place[target], at + 1):
                weights[inner] = min(weights[inner] * LOOP_WEIGHT, LOOP_WEIGHT**4)
    return {block.label: weights[at] for at, block in enumerate(function.blocks)}
