# SPDX-License-Identifier: BSD-3-Clause
"""All that can judge a classic BPF program, with one face: ours (rules, interpreter, native code), the system's
libpcap, and the kernel.

A program is a list of Insn. Packets lie so that a read of the first octet behind them is a fault.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import mmap
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cffi import FFI
from pyffpf._core import ffi, lib

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
PAGE = mmap.PAGESIZE
ERRBUF_OCTETS = 256
SNAP_LEN = 262144


class Insn(NamedTuple):
    """struct bpf_insn."""

    code: int
    jt: int
    jf: int
    k: int


Program = Sequence[Insn]


class CannotCompileError(Exception):
    """libpcap refused a filter text; says why in its words."""


# ---- ours


def assemble(program: Program) -> Any:
    """struct ffpf_bpf_insn[]."""
    return ffi.new("struct ffpf_bpf_insn[]", [tuple(insn) for insn in program])


def accepts(program: Program, rules: int) -> bool:
    """Whether ffpf_bpf_validate() does."""
    return bool(lib.ffpf_bpf_validate(assemble(program), len(program), rules, ffi.NULL) == 0)


class Refused(Exception):  # noqa: N818 (an outcome that tests expect, not a mistake)
    """The engine does not take this program."""


@contextmanager
def prepared(program: Program, engine: int) -> Iterator[Any]:
    """struct ffpf_bpf_prog *; raises Refused when native code was asked for and the compiler refuses."""
    out = ffi.new("struct ffpf_bpf_prog **")
    error = ffi.new("struct ffpf_error *")
    result = lib.ffpf_bpf_prog_create(out, assemble(program), len(program), engine, error)
    if result == -lib.FFPF_E_NOT_SUPPORTED and engine == lib.FFPF_BPF_JIT:
        raise Refused(ffi.string(error.text).decode())
    assert result == 0, ffi.string(error.text)
    try:
        yield out[0]
    finally:
        lib.ffpf_bpf_prog_destroy(out[0])


class GuardedPage:
    """Memory that ends where a page begins that nobody may read."""

    def __init__(self, octets: int = SNAP_LEN) -> None:
        self._size = -(-octets // PAGE) * PAGE
        self._memory = mmap.mmap(-1, self._size + PAGE)
        self._end = int(ffi.cast("uintptr_t", ffi.from_buffer(self._memory))) + self._size
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(self._end), ctypes.c_size_t(PAGE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def place(self, packet: bytes) -> int:
        """Puts the packet at the end; returns its address."""
        self._memory[self._size - len(packet) : self._size] = packet
        return self._end - len(packet)

    def holds(self, packet: bytes) -> bool:
        """Whether the packet lies there unchanged."""
        return self._memory[self._size - len(packet) : self._size] == packet


# ---- the system's libpcap

_DECLARATIONS = """
typedef struct pcap pcap_t;
struct pcap_pkthdr { long tv_sec; long tv_frac; uint32_t caplen; uint32_t len; };
struct bpf_insn { uint16_t code; uint8_t jt; uint8_t jf; uint32_t k; };
struct bpf_program { unsigned int bf_len; struct bpf_insn *bf_insns; };
pcap_t *pcap_open_dead(int, int);
pcap_t *pcap_open_offline(const char *, char *);
int pcap_datalink(pcap_t *);
int pcap_next_ex(pcap_t *, struct pcap_pkthdr **, const unsigned char **);
int pcap_compile(pcap_t *, struct bpf_program *, const char *, int, uint32_t);
void pcap_freecode(struct bpf_program *);
char *pcap_geterr(pcap_t *);
void pcap_close(pcap_t *);
int bpf_validate(const struct bpf_insn *, int);
unsigned int bpf_filter(const struct bpf_insn *, uintptr_t, unsigned int, unsigned int);
"""
_stock_ffi = FFI()
_stock_ffi.cdef(_DECLARATIONS)
_stock: Any = _stock_ffi.dlopen(ctypes.util.find_library("pcap") or "libpcap.so.0.8")


def stock_assemble(program: Program) -> Any:
    """struct bpf_insn[] of libpcap."""
    return _stock_ffi.new("struct bpf_insn[]", [tuple(insn) for insn in program])


def stock_accepts(program: Program) -> bool:
    """Whether bpf_validate() does."""
    return bool(_stock.bpf_validate(stock_assemble(program), len(program)) != 0)


def stock_compile(link_type: int, text: str, *, optimize: bool = True, netmask: int = 0xFFFFFF00) -> list[Insn]:
    """Bytecode of a filter text for a savefile of this DLT; raises CannotCompileError."""
    handle = _stock.pcap_open_dead(link_type, SNAP_LEN)
    program: Any = _stock_ffi.new("struct bpf_program *")
    try:
        if _stock.pcap_compile(handle, program, text.encode(), int(optimize), netmask) != 0:
            raise CannotCompileError(_stock_ffi.string(_stock.pcap_geterr(handle)))
        insns = [Insn(i.code, i.jt, i.jf, i.k) for i in program.bf_insns[0 : program.bf_len]]
        _stock.pcap_freecode(program)
        return insns
    finally:
        _stock.pcap_close(handle)


def stock_packets(path: Path) -> tuple[int, list[tuple[bytes, int]]]:
    """(DLT, [(octets, wire length)]) of a savefile, up to what is broken; nothing when libpcap cannot open it."""
    errbuf = _stock_ffi.new("char[]", ERRBUF_OCTETS)
    handle = _stock.pcap_open_offline(str(path).encode(), errbuf)
    if handle == _stock_ffi.NULL:
        return -1, []
    header = _stock_ffi.new("struct pcap_pkthdr **")
    data = _stock_ffi.new("const unsigned char **")
    packets = []
    while _stock.pcap_next_ex(handle, header, data) == 1:
        octets = bytes(_stock_ffi.buffer(data[0], header[0].caplen)) if header[0].caplen else b""
        packets.append((octets, header[0].len))
    link_type = _stock.pcap_datalink(handle)
    _stock.pcap_close(handle)
    return link_type, packets


# ---- one program on all of them


class Bench:
    """A valid program on our engines and, when it has a meaning there, on libpcap's interpreter."""

    def __init__(self, page: GuardedPage, program: Program, native: Any, interpreted: Any, *, stock: bool) -> None:
        self._page = page
        self._program = program
        self._native = native
        self._interpreted = interpreted
        self._stock = stock_assemble(program) if stock else None
        self.native = native is not None

    def verdict(self, packet: bytes, wire_len: int, aux: Any = ffi.NULL) -> int:
        """What all engines return; fails when they do not return the same, or one of them wrote to the packet."""
        address = self._page.place(packet)
        octets = ffi.cast("const uint8_t *", address)
        expected = lib.ffpf_bpf_interpret(self._interpreted.insns, octets, wire_len, len(packet), aux)
        results = {"interpreter": expected}
        if self._native is not None:
            results["native"] = lib.ffpf_bpf_run(self._native, octets, wire_len, len(packet), aux)
        if self._stock is not None and aux == ffi.NULL:
            results["libpcap"] = _stock.bpf_filter(self._stock, address, wire_len, len(packet))
        assert len(set(results.values())) == 1, self.report(results, packet, wire_len)
        assert self._page.holds(packet), self.report(results, packet, wire_len)
        return int(expected)

    def report(self, results: dict[str, int], packet: bytes, wire_len: int) -> str:
        """All that is needed to see it again."""
        insns = "\n".join(f"  ({i.code:#x}, {i.jt}, {i.jf}, {i.k:#x})," for i in self._program)
        return f"{results}\npacket {packet.hex()} of {wire_len} octets on the wire, {len(packet)} here\n{insns}"


