# SPDX-License-Identifier: BSD-3-Clause
"""A source without a socket, for tests and benches: the maps of the contract, a hook that only calls classify, a STORE
that only returns, and packets that are written to the scratch by hand.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from pyffpf._core import ffi, lib

from fpl.classify import bpf, bytecode, layout
from fpl.classify.classifier import Maps

STORED, NOT_STORED = 7, 99  # what the hook returns
SOCKET_BUFFER = bytes(64)  # a test run wants one; no program looks at it


@dataclass(frozen=True)
class Packet:
    octets: bytes
    wire_len: int | None = None
    ifindex: int = 2
    pkt_type: int = 0
    protocol: int = 0x0800
    hatype: int = 1
    vlan_tci: int | None = None

    @property
    def whole_len(self) -> int:
        return len(self.octets) if self.wire_len is None else self.wire_len


class Oracle:
    """The project's interpreter."""

    def __init__(self, octets: bytes) -> None:
        program = [bytecode.Insn(*fields) for fields in struct.iter_unpack("<HBBI", octets)]
        self._insns = ffi.new("struct ffpf_bpf_insn[]", [tuple(insn) for insn in program])

    def __call__(self, packet: Packet) -> int:
        aux = ffi.new("struct ffpf_bpf_aux *", {
            "ifindex": packet.ifindex, "vlan_tci": packet.vlan_tci or 0, "protocol": packet.protocol,
            "vlan_tpid": 0 if packet.vlan_tci is None else 0x8100, "hatype": packet.hatype,
            "pkt_type": packet.pkt_type, "vlan_present": packet.vlan_tci is not None,
        })  # fmt: skip
        return int(lib.ffpf_bpf_interpret(self._insns, packet.octets, packet.whole_len, len(packet.octets), aux))


def octets_of(program: Sequence[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("<HBBI", *insn) for insn in program)


def _stub(code: Sequence[tuple[int, int, int, int]]) -> bytes:
    """(opcode, registers, offset, constant) to octets of struct bpf_insn."""
    return b"".join(struct.pack("<BBhi", *insn) for insn in code)


class TestSource:
    __test__ = False

    def __init__(self) -> None:
        self.cpus = os.cpu_count() or 1
        array, progs = bpf.MAP_TYPE_ARRAY, bpf.MAP_TYPE_PROG_ARRAY
        self.maps = Maps(
            progs=bpf.map_create(progs, 4, layout.PROGS, "t_progs"),
            scratch=bpf.map_create(array, layout.SCRATCH_BYTES, self.cpus, "t_scratch"),
            control=bpf.map_create(array, layout.CONTROL_BYTES, 1, "t_control", flags=bpf.F_MMAPABLE),
            columns=bpf.map_create(array, 8, layout.COLUMNS, "t_columns"),
        )
        # r0 = STORED; exit
        self._store = bpf.prog_load(_stub([(0xB7, 0, 0, STORED), (0x95, 0, 0, 0)]), "t_store")
        bpf.prog_array_set(self.maps.progs, layout.SLOT_STORE, self._store)
        # r2 = progs; r3 = CLASSIFY; tail call; r0 = NOT_STORED; exit
        self._hook = bpf.prog_load(_stub([
            (0x18, 0x12, 0, self.maps.progs), (0, 0, 0, 0), (0xB7, 3, 0, layout.SLOT_CLASSIFY), (0x85, 0, 0, 12),
            (0xB7, 0, 0, NOT_STORED), (0x95, 0, 0, 0),
        ]), "t_hook")  # fmt: skip

    def __enter__(self) -> TestSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for fd in (
            self._store,
            self._hook,
            *(getattr(self.maps, m) for m in ("progs", "scratch", "control", "columns")),
        ):
            os.close(fd)

    def place(self, packet: Packet, cpu: int) -> None:
        fields = struct.pack("=IIIIIIIIIIIIII", 1, len(packet.octets), packet.whole_len, packet.ifindex,
                             packet.pkt_type, packet.protocol, packet.hatype, int(packet.vlan_tci is not None),
                             packet.vlan_tci or 0, 0 if packet.vlan_tci is None else 0x8100, 0, 0, 0, cpu)  # fmt: skip
        # What lies behind the packet is what an earlier one left there; a filter must not see it.
        head = b"\xff" * layout.SCRATCH_INSIDE + fields
        head = head.ljust(layout.SCRATCH_RESULTS, b"\0").ljust(layout.SCRATCH_DATA, b"\xee")
        bpf.map_update(self.maps.scratch, cpu, (head + packet.octets).ljust(layout.SCRATCH_BYTES, b"\xbb"))

    def run(self, repeat: int = 1) -> tuple[int, int]:
        """(what the hook returned, ns of one run)."""
        return bpf.prog_test_run(self._hook, SOCKET_BUFFER, repeat)

    def verdicts(self, cpu: int) -> tuple[int, bytes]:
        """(a bit for each column, the whole scratch)."""
        scratch = bpf.map_lookup(self.maps.scratch, cpu, layout.SCRATCH_BYTES)
        return int.from_bytes(scratch[: 8 * layout.WORDS], "little"), scratch

    def judge(self, packet: Packet) -> tuple[int, list[int]]:
        """(a bit for each column, scratch.results) of one packet. The thread must stay on its processor."""
        (cpu,) = os.sched_getaffinity(0)
        self.place(packet, cpu)
        returned, _ = self.run()
        assert returned == STORED
        bits, scratch = self.verdicts(cpu)
        assert scratch[layout.SCRATCH_LOST : layout.SCRATCH_LOST + 8] == bytes(8)
        return bits, list(struct.unpack_from(f"={layout.COLUMNS}I", scratch, layout.SCRATCH_RESULTS))

    def result(self, column: int) -> int:
        """columns[column].result."""
        return int(struct.unpack_from("=I", bpf.map_lookup(self.maps.columns, column, 8))[0])
