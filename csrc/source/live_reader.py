# SPDX-License-Identifier: BSD-3-Clause
"""Two live readers with one face, for tests: FFPF's, through pyffpf._core, and the system's libpcap.

Both are opened inside a namespace of compat_tests.netns and driven by the test's own thread.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

from cffi import FFI
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns

Insns = list[tuple[int, int, int, int]]

STOCK_NAME = "libpcap.so.0.8"
STOCK_DECLARATIONS = """
typedef struct pcap pcap_t;
struct pcap_pkthdr { long tv_sec; long tv_frac; uint32_t caplen; uint32_t len; };
struct bpf_insn { uint16_t code; uint8_t jt; uint8_t jf; uint32_t k; };
struct bpf_program { unsigned int bf_len; struct bpf_insn *bf_insns; };
struct pcap_stat { unsigned int recv, drop, ifdrop; };
pcap_t *pcap_create(const char *, char *);
pcap_t *pcap_open_dead(int, int);
int pcap_set_snaplen(pcap_t *, int);
int pcap_set_promisc(pcap_t *, int);
int pcap_set_timeout(pcap_t *, int);
int pcap_set_immediate_mode(pcap_t *, int);
int pcap_set_buffer_size(pcap_t *, int);
int pcap_set_tstamp_precision(pcap_t *, int);
int pcap_set_tstamp_type(pcap_t *, int);
int pcap_activate(pcap_t *);
int pcap_setnonblock(pcap_t *, int, char *);
int pcap_setdirection(pcap_t *, int);
int pcap_datalink(pcap_t *);
int pcap_set_datalink(pcap_t *, int);
int pcap_list_datalinks(pcap_t *, int **);
void pcap_free_datalinks(int *);
int pcap_list_tstamp_types(pcap_t *, int **);
void pcap_free_tstamp_types(int *);
int pcap_bufsize(pcap_t *);
int pcap_next_ex(pcap_t *, struct pcap_pkthdr **, const unsigned char **);
int pcap_compile(pcap_t *, struct bpf_program *, const char *, int, uint32_t);
void pcap_freecode(struct bpf_program *);
int pcap_setfilter(pcap_t *, struct bpf_program *);
int pcap_stats(pcap_t *, struct pcap_stat *);
int pcap_inject(pcap_t *, const void *, size_t);
char *pcap_geterr(pcap_t *);
void pcap_close(pcap_t *);
"""

_stock_ffi = FFI()
_stock_ffi.cdef(STOCK_DECLARATIONS)
stock: Any = _stock_ffi.dlopen(STOCK_NAME)


@dataclass(frozen=True)
class Packet:
    """One packet as a consumer sees it; time in the reader's ticks since 1970."""

    data: bytes
    wire_len: int
    time: int


@dataclass(frozen=True)
class Described(Packet):
    """What FFPF's descriptor says besides."""

    ifindex: int
    pkt_type: int
    protocol: int
    vlan: tuple[int, int] | None
    skipped: int
    result: int
    flags: int


def same(ours: list[Any], theirs: list[Packet]) -> None:
    """Asserts equal octets and lengths, in order."""
    assert [(p.data, p.wire_len) for p in ours] == [(p.data, p.wire_len) for p in theirs]