@contextmanager
def bench(page: GuardedPage, program: Program, *, stock: bool = True) -> Iterator[Bench]:
    """Prepares the program on all engines. stock=False for what has no meaning in libpcap, or ends its process."""
    with prepared(program, lib.FFPF_BPF_INTERPRETER) as interpreted:
        try:
            with prepared(program, lib.FFPF_BPF_JIT) as native:
                assert native.native
                yield Bench(page, program, native, interpreted, stock=stock)
                return
        except Refused:
            pass
        yield Bench(page, program, None, interpreted, stock=stock)


# ---- the kernel


class KernelFilter:
    """A pair of sockets; what one sends, the filter of the other cuts or drops."""

    def __init__(self) -> None:
        self._sender, self._receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver.setblocking(False)
        self._attached = False

    def attach(self, program: Program) -> bool:
        """Whether the kernel accepts the program; it is in force then."""
        if self._attached:  # the memory of two long programs is more than a socket may have
            self._receiver.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            self._attached = False
        insns = assemble(program)
        argument = struct.pack("@HP", len(program), int(ffi.cast("uintptr_t", insns)))
        try:
            self._receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, argument)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        self._attached = True
        return True

    def octets_passed(self, packet: bytes) -> int | None:
        """How many octets of a packet of at least one octet arrive; None: it was dropped."""
        self._sender.send(packet)
        try:
            return len(self._receiver.recv(len(packet)))
        except BlockingIOError:
            return None

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()
