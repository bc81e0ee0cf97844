# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of sources in the kernel share: a source, its groups and flows, readers, and the smallest classify.

The classify programs are assembled by hand: they put a constant in each word of the verdict, or one that depends on an
octet of the packet. Filters proper are made elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns

ALL = (1 << 64) - 1
FORMS = {  # of the hook
    "context": lib.FFPF_KERNEL_FORM_CONTEXT,
    "probed": lib.FFPF_KERNEL_FORM_PROBED,
    "plain": lib.FFPF_KERNEL_FORM_PLAIN,
}
SNAP = 262144
DLT_EN10MB, DLT_LINUX_SLL2 = 1, 276


class KernelError(Exception):
    """A call of the core failed; its text, and its code."""

    def __init__(self, err: Any) -> None:
        super().__init__(ffi.string(err.text).decode())
        self.code = int(err.code)


def check(call: Any, *args: Any) -> int:
    """Calls a function of the core that takes an error last; what it returned, if that was no failure."""
    err = ffi.new("struct ffpf_error *")
    rc = int(call(*args, err))
    if rc < 0:
        raise KernelError(err)
    return rc


# ---- classify programs ----

_libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF, BPF_PROG_LOAD, BPF_MAP_GET_NEXT_ID, SOCKET_FILTER = 321, 5, 12, 1
MAP_LOOKUP_ELEM, GET_SMP_PROCESSOR_ID, TAIL_CALL = 1, 8, 12


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One eBPF instruction."""
    return struct.pack("<BBhi", code, src << 4 | dst, off, imm if imm < 1 << 31 else imm - (1 << 32))


def load_map(dst: int, fd: int) -> bytes:
    """dst = the map behind the descriptor (two instructions)."""
    return insn(0x18, dst, 1, 0, fd) + insn(0)


def load_64(dst: int, value: int) -> bytes:
    """dst = a constant (two instructions)."""
    return insn(0x18, dst, 0, 0, value & 0xFFFFFFFF) + insn(0, 0, 0, 0, value >> 32)


def load_program(code: bytes) -> int:
    """Loads a socket filter; its descriptor, or OSError with the end of the verifier's log."""
    log = ctypes.create_string_buffer(1 << 16)
    text = ctypes.create_string_buffer(code)
    terms = ctypes.create_string_buffer(b"GPL")
    attr = ctypes.create_string_buffer(
        struct.pack(
            "<IIQQIIQ", SOCKET_FILTER, len(code) // 8, ctypes.addressof(text), ctypes.addressof(terms), 1, len(log),
            ctypes.addressof(log),
        ),
        144,
    )  # fmt: skip
    fd = int(_libc.syscall(SYS_BPF, BPF_PROG_LOAD, attr, 144))
    if fd < 0:
        raise OSError(ctypes.get_errno(), log.value.decode()[-400:])
    return fd


def classify(
    fds: Any, verdict: Sequence[int], octet: tuple[int, int] | None = None, otherwise: int = 0, mask: int = 255
) -> int:
    """A program that accepts these columns, by word; with an octet (offset, value): unless it has the value, under the
    mask, when it is `otherwise` in word 0. To be closed by the caller."""
    program = insn(0xBF, 6, 1)  # r6 = the packet
    program += insn(0x85, imm=GET_SMP_PROCESSOR_ID)
    program += insn(0x63, 10, 0, -4)
    program += load_map(1, fds.fd[lib.FFPF_KERNEL_FD_SCRATCH])
    program += insn(0xBF, 2, 10) + insn(0x07, 2, imm=-4)
    program += insn(0x85, imm=MAP_LOOKUP_ELEM)
    program += insn(0x55, 0, off=2) + insn(0xB7, 0) + insn(0x95)  # nothing there: return 0
    program += insn(0xBF, 7, 0)
    for word, columns in enumerate(verdict):
        program += load_64(1, columns) + insn(0x7B, 7, 1, 8 * word)
    if octet is not None:
        program += insn(0x71, 2, 7, 4288 + octet[0]) + insn(0x57, 2, imm=mask)
        program += insn(0x55, 2, off=3, imm=octet[1]) + load_64(1, otherwise) + insn(0x7B, 7, 1, 0)
    program += insn(0xBF, 1, 6) + load_map(2, fds.fd[lib.FFPF_KERNEL_FD_PROGS])
    program += insn(0xB7, 3, imm=lib.FFPF_KERNEL_PROG_STORE) + insn(0x85, imm=TAIL_CALL)
    program += insn(0x62, 7, off=128) + insn(0xB7, 0) + insn(0x95)
    return load_program(program)


