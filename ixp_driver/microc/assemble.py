# SPDX-License-Identifier: BSD-3-Clause
"""Last pass: microwords.

takes    a Program whose registers have Places
gives    words, the imports among them, and the names of functions by word

Blocks are laid out so that few branches are taken. Numbers that are no operands get a register first, in legalise(),
before allocation. What is kept in memory comes by the last two SRAM transfer registers, without giving up the engine:
between a reference that holds it and what follows nobody else may come.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ixp_driver.microc.allocate import KEPT, SLOT_BASE, Places
from ixp_driver.microc.flow import predecessors
from ixp_driver.microc.ir import (
    NEGATED,
    Alu,
    Arb,
    Bit,
    Block,
    Byte,
    Call,
    CompileError,
    Cond,
    Csr,
    End,
    Function,
    Import,
    Ins,
    Jump,
    Leave,
    Move,
    Operand,
    Program,
    Ref,
    Return,
    V,
    Wait,
    X,
)
from ixp_driver.microc.optimise import skip_empty
from ixp_driver.microengine import isa
from ixp_driver.microengine.isa import encode

SPILL = "spill"  # the import that says where in SRAM contexts keep what they have no register for
CONTEXT_BYTES_LOG2 = 9  # of each context there: 64 slots, and as much for programs
FIX = (KEPT, isa.BANK_GPRS + KEPT)  # a GPR of each bank
SPILL_XFERS = (X(isa.SRAM_XFER + isa.TRANSFERS - 1), X(isa.SRAM_XFER + isa.TRANSFERS - 2))


@dataclass
class Assembled:
    words: list[int]
    imports: list[tuple[str, int]]  # name, word
    symbols: dict[str, int] = field(default_factory=dict)


def legalise(program: Program) -> None:
    """Numbers that do not fit an operand come from a register, which a block makes once."""
    for function in program.all():
        for block in function.blocks:
            made: dict[int, V] = {}
            body: list[Ins] = []
            for ins in block.body:
                if isinstance(ins, Call):
                    made = {}
                body.append(_legal(program, ins, made, body))
            block.body = body


def _legal(program: Program, ins: Ins, made: dict[int, V], body: list[Ins]) -> Ins:
    def fit(operand: Operand, *, register: bool = False) -> Operand:
        if isinstance(operand, V) or (not register and (isinstance(operand, X) or operand <= isa.SMALL_MAX)):
            return operand
        key = operand if isinstance(operand, int) else -1 - operand.number
        if key not in made or key < 0:
            made[key] = program.fresh()
            body.append(Move(made[key], operand))
        return made[key]

    if isinstance(ins, Alu):
        return Alu(ins.op, ins.dst, fit(ins.a), fit(ins.b),
                   fit(ins.n, register=True) if ins.op == "DSHR_BY" else ins.n)  # fmt: skip
    if isinstance(ins, Ref):
        return replace(ins, base=fit(ins.base), offset=fit(ins.offset))
    if isinstance(ins, Csr) and ins.write:
        return replace(ins, value=fit(ins.value))
    return ins


class Assembler:
    def __init__(self, program: Program, places: Places) -> None:
        self._program, self._places = program, places
        self._words: list[int | tuple[str, dict[str, int], str, str]] = []  # or a branch: fields, which one, its label
        self._labels: dict[str, int] = {}
        self._imports: list[tuple[str, int]] = []
        self._ways: dict[str, int] = {}  # into each block of the function at hand
        self._order: dict[str, int] = {}

    def assembled(self) -> Assembled:
        if self._places.slot:
            self._slot_base()
        for function in self._program.all():
            self._function(function)
        if len(self._words) > isa.STORE_WORDS:
            raise CompileError(f"it becomes {len(self._words)} microwords; an engine's store has {isa.STORE_WORDS}")
        words = []
        for word in self._words:
            if isinstance(word, int):
                words.append(word)
            else:
                op, fields, which, label = word
                words.append(encode(op, **fields, **{which: self._labels[label]}))
        symbols = {function.name: self._labels[function.blocks[0].label] for function in self._program.all()}
        return Assembled(words, self._imports, symbols)

    def _say(self, op: str, **fields: int) -> None:
        self._words.append(encode(op, **fields))

    def _branch(self, op: str, label: str, which: str = "target", **fields: int) -> None:
        self._words.append((op, fields, which, label))

    def _slot_base(self) -> None:
        """Where this context's slots begin."""
        self._import(FIX[0], SPILL)
        self._say("CSR_READ", reg=FIX[1], csr=isa.CSRS["ACTIVE"])
        self._say("AND_SHL", dst=FIX[1], a=FIX[1], b=isa.SMALL + isa.CONTEXTS - 1)
        self._say("B_SHL", dst=FIX[1], a=isa.SMALL, b=FIX[1], n=CONTEXT_BYTES_LOG2)
        self._say("ADD", dst=SLOT_BASE, a=FIX[0], b=FIX[1])

    def _import(self, gpr: int, name: str) -> None:
        self._imports.append((name, len(self._words)))
        self._say("IMMED", dst=gpr, how=isa.IMMEDS["LOW"])
        self._say("IMMED", dst=gpr, how=isa.IMMEDS["UPPER"])

    # ---- layout ----

    def _nothing(self, ins: Ins) -> bool:
        """A move to where it is already."""
        if not isinstance(ins, Move) or not isinstance(ins.src, V) or not isinstance(ins.dst, V):
            return False
        there = self._places.gpr.get(ins.src.number)
        return there is not None and there == self._places.gpr.get(ins.dst.number)

    def _function(self, function: Function) -> None:
        for block in function.blocks:
            block.body = [ins for ins in block.body if not self._nothing(ins)]
        skip_empty(function)
        blocks = {block.label: block for block in function.blocks}
        self._ways = {label: len(into) for label, into in predecessors(function).items()}
        self._order = {label: at for at, label in enumerate(blocks)}
        placed = set[str]()
        waiting = [block.label for block in reversed(function.blocks)]
        while waiting:
            label = waiting.pop()
            while label not in placed:
                placed.add(label)
                following = self._block(function, blocks[label], placed)
                if following is None:
                    break
                label = following

    def _block(self, function: Function, block: Block, placed: set[str]) -> str | None:
        """Which block has to be next."""
        self._labels[block.label] = len(self._words)
        slot = self._places.slot.get(function.link.number)
        if block is function.blocks[0] and slot is not None:
            self._say("MOVE", dst=SPILL_XFERS[0].number, b=FIX[0])  # as _call has left it
            self._keep(slot)
        for ins in block.body:
            self._ins(ins)
        if isinstance(block.end, Return):
            self._say("RTN", a=self._read(function.link, 0))
            return None
        return self._end(block.end, placed)

    def _end(self, end: End | None, placed: set[str]) -> str | None:
        if isinstance(end, Jump):
            return self._go(end.target, placed)
        if not isinstance(end, (Cond, Bit, Byte)):
            return None
        ahead = self._ahead(end, placed)
        to_yes = ahead == end.no
        target = end.yes if to_yes else end.no
        if isinstance(end, Cond):
            self._branch("BR", target, cond=isa.CONDITIONS[end.op if to_yes else NEGATED[end.op]])
        elif isinstance(end, Bit):
            self._branch("BR_BSET" if to_yes else "BR_BCLR", target, a=self._read(end.a, 0), bit=end.bit)
        else:
            self._branch("BR_BYTE" if to_yes else "BR_NBYTE", target, a=self._read(end.a, 0), byte=end.byte,
                         value=end.value)  # fmt: skip
        return self._go(ahead, placed)

    def _ahead(self, end: Cond | Bit | Byte, placed: set[str]) -> str:
        """Which of two blocks had better follow: one that has no place yet, and that nothing else leads to."""
        return min(end.no, end.yes, key=lambda label: (label in placed, self._ways[label] > 1, self._order[label]))

    def _go(self, label: str, placed: set[str]) -> str | None:
        if label not in placed:
            return label
        self._branch("BR", label, cond=isa.CONDITIONS["ALWAYS"])
        return None

    # ---- operands ----

    def _read(self, operand: Operand, which: int) -> int:
        """which: 0 or 1, of the transfer registers that bring what is kept in memory."""
        if isinstance(operand, int):
            return isa.SMALL + operand
        if isinstance(operand, X):
            return operand.number
        slot = self._places.slot.get(operand.number)
        if slot is None:
            return self._places.gpr[operand.number]
        self._refer_slot("READ", slot, SPILL_XFERS[which])
        self._await("SRAM")
        return SPILL_XFERS[which].number

    def _await(self, unit: str) -> None:
        """A word that goes on to itself until the signal comes."""
        label = f"await.{len(self._words)}"
        self._labels[label] = len(self._words)
        self._branch("BR_NSIGNAL", label, signal=isa.UNITS[unit])

    def _refer_slot(self, command: str, slot: int, xfer: X) -> None:
        offset = isa.SMALL + 4 * slot
        if 4 * slot > isa.SMALL_MAX:
            offset = FIX[1]
            self._say("IMMED", dst=offset, how=isa.IMMEDS["LOW"], value=4 * slot)
        self._say("REF", unit=isa.UNITS["SRAM"], cmd=isa.COMMANDS[command], xfer=xfer.number - isa.SRAM_XFER, count=0,
                  base=SLOT_BASE, offset=offset)  # fmt: skip

    def _two(self, a: Operand, b: Operand) -> tuple[int, int]:
        """Of different banks."""
        first, second = self._read(a, 0), self._read(b, 1)
        if first < isa.GPRS and second < isa.GPRS and first // isa.BANK_GPRS == second // isa.BANK_GPRS:
            fixed = FIX[1 - first // isa.BANK_GPRS]
            self._say("MOVE", dst=fixed, b=second)
            second = fixed
        return first, second

    def _write(self, dst: V | X | None) -> tuple[int, int | None]:
        """The operand, and the slot that it is put into afterwards."""
        if dst is None:
            return isa.NONE, None
        if isinstance(dst, X):
            return dst.number, None
        slot = self._places.slot.get(dst.number)
        if slot is None:
            return self._places.gpr.get(dst.number, isa.NONE), None
        return SPILL_XFERS[0].number, slot

    def _keep(self, slot: int | None) -> None:
        if slot is not None:
            self._refer_slot("WRITE", slot, SPILL_XFERS[0])

    # ---- instructions ----

    def _ins(self, ins: Ins) -> None:
        if isinstance(ins, Alu):
            self._alu(ins)
        elif isinstance(ins, Move):
            self._move(ins)
        elif isinstance(ins, Ref):
            self._ref(ins)
        elif isinstance(ins, Wait):
            self._await(ins.unit)
        elif isinstance(ins, Arb):
            self._say("CTX_ARB", mask=ins.mask)
        elif isinstance(ins, Csr):
            if ins.write:
                self._say("CSR_WRITE", reg=self._read(ins.value, 0), csr=ins.number)
            else:
                assert isinstance(ins.value, V)
                dst, slot = self._write(ins.value)
                self._say("CSR_READ", reg=dst, csr=ins.number)
                self._keep(slot)
        elif isinstance(ins, Import):
            self._imported(ins)
        elif isinstance(ins, Call):
            self._call(ins)
        elif isinstance(ins, Leave):
            self._say(ins.op, **({"code": ins.code} if ins.op == "HALT" else {}))

    def _alu(self, ins: Alu) -> None:
        n = ins.n if isinstance(ins.n, int) else self._count(ins)
        a, b = self._two(ins.a, ins.b)
        dst, slot = self._write(ins.dst)
        self._say(ins.op, dst=dst, a=a, b=b, n=n)
        self._keep(slot)

    def _count(self, ins: Alu) -> int:
        """The GPR that a shift is in: kept in memory, it comes to that one which a and b will not need."""
        assert isinstance(ins.n, V)
        slot = self._places.slot.get(ins.n.number)
        if slot is None:
            return self._places.gpr[ins.n.number]
        banks = [self._places.gpr[each.number] // isa.BANK_GPRS for each in (ins.a, ins.b)
                 if isinstance(each, V) and each.number in self._places.gpr]  # fmt: skip
        fixed = FIX[banks[0] if len(banks) == 2 and banks[0] == banks[1] else 0]
        self._say("MOVE", dst=fixed, b=self._read(ins.n, 0))
        return fixed

    def _move(self, ins: Move) -> None:
        dst, slot = self._write(ins.dst)
        if isinstance(ins.src, int) and ins.src > isa.SMALL_MAX:
            self._number(dst, ins.src)
        else:
            src = self._read(ins.src, 0)
            if src != dst or src >= isa.GPRS:
                self._say("MOVE", dst=dst, b=src)
        self._keep(slot)

    def _number(self, dst: int, value: int) -> None:
        """By one IMMED, or two: of what is no GPR, by way of one."""
        if dst == isa.NONE:
            return
        found = _one_immed(value)
        if found:
            self._say("IMMED", dst=dst, how=isa.IMMEDS[found[0]], value=found[1])
            return
        gpr = dst if dst < isa.GPRS else FIX[0]
        self._say("IMMED", dst=gpr, how=isa.IMMEDS["LOW"], value=value & 0xFFFF)
        self._say("IMMED", dst=gpr, how=isa.IMMEDS["UPPER"], value=value >> 16)
        if gpr != dst:
            self._say("MOVE", dst=dst, b=gpr)

    def _imported(self, ins: Import) -> None:
        dst, slot = self._write(ins.dst)
        gpr = dst if dst < isa.GPRS else FIX[0]
        self._import(gpr, ins.name)
        if slot is not None:
            self._say("MOVE", dst=dst, b=gpr)
        self._keep(slot)

    def _ref(self, ins: Ref) -> None:
        base, offset = self._two(ins.base, ins.offset)
        set_base = isa.SDRAM_XFER if ins.unit == "SDRAM" else isa.SRAM_XFER
        count = ins.words // 2 if ins.unit == "SDRAM" else ins.words
        self._say("REF_SWAP" if ins.swap else "REF", unit=isa.UNITS[ins.unit], cmd=isa.COMMANDS[ins.command],
                  xfer=ins.first.number - set_base, count=count - 1, base=base, offset=offset)  # fmt: skip

    def _call(self, ins: Call) -> None:
        first = self._program.functions[ins.function].blocks[0].label
        dst, slot = self._write(ins.link)
        self._branch("BAL", first, "value", dst=FIX[0] if slot is not None else dst)


def _one_immed(value: int) -> tuple[str, int] | None:
    for prefix, bits in (("", value), ("N_", value ^ 0xFFFFFFFF)):
        for how, shift in (("LOW", 0), ("MIDDLE", 8), ("HIGH", 16)):
            if bits == (bits >> shift & 0xFFFF) << shift:
                return prefix + how, bits >> shift & 0xFFFF
    return None
