# SPDX-License-Identifier: BSD-3-Clause
"""For tests: an engine with a hook of Ethernet, and five TCP segments for it."""

from __future__ import annotations

import struct
from typing import Any

from pyffpf._core import ffi, lib

from graph.graph_engine import Engine

PORTS = (80, 81, 80, 443, 80)


def frame(port: int) -> bytes:
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return bytes(12) + b"\x08\0" + ip + struct.pack("!HHIIBBHHH", 1234, port, 0, 0, 0x50, 2, 0, 0, 0)


FRAMES = [(frame(port), 54, 1 + number) for number, port in enumerate(PORTS)]


class Hooked(Engine):
    """With a hook h, of Ethernet."""

    def __init__(self) -> None:
        super().__init__()
        self._hook = self.hook("h", 1)

    def hand_over_frames(self) -> None:
        self.hand_over(self._hook, FRAMES)


def memory_of(engine: Hooked, flow: Any, node: int, words: int) -> tuple[int, ...]:
    data, octets = ffi.new("void **"), ffi.new("size_t *")
    if not words:
        return ()
    assert lib.ffpf_graph_flow_mbuf(flow, node, data, octets, engine.err) == 0
    return tuple(ffi.cast("uint32_t *", data[0])[number] for number in range(words))
