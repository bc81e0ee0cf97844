# SPDX-License-Identifier: BSD-3-Clause
"""Programs put together of parts that were compiled apart, so that a function is compiled once, however many programs
have it.

takes    Object: eBPF of a module, and where it calls functions that it has not
gives    octets of struct bpf_insn[] without relocations: the first object, and behind it each function that is called

What a function has of its own it reaches by distance, so that it may lie anywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

INSN_BYTES = 8


class LinkError(Exception):
    """A function that is nowhere."""


@dataclass(frozen=True)
class Object:
    """code: octets of struct bpf_insn[]; its function begins at 0. calls: (instruction, name of what it calls)."""

    code: bytes
    calls: tuple[tuple[int, str], ...] = ()

    def packed(self) -> bytes:
        """u32: how many calls; of each u32 instruction, u32 length and name in UTF-8; code. Little endian."""
        names = [(at, name.encode()) for at, name in self.calls]
        head = struct.pack("<I", len(names)) + b"".join(struct.pack("<II", at, len(name)) + name for at, name in names)
        return head + self.code

    @classmethod
    def unpacked(cls, octets: bytes) -> Object:
        (count,), here = struct.unpack_from("<I", octets), 4
        calls = list[tuple[int, str]]()
        for _ in range(count):
            at, size = struct.unpack_from("<II", octets, here)
            calls.append((at, octets[here + 8 : here + 8 + size].decode()))
            here += 8 + size
        return cls(octets[here:], tuple(calls))


def link(main: Object, functions: Mapping[str, Object]) -> bytes:
    """Raises LinkError. functions: by the names that main calls; they call none. What is the same is there once."""
    code = bytearray(main.code)
    places = dict[bytes, int]()
    for at, name in main.calls:
        function = functions.get(name)
        if function is None or function.calls:
            raise LinkError(f"it needs relocations: {name if function is None else function.calls[0][1]} is nowhere")
        place = places.setdefault(function.code, len(code) // INSN_BYTES)
        if place == len(code) // INSN_BYTES:
            code += function.code
        struct.pack_into("<i", code, at * INSN_BYTES + 4, place - at - 1)
    return bytes(code)
