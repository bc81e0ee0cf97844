# SPDX-License-Identifier: BSD-3-Clause
"""Fourth pass, for the kernel: to LLVM IR of functions that the verifier can follow.

takes    a checked program
gives    Kernel: text of functions, of which the first is called as
             void @NAME(ptr scratch, ptr work, ptr memory)
         scratch: struct ffpf_scratch of csrc/kernel/kernel_layout.h; work: struct ffpf_node_work of node_layout.h, in
         whose `program` are registers, what is there of the packet, and afterwards the result

What lower.py says of guards holds; besides,
    whatever stays from one statement to the next lies in memory, and is loaded anew (volatile): where ways meet the
    verifier has nothing to tell them apart by, so that its work is the sum over statements
    an index is masked right before its use, of a value that LLVM knows nothing of, and so cannot leave the mask out
    a FOR is a bpf_loop over a function of its own, verified once; CONTAINS is one over pieces of the packet
    the packet begins where work.program.shift says: four octets before the scratch's if a tag was put back there
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from fpl.classify import layout
from fpl.fpl2 import meaning, tree
from fpl.fpl2.check import SCAN_MAX, Cost, loop_of
from fpl.fpl2.compile import Checked
from fpl.fpl2.emit import Guards, Lines
from fpl.fpl2.externals import key_of
from fpl.fpl2.lower import Lower
from fpl.fpl2.strings import is_letter
from fpl.fpl2.values import BINARY, wrapped

# struct ffpf_node_program of csrc/kernel/node_layout.h, in struct ffpf_node_work
PROGRAM = 1408
REGISTERS = 128  # room for so many
PROGRAM_REGISTERS = PROGRAM  # u64 each
PROGRAM_CAPTURED = PROGRAM_REGISTERS + 8 * REGISTERS  # u64
PROGRAM_WIRE = PROGRAM_CAPTURED + 8
PROGRAM_BOUNDS = PROGRAM_WIRE + 8  # u64, by depth of loops
LOOPS_MAX = 5  # within each other: the kernel has eight frames, the node and its program take one each, and CONTAINS
# u64: where CONTAINS begins, how many octets, whether it was found; of an assignment operator: place, operand
PROGRAM_SCAN = PROGRAM_BOUNDS + 8 * LOOPS_MAX
PROGRAM_RESULT = PROGRAM_SCAN + 24  # u32
PROGRAM_ENDED = PROGRAM_RESULT + 4  # u32
PROGRAM_SHIFT = PROGRAM_ENDED + 4  # u32: 4, or 0 if a tag was put back
PROGRAM_BYTES = 1184
TAG_BYTES = 4

LOOP = 181  # helper bpf_loop
INDEX_MASK = layout.SCRATCH_DATA_BYTES - 1
FETCH_LEAST = 16  # so that a tag has its place
PIECE = 32  # places that CONTAINS looks at in one round
INSNS_MAX = 30_000  # a jump goes 32,767 far
# by key: functions of csrc/kernel/nodes.bpf.c, i64 (ptr scratch, ptr work), which know the packet's headers
EXTERNS = {"getdyntcpdportfromrtsp": "ffpf_node_extern_rtsp_port"}
FACTS_AT = {
    "IFINDEX": layout.SCRATCH_IFINDEX, "PKTTYPE": layout.SCRATCH_PKT_TYPE, "VLAN_PRESENT": layout.SCRATCH_VLAN_PRESENT,
    "VLAN_TCI": layout.SCRATCH_VLAN_TCI,
}  # fmt: skip


class NotForKernelError(Exception):
    """The program is right, and the kernel cannot run it: why."""


@dataclass(frozen=True)
class Kernel:
    """name: of the function to call. functions: text of IR. fetch: octets of a packet that it may look at. externs:
    names of functions of csrc/kernel/nodes.bpf.c that it calls, which want the packet's headers."""

    name: str
    functions: str
    fetch: int
    externs: tuple[str, ...] = ()


def refusal(cost: Cost) -> str:
    """Why the kernel cannot run such a program, as far as is known without trying; "": nothing is."""
    if cost.deepest > LOOPS_MAX:
        return f"its loops are {cost.deepest} deep: the kernel has {LOOPS_MAX} at most"
    for key, external in sorted(cost.calls.items()):
        if key.startswith(tree.OTHER):
            return f"it reads the MBuf of {key.removeprefix(tree.OTHER)}, which userspace alone does"
        if key not in EXTERNS:
            return f"the kernel has no external function {external.name}"
    return ""


