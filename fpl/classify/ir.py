# SPDX-License-Identifier: BSD-3-Clause
"""What every emitted program has around its body, as text of LLVM IR.

takes    body: IR that begins in a block of its own and ends by a jump to %done; it may use
             %scratch (ptr to this CPU's struct ffpf_scratch), %data (ptr to its octets), %wire_len (i32), %work
gives    a module of one function in section "program": (ptr %ctx) -> i32, the Place's verdict
             entry: find the scratch | body | done: tail call the slot that next_at has, each of `then`, `last`; the
             first that is not empty goes on; behind tail calls that failed: lost += 1, inside = 0 (Place of two lanes:
             owner = 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fpl.classify import bpf, layout

MAP_LOOKUP, SMP_PROCESSOR_ID, TAIL_CALL = 1, 8, 12  # helpers: enum bpf_func_id
PSEUDO_MAP_FD, PSEUDO_MAP_VALUE = 1, 2

HEAD = """target triple = "bpfel"
declare i64 @llvm.bpf.pseudo(i64, i64)
declare i32 @llvm.bswap.i32(i32)
declare i16 @llvm.bswap.i16(i16)
"""


NOT_UNROLLED = """!1 = distinct !{!1, !2}
!2 = !{!"llvm.loop.unroll.disable"}
"""


TAIL = ["!0 = !{}", NOT_UNROLLED]


@dataclass(frozen=True)
class Place:
    """Where the kernel calls the hook, which all programs of a program array must be made for."""

    kind: int  # of programs: enum bpf_prog_type
    attach: int  # enum bpf_attach_type
    verdict: int  # what a program returns so that the packet goes its way
    lanes: int  # for each CPU

    def load(self, insns: bytes, name: str) -> int:
        return bpf.prog_load(insns, name, self.kind, self.attach)


SOCKET = Place(bpf.PROG_TYPE_SOCKET_FILTER, 0, 0, 1)
NETFILTER = Place(bpf.PROG_TYPE_NETFILTER, bpf.ATTACH_TYPE_NETFILTER, 1, 2)


def signed(value: int) -> int:
    """A 32-bit constant as LLVM writes it."""
    return value - (1 << 32) if value >> 31 else value


def signed64(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def map_value(name: str, fd: int) -> list[str]:
    """%name: ptr to the only value of an array map."""
    return [f"  %{name}.at = call i64 @llvm.bpf.pseudo(i64 {PSEUDO_MAP_VALUE}, i64 {fd})",
            f"  %{name} = inttoptr i64 %{name}.at to ptr"]  # fmt: skip


def map_lookup(name: str, fd: int) -> list[str]:
    """%name: ptr to this lane's value of an array map; null: there is none."""
    return [f"  %{name}.map.at = call i64 @llvm.bpf.pseudo(i64 {PSEUDO_MAP_FD}, i64 {fd})",
            f"  %{name}.map = inttoptr i64 %{name}.map.at to ptr",
            f"  %{name} = call ptr inttoptr (i64 {MAP_LOOKUP} to ptr)(ptr %{name}.map, ptr %key)"]  # fmt: skip


def scratch_load(name: str, offset: int, *, wide: bool = False) -> list[str]:
    kind, align = ("i64", 8) if wide else ("i32", 4)
    return [f"  %{name}.p = getelementptr i8, ptr %scratch, i64 {offset}",
            f"  %{name} = load {kind}, ptr %{name}.p, align {align}"]  # fmt: skip


def packet_load(name: str, pointer: str, size: int) -> list[str]:
    """%name (i32): `size` octets at the pointer, in network order. They do not change while a program runs, so that
    LLVM may keep one load for several filters.
    """
    kind = {1: "i8", 2: "i16", 4: "i32"}[size]
    lines = [f"  %{name}.be = load {kind}, ptr {pointer}, align 1, !invariant.load !0"]
    if size == 1:
        return [*lines, f"  %{name} = zext i8 %{name}.be to i32"]
    if size == 2:
        return [*lines, f"  %{name}.h = call i16 @llvm.bswap.i16(i16 %{name}.be)",
                f"  %{name} = zext i16 %{name}.h to i32"]  # fmt: skip
    return [*lines, f"  %{name} = call i32 @llvm.bswap.i32(i32 %{name}.be)"]


def or_verdict(name: str, word: int, bits: str) -> list[str]:
    """verdict[word] |= bits. Volatile, so that no register holds verdicts of several filters: whatever a register
    holds, the verifier follows, once for each combination.
    """
    return [f"  %{name}.p = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_VERDICT + 8 * word}",
            f"  %{name}.old = load volatile i64, ptr %{name}.p, align 8",
            f"  %{name}.new = or i64 %{name}.old, {bits}",
            f"  store volatile i64 %{name}.new, ptr %{name}.p, align 8"]  # fmt: skip


def _work(fd: int) -> list[str]:
    """%work: this CPU's value of one more map."""
    return [*map_lookup("work", fd),
            "  %work.none = icmp eq ptr %work, null", "  br i1 %work.none, label %done, label %working",
            "working:"]  # fmt: skip