# ---- maps ----


def bpf(command: int, attr: bytes) -> bytes:
    """The system call; the attributes as it left them."""
    text = ctypes.create_string_buffer(attr, 144)
    if _libc.syscall(SYS_BPF, command, text, 144) < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return text.raw


def all_maps() -> set[int]:
    """The kernel's numbers of its maps."""
    found: set[int] = set()
    at = 0
    while True:
        try:
            at = struct.unpack_from("=I", bpf(BPF_MAP_GET_NEXT_ID, struct.pack("=I", at)), 4)[0]
        except FileNotFoundError:
            return found
        found.add(at)


def number_of_map(fd: int) -> int:
    """The kernel's number of a map."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("map_id")))


# ---- source, groups, flows ----


@dataclass(frozen=True)
class Packet:
    """A packet as its reader got it."""

    data: bytes
    wire_len: int
    time_ns: int
    ifindex: int
    result: int
    vlan: tuple[int, int] | None
    protocol: int
    pkt_type: int


def skip_unless(source: Source, form: int) -> None:
    """Skips the test where the kernel took another form of the hook than the test is for."""
    if source.form != form:
        refusal = ffi.string(lib.ffpf_kernel_refusal(source.kernel)).decode()
        source.close()
        pytest.skip(refusal)


def close_all(fds: Sequence[int]) -> None:
    """Closes descriptors, those that are there."""
    for fd in fds:
        if fd >= 0:
            os.close(fd)


class Source:
    """A source on one interface of a namespace; a context manager. Nobody is active until activate(). form: of the
    hook, FFPF_KERNEL_FORM_*, and what comes behind it where the kernel does not take it; 0: the best."""

    def __init__(
        self,
        ns: Netns,
        interface: str | None,
        cells_log2: int = 14,
        cpus: int = 0,
        snap_len: int = 0,
        form: int = 0,
    ) -> None:
        self.cooked = interface is None
        made = ffi.new("struct ffpf_kernel **")
        with ns.entered():
            index = socket.if_nametoindex(interface) if interface else 0
            wanted = ffi.new(
                "struct ffpf_kernel_source *",
                {
                    "ifindex": index, "cooked": self.cooked, "promisc": 1, "cells_log2": cells_log2, "cpus": cpus,
                    "snap_len": snap_len, "first_form": form,
                    "link_type": DLT_LINUX_SLL2 if self.cooked else DLT_EN10MB,
                },
            )  # fmt: skip
            check(lib.ffpf_kernel_create, made, wanted)
        self.kernel = made[0]
        self.ifindex = index
        self.fds = lib.ffpf_kernel_fds(self.kernel)
        self.cpus = int(lib.ffpf_kernel_source(self.kernel).cpus)
        self.form = int(lib.ffpf_kernel_source(self.kernel).form)
        self.lanes: dict[int, list[int]] = {}
        self.flows: list[Flow] = []

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def reset(self) -> None:
        """Removes every flow, group and program that tests have made: a source as it was made."""
        self.activate()
        for flow in self.flows:
            if lib.ffpf_kernel_flow_in_use(self.kernel, flow.slot):
                check(lib.ffpf_kernel_flow_remove, self.kernel, flow.slot)
            flow.close()
        for number, fds in self.lanes.items():
            check(lib.ffpf_kernel_group_remove, self.kernel, number)
            close_all(fds)
        self.flows, self.lanes = [], {}
        check(lib.ffpf_kernel_prog_set, self.kernel, lib.FFPF_KERNEL_PROG_CLASSIFY, -1)
        check(lib.ffpf_kernel_set_state, self.kernel, lib.FFPF_SOURCE_UP)

    def close(self) -> None:
        """Ends the capture; readers keep what they mapped."""
        for flow in self.flows:
            flow.close()
        for fds in self.lanes.values():
            close_all(fds)
        lib.ffpf_kernel_close(self.kernel)

    def group(self, number: int, bms: int = 1) -> None:
        """Makes a group."""
        fds = ffi.new("int[]", self.cpus)
        check(lib.ffpf_kernel_group_create, self.kernel, number, bms, fds)
        self.lanes[number] = list(fds)

    def flow(self, slot: int, group: int = 0, ibuf_slots: int = 4096, snap_len: int = SNAP, result: int = 1) -> Flow:
        """Makes a flow, with a filter in its first column, of generation 1."""
        reader, wake, ibufs = ffi.new("int *"), ffi.new("int *"), ffi.new("int[]", self.cpus)
        cfg = ffi.new("struct ffpf_kernel_flow_config *", (slot, group, ibuf_slots, snap_len))
        check(lib.ffpf_kernel_flow_create, self.kernel, cfg, reader, wake, ibufs)
        check(lib.ffpf_kernel_column_set, self.kernel, 2 * slot, result, 1)
        made = Flow(self, slot, group, int(reader[0]), int(wake[0]), list(ibufs))
        self.flows.append(made)
        return made

    def classify(self, program: int) -> None:
        """Puts a classify program in force, and closes its descriptor."""
        check(lib.ffpf_kernel_prog_set, self.kernel, lib.FFPF_KERNEL_PROG_CLASSIFY, program)
        os.close(program)

    def accept_all(self, words: int = 1, fetch: int = 64) -> None:
        """Every column accepts every packet."""
        check(lib.ffpf_kernel_set_fetch_len, self.kernel, fetch)
        check(lib.ffpf_kernel_set_words, self.kernel, words)
        self.classify(classify(self.fds, [ALL] * words))

    def activate(self, *columns: int) -> None:
        """These columns and no others, word by word."""
        for word in range(lib.FFPF_KERNEL_WORDS):
            bits = sum(1 << (column % 64) for column in columns if column // 64 == word)
            if bits != lib.ffpf_kernel_active(self.kernel, word):
                check(lib.ffpf_kernel_activate, self.kernel, word, bits)

    def counters(self, slot: int) -> Any:
        """What the lanes counted for a flow; the law is asserted."""
        out = ffi.new("struct ffpf_counters *")
        check(lib.ffpf_kernel_flow_counters, self.kernel, slot, out)
        assert out.seen == out.filtered + out.delivered + lib.ffpf_counters_dropped(out)
        return out

    def status(self, slot: int, cpu: int) -> Any:
        """One of a flow's IBufs."""
        out = ffi.new("struct ffpf_kernel_ibuf_status *")
        check(lib.ffpf_kernel_ibuf_status, self.kernel, slot, cpu, out)
        return out