def octets_needed(program: tree.Program) -> int:
    """How much of a packet must be there, so that it makes no difference what lies behind."""
    most = FETCH_LEAST
    for node in tree.within(program):
        if isinstance(node, tree.Packet):
            first, octets, scale = node.index, node.kind.bits // 8, node.scale
        elif isinstance(node, tree.Hash):
            assert isinstance(node.length, tree.Number)
            first, octets, scale = node.start, node.length.value, 1
        elif isinstance(node, (tree.Contains, tree.Extern)) or (isinstance(node, tree.Fact) and node.name == "CAPLEN"):
            return layout.SCRATCH_DATA_BYTES
        else:
            continue
        if not isinstance(first, tree.Number):
            return layout.SCRATCH_DATA_BYTES
        most = max(most, first.value * scale + octets)
    return min(most, layout.SCRATCH_DATA_BYTES)


def lower(checked: Checked, name: str = "program") -> Kernel:
    """Raises NotForKernelError."""
    reason = refusal(checked.cost)
    if reason:
        raise NotForKernelError(reason)
    functions = KernelLower(checked.mbuf_bytes, checked.cost, name, atomic=not checked.merges).module(checked.program)
    externs = tuple(EXTERNS[key] for key in sorted(checked.cost.calls))
    return Kernel(name, functions, octets_needed(checked.program), externs)


class KernelGuards(Guards):
    LIKELY = ""

    def __init__(self, out: KernelLines, mbuf_bytes: int) -> None:
        super().__init__(out, mbuf_bytes)
        self._lines = out

    def unknown(self, value: str) -> str:
        """The same value, of which LLVM does not know that."""
        return self._out.let(f'call i64 asm sideeffect "", "=r,0"(i64 {value})')

    def captured(self) -> str:
        return self._lines.kept(PROGRAM_CAPTURED)

    def inside(self, offset: str, octets: int) -> str:
        if offset.lstrip("-").isdigit():
            last = int(offset) + octets
            return self._out.let(f"icmp uge i64 {self.captured()}, {last}") if 0 < last <= INDEX_MASK + 1 else "false"
        captured = self.captured()
        behind = self._out.let(f"sub i64 {captured}, {octets}")
        enough = self._out.let(f"icmp uge i64 {captured}, {octets}")
        fits = self._out.let(f"icmp ule i64 {offset}, {behind}")
        return self._out.let(f"and i1 {enough}, {fits}")

    def _masked(self, offset: str, mask: int) -> str:
        if offset.lstrip("-").isdigit():
            return str(int(offset) & mask)
        return self._out.let(f"and i64 {self.unknown(offset)}, {mask}")

    def packet(self, offset: str) -> str:
        return self._out.let(f"getelementptr i8, ptr %packet, i64 {self._masked(offset, INDEX_MASK)}")

    def memory(self, offset: str, octets: int) -> str:
        masked = self._masked(offset, (self._mbuf - 1) & ~(octets - 1))
        return self._out.let(f"getelementptr i8, ptr %memory, i64 {masked}")

    def register(self, index: str) -> str:
        masked = self._masked(index, tree.REGISTERS - 1)
        return self._out.let(f"getelementptr i64, ptr %registers, i64 {masked}")


class KernelLines(Lines):
    def at(self, offset: int) -> str:
        return self.let(f"getelementptr i8, ptr %work, i64 {offset}")

    def kept(self, offset: int, kind: str = "i64") -> str:
        """From work."""
        return self.let(f"load volatile {kind}, ptr {self.at(offset)}, align {4 if kind == 'i32' else 8}")

    def keep(self, value: str, offset: int, kind: str = "i64") -> None:
        self.say(f"store volatile {kind} {value}, ptr {self.at(offset)}, align {4 if kind == 'i32' else 8}")


