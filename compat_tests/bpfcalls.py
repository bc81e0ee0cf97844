# SPDX-License-Identifier: BSD-3-Clause
"""bpf(2) and other system calls that Python has no name for, as one would use them to get at what is not one's own.

Each returns 0 or more, or raises OSError. Numbers: include/uapi/linux/bpf.h, arch/x86/entry/syscalls/syscall_64.tbl;
asm-generic/unistd.h for others.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_GET_NEXT_KEY, OBJ_PIN, OBJ_GET = 1, 2, 3, 4, 6, 7
PROG_GET_NEXT_ID, MAP_GET_NEXT_ID, PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 11, 12, 13, 14, 15
MAP_FREEZE, MAP_LOOKUP_AND_DELETE = 22, 21
LINK_GET_NEXT_ID = 31

_X86 = platform.machine() == "x86_64"
SYS_BPF, SYS_PTRACE = (321, 101) if _X86 else (280, 117)
SYS_PIDFD_GETFD = 438
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
ATTR_BYTES = 120

_libc = ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    """What it returns, and the attributes as it left them."""
    room = ctypes.create_string_buffer(attr.ljust(ATTR_BYTES, b"\0"), ATTR_BYTES)
    return system_call(SYS_BPF, ctypes.c_int(command), room, ctypes.c_uint(ATTR_BYTES)), room.raw


def element(command: int, fd: int, value: ctypes.Array[ctypes.c_char], key: int = 0, flags: int = 0) -> None:
    """An operation on one element of a map with keys of four octets."""
    at = ctypes.create_string_buffer(struct.pack("=I", key), 4)
    bpf(command, struct.pack("=I4xQQQ", fd, ctypes.addressof(at), ctypes.addressof(value), flags))


def ids(next_id: int) -> set[int]:
    """Of all programs (PROG_GET_NEXT_ID), maps (MAP_...) or links (LINK_GET_NEXT_ID) of the machine."""
    found: set[int] = set()
    last = 0
    while True:
        try:
            _, attr = bpf(next_id, struct.pack("=II", last, 0))
        except FileNotFoundError:
            return found
        last = struct.unpack_from("=I", attr, 4)[0]
        found.add(last)


def fd_by_id(command: int, number: int) -> int:
    return bpf(command, struct.pack("=III", number, 0, 0))[0]


def info(fd: int) -> bytes:
    """struct bpf_map_info or bpf_prog_info."""
    room = ctypes.create_string_buffer(256)
    bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(room), ctypes.addressof(room)))
    return room.raw


def freeze(fd: int) -> None:
    bpf(MAP_FREEZE, struct.pack("=I", fd))


def pin(fd: int, path: Path) -> None:
    name = ctypes.create_string_buffer(os.fsencode(path))
    bpf(OBJ_PIN, struct.pack("=QII", ctypes.addressof(name), fd, 0))


def pidfd_getfd(pid: int, fd: int) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        return system_call(SYS_PIDFD_GETFD, ctypes.c_int(pidfd), ctypes.c_int(fd), ctypes.c_uint(0))
    finally:
        os.close(pidfd)


def ptrace(request: int, pid: int) -> int:
    return system_call(SYS_PTRACE, ctypes.c_long(request), ctypes.c_long(pid), None, None)


def map_facts(fd: int) -> dict[str, int]:
    """What the kernel tells of the map behind a descriptor of this process: map_type, value_size, max_entries, map_id
    ...; empty where it is no map."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
    names = ("map_type", "key_size", "value_size", "max_entries", "map_id", "frozen")
    return {name: int(lines[name]) for name in names} if "map_id" in lines else {}
