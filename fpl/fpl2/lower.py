# SPDX-License-Identifier: BSD-3-Clause
"""Fourth pass: to LLVM IR, guards and all.

takes    a checked program
gives    text of an LLVM module with one function:
             i32 @filter(ptr packet, i32 captured, i32 on the wire, ptr facts, ptr memory, ptr externals)
         facts: u32 each, of scope.FACTS without LEN and CAPLEN, in that order; externals: pointers to uses, in the
         order of Cost.externals, which begin with a pointer to
             i64 (ptr use, ptr packet, i32 captured, ptr memory, i64 read at, i64 write at)

Guards are what this pass puts in, and nothing else makes the program safe: emit.Guards has them all. meaning.py says
what they must do; reference.py does it on numbers.
"""

from __future__ import annotations

from fpl.fpl2 import meaning, tree
from fpl.fpl2.check import Cost, loop_of
from fpl.fpl2.values import Values, wrapped

ATOMIC = {"+": "add", "-": "sub", "&": "and", "|": "or", "^": "xor"}


class Lower(Values):
    ATOMIC_BITS = 8  # from how many on the processor adds, subtracts, ands and ors atomically

    def __init__(self, mbuf_bytes: int, cost: Cost, *, atomic: bool) -> None:
        """atomic: others may write MBuf while the filter runs."""
        super().__init__(mbuf_bytes, cost)
        self._atomic = atomic

    def module(self, program: tree.Program) -> str:
        out = self._out
        self._block(program)
        body = out.lines
        hidden = sorted({node.index.value for node in tree.within(program) if isinstance(node, tree.Register)
                         and isinstance(node.index, tree.Number) and node.index.value >= tree.REGISTERS})  # fmt: skip
        return "\n".join([
            "declare i16 @llvm.bswap.i16(i16)", "declare i32 @llvm.bswap.i32(i32)", "declare i64 @llvm.bswap.i64(i64)",
            *(f"{name} = {constant}" for constant, name in self._tables.items()),
            "define i32 @filter(ptr noalias readonly %packet, i32 %captured, i32 %wire, ptr noalias readonly %facts, "
            "ptr noalias %memory, ptr noalias readonly %externals) nounwind \"no-jump-tables\"=\"true\" {",
            "entry:",
            f"  %registers = alloca [{tree.REGISTERS} x i64], align 8",
            *self._constants,
            *(f"  %r{at} = getelementptr i64, ptr %registers, i64 {at}" for at in range(tree.REGISTERS)),
            *(f"  %r{at} = alloca i64, align 8" for at in hidden),  # no index reaches these
            *(f"  store i64 0, ptr %r{at}, align 8" for at in (*range(tree.REGISTERS), *hidden)),
            "  %captured.wide = zext i32 %captured to i64", "  %wire.wide = zext i32 %wire to i64",
            *body, "  ret i32 0",
            "reject:", "  ret i32 0", "}", '!0 = !{!"branch_weights", i32 1000, i32 1}', "",
        ])  # fmt: skip

    # ---- statements ----

    def _block(self, statements: tree.Program) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: tree.Statement) -> None:
        out = self._out
        if isinstance(statement, tree.Assign):
            self._assign(statement)
        elif isinstance(statement, tree.If):
            self._if(statement)
        elif isinstance(statement, tree.For):
            self._for(statement)
        elif isinstance(statement, tree.Return):
            value = self._value(statement.value)
            large = out.let(f"icmp ugt i64 {value}, {meaning.RESULT_MAX}")
            low = out.let(f"trunc i64 {value} to i32")
            self._return(out.let(f"select i1 {large}, i32 -1, i32 {low}"))
            out.block(out.label("dead"))
        elif isinstance(statement, tree.Call):
            self._value(statement.extern)
        elif isinstance(statement, tree.Break):
            out.goto(self._leave[-1])
            out.block(out.label("dead"))

    def _return(self, result: str) -> None:
        self._out.say(f"ret i32 {result}")

    def _if(self, statement: tree.If) -> None:
        out = self._out
        yes, no, end = out.label("then"), out.label("else"), out.label("fi")
        out.branch(self._test(statement.test), yes, no)
        out.block(yes)
        self._block(statement.then)
        out.goto(end)
        out.block(no)
        self._block(statement.otherwise)
        out.goto(end)
        out.block(end)

    def _for(self, statement: tree.For) -> None:
        out, loop = self._out, loop_of(statement)
        head, body, end = out.label("for"), out.label("round"), out.label("rof")
        if statement.first:
            self._assign(statement.first)
        bound = self._value(loop.bound)
        rounds = f"%{out.fresh()}"
        self._constants.append(f"  {rounds} = alloca i64, align 8")
        out.say(f"store i64 0, ptr {rounds}, align 8")
        out.goto(head)
        out.block(head)
        done = out.let(f"load i64, ptr {rounds}, align 8")
        some = out.let(f"icmp ult i64 {done}, {statement.most}")
        at = out.let(f"load i64, ptr %r{loop.register}, align 8")
        holds = out.let(f"icmp {self._relation(loop.op, False)} i64 {at}, {bound}")
        out.branch(out.let(f"and i1 {some}, {holds}"), body, end)
        out.block(body)
        self._leave.append(end)
        self._block(statement.body)
        self._leave.pop()
        out.say(f"store i64 {out.let(f'add i64 {done}, 1')}, ptr {rounds}, align 8")
        before = out.let(f"load i64, ptr %r{loop.register}, align 8")
        after = out.let(f"add i64 {before}, {wrapped(loop.step)}")
        out.say(f"store i64 {after}, ptr %r{loop.register}, align 8")
        out.goto(head)
        out.block(end)

    def _assign(self, statement: tree.Assign) -> None:
        target, op = statement.target, statement.op[:-1]
        assert isinstance(target, (tree.Register, tree.Memory))
        value = self._value(statement.value)
        if op:
            signed = meaning.is_signed(target) if op in ("<<", ">>") else meaning.meets_signed(target, statement.value)
            if self._atomic and isinstance(target, tree.Memory) and not target.sub:
                self._change(target, op, value, signed)
                return
            value = self._operate(op, self._value(target), value, signed)
        self._store(target, value)

    def _change(self, target: tree.Memory, op: str, value: str, signed: bool) -> None:
        """Atomically: by one instruction where there is one, else by comparing and exchanging."""
        bits = target.kind.bits
        if op in ATOMIC and bits >= self.ATOMIC_BITS:
            narrow = self._narrow(value, bits)
            pointer = self._memory(target)
            self._out.say(f"atomicrmw {ATOMIC[op]} ptr {pointer}, i{bits} {narrow} monotonic")
            return
        if op in ("/", "%"):
            self._guards.divisor(value)
        self._exchange(target.kind, op, self._scaled(target.index, target.scale), value, signed)

    def _exchange(self, kind: tree.Kind, op: str, offset: str, value: str, signed: bool) -> None:
        out = self._out
        before, head, again, done = (out.label(name) for name in ("change", "try", "again", "changed"))
        out.goto(before)
        out.block(before)
        out.goto(head)
        out.block(head)
        tries, following = f"%{out.fresh()}", f"%{out.fresh()}"
        out.say(f"{tries} = phi i64 [ 0, %{before} ], [ {following}, %{again} ]")
        out.branch(self._attempt(kind, op, offset, value, signed), done, again)
        out.block(again)
        out.say(f"{following} = add i64 {tries}, 1")
        out.branch(out.let(f"icmp ult i64 {following}, {meaning.TRIES}"), head, done)
        out.block(done)

    def _attempt(self, kind: tree.Kind, op: str, offset: str, value: str, signed: bool) -> str:
        """i1: the change is made, in the 32 or 64 bits that the place lies in; nobody else changed them meanwhile."""
        out, bits = self._out, kind.bits
        wide = max(bits, 32)
        pointer, shift = self._guards.memory(offset, wide // 8), "0"
        if bits < wide:
            shift = out.let(f"mul i64 {out.let(f'and i64 {offset}, {(wide - bits) // 8}')}, 8")
        seen = out.let(f"load volatile i{wide}, ptr {pointer}, align {wide // 8}")
        whole = seen if wide == 64 else out.let(f"zext i{wide} {seen} to i64")
        mask = wrapped((1 << bits) - 1)
        old = out.let(f"and i64 {out.let(f'lshr i64 {whole}, {shift}')}, {mask}")
        new = self._operate(op, self._extended(old, kind), value, signed)
        part = out.let(f"shl i64 {out.let(f'and i64 {new}, {mask}')}, {shift}")
        hole = out.let(f"xor i64 {out.let(f'shl i64 {mask}, {shift}')}, -1")
        word = self._narrow(out.let(f"or i64 {out.let(f'and i64 {whole}, {hole}')}, {part}"), wide)
        pair = out.let(f"cmpxchg ptr {pointer}, i{wide} {seen}, i{wide} {word} seq_cst seq_cst")
        return out.let(f"extractvalue {{ i{wide}, i1 }} {pair}, 1")

    def _store(self, target: tree.Register | tree.Memory, value: str) -> None:
        out = self._out
        bits = 64 if isinstance(target, tree.Register) else target.kind.bits
        if target.sub:
            kind = target.sub.kind
            shift = self._part_shift(bits, target.sub)
            mask = (1 << kind.bits) - 1
            whole = self._load(target)
            hole = out.let(f"xor i64 {out.let(f'shl i64 {wrapped(mask)}, {shift}')}, -1")
            part = out.let(f"shl i64 {out.let(f'and i64 {value}, {wrapped(mask)}')}, {shift}")
            value = out.let(f"or i64 {out.let(f'and i64 {whole}, {hole}')}, {part}")
        if isinstance(target, tree.Register):
            out.say(f"store {self.KEPT}i64 {value}, ptr {self._register(target)}, align 8")
        else:
            pointer = self._memory(target)
            out.say(f"store i{bits} {self._narrow(value, bits)}, ptr {pointer}, align {bits // 8}")