@dataclass
class Flow:
    """A flow's descriptors."""

    source: Source
    slot: int
    group: int
    reader_fd: int
    wake_fd: int
    ibufs: list[int]
    successors: dict[int, tuple[int, int]] = field(default_factory=dict)
    first: set[int] = field(default_factory=set)  # addresses of the lanes with which a reader was opened

    def close(self) -> None:
        """Gives the descriptors back; the flow goes on."""
        close_all([self.reader_fd, self.wake_fd, *self.ibufs])
        self.reader_fd = self.wake_fd = -1
        self.ibufs = []

    @contextlib.contextmanager
    def reader_at(self, lanes: list[int], ibufs: list[int], **options: Any) -> Iterator[Reader]:
        """A reader of the memories that the flow was moved to."""
        before = self.source.lanes[self.group], self.ibufs
        self.source.lanes[self.group], self.ibufs = lanes, ibufs
        made = Reader(self, **options)
        self.source.lanes[self.group], self.ibufs = before
        try:
            yield made
        finally:
            made.close()

    @contextlib.contextmanager
    def reader(self, **options: Any) -> Iterator[Reader]:
        """A reader of all lanes, in this process."""
        made = Reader(self, **options)
        try:
            yield made
        finally:
            made.close()


def _succeed(remote: Any, lane: int, out: Any, err: Any) -> int:
    """Where a lane goes on, as the flow was told; -1 for a lane means: nowhere; not told yet: ask again."""
    flow: Flow = ffi.from_handle(remote)
    if lane not in flow.successors:
        return 1
    lane_fd, ibuf_fd = flow.successors.pop(lane)
    if lane_fd < 0:
        err.code = lib.FFPF_E_DENIED
        return -int(lib.FFPF_E_DENIED)
    return int(lib.ffpf_lanes_map_part(out, lane_fd, ibuf_fd, err))


def _retire(remote: Any, lane: int, part: Any) -> None:
    """What a reader was given by _succeed is unmapped; what it was opened with is the Reader's."""
    flow: Flow = ffi.from_handle(remote)
    if int(ffi.cast("uintptr_t", part.lane.base)) not in flow.first:
        lib.ffpf_lanes_unmap_part(ffi.new("struct ffpf_lanes_part *", part[0]))