class KernelLower(Lower):
    ATOMIC_BITS = 32
    TABLES = False
    KEPT = "volatile "

    def __init__(self, mbuf_bytes: int, cost: Cost, name: str, *, atomic: bool) -> None:
        self._lines = KernelLines()
        self._name, self._functions = name, list[str]()
        super().__init__(mbuf_bytes, cost, atomic=atomic)
        self._out = self._lines

    def _guards_of(self, mbuf_bytes: int) -> Guards:
        self._kernel_guards = KernelGuards(self._lines, mbuf_bytes)
        return self._kernel_guards

    def _operate(self, op: str, left: str, right: str, signed: bool) -> str:
        """LLVM would take a long sum by its last terms first, and have them all on the stack, which is small; and of a
        divisor that it knows to be a power of two it would look the exponent up in a table of its own."""
        if op in BINARY and not left.lstrip("-").isdigit():
            left = self._kernel_guards.unknown(left)
        if op in ("/", "%") and not right.lstrip("-").isdigit():
            right = self._kernel_guards.unknown(right)
        return super()._operate(op, left, right, signed)

    def module(self, program: tree.Program) -> str:
        self._registers = _registers(program)
        self._block(program)
        body = self._lines.lines
        context = [f"  %context.{at} = getelementptr ptr, ptr %context, i64 {at}" for at in range(3)]
        first = [
            f"define void @{self._name}(ptr %scratch, ptr %work, ptr %memory) noinline nounwind "
            '"no-jump-tables"="true" section "program" {', "entry:", "  %context = alloca [3 x ptr], align 8", *context,
            *(f"  store ptr %{what}, ptr %context.{at}, align 8"
              for at, what in enumerate(("scratch", "work", "memory"))),
            *self._prologue(), *(f"  store volatile i64 0, ptr %r{at}, align 8" for at in self._registers), *body,
            "  br label %reject", *_epilogue("ret void"),
        ]  # fmt: skip
        return "\n".join([*first, *self._functions])

    def _prologue(self) -> list[str]:
        return [
            f"  %registers = getelementptr i8, ptr %work, i64 {PROGRAM_REGISTERS}",
            *(f"  %r{at} = getelementptr i64, ptr %registers, i64 {at}" for at in self._registers), *_PACKET,
        ]  # fmt: skip

    @contextlib.contextmanager
    def _function(self) -> Iterator[str]:
        """What is said within becomes a function for bpf_loop, that has a round's number in %index; its name."""
        name, before = f"{self._name}.{self._lines.fresh()}", self._lines.lines
        self._lines.lines = []
        yield name
        self._functions += [
            f"define internal i64 @{name}(i32 %index, ptr %context) noinline nounwind "
            '"no-jump-tables"="true" section "program" {', "entry:",
            *(line for at, what in enumerate(("scratch", "work", "memory")) for line in (
                f"  %context.{at} = getelementptr ptr, ptr %context, i64 {at}",
                f"  %{what} = load ptr, ptr %context.{at}, align 8")),
            *self._prologue(), *self._lines.lines, "  ret i64 0", "stop:", "  ret i64 1", *_epilogue("ret i64 1"),
        ]  # fmt: skip
        self._lines.lines = before

    def _loop(self, rounds: int, function: str) -> None:
        self._lines.let(f"call i64 inttoptr (i64 {LOOP} to ptr)(i32 {rounds}, ptr @{function}, ptr %context, i64 0)")

    def _statement(self, statement: tree.Statement) -> None:
        super()._statement(statement)
        self._lines.say('call void asm sideeffect "", "~{memory}"()')  # nothing that was loaded is known any more

    def _return(self, result: str) -> None:
        self._lines.keep(result, PROGRAM_RESULT, "i32")
        self._lines.goto("ended")

    def _fact(self, name: str) -> str:
        out = self._lines
        if name == "CAPLEN":
            return self._guards.captured()
        if name == "LEN":
            return out.kept(PROGRAM_WIRE)
        value = self._from_scratch(FACTS_AT[name])
        if name != "VLAN_TCI":
            return value
        there = out.let(f"icmp ne i64 {self._from_scratch(FACTS_AT['VLAN_PRESENT'])}, 0")
        return out.let(f"select i1 {there}, i64 {value}, i64 0")

    def _from_scratch(self, offset: int) -> str:
        pointer = self._lines.let(f"getelementptr i8, ptr %scratch, i64 {offset}")
        return self._lines.let(f"zext i32 {self._lines.let(f'load i32, ptr {pointer}, align 4')} to i64")

    def _extern(self, expr: tree.Extern) -> str:
        for offset in (expr.read_at, expr.write_at):
            self._value(offset)  # which may end the filter
        return self._lines.let(f"call i64 @{EXTERNS[key_of(expr.name)]}(ptr %scratch, ptr %work)")

    def _for(self, statement: tree.For) -> None:
        out, loop, depth = self._lines, loop_of(statement), len(self._leave)
        assert statement.most is not None
        if statement.first:
            self._assign(statement.first)
        out.keep(self._value(loop.bound), PROGRAM_BOUNDS + 8 * depth)
        if not statement.most:
            return  # the kernel takes away a function that no round calls, and then misses it
        self._leave.append("stop")
        with self._function() as name:
            body = out.label("round")
            at = out.let(f"load volatile i64, ptr %r{loop.register}, align 8")
            holds = out.let(f"icmp {self._relation(loop.op, False)} i64 {at}, {out.kept(PROGRAM_BOUNDS + 8 * depth)}")
            out.branch(holds, body, "stop")
            out.block(body)
            self._block(statement.body)
            before = out.let(f"load volatile i64, ptr %r{loop.register}, align 8")
            after = out.let(f"add i64 {before}, {wrapped(loop.step)}")
            out.say(f"store volatile i64 {after}, ptr %r{loop.register}, align 8")
        self._leave.pop()
        self._loop(statement.most, name)
        ahead = out.label("rof")
        out.branch(out.let(f"icmp eq i32 {out.kept(PROGRAM_ENDED, 'i32')}, 0"), ahead, "ended")
        out.block(ahead)

    def _exchange(self, kind: tree.Kind, op: str, offset: str, value: str, signed: bool) -> None:
        out = self._lines
        out.keep(offset, PROGRAM_SCAN)
        out.keep(value, PROGRAM_SCAN + 8)
        with self._function() as name:
            place, operand = out.kept(PROGRAM_SCAN), out.kept(PROGRAM_SCAN + 8)
            again = out.label("again")
            out.branch(self._attempt(kind, op, place, operand, signed), "stop", again)
            out.block(again)
        self._loop(meaning.TRIES, name)

    def _contains(self, expr: tree.Contains) -> str:
        out, octets = self._lines, expr.octets
        start, room = self._scanned(expr)
        for offset, value in enumerate((start, room, "0")):
            out.keep(value, PROGRAM_SCAN + 8 * offset)
        with self._function() as name:
            begin = out.let(f"mul i64 {out.let('zext i32 %index to i64')}, {PIECE}")
            head, place, look, on = (out.label(what) for what in ("place", "look", "same", "on"))
            out.goto(head)
            out.block(head)
            at, following = f"%{out.fresh()}", f"%{out.fresh()}"
            out.say(f"{at} = phi i64 [ 0, %entry ], [ {following}, %{on} ]")
            more = out.let(f"icmp ult i64 {at}, {PIECE}")
            out.branch(more, place, "again")
            out.block(place)
            number = out.let(f"add i64 {begin}, {at}")
            last = out.let(f"add i64 {number}, {len(octets)}")
            out.branch(out.let(f"icmp ule i64 {last}, {out.kept(PROGRAM_SCAN + 8)}"), look, "stop")
            out.block(look)
            first = out.let(f"add i64 {out.kept(PROGRAM_SCAN)}, {number}")
            pointer = self._guards.packet(first)
            for first_octet, size in _pieces(len(octets)):
                here = out.let(f"getelementptr i8, ptr {pointer}, i64 {first_octet}")
                value = out.let(f"load i{8 * size}, ptr {here}, align 1")
                small = sum(0x20 << 8 * n for n in range(size) if is_letter(octets[first_octet + n]))
                if expr.any_case and small:
                    value = out.let(f"or i{8 * size} {value}, {small}")
                wanted = int.from_bytes(octets[first_octet : first_octet + size], "little", signed=True)
                further = out.label("same")
                out.branch(out.let(f"icmp eq i{8 * size} {value}, {wanted}"), further, on)
                out.block(further)
            out.keep("1", PROGRAM_SCAN + 16)
            out.goto("stop")
            out.block(on)
            out.say(f"{following} = add i64 {at}, 1")
            out.say(f"br label %{head}, !llvm.loop !1")
            out.block("again")
        self._loop(-(-SCAN_MAX // PIECE), name)
        return out.kept(PROGRAM_SCAN + 16)


_PACKET = [
    f"  %shift.p = getelementptr i8, ptr %work, i64 {PROGRAM_SHIFT}",
    "  %shift.now = load volatile i32, ptr %shift.p, align 4",
    f"  %shift.masked = and i32 %shift.now, {TAG_BYTES}", "  %shift = zext i32 %shift.masked to i64",
    f"  %data.first = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_DATA - TAG_BYTES}",
    "  %packet = getelementptr i8, ptr %data.first, i64 %shift",
]  # fmt: skip


def _registers(program: tree.Program) -> list[int]:
    """Those that a program may look at: all that have names where one is looked up by a number not known here."""
    used = set[int]()
    for node in tree.within(program):
        if isinstance(node, tree.Register):
            used |= {node.index.value} if isinstance(node.index, tree.Number) else set(range(tree.REGISTERS))
    return sorted(used)


def _epilogue(leave: str) -> list[str]:
    return [
        "reject:", f"  %reject.p = getelementptr i8, ptr %work, i64 {PROGRAM_RESULT}",
        "  store volatile i32 0, ptr %reject.p, align 4", "  br label %ended",
        "ended:", f"  %ended.p = getelementptr i8, ptr %work, i64 {PROGRAM_ENDED}",
        "  store volatile i32 1, ptr %ended.p, align 4", f"  {leave}", "}",
    ]  # fmt: skip


def _pieces(octets: int) -> Iterator[tuple[int, int]]:
    """(offset, size) of loads that together are so many octets."""
    at = 0
    for size in (8, 4, 2, 1):
        while octets - at >= size:
            yield at, size
            at += size
