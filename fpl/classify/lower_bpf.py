# SPDX-License-Identifier: BSD-3-Clause
"""A filter that stays code: instructions to LLVM IR.

takes    Insn*
gives    lines from an open block to an open block, and the result as an i32; 0: rejected

Checks are instructions that this pass inserts, and nothing else makes the program safe: each load is compared with
data_len, each division by X with 0; either ends the filter with 0. Within a filter LLVM makes one of equal loads and
checks.
"""

from __future__ import annotations

from fpl.classify import bytecode as bpf
from fpl.classify import ir, layout
from fpl.classify.bytecode import Insn, Program
from fpl.classify.filters import Lines


def lower(program: Program, name: str, out: Lines) -> str:
    """See filters.Filter.lower()."""
    return _Lower(program, name, out).lower()


class _Lower:
    def __init__(self, program: Program, name: str, out: Lines) -> None:
        self._program, self._name, self._out = program, name, out
        self._count = 0

    def _new(self) -> str:
        self._count += 1
        return f"{self._name}.v{self._count}"

    def _say(self, *lines: str) -> None:
        self._out.body += [f"  {line.strip()}" for line in lines]

    def _block(self, label: str) -> None:
        self._out.body.append(f"{label}:")

    def _at(self, at: int) -> str:
        return f"{self._name}.b{at}"

    def _get(self, register: str) -> str:
        name = self._new()
        self._say(f"%{name} = load i32, ptr %{self._name}.{register}, align 4")
        return f"%{name}"

    def _set(self, register: str, value: str) -> None:
        self._say(f"store i32 {value}, ptr %{self._name}.{register}, align 4")

    def _operation(self, text: str) -> str:
        name = self._new()
        self._say(f"%{name} = {text}")
        return f"%{name}"

    def _require(self, condition: str) -> None:
        """Ends the filter with 0 unless the condition holds."""
        ahead = f"{self._name}.g{self._count}"
        self._say(f"br i1 {condition}, label %{ahead}, label %{self._name}.reject")
        self._block(ahead)

    def lower(self) -> str:
        program = self._program
        words = sorted({insn.k for insn in program if self._is_memory(insn)})
        for register in ("a", "x", "r", *(f"m{word}" for word in words)):
            self._out.allocas.append(f"%{self._name}.{register} = alloca i32, align 4")
            self._set(register, "0")
        self._say(f"""%{self._name}.data = call ptr asm sideeffect "", "=r,0"(ptr %data)""")
        self._say(f"%{self._name}.len.p = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_DATA_LEN}")
        self._say(f"%{self._name}.len = load volatile i32, ptr %{self._name}.len.p, align 4")
        self._say(f"br label %{self._at(0)}")
        for at in bpf.reachable(program):
            self._block(self._at(at))
            self._insn(at, program[at])
        self._block(f"{self._name}.reject")
        self._set("r", "0")
        self._say(f"br label %{self._name}.end")
        self._block(f"{self._name}.end")
        return self._get("r")

    @staticmethod
    def _is_memory(insn: Insn) -> bool:
        return insn.kind in (bpf.ST, bpf.STX) or (insn.kind in (bpf.LD, bpf.LDX) and insn.mode == bpf.MEM)

    def _insn(self, at: int, insn: Insn) -> None:
        if insn.kind == bpf.RET:
            self._set("r", self._get("a") if insn.code & bpf.RVAL_A else str(ir.signed(insn.k)))
            self._say(f"br label %{self._name}.end")
        elif insn.kind == bpf.JMP:
            self._jump(at, insn)
        else:
            if insn.kind in (bpf.LD, bpf.LDX):
                self._load(insn)
            elif insn.kind in (bpf.ST, bpf.STX):
                self._set(f"m{insn.k}", self._get("a" if insn.kind == bpf.ST else "x"))
            elif insn.kind == bpf.ALU:
                self._alu(insn)
            else:
                source, target = ("x", "a") if insn.code & bpf.TXA else ("a", "x")
                self._set(target, self._get(source))
            self._say(f"br label %{self._at(at + 1)}")

    def _jump(self, at: int, insn: Insn) -> None:
        if insn.op == bpf.JA:
            self._say(f"br label %{self._at(at + 1 + insn.k)}")
            return
        a = self._get("a")
        operand = self._get("x") if insn.by_x else str(ir.signed(insn.k))
        if insn.op == bpf.JSET:
            common = self._operation(f"and i32 {a}, {operand}")
            holds = self._operation(f"icmp ne i32 {common}, 0")
        else:
            test = {bpf.JEQ: "eq", bpf.JGT: "ugt", bpf.JGE: "uge"}[insn.op]
            holds = self._operation(f"icmp {test} i32 {a}, {operand}")
        self._say(f"br i1 {holds}, label %{self._at(at + 1 + insn.jt)}, label %{self._at(at + 1 + insn.jf)}")

    def _load(self, insn: Insn) -> None:
        target = "a" if insn.kind == bpf.LD else "x"
        if insn.mode == bpf.IMM:
            self._set(target, str(ir.signed(insn.k)))
        elif insn.mode == bpf.LEN:
            self._set(target, "%wire_len")
        elif insn.mode == bpf.MEM:
            self._set(target, self._get(f"m{insn.k}"))
        elif insn.mode == bpf.MSH:
            octet = self._absolute(insn.k, 1)
            low = self._operation(f"and i32 {octet}, 15")
            self._set("x", self._operation(f"shl i32 {low}, 2"))
        elif insn.mode == bpf.IND:
            self._set("a", self._indexed(insn.k, insn.size))
        elif insn.k in bpf.ANCILLARY:
            name = self._new()
            self._say(*ir.scratch_load(name, bpf.ANCILLARY[insn.k][1]))
            self._set("a", f"%{name}")
        elif bpf.is_far(insn):  # A ^= X
            self._set("a", self._operation(f"xor i32 {self._get('a')}, {self._get('x')}"))
        else:
            self._set("a", self._absolute(insn.k, insn.size))

    def _absolute(self, offset: int, size: int) -> str:
        self._require(self._operation(f"icmp uge i32 %{self._name}.len, {offset + size}"))
        place, name = self._operation(f"getelementptr i8, ptr %{self._name}.data, i64 {offset}"), self._new()
        self._say(*ir.packet_load(name, place, size))
        return f"%{name}"

    def _indexed(self, offset: int, size: int) -> str:
        """The second comparison, with a constant, is the verifier's: it must see it on the register that is added. LLVM
        would merge it with the first; the empty assembly keeps it apart.
        """
        index = self._operation(f"zext i32 {self._get('x')} to i64")
        start = self._operation(f"add i64 {index}, {offset}")
        end = self._operation(f"add i64 {start}, {size}")
        limit = self._operation(f"zext i32 %{self._name}.len to i64")
        self._require(self._operation(f"icmp ule i64 {end}, {limit}"))
        bounded = self._operation(f'call i64 asm "", "=r,0"(i64 {start})')
        self._require(self._operation(f"icmp ule i64 {bounded}, {layout.SCRATCH_DATA_BYTES - size}"))
        place, name = self._operation(f"getelementptr i8, ptr %{self._name}.data, i64 {bounded}"), self._new()
        self._say(*ir.packet_load(name, place, size))
        return f"%{name}"

    def _alu(self, insn: Insn) -> None:
        a = self._get("a")
        if insn.op == bpf.NEG:
            self._set("a", self._operation(f"sub i32 0, {a}"))
            return
        operand = self._get("x") if insn.by_x else str(ir.signed(insn.k))
        if insn.op in (bpf.DIV, bpf.MOD) and insn.by_x:
            self._require(self._operation(f"icmp ne i32 {operand}, 0"))
        if insn.op in (bpf.LSH, bpf.RSH) and insn.by_x:
            small = self._operation(f"icmp ult i32 {operand}, 32")
            amount = self._operation(f"and i32 {operand}, 31")
            moved = self._operation(f"{'shl' if insn.op == bpf.LSH else 'lshr'} i32 {a}, {amount}")
            self._set("a", self._operation(f"select i1 {small}, i32 {moved}, i32 0"))
            return
        operation = {bpf.ADD: "add", bpf.SUB: "sub", bpf.MUL: "mul", bpf.DIV: "udiv", bpf.OR: "or", bpf.AND: "and",
                     bpf.LSH: "shl", bpf.RSH: "lshr", bpf.MOD: "urem", bpf.XOR: "xor"}[insn.op]  # fmt: skip
        self._set("a", self._operation(f"{operation} i32 {a}, {operand}"))