_retire_pointer = ffi.callback("void(void *, uint32_t, const struct ffpf_lanes_part *)", _retire)
_succeed_pointer = ffi.callback("int(void *, uint32_t, struct ffpf_lanes_part *, struct ffpf_error *)", _succeed)


class Reader:
    """The lanes of a flow, merged."""

    def __init__(self, flow: Flow, want: int = 1, timeout_ms: int = 0, nonblock: bool = True, snap: int = SNAP) -> None:
        source = flow.source
        self.flow = flow
        self._parts = ffi.new("struct ffpf_lanes_part[]", source.cpus)
        for cpu in range(source.cpus):
            check(lib.ffpf_lanes_map_part, self._parts + cpu, source.lanes[flow.group][cpu], flow.ibufs[cpu])
            flow.first.add(int(ffi.cast("uintptr_t", self._parts[cpu].lane.base)))
        self._page, self._counts = ffi.new("struct ffpf_region *"), ffi.new("struct ffpf_region *")
        check(lib.ffpf_lanes_map_reader, self._page, flow.reader_fd)
        check(lib.ffpf_lanes_map_counts, self._counts, source.fds.fd[lib.FFPF_KERNEL_FD_COUNTS])
        self._handle = ffi.new_handle(flow)
        self._ops = ffi.new("struct ffpf_lanes_remote_ops *", {"succeed": _succeed_pointer, "retire": _retire_pointer})
        parts = ffi.new(
            "struct ffpf_lanes_parts *",
            {
                "lanes": self._parts, "count": source.cpus, "reader": self._page[0], "counts": self._counts[0],
                "event_fd": flow.wake_fd, "event": lib.FFPF_LANES_EVENT_RINGBUF, "generation": 1, "ops": self._ops,
                "remote": self._handle,
            },
        )  # fmt: skip
        cfg = ffi.new(
            "struct ffpf_lanes_config *",
            {
                "snap_len": snap, "tick": lib.FFPF_TICK_NS, "timeout_ms": timeout_ms, "want": want,
                "nonblock": nonblock, "wait": lib.FFPF_LANES_WAIT_FD,
            },
        )  # fmt: skip
        made = ffi.new("struct ffpf_reader **")
        check(lib.ffpf_lanes_open, made, parts, cfg)
        self.r = made[0]
        self.batch = ffi.new("struct ffpf_batch *")

    @property
    def page(self) -> Any:
        """The reader page, to be written to."""
        return ffi.cast("uint64_t *", self._page.base)

    def close(self) -> None:
        """Closes the reader and unmaps its memories."""
        self.r.ops.close(self.r)
        for cpu in range(self.flow.source.cpus):
            lib.ffpf_lanes_unmap_part(self._parts + cpu)
        lib.ffpf_region_close(self._page)
        lib.ffpf_region_close(self._counts)

    def next(self) -> tuple[int, list[Packet]]:
        """One batch, released; and how the call ended."""
        outcome = int(self.r.ops.next(self.r, self.batch))
        if outcome != lib.FFPF_BATCH:
            return outcome, []
        found = []
        for i in range(self.batch.count):
            p = self.batch.pkts[i]
            vlan = (p.vlan_tpid, p.vlan_tci) if p.flags & lib.FFPF_PACKET_VLAN else None
            data = bytes(ffi.buffer(p.data, p.cap_len))
            time_ns = p.ts_sec * 10**9 + p.ts_frac
            found.append(Packet(data, p.wire_len, time_ns, p.ifindex, p.result, vlan, p.protocol, p.pkt_type))
        self.r.ops.release(self.r, self.batch.count)
        return outcome, found

    def drain(self) -> list[Packet]:
        """All there is, of a reader that does not block; R is stored."""
        found: list[Packet] = []
        while True:
            outcome, some = self.next()
            if outcome not in (lib.FFPF_BATCH, lib.FFPF_LAPPED):
                assert outcome == lib.FFPF_WOULD_BLOCK, (outcome, ffi.string(self.r.err.text))
                return found
            found += some

    def counters(self) -> Any:
        """The reader's counters; the law is asserted."""
        out = ffi.new("struct ffpf_counters *")
        self.r.ops.counters(self.r, out)
        assert out.seen == out.filtered + out.delivered + lib.ffpf_counters_dropped(out)
        return out
