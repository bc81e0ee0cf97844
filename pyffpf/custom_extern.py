# SPDX-License-Identifier: BSD-3-Clause
"""External functions written in Python, which programs in FPL-2 of this process call with EXTERN. One class is all:

    class Entropy(ExternalFunction):
        name = "entropy"
        summary = "bits of an octet of the payload, times 1000"
        writes = 4                                         # octets of MBuf

        def __call__(self, packet, read, write):           # memory views of copies
            ...
            write[:4] = struct.pack("=I", packets)
            return value                                   # what EXTERN's value is, modulo 2^64

Known to every graph of the machine by an entry point of the package that has it, in pyproject.toml:

    [project.entry-points."ffpf.externs"]
    entropy = "my_package.entropy:Entropy"

or to one graph by `graph.add_function(Entropy())`. It is the slow path: Python is called for each packet that comes to
the EXTERN, while the core holds the graph. What raises returns 0; whoever drives the graph gets the exception.
"""

from __future__ import annotations

import weakref
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

from pyffpf._core import ffi, lib

if TYPE_CHECKING:
    from pyffpf.graph import Graph

GROUP = "ffpf.externs"
ALL = (1 << 64) - 1


class ExternalFunction:
    """What a function in Python is. One object serves all programs of a graph."""

    name: ClassVar[str]  # letters, digits and _
    summary: ClassVar[str] = ""
    value: ClassVar[str] = ""  # what it returns, in words
    reads: ClassVar[int] = 0  # octets of MBuf, from `read at` on
    writes: ClassVar[int] = 0  # ... from `write at` on
    reads_what: ClassVar[str] = ""  # their layout, in words
    writes_what: ClassVar[str] = ""

    def __call__(self, packet: memoryview, read: memoryview, write: memoryview) -> int:
        """packet: what was captured; read: `reads` octets of MBuf; both cannot be written. write: `writes` octets as
        they are; what they are on return goes to MBuf, but when it raises."""
        raise NotImplementedError


@cache
def installed() -> dict[str, Any]:
    """Entry points of the group, by name in small letters."""
    return {point.name.lower(): point for point in entry_points(group=GROUP)}


class FunctionRegistration:
    """A function in Python as a struct ffpf_extern, for one graph; lives as long as that."""

    def __init__(self, graph: Graph, function: ExternalFunction) -> None:
        self._core = weakref.ref(graph.core)  # which has this: it must not live on by it
        self._function = function
        words = {key: ffi.new("char[]", str(getattr(function, key)).encode())
                 for key in ("name", "summary", "value", "reads_what", "writes_what")}  # fmt: skip
        call = ffi.callback("uint64_t (*)(struct ffpf_extern_use *, const uint8_t *, uint32_t, uint8_t *, uint64_t,"
                            " uint64_t)", self._call)  # fmt: skip
        none = ffi.new("char[]", b"")
        self.struct = ffi.new(
            "struct ffpf_extern *",
            {**words, "arguments": none, "levels": lib.FFPF_LEVEL_USERSPACE, "reads": function.reads,
             "writes": function.writes, "steps": 1, "call": call},
        )  # fmt: skip
        self._kept = (words, call, none)

    def _call(self, _use: Any, packet: Any, cap_len: int, mbuf: Any, read_at: int, write_at: int) -> int:
        core = self._core()
        if core is None:
            return 0
        function = self._function
        with core.held():
            try:
                packet_octets = bytes(ffi.buffer(packet, cap_len))
                read = bytes(ffi.buffer(mbuf + read_at, function.reads)) if function.reads else b""
                at = mbuf + write_at if function.writes else mbuf
                write = bytearray(ffi.buffer(at, function.writes)) if function.writes else bytearray()
                value = int(function(memoryview(packet_octets), memoryview(read), memoryview(write))) & ALL
                ffi.memmove(at, write, function.writes)
                return value
            except BaseException as failure:
                core.failures.append(failure)
                return 0
