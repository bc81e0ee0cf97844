# SPDX-License-Identifier: BSD-3-Clause
"""For tests: native code in this process, called as csrc would; packets."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Mapping, Sequence

from fpl.fpl2.reference import ExternalFunction
from fpl.fpl2.values import OWN_FACTS

_FUNCTION = ctypes.CFUNCTYPE(
    ctypes.c_uint32,
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_uint32,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
)
_EXTERNAL = ctypes.CFUNCTYPE(
    ctypes.c_uint64,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_void_p,
    ctypes.c_uint64,
    ctypes.c_uint64,
)
GUARD = 64  # octets around packets and memory, which nothing may change
_PROTECT = ctypes.CDLL(None, use_errno=True).mprotect


class Room:
    """Memory that runs change in place."""

    def __init__(self, call: Callable[..., int], octets: int) -> None:
        self._call, self._octets = call, octets
        self._room = (ctypes.c_uint64 * (octets // 8))()

    def run(self, packet: bytes) -> int:
        facts, table = (ctypes.c_uint32 * len(OWN_FACTS))(), (ctypes.c_void_p * 1)()
        return int(self._call(packet, len(packet), len(packet), ctypes.addressof(facts), ctypes.addressof(self._room),
                              ctypes.addressof(table)))  # fmt: skip

    def octets(self) -> bytes:
        return bytes(self._room)


class Native:
    """Code that is mapped: written, then executable and no longer writable."""

    def __init__(self, octets: bytes) -> None:
        self._map = mmap.mmap(-1, len(octets))
        self._map.write(octets)
        self._anchor = ctypes.c_char.from_buffer(self._map)
        address = ctypes.addressof(self._anchor)
        size = -(-len(octets) // mmap.PAGESIZE) * mmap.PAGESIZE
        if _PROTECT(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), "mprotect")
        self._call = _FUNCTION(address)

    def room(self, octets: int) -> Room:
        """Zeros, where several threads may run the code."""
        return Room(self._call, octets)

    def run(
        self,
        packet: bytes,
        facts: Mapping[str, int],
        memory: bytearray,
        externals: Sequence[ExternalFunction] = (),
    ) -> int:
        """As reference.Machine.run; what lies around packet and memory is checked."""
        pad = b"\xa5" * GUARD
        octets = ctypes.create_string_buffer(pad + packet + pad, len(packet) + 2 * GUARD)
        room = ctypes.create_string_buffer(pad + bytes(memory) + pad, len(memory) + 2 * GUARD)
        values = (ctypes.c_uint32 * len(OWN_FACTS))(*(facts.get(name, 0) for name in OWN_FACTS))
        at_memory = ctypes.addressof(room) + GUARD

        def wrapped(function: ExternalFunction) -> object:
            def call(_use: int, _packet: int, _captured: int, _memory: int, read_at: int, write_at: int) -> int:
                view = bytearray(room.raw[GUARD:-GUARD])
                value = function(packet, view, read_at, write_at)
                ctypes.memmove(at_memory, bytes(view), len(view))
                return value

            return _EXTERNAL(call)

        kept = [wrapped(function) for function in externals]
        uses = [ctypes.c_void_p(ctypes.cast(each, ctypes.c_void_p).value) for each in kept]  # type: ignore[arg-type]
        table = (ctypes.c_void_p * max(1, len(uses)))(*(ctypes.addressof(use) for use in uses))
        result = self._call(ctypes.addressof(octets) + GUARD, len(packet), facts.get("LEN", len(packet)),
                            ctypes.addressof(values), at_memory, ctypes.addressof(table))  # fmt: skip
        assert octets.raw == pad + packet + pad, "the packet was changed"
        assert room.raw[:GUARD] == room.raw[-GUARD:] == pad, "memory was changed beyond its ends"
        memory[:] = room.raw[GUARD:-GUARD]
        return int(result)