def _find_owned(scratch_fd: int, verdict: int) -> list[str]:
    """%key, where a CPU has two lanes: the one whose scratch is this context's, as csrc/kernel/netfilter.bpf.c says."""
    return ["  %lane.me = ptrtoint ptr %ctx to i64", "  %lane.first = shl i32 %cpu, 1",
            "  store i32 %lane.first, ptr %key, align 4",
            f"  %lane.map.at = call i64 @llvm.bpf.pseudo(i64 {PSEUDO_MAP_FD}, i64 {scratch_fd})",
            "  %lane.map = inttoptr i64 %lane.map.at to ptr",
            f"  %lane.scratch = call ptr inttoptr (i64 {MAP_LOOKUP} to ptr)(ptr %lane.map, ptr %key)",
            "  %lane.none = icmp eq ptr %lane.scratch, null",
            "  br i1 %lane.none, label %lane.nowhere, label %lane.asked",
            "lane.nowhere:", f"  ret i32 {verdict}", "lane.asked:",
            f"  %lane.owner.p = getelementptr i8, ptr %lane.scratch, i64 {layout.SCRATCH_OWNER}",
            "  %lane.owner = load volatile i64, ptr %lane.owner.p, align 8",
            "  %lane.not.mine = icmp ne i64 %lane.owner, %lane.me",
            "  br i1 %lane.not.mine, label %lane.other, label %lane.known",
            "lane.other:", "  %lane.second = or i32 %lane.first, 1", "  store i32 %lane.second, ptr %key, align 4",
            "  br label %lane.known", "lane.known:"]  # fmt: skip


def _leave(place: Place) -> list[str]:
    """The scratch is free again."""
    if place.lanes == 1:
        return [f"  %inside = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_INSIDE}",
                "  store volatile i32 0, ptr %inside, align 4"]  # fmt: skip
    return [f"  %owner.mine = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_OWNER}",
            "  store volatile i64 0, ptr %owner.mine, align 8"]  # fmt: skip


def module(
    scratch_fd: int,
    progs_fd: int,
    allocas: Sequence[str],
    body: Sequence[str],
    then: Sequence[int],
    work_fd: int | None = None,
    place: Place = SOCKET,
    last: Sequence[int] = (layout.SLOT_GRAPH, layout.SLOT_STORE),
    declarations: Sequence[str] = (),
    next_at: tuple[int, int] | None = None,
) -> str:
    """next_at: where a slot stands, u32: descriptor of an array map, and offset in its only value."""
    lines = [HEAD, *declarations, 'define i32 @classify(ptr %ctx) section "program" {',
             "entry:", "  %key = alloca i32, align 4",
             *(f"  {line}" for line in allocas),
             f"  %cpu = call i32 inttoptr (i64 {SMP_PROCESSOR_ID} to ptr)()",
             *(_find_owned(scratch_fd, place.verdict) if place.lanes > 1 else ["  store i32 %cpu, ptr %key, align 4"]),
             f"  %map.at = call i64 @llvm.bpf.pseudo(i64 {PSEUDO_MAP_FD}, i64 {scratch_fd})",
             "  %map = inttoptr i64 %map.at to ptr",
             f"  %scratch = call ptr inttoptr (i64 {MAP_LOOKUP} to ptr)(ptr %map, ptr %key)",
             "  %none = icmp eq ptr %scratch, null", "  br i1 %none, label %nowhere, label %found",
             "nowhere:", f"  ret i32 {place.verdict}", "found:",
             f"  %data = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_DATA}",
             *scratch_load("wire_len", layout.SCRATCH_WIRE_LEN),
             *(_work(work_fd) if work_fd is not None else ()), *body, "done:",
             f"  %progs.at = call i64 @llvm.bpf.pseudo(i64 {PSEUDO_MAP_FD}, i64 {progs_fd})",
             "  %progs = inttoptr i64 %progs.at to ptr"]  # fmt: skip
    slots = [str(slot) for slot in (*then, *last)]
    if next_at is not None:
        lines += [*map_value("next", next_at[0]), f"  %next.p = getelementptr i8, ptr %next, i64 {next_at[1]}",
                  "  %next.slot = load volatile i32, ptr %next.p, align 4"]  # fmt: skip
        slots.insert(0, "%next.slot")
    lines += [f"  call i64 inttoptr (i64 {TAIL_CALL} to ptr)(ptr %ctx, ptr %progs, i32 {slot})" for slot in slots]
    lines += [f"  %lost = getelementptr i8, ptr %scratch, i64 {layout.SCRATCH_LOST}",
              "  %lost.old = load volatile i64, ptr %lost, align 8",
              "  %lost.new = add i64 %lost.old, 1", "  store volatile i64 %lost.new, ptr %lost, align 8",
              *_leave(place), f"  ret i32 {place.verdict}", "}", *TAIL]  # fmt: skip
    return "\n".join(lines)


def of_functions(declarations: Sequence[str], text: str) -> str:
    """A module of functions that programs call: definitions in section "program", of which the first is the one."""
    return "\n".join([HEAD, *declarations, text, *TAIL])
