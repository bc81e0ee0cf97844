# SPDX-License-Identifier: BSD-3-Clause
"""bpf(2): maps and programs by descriptor.

Source: include/uapi/linux/bpf.h, Linux 6.18; union bpf_attr may be given longer than the kernel knows when the rest is
zero, and shorter, so one size serves all kernels.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from pathlib import Path

MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, PROG_LOAD, PROG_TEST_RUN, OBJ_INFO, MAP_FREEZE = (
    0,
    1,
    2,
    3,
    5,
    10,
    15,
    22,
)
MAP_TYPE_ARRAY, MAP_TYPE_PROG_ARRAY, MAP_TYPE_ARRAY_OF_MAPS = 2, 3, 12
PROG_TYPE_SOCKET_FILTER, PROG_TYPE_NETFILTER, ATTACH_TYPE_NETFILTER = 1, 32, 45
F_MMAPABLE = 1 << 10
INSN_BYTES = 8
LD_IMM64, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, PSEUDO_FUNC = 0x18, 1, 2, 4
CALL, PSEUDO_CALL = 0x85, 1
BTF_LOAD, BTF_MAGIC, BTF_VERSION = 18, 0xEB9F, 1
BTF_INT, BTF_FUNC, BTF_FUNC_PROTO = 1, 12, 13
FUNC_INFO = struct.Struct("=II")  # struct bpf_func_info
ATTR_BYTES = 128
INFO_BYTES = 256
INFO_ID, INFO_XLATED_LEN, INFO_VERIFIED = 4, 20, 216  # struct bpf_prog_info: id, xlated_prog_len, verified_insns
LOG_BYTES = 1 << 20
LOG_SHOWN = 600
GAVE_UP = "it gave up after a million steps"  # BPF_COMPLEXITY_LIMIT_INSNS
POSSIBLE = Path("/sys/devices/system/cpu/possible")

_SYSCALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
SYS_MEMBARRIER, MEMBARRIER_PRIVATE, MEMBARRIER_REGISTER = 324, 8, 16
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall(SYS_MEMBARRIER, MEMBARRIER_REGISTER, 0, 0)


class VerifierError(Exception):
    """The kernel refused a program: the end of what it said."""


def _bpf(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"bpf(2) has no known number on {platform.machine()}")
    result = int(_libc.syscall(number, command, attr, ATTR_BYTES))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf command {command}: {os.strerror(code)}")
    return result


def _attr(octets: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(octets, ATTR_BYTES)


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _name(name: str) -> bytes:
    return name.encode()[:15].ljust(16, b"\0")


def barrier() -> None:
    """A full memory barrier of this thread, on every machine."""
    _libc.syscall(SYS_MEMBARRIER, MEMBARRIER_PRIVATE, 0, 0)


def map_create(kind: int, value_bytes: int, entries: int, name: str, *, flags: int = 0, inner: int = 0) -> int:
    """A descriptor of a new map with 4-octet keys."""
    head = struct.pack("=7I", kind, 4, value_bytes, entries, flags, inner, 0)
    return _bpf(MAP_CREATE, _attr(head + _name(name)))


def map_update(fd: int, key: int, value: bytes) -> None:
    where, what = ctypes.create_string_buffer(struct.pack("=I", key), 4), ctypes.create_string_buffer(value, len(value))
    _bpf(MAP_UPDATE, _attr(struct.pack("=IIQQQ", fd, 0, _address(where), _address(what), 0)))


def map_lookup(fd: int, key: int, value_bytes: int) -> bytes:
    where, what = ctypes.create_string_buffer(struct.pack("=I", key), 4), ctypes.create_string_buffer(value_bytes)
    _bpf(MAP_LOOKUP, _attr(struct.pack("=IIQQQ", fd, 0, _address(where), _address(what), 0)))
    return what.raw


def map_delete(fd: int, key: int) -> None:
    where = ctypes.create_string_buffer(struct.pack("=I", key), 4)
    _bpf(MAP_DELETE, _attr(struct.pack("=IIQQQ", fd, 0, _address(where), 0, 0)))


def map_freeze(fd: int) -> None:
    """From now on only programs write to it; no mapping of it may be writable."""
    _bpf(MAP_FREEZE, _attr(struct.pack("=I", fd)))


def prog_array_set(progs: int, slot: int, prog: int) -> None:
    map_update(progs, slot, struct.pack("=I", prog))


def with_map_values(insns: bytes, fds: Mapping[int, int]) -> bytes:
    """The program with maps' descriptors where it loads addresses of maps, or of their values, by placeholders."""
    out = bytearray(insns)
    for at in range(0, len(out), INSN_BYTES):
        code, registers, _offset, value = struct.unpack_from("<BBhi", insns, at)
        if code == LD_IMM64 and registers >> 4 in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE) and value in fds:
            struct.pack_into("<i", out, at + 4, fds[value])
    return bytes(out)