class LiveError(Exception):
    """A reader that did not open: code as in the core (without sign), or pcap's status; text as users see it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


def compile_for(link_type: int, text: str, snap_len: int = 262144) -> Insns:
    """Filter text to bytecode in dead form: no metadata loads."""
    handle = stock.pcap_open_dead(link_type, snap_len)
    try:
        return _compile(handle, text)
    finally:
        stock.pcap_close(handle)


def _compile(handle: Any, text: str) -> Insns:
    program: Any = _stock_ffi.new("struct bpf_program *")
    if stock.pcap_compile(handle, program, text.encode(), 1, 0xFFFFFFFF) != 0:
        raise LiveError(-1, _text(_stock_ffi, stock.pcap_geterr(handle)))
    insns = [(i.code, i.jt, i.jf, i.k) for i in program.bf_insns[0 : program.bf_len]]
    stock.pcap_freecode(program)
    return insns


def _text(of: Any, chars: Any) -> str:
    raw: bytes = of.string(chars)
    return raw.decode()


class OurReader:
    """ffpf_live_open and the operations of its reader."""

    def __init__(
        self,
        ns: Netns | None,
        device: str,
        *,
        snap_len: int = 262144,
        timeout_ms: int = 20,
        buffer_bytes: int = 0,
        promisc: bool = True,
        immediate: bool = False,
        nonblock: bool = False,
        nano: bool = False,
        tstamp_type: int = -1,
    ) -> None:
        config = ffi.new("struct ffpf_live_config *")
        name = ffi.new("char[]", device.encode())
        config.device = name
        config.snap_len = snap_len
        config.timeout_ms = timeout_ms
        config.buffer_bytes = buffer_bytes
        config.promisc = promisc
        config.immediate = immediate
        config.nonblock = nonblock
        config.tick = lib.FFPF_TICK_NS if nano else lib.FFPF_TICK_US
        config.tstamp_type = tstamp_type
        self.ticks = 1_000_000_000 if nano else 1_000_000
        out = ffi.new("struct ffpf_reader **")
        error = ffi.new("struct ffpf_error *")
        self.warning = ffi.new("enum ffpf_live_warning *")
        self._prog = ffi.NULL
        self.reader = ffi.NULL
        with ns.entered() if ns else contextlib.nullcontext():
            code = lib.ffpf_live_open(out, config, self.warning, error)
        if code != 0:
            assert code == -error.code
            raise LiveError(error.code, _text(ffi, error.text))
        self.reader = out[0]
        self.ops = self.reader.ops
        self.batch = ffi.new("struct ffpf_batch *")

    def __enter__(self) -> OurReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self.reader != ffi.NULL:
            self.ops.close(self.reader)
            self.reader = ffi.NULL
        if self._prog != ffi.NULL:
            lib.ffpf_bpf_prog_destroy(self._prog)
            self._prog = ffi.NULL

    @property
    def error(self) -> str:
        return _text(ffi, self.reader.err.text)

    def next(self) -> int:
        """One next(): its outcome; the descriptors are in self.batch."""
        return int(self.ops.next(self.reader, self.batch))

    def packet(self, index: int) -> Described:
        p = self.batch.pkts[index]
        assert self.batch.mem_lo <= p.data and p.data + p.cap_len <= self.batch.mem_hi
        vlan = (p.vlan_tpid, p.vlan_tci) if p.flags & lib.FFPF_PACKET_VLAN else None
        return Described(
            data=bytes(ffi.buffer(p.data, p.cap_len)),
            wire_len=p.wire_len,
            time=p.ts_sec * self.ticks + p.ts_frac,
            ifindex=p.ifindex,
            pkt_type=p.pkt_type,
            protocol=p.protocol,
            vlan=vlan,
            skipped=p.skipped,
            result=p.result,
            flags=p.flags,
        )

    def release(self, count: int) -> None:
        self.ops.release(self.reader, count)

    def take(self) -> list[Described]:
        """The packets of one next(), released; [] when it gave none."""
        if self.next() != lib.FFPF_BATCH:
            return []
        packets = [self.packet(i) for i in range(self.batch.count)]
        self.release(self.batch.count)
        return packets

    def read(self, count: int, waits: int = 400) -> list[Described]:
        """Packets until there are `count`, or next() gave none that many times in a row."""
        packets: list[Described] = []
        idle = 0
        while len(packets) < count and idle < waits:
            got = self.take()
            idle = 0 if got else idle + 1
            packets += got
        return packets

    def drain(self, quiet: int = 5) -> list[Described]:
        """Packets until next() gave none `quiet` times in a row."""
        return self.read(1 << 40, quiet)

    def set_filter(self, insns: Insns | None, engine: int | None = None) -> None:
        """LiveError when the reader refuses."""
        prog = ffi.NULL
        if insns is not None:
            prog = make_prog(insns, engine)
        code = self.ops.set_filter(self.reader, prog)
        if code != 0:
            raise LiveError(-code, self.error)
        if self._prog != ffi.NULL:
            lib.ffpf_bpf_prog_destroy(self._prog)
        self._prog = prog

    @property
    def filter_kind(self) -> int:
        return int(self.reader.info.filter_kind)

    @property
    def filter_warning(self) -> str | None:
        text = lib.ffpf_live_filter_warning(self.reader)
        return None if text == ffi.NULL else _text(ffi, text)

    def set_direction(self, direction: int) -> None:
        assert self.ops.set_direction(self.reader, direction) == 0

    def set_link_type(self, dlt: int) -> int:
        return int(self.ops.set_link_type(self.reader, dlt))

    @property
    def link_type(self) -> int:
        return int(self.reader.info.link_type)

    @property
    def link_types(self) -> list[int]:
        info = self.reader.info
        return [info.link_types[i] for i in range(info.link_type_count)]

    def set_nonblock(self, on: bool) -> None:
        assert self.ops.set_nonblock(self.reader, on) == 0

    def settle(self) -> None:
        self.ops.settle(self.reader)

    def wake(self) -> None:
        self.ops.wake(self.reader)

    def inject(self, data: bytes) -> int:
        return int(self.ops.inject(self.reader, data, len(data)))

    @property
    def poll_fd(self) -> int:
        return int(self.ops.poll_fd(self.reader))

    def counters(self) -> dict[str, int]:
        """seen, filtered, delivered, dropped, waiting, kernel and iface (drops); the law is asserted."""
        c = ffi.new("struct ffpf_counters *")
        assert self.ops.counters(self.reader, c) == 0, self.error
        dropped = int(lib.ffpf_counters_dropped(c))
        assert c.seen == c.filtered + c.delivered + dropped
        return {
            "seen": c.seen,
            "filtered": c.filtered,
            "delivered": c.delivered,
            "dropped": dropped,
            "waiting": c.waiting,
            "kernel": c.dropped[lib.FFPF_DROP_KERNEL],
            "iface": c.iface_drops,
        }


def make_prog(insns: Insns, engine: int | None = None) -> Any:
    """A ready program; the caller destroys it."""
    array = ffi.new("struct ffpf_bpf_insn[]", len(insns))
    for i, (code, jt, jf, k) in enumerate(insns):
        array[i].code, array[i].jt, array[i].jf, array[i].k = code, jt, jf, k
    out = ffi.new("struct ffpf_bpf_prog **")
    error = ffi.new("struct ffpf_error *")
    chosen = lib.FFPF_BPF_AUTO if engine is None else engine
    if lib.ffpf_bpf_prog_create(out, array, len(insns), chosen, error) != 0:
        raise LiveError(error.code, _text(ffi, error.text))
    return out[0]


class StockReader:
    """A handle of the system's libpcap, non-blocking."""

    def __init__(
        self,
        ns: Netns | None,
        device: str,
        *,
        snap_len: int = 262144,
        timeout_ms: int = 20,
        buffer_bytes: int = 0,
        promisc: bool = True,
        immediate: bool = False,
        nano: bool = False,
    ) -> None:
        errbuf = _stock_ffi.new("char[256]")
        self.timeout_s = timeout_ms / 1000
        with ns.entered() if ns else contextlib.nullcontext():
            self.handle = stock.pcap_create(device.encode(), errbuf)
            stock.pcap_set_snaplen(self.handle, snap_len)
            stock.pcap_set_timeout(self.handle, timeout_ms)
            stock.pcap_set_promisc(self.handle, promisc)
            stock.pcap_set_immediate_mode(self.handle, immediate)
            if buffer_bytes:
                stock.pcap_set_buffer_size(self.handle, buffer_bytes)
            if nano:
                stock.pcap_set_tstamp_precision(self.handle, 1)
            self.ticks = 1_000_000_000 if nano else 1_000_000
            status = stock.pcap_activate(self.handle)
        self.status = status
        if status < 0:
            text = self.error
            stock.pcap_close(self.handle)
            raise LiveError(status, text)
        stock.pcap_setnonblock(self.handle, 1, errbuf)

    def __enter__(self) -> StockReader:
        return self

    def __exit__(self, *exc: object) -> None:
        stock.pcap_close(self.handle)

    @property
    def error(self) -> str:
        return _text(_stock_ffi, stock.pcap_geterr(self.handle))

    def take(self) -> Packet | None:
        header = _stock_ffi.new("struct pcap_pkthdr **")
        data = _stock_ffi.new("unsigned char **")
        if stock.pcap_next_ex(self.handle, header, data) != 1:
            return None
        h = header[0]
        return Packet(bytes(_stock_ffi.buffer(data[0], h.caplen)), h.len, h.tv_sec * self.ticks + h.tv_frac)

    def read(self, count: int) -> list[Packet]:
        """Packets until there are `count`; polls, at most for ten seconds."""
        packets: list[Packet] = []
        end = time.monotonic() + 10
        while len(packets) < count and time.monotonic() < end:
            packet = self.take()
            if packet is None:
                time.sleep(0.005)
            else:
                packets.append(packet)
        return packets

    def read_quiet(self) -> list[Packet]:
        """Packets until none came for longer than five read timeouts."""
        packets: list[Packet] = []
        end = time.monotonic() + 5 * self.timeout_s
        while time.monotonic() < end:
            packet = self.take()
            if packet is None:
                time.sleep(0.002)
            else:
                packets.append(packet)
                end = time.monotonic() + 5 * self.timeout_s
        return packets

    def compile(self, text: str) -> Insns:
        """Filter text to bytecode in live form, for this handle's link type."""
        return _compile(self.handle, text)

    def set_filter(self, insns: Insns) -> None:
        array = _stock_ffi.new("struct bpf_insn[]", insns)
        program = _stock_ffi.new("struct bpf_program *", {"bf_len": len(insns), "bf_insns": array})
        assert stock.pcap_setfilter(self.handle, program) == 0, self.error

    def set_direction(self, direction: int) -> None:
        assert stock.pcap_setdirection(self.handle, direction) == 0

    @property
    def link_type(self) -> int:
        return int(stock.pcap_datalink(self.handle))

    def set_link_type(self, dlt: int) -> None:
        assert stock.pcap_set_datalink(self.handle, dlt) == 0, self.error

    @property
    def link_types(self) -> list[int]:
        out = _stock_ffi.new("int **")
        count = stock.pcap_list_datalinks(self.handle, out)
        types = [out[0][i] for i in range(count)]
        stock.pcap_free_datalinks(out[0])
        return types

    @property
    def buffer_bytes(self) -> int:
        return int(stock.pcap_bufsize(self.handle))

    def inject(self, data: bytes) -> int:
        return int(stock.pcap_inject(self.handle, data, len(data)))

    def stats(self) -> tuple[int, int, int]:
        """Received, dropped, dropped by the interface."""
        s: Any = _stock_ffi.new("struct pcap_stat *")
        assert stock.pcap_stats(self.handle, s) == 0
        return s.recv, s.drop, s.ifdrop


def stock_tstamp_types(ns: Netns, device: str) -> list[int]:
    """What pcap_list_tstamp_types says of a device that is not activated, without the default that stands for none."""
    errbuf = _stock_ffi.new("char[256]")
    with ns.entered():
        handle = stock.pcap_create(device.encode(), errbuf)
        out = _stock_ffi.new("int **")
        count = stock.pcap_list_tstamp_types(handle, out)
        types = [out[0][i] for i in range(count)]
        stock.pcap_free_tstamp_types(out[0])
        stock.pcap_close(handle)
    return types
