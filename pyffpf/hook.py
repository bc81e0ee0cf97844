# SPDX-License-Identifier: BSD-3-Clause
"""Packets that an application hands to a graph itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyffpf._core import ffi, lib
from pyffpf.closing import Closing
from pyffpf.errors import WrongState, check, new_error

if TYPE_CHECKING:
    from pyffpf.graph import Graph


class Hook(Closing):
    """A source that the application feeds. Paper, section 3.6. A packet has passed the graph when `handle` returns."""

    def __init__(self, graph: Graph, name: str, link_type: int) -> None:
        out, error = ffi.new("struct ffpf_engine_hook **"), new_error()
        check(lib.ffpf_engine_hook_open(out, graph._open(), name.encode(), link_type, error), error, name)
        self._graph = graph
        self._hook = out[0]
        self.name = name

    def handle(
        self, octets: bytes | Sequence[bytes], ts_ns: int | Sequence[int] | None = None, *, wire_len: int | None = None
    ) -> None:
        """hook_handle_packet: one packet, or several in the order of their times.

        octets: from the link header on; ts_ns: since 1970, UTC, one or one a packet (None: now); wire_len: of a
        packet that is cut, the octets that it had. Raises WrongState after close.
        """
        if isinstance(octets, str):
            raise TypeError("a packet is octets, not a str")
        packets = [octets] if isinstance(octets, bytes | bytearray | memoryview) else list(octets)
        times = (
            [ts_ns if ts_ns is not None else time.time_ns()] * len(packets)
            if not isinstance(ts_ns, Sequence)
            else ts_ns
        )
        if len(times) != len(packets):
            raise ValueError(f"{len(packets)} packets with {len(times)} times")
        structs = ffi.new("struct ffpf_packet[]", len(packets))
        held = []
        for struct, packet, at in zip(structs, packets, times, strict=True):
            data = ffi.from_buffer("uint8_t[]", packet)
            held.append(data)
            struct.data = data
            struct.cap_len = len(data)
            struct.wire_len = len(data) if wire_len is None else wire_len
            struct.ts_sec, struct.ts_frac = divmod(at, 1_000_000_000)
            struct.result = 0xFFFFFFFF
        error = new_error()
        code = lib.ffpf_engine_hook_handle_packets(self._handle(), structs, len(packets), error)
        self._graph.core.returned()
        check(code, error, self.name)

    def close(self) -> None:
        """No packet will come: readers see the end. A second call does nothing."""
        if self._hook is not None and not self._graph.closed:
            lib.ffpf_engine_hook_close(self._hook)
        self._hook = None

    def _handle(self) -> Any:
        if self._hook is None or self._graph.closed:
            raise WrongState(f"the hook {self.name!r} is closed")
        return self._hook
