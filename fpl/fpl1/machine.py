# SPDX-License-Identifier: BSD-3-Clause
"""Programs in the interpreter of csrc/fpl1, from Python: loaded, attached to a memory of their own, run on packets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyffpf._core import ffi, lib

from fpl.fpl1.isa import FACTS, Insn
from fpl.fpl1.object import Object

External = tuple[str, int, int, Callable[[bytes, bytearray, int, int], int]]  # name, reads, writes, the function
GUARD = 64  # octets around memory, which nothing may change
_PAD = b"\xa5" * GUARD


class LoadError(Exception):
    """The loader refused an object."""


class Machine:
    """A loaded program. Closed when it goes."""

    def __init__(
        self,
        program: Object | bytes,
        externals: Sequence[External] = (),
        *,
        extend: bool = False,
        steps: int = 0,
        data_bytes: int = 0,
    ) -> None:
        """extend: whether it may extend itself. Raises LoadError."""
        octets = program if isinstance(program, bytes) else program.to_bytes()
        out, error = ffi.new("struct ffpf_fpl1 **"), ffi.new("struct ffpf_error *")
        self._table = self._externals(externals, extend)
        policy = ffi.new("struct ffpf_fpl1_policy *", {
            "externals": self._table, "external_count": len(self._table), "steps": steps,
        })  # fmt: skip
        if lib.ffpf_fpl1_load(out, octets, len(octets), policy, data_bytes, error):
            raise LoadError(ffi.string(error.text).decode())
        self._program = ffi.gc(out[0], lib.ffpf_fpl1_unload)
        self.data_bytes = int(lib.ffpf_fpl1_data_bytes(self._program))
        size = int(lib.ffpf_fpl1_memory_bytes(self._program))
        self._room = ffi.new("uint64_t[]", (size + 2 * GUARD) // 8)
        ffi.buffer(self._room)[:GUARD] = ffi.buffer(self._room)[GUARD + size :] = _PAD
        self.memory = ffi.buffer(ffi.cast("char *", self._room) + GUARD, size)  # data, code, segment
        lib.ffpf_fpl1_attach(self._program, ffi.from_buffer(self.memory))

    def _externals(self, externals: Sequence[External], extend: bool) -> Any:
        table = ffi.new("struct ffpf_fpl1_external[]", len(externals) + (lib.FFPF_FPL1_EXTENDERS if extend else 0))
        self._kept: list[Any] = []
        for row, (name, reads, writes, function) in zip(table, externals, strict=False):
            text, callback = ffi.new("char[]", name.encode()), self._callback(function)
            row.name, row.reads, row.writes, row.function = text, reads, writes, callback
            self._kept += [text, callback]
        for i in range(lib.FFPF_FPL1_EXTENDERS if extend else 0):
            table[len(externals) + i] = lib.ffpf_fpl1_extenders[i]
        return table

    def _callback(self, function: Callable[[bytes, bytearray, int, int], int]) -> Any:
        def call(_context: Any, packet: Any, captured: int, memory: Any, read_at: int, write_at: int) -> int:
            view = bytearray(ffi.buffer(memory, self.data_bytes))
            value = function(bytes(ffi.buffer(packet, captured)), view, read_at, write_at)
            ffi.buffer(memory, self.data_bytes)[:] = view
            return value & (1 << 64) - 1

        signature = "uint64_t(void *, const uint8_t *, uint32_t, uint8_t *, uint64_t, uint64_t)"
        return ffi.callback(signature, call)

    def run(self, packet: bytes, facts: Mapping[str, int] | None = None) -> int:
        """What lies around the memory, and the packet, must be what it was."""
        octets = ffi.new("uint8_t[]", packet or b"\0")
        values = {"LEN": len(packet), **(facts or {}), "CAPLEN": len(packet)}
        described = ffi.new("struct ffpf_fpl1_packet *", {
            "data": octets, "facts": [values.get(name, 0) for name in FACTS],
        })  # fmt: skip
        result = int(lib.ffpf_fpl1_run(self._program, described))
        assert bytes(ffi.buffer(octets, len(packet))) == packet, "the packet was changed"
        room = ffi.buffer(self._room)
        assert room[:GUARD] == room[GUARD + len(self.memory) :] == _PAD, "memory was changed beyond its ends"
        return result

    @property
    def data(self) -> bytes:
        return bytes(self.memory[: self.data_bytes])

    @data.setter
    def data(self, octets: bytes) -> None:
        self.memory[: self.data_bytes] = octets

    @property
    def code(self) -> list[Insn]:
        """As the memory shows it."""
        octets = bytes(self.memory[self.data_bytes : -ffi.sizeof("struct ffpf_fpl1_segment")])
        return [Insn.from_bytes(octets[at : at + 8]) for at in range(0, len(octets), 8)]

    @property
    def segment(self) -> Any:
        """struct ffpf_fpl1_segment, in the memory."""
        size = ffi.sizeof("struct ffpf_fpl1_segment")
        return ffi.cast("struct ffpf_fpl1_segment *", ffi.from_buffer(self.memory) + len(self.memory) - size)

    @property
    def exhausted(self) -> int:
        """Runs that had no steps left."""
        return int(lib.ffpf_fpl1_exhausted(self._program))