def functions_of(insns: bytes) -> list[int]:
    """Where the functions of a program begin, in instructions: the first at 0, others where they are called from or
    their address is taken."""
    begins = {0}
    for at in range(0, len(insns), INSN_BYTES):
        code, registers, _offset, value = struct.unpack_from("<BBhi", insns, at)
        if (code, registers >> 4) in ((CALL, PSEUDO_CALL), (LD_IMM64, PSEUDO_FUNC)):
            begins.add(at // INSN_BYTES + 1 + value)
    return sorted(begins)


def _btf_load() -> int:
    """A descriptor of the least that the verifier wants to know of functions whose address is taken: that they are
    functions, and static. Type 3 is one."""
    names = b"\0u32\0f\0"

    def kind(name: int, which: int, size_or_type: int) -> bytes:
        return struct.pack("=III", name, which << 24, size_or_type)

    types = kind(1, BTF_INT, 4) + struct.pack("=I", 32) + kind(0, BTF_FUNC_PROTO, 1) + kind(5, BTF_FUNC, 2)
    head = struct.pack("=HBBIIIII", BTF_MAGIC, BTF_VERSION, 0, 24, 0, len(types), len(types), len(names))
    octets = head + types + names
    data = ctypes.create_string_buffer(octets, len(octets))
    return _bpf(BTF_LOAD, _attr(struct.pack("=QQII", _address(data), 0, len(octets), 0)))


def prog_load(insns: bytes, name: str, kind: int = PROG_TYPE_SOCKET_FILTER, attach: int = 0) -> int:
    """A descriptor of a verified program, of a type and for a type of attaching. Raises VerifierError, with the
    verifier's last words.

    The log is asked for only when the kernel has refused, since writing it costs more than verifying, and not when it
    has given up: that took seconds already.
    """
    begins = functions_of(insns)
    if len(begins) == 1:
        return _prog_load(insns, name, kind, attach, b"")
    btf = _btf_load()
    try:
        infos = b"".join(FUNC_INFO.pack(begin, 3) for begin in begins)
        return _prog_load(insns, name, kind, attach, infos, btf)
    finally:
        os.close(btf)


def _prog_load(insns: bytes, name: str, kind: int, attach: int, infos: bytes, btf: int = 0) -> int:
    code, licence = ctypes.create_string_buffer(insns, len(insns)), ctypes.create_string_buffer(b"Dual BSD/GPL")
    functions = ctypes.create_string_buffer(infos, max(1, len(infos)))

    def load(log: ctypes.Array[ctypes.c_char] | None) -> int:
        logged = (1, len(log), _address(log)) if log is not None else (0, 0, 0)
        head = struct.pack("=IIQQIIQII", kind, len(insns) // INSN_BYTES, _address(code),
                           _address(licence), *logged, 0, 0)  # fmt: skip
        tail = struct.pack("=IIIIQI", 0, attach, btf, FUNC_INFO.size if infos else 0, _address(functions),
                           len(infos) // FUNC_INFO.size)  # fmt: skip
        return _bpf(PROG_LOAD, _attr(head + _name(name) + tail))

    try:
        return load(None)
    except OSError as first:
        if first.errno == errno.E2BIG:
            raise VerifierError(GAVE_UP) from first
        log = ctypes.create_string_buffer(LOG_BYTES)
        try:
            return load(log)
        except OSError:
            words = log.value.decode(errors="replace").strip()
            raise VerifierError(f"{os.strerror(first.errno or 0)}: {words[-LOG_SHOWN:]}") from first


def _prog_info(fd: int) -> bytes:
    info = ctypes.create_string_buffer(INFO_BYTES)
    _bpf(OBJ_INFO, _attr(struct.pack("=IIQ", fd, INFO_BYTES, _address(info))))
    return info.raw


def prog_id(fd: int) -> int:
    return int(struct.unpack_from("=I", _prog_info(fd), INFO_ID)[0])


def prog_verified(fd: int) -> int:
    """How many instructions the verifier looked at."""
    return int(struct.unpack_from("=I", _prog_info(fd), INFO_VERIFIED)[0])


def prog_insns(fd: int) -> int:
    """Its length, as the verifier left it."""
    return int(struct.unpack_from("=I", _prog_info(fd), INFO_XLATED_LEN)[0]) // INSN_BYTES


def prog_test_run(fd: int, packet: bytes, repeat: int = 1) -> tuple[int, int]:
    """(what the program returned, ns of one run); packet of at least 14 octets is what its socket buffer holds."""
    data = ctypes.create_string_buffer(packet, len(packet))
    attr = _attr(struct.pack("=IIIIQQII", fd, 0, len(packet), 0, _address(data), 0, repeat, 0))
    _bpf(PROG_TEST_RUN, attr)
    return struct.unpack_from("=I", attr.raw, 4)[0], struct.unpack_from("=I", attr.raw, 36)[0]


def possible_cpus() -> int:
    """One more than the highest number a processor may ever have."""
    return int(POSSIBLE.read_text().strip().replace(",", "-").split("-")[-1]) + 1


class Grace:
    """Waits until every program that runs now has ended: the update of an array of maps does, so that the old inner map
    may be reused (maybe_wait_bpf_programs() in kernel/bpf/syscall.c).
    """

    def __init__(self) -> None:
        self._inner = map_create(MAP_TYPE_ARRAY, 4, 1, "ffpf_grace_in")
        self._outer = map_create(MAP_TYPE_ARRAY_OF_MAPS, 4, 1, "ffpf_grace", inner=self._inner)

    def wait(self) -> None:
        map_update(self._outer, 0, struct.pack("=I", self._inner))

    def close(self) -> None:
        os.close(self._outer)
        os.close(self._inner)
