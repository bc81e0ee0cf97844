# SPDX-License-Identifier: BSD-3-Clause
"""Sets one of two filters after the other on a live handle: `alternate_filters.py INTERFACE TURNS SEED FILTER FILTER`.

Every packet is a line: the number of the filter that was set last, counted from 0, and the packet's octets. Every other
filter is set within the callback, in the middle of a batch. ctypes on whatever libpcap.so.0.8 is; nothing else of this
project, so that every user may run it.
"""

from __future__ import annotations

import ctypes
import random
import sys
from ctypes import POINTER, c_char_p, c_int, c_long, c_ubyte, c_uint, c_uint32, c_void_p

PACKETS_MAX = 40  # of one turn, and none in some


class Header(ctypes.Structure):
    """struct pcap_pkthdr."""

    _fields_ = (("sec", c_long), ("frac", c_long), ("caplen", c_uint32), ("len", c_uint32))


class Program(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = (("len", c_uint), ("insns", c_void_p))


HANDLER = ctypes.CFUNCTYPE(None, c_void_p, POINTER(Header), POINTER(c_ubyte))


def checked(handle: int, code: int) -> int:
    if code < 0:
        pcap.pcap_perror(handle, b"alternate_filters")
        sys.exit(1)
    return code


def main() -> None:
    interface, turns, seed, *texts = sys.argv[1:]
    chance = random.Random(int(seed))
    handle = pcap.pcap_create(interface.encode(), ctypes.create_string_buffer(256))
    pcap.pcap_set_snaplen(handle, 200)
    pcap.pcap_set_timeout(handle, 20)
    checked(handle, pcap.pcap_activate(handle))
    filters = [Program(), Program()]
    for program, text in zip(filters, texts, strict=True):
        checked(handle, pcap.pcap_compile(handle, ctypes.byref(program), text.encode(), 1, 0xFFFFFFFF))

    turn, left = -1, 0
    lines: list[str] = []

    def set_next() -> None:
        nonlocal turn, left
        turn += 1
        left = chance.randrange(PACKETS_MAX) if chance.random() < 0.9 else 0
        checked(handle, pcap.pcap_setfilter(handle, ctypes.byref(filters[turn % 2])))

    def take(_: object, header: ctypes._Pointer[Header], data: ctypes._Pointer[c_ubyte]) -> None:
        nonlocal left
        lines.append(f"{turn} {bytes(data[: header.contents.caplen]).hex()}")
        left -= 1
        if left <= 0 and turn % 2 and turn + 1 < int(turns):
            set_next()

    callback = HANDLER(take)
    set_next()
    print("ready", file=sys.stderr, flush=True)
    while turn + 1 < int(turns) or left > 0:
        checked(handle, pcap.pcap_dispatch(handle, -1, callback, None))
        if left <= 0 and turn + 1 < int(turns):
            set_next()
    print(*lines, sep="\n")
    pcap.pcap_close(handle)


pcap = ctypes.CDLL("libpcap.so.0.8")
pcap.pcap_create.restype = c_void_p
pcap.pcap_create.argtypes = (c_char_p, c_char_p)
PROTOTYPES: dict[str, tuple[object, ...]] = {
    "pcap_set_snaplen": (c_void_p, c_int),
    "pcap_set_timeout": (c_void_p, c_int),
    "pcap_activate": (c_void_p,),
    "pcap_compile": (c_void_p, POINTER(Program), c_char_p, c_int, c_uint32),
    "pcap_setfilter": (c_void_p, POINTER(Program)),
    "pcap_dispatch": (c_void_p, c_int, HANDLER, c_void_p),
    "pcap_close": (c_void_p,),
    "pcap_perror": (c_void_p, c_char_p),
}
for name, arguments in PROTOTYPES.items():
    getattr(pcap, name).argtypes = arguments
main()
