# SPDX-License-Identifier: BSD-3-Clause
"""Writing savefiles through ctypes: a dumper, the FILE that it is, and callbacks that dump. See pcap_abi.py."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_long, c_size_t, c_void_p
from pathlib import Path

from libffpfpcap.pcap_abi import Handler, Pcap, PcapPkthdr

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fopen.restype = c_void_p
LIBC.fopen.argtypes = (c_char_p, c_char_p)
LIBC.fwrite.argtypes = (c_char_p, c_size_t, c_size_t, c_void_p)
LIBC.fwrite.restype = c_size_t
LIBC.fseek.argtypes = (c_void_p, c_long, c_int)
LIBC.ftell.argtypes = LIBC.fflush.argtypes = LIBC.fclose.argtypes = LIBC.ferror.argtypes = (c_void_p,)
LIBC.fileno.argtypes = LIBC.rewind.argtypes = (c_void_p,)
LIBC.ftell.restype = c_long
LIBC.setvbuf.argtypes = (c_void_p, c_void_p, c_int, c_size_t)
IO_UNBUFFERED = 2

Act = Callable[[int, "ctypes._Pointer[PcapPkthdr]", int], None]


def prototypes(lib: ctypes.CDLL) -> None:
    """Declares the dump functions of a library."""
    for name, result, arguments in (
        ("pcap_dump_open", c_void_p, (c_void_p, c_char_p)),
        ("pcap_dump_open_append", c_void_p, (c_void_p, c_char_p)),
        ("pcap_dump_fopen", c_void_p, (c_void_p, c_void_p)),
        ("pcap_dump", None, (c_void_p, POINTER(PcapPkthdr), c_void_p)),
        ("pcap_dump_flush", c_int, (c_void_p,)),
        ("pcap_dump_ftell", c_long, (c_void_p,)),
        ("pcap_dump_ftell64", c_int64, (c_void_p,)),
        ("pcap_dump_file", c_void_p, (c_void_p,)),
        ("pcap_dump_close", None, (c_void_p,)),
    ):
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments


def dump_to(p: Pcap, path: str | Path) -> int:
    """pcap_dump_open; AssertionError with the text when it fails."""
    prototypes(p.lib)
    dumper = p.lib.pcap_dump_open(p.handle, str(path).encode())
    assert dumper, p.error()
    return int(dumper)


def dump_all(p: Pcap, dumper: int, count: int = -1) -> int:
    """pcap_loop with pcap_dump itself as the callback, as simple programs do."""
    return int(p.lib.pcap_loop(p.handle, count, ctypes.cast(p.lib.pcap_dump, Handler), dumper))


class Each:
    """A callback in Python: act(number, header, address of the data) for each packet."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.number = 0
        self.handler = Handler(self._packet)

    def _packet(self, user: int, header: ctypes._Pointer[PcapPkthdr], data: object) -> None:
        address = ctypes.cast(data, c_void_p).value  # type: ignore[arg-type]
        assert address is not None
        self.act(self.number, header, address)
        self.number += 1

    def loop(self, p: Pcap, count: int = -1) -> int:
        return int(p.lib.pcap_loop(p.handle, count, self.handler, None))


def modified(header: ctypes._Pointer[PcapPkthdr], **changes: int) -> object:
    """A reference to a copy of the header with some members changed."""
    copy = PcapPkthdr.from_buffer_copy(header.contents)
    for name, value in changes.items():
        setattr(copy, name, value)
    return byref(copy)


def digest(path: str | Path) -> str:
    octets = Path(path).read_bytes()
    return f"{len(octets)} {hashlib.sha256(octets).hexdigest()[:16]}"


def write_calls() -> int:
    """How many system calls of this process have written anything so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("syscw:"):
            return int(line.split()[1])
    raise AssertionError("/proc/self/io tells no system calls")
