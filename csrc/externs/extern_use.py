# SPDX-License-Identifier: BSD-3-Clause
"""For tests: one use of an external function, called with packets and a memory of Python's."""

from __future__ import annotations

import struct
from types import TracebackType

from pyffpf._core import ffi, lib


def udp(payload: bytes) -> bytes:
    """A packet that carries it."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return bytes(12) + b"\x08\0" + head + struct.pack("!HHHH", 1000, 2000, 8 + len(payload), 0) + payload


class Use:
    """`memory` is its MBuf. Raises ValueError with the core's words."""

    def __init__(self, text: str, mbuf_bytes: int = 0) -> None:
        made, error = ffi.new("struct ffpf_extern_set **"), ffi.new("struct ffpf_error *")
        words = ffi.new("char[]", text.encode())
        if lib.ffpf_extern_set_create(made, ffi.new("char *[]", [words]), 1, mbuf_bytes, ffi.NULL, error):
            raise ValueError(bytes(ffi.string(error.text)).decode())
        self._set = made[0]
        self.memory = bytearray(mbuf_bytes)

    def __enter__(self) -> Use:
        return self

    def __exit__(self, *_: TracebackType | type[BaseException] | BaseException | None) -> None:
        lib.ffpf_extern_set_destroy(self._set)

    def __call__(self, packet: bytes, read_at: int = 0, write_at: int = 0) -> int:
        octets = ffi.from_buffer(packet)
        descriptor = ffi.new("struct ffpf_packet *")
        descriptor.data, descriptor.cap_len, descriptor.wire_len = octets, len(packet), len(packet)
        node = ffi.new("struct ffpf_node_pkt *", {"pkt": descriptor, "link_type": 1})
        setattr(self._set, "in", node)  # a word of Python
        use = self._set.uses[0]
        memory = ffi.from_buffer(self.memory)
        return int(use.call(use, octets, len(packet), ffi.cast("uint8_t *", memory), read_at, write_at))
