# SPDX-License-Identifier: BSD-3-Clause
"""ffpf_shared_open for tests, and the packets that it is given."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyffpf._core import ffi, lib

Insn = tuple[int, int, int, int]
LD_B, LD_H, LD_W, JEQ, JGE, RET = 0x30, 0x28, 0x20, 0x15, 0x35, 0x06
KIND_AT = 18  # where a frame has its kind: what filters of the tests look at


def frame(number: int, kind: int = 0, length: int = 60) -> bytes:
    """An Ethernet frame with its number and its kind."""
    head = bytes.fromhex("020000000002020000000001") + struct.pack("!HIB", 0x88B5, number, kind)
    return head.ljust(length, b"\0")


def number_of(octets: bytes) -> int:
    return int.from_bytes(octets[14:18], "big")


def kind_is(kind: int, result: int = 0x40000, at: int = KIND_AT) -> list[Insn]:
    return [(LD_B, 0, 0, at), (JEQ, 0, 1, kind), (RET, 0, 0, result), (RET, 0, 0, 0)]


@dataclass(frozen=True)
class Packet:
    """As a consumer sees it."""

    data: bytes
    wire_len: int
    ns: int
    result: int
    vlan: tuple[int, int] | None
    flags: int


class OpenError(Exception):
    """ffpf_shared_open failed: the code, without its sign, and the text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class SharedReader:
    """A context manager: one flow, and its reader. The daemon is the one at `socket`."""

    def __init__(self, socket: Path, device: str, **options: Any) -> None:
        os.environ["FFPF_SOCKET"] = str(socket)
        self._names = [ffi.new("char[]", text.encode()) for text in (device, "a test")]
        config = ffi.new("struct ffpf_shared_config *", {"snap_len": 262144, "timeout_ms": 50, **options})
        config.device, config.program = self._names
        config.tick = lib.FFPF_TICK_NS
        out = ffi.new("struct ffpf_reader **")
        error = ffi.new("struct ffpf_error *")
        code = lib.ffpf_shared_open(out, config, error)
        if code != 0:
            assert code == -error.code
            raise OpenError(error.code, ffi.string(error.text).decode())
        self.reader = out[0]
        self.ops = self.reader.ops
        self.batch = ffi.new("struct ffpf_batch *")
        self.left: list[Packet] = []  # of the batch, not released
        self._progs: list[Any] = []

    def __enter__(self) -> SharedReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self.reader != ffi.NULL:
            self.ops.close(self.reader)
            self.reader = ffi.NULL

    @property
    def error(self) -> tuple[int, str]:
        return self.reader.err.code, ffi.string(self.reader.err.text).decode()

    def next(self) -> int:
        """One next(): its outcome; the packets are in `left`."""
        outcome = int(self.ops.next(self.reader, self.batch))
        self.left = [self._packet(i) for i in range(self.batch.count)] if outcome == lib.FFPF_BATCH else []
        return outcome

    def _packet(self, i: int) -> Packet:
        p = self.batch.pkts[i]
        assert self.batch.mem_lo <= p.data and p.data + p.cap_len <= self.batch.mem_hi
        vlan = (p.vlan_tpid, p.vlan_tci) if p.flags & (lib.FFPF_PACKET_VLAN | lib.FFPF_PACKET_VLAN_BESIDE) else None
        octets = bytes(ffi.buffer(p.data, p.cap_len))
        return Packet(octets, p.wire_len, p.ts_sec * 10**9 + p.ts_frac, p.result, vlan, p.flags)

    def release(self, n: int | None = None) -> list[Packet]:
        n = len(self.left) if n is None else n
        done, self.left = self.left[:n], self.left[n:]
        self.ops.release(self.reader, n)
        return done

    def read(self, count: int, seconds: float = 20) -> list[Packet]:
        """So many packets, released as they come."""
        got: list[Packet] = []
        deadline = time.monotonic() + seconds
        while len(got) < count:
            assert time.monotonic() < deadline, f"{len(got)} of {count} packets; {self.error}"
            if self.next() == lib.FFPF_BATCH:
                got += self.release()
        return got

    def until(self, outcome: int, seconds: float = 20) -> None:
        """next() until it says so."""
        deadline = time.monotonic() + seconds
        while self.next() != outcome:
            assert time.monotonic() < deadline
            self.release()

    def set_filter(self, insns: list[Insn] | None) -> int:
        prog = ffi.NULL
        if insns is not None:
            out = ffi.new("struct ffpf_bpf_prog **")
            code = ffi.new(
                "struct ffpf_bpf_insn[]", [dict(zip(("code", "jt", "jf", "k"), i, strict=True)) for i in insns]
            )
            assert lib.ffpf_bpf_prog_create(out, code, len(insns), lib.FFPF_BPF_AUTO, ffi.NULL) == 0
            prog = ffi.gc(out[0], lib.ffpf_bpf_prog_destroy)
            self._progs.append(prog)
        result = int(self.ops.set_filter(self.reader, prog))
        if result == 0:
            self.left = []
        return result

    def counters(self) -> Any:
        out = ffi.new("struct ffpf_counters *")
        assert self.ops.counters(self.reader, out) == 0
        assert out.seen == out.filtered + out.delivered + lib.ffpf_counters_dropped(out)
        return out

    def numbers(self, count: int) -> list[int]:
        return [number_of(packet.data) for packet in self.read(count)]

    def link_type(self, dlt: int) -> None:
        assert self.ops.set_link_type(self.reader, dlt) == 0


def descriptors() -> set[str]:
    """What this process has open."""

    def targets() -> Iterator[str]:
        for entry in Path("/proc/self/fd").iterdir():
            try:
                yield f"{entry.name} {entry.readlink()}"
            except FileNotFoundError:  # the directory's own
                continue

    return set(targets())
