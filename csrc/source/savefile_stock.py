# SPDX-License-Identifier: BSD-3-Clause
"""Reads a savefile with the system's libpcap and with ours, and says what happened in the same words.

What happened is a Story: what the header said, then events in order: packets, errors, the end. Reading goes on after an
error as a program may, so that what each library consumed is compared too.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyffpf._core import ffi, lib

MICRO, NANO = 0, 1
ERRBUF_OCTETS = 256
EVENTS_AFTER_ERROR = 12

# libpcap leaves an interface with broken options without a clock, and may divide by zero at its next packet.
UNDEFINED_AFTER = ("Interface Description Block", "block of type 1 ")

HEADER_CALLS = ("datalink", "datalink_ext", "snapshot", "is_swapped", "major_version", "minor_version")

Event = tuple[str, ...] | tuple[int, int, int, int, bytes]


@dataclass(frozen=True)
class Story:
    """header: link type (DLT), extra bits of it, snapshot length, swapped, version; empty when opening failed."""

    header: tuple[int, ...]
    events: tuple[Event, ...]


class Timeval(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("usec", ctypes.c_long)]


class PacketHeader(ctypes.Structure):
    _fields_ = [("ts", Timeval), ("cap_len", ctypes.c_uint32), ("wire_len", ctypes.c_uint32)]


def load_stock() -> ctypes.CDLL:
    pcap = ctypes.CDLL(ctypes.util.find_library("pcap") or "libpcap.so.0.8")
    pcap.pcap_fopen_offline_with_tstamp_precision.restype = ctypes.c_void_p
    pcap.pcap_fopen_offline_with_tstamp_precision.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_char_p]
    pcap.pcap_next_ex.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.POINTER(PacketHeader)),
        ctypes.POINTER(ctypes.c_void_p),
    ]
    pcap.pcap_geterr.restype = ctypes.c_char_p
    for name in ("geterr", *HEADER_CALLS):
        getattr(pcap, f"pcap_{name}").argtypes = [ctypes.c_void_p]
    pcap.pcap_open_dead.restype = pcap.pcap_dump_open.restype = ctypes.c_void_p
    pcap.pcap_dump_open.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    pcap.pcap_dump_close.argtypes = [ctypes.c_void_p]
    pcap.pcap_close.argtypes = [ctypes.c_void_p]
    pcap.pcap_close.restype = None
    return pcap


stock = load_stock()
libc = ctypes.CDLL(None, use_errno=True)
libc.fdopen.restype = ctypes.c_void_p
libc.fdopen.argtypes = [ctypes.c_int, ctypes.c_char_p]
for name in ("fclose", "ftell", "clearerr", "feof"):
    getattr(libc, name).argtypes = [ctypes.c_void_p]
libc.ftell.restype = ctypes.c_long
libc.fseek.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_int]


@contextmanager
def as_file(content: bytes) -> Iterator[int]:
    """A descriptor of a regular file with this content, at its start."""
    fd = os.memfd_create("savefile")
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def as_stream(content: bytes, chunks: Sequence[int]) -> Iterator[int]:
    """A descriptor to which chunks are written: their sizes (at most 4096) are gone through again and again.

    Each read(2) gives one chunk, unless there is more than a window can take: then it is a plain pipe.
    """
    if len(content) < 200_000:
        ours, theirs = (end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    else:
        ours, theirs = os.pipe()

    def feed() -> None:
        at = turn = 0
        try:
            while at < len(content):
                size = chunks[turn % len(chunks)]
                os.write(theirs, content[at : at + size])
                at += size
                turn += 1
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reader gave up: it found an error
        finally:
            os.close(theirs)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield ours
    finally:
        os.close(ours)
        thread.join()


def finished(events: Sequence[Event], errors: Sequence[str]) -> bool:
    """Whether the story is told: at the end, or long enough after an error."""
    if events and events[-1] == ("end",):
        return True
    if any(text.startswith(UNDEFINED_AFTER) for text in errors):
        return True
    if not errors:
        return False
    first = next(i for i, event in enumerate(events) if event[0] == "error")
    return len(events) - first > EVENTS_AFTER_ERROR


class StockReader:
    """The system's libpcap on a FILE that it owns; opening it failed when header is empty: failure says why."""

    def __init__(self, fd: int, precision: int = MICRO) -> None:
        errbuf = ctypes.create_string_buffer(ERRBUF_OCTETS)
        self.fp = libc.fdopen(os.dup(fd), b"rb")
        self.handle = stock.pcap_fopen_offline_with_tstamp_precision(self.fp, precision, errbuf)
        self.header: tuple[int, ...] = ()
        self.failure = errbuf.value.decode()
        if self.handle:
            self.header = tuple(getattr(stock, f"pcap_{name}")(self.handle) for name in HEADER_CALLS)

    def next(self) -> Event:
        packet = ctypes.POINTER(PacketHeader)()
        data = ctypes.c_void_p()
        status = stock.pcap_next_ex(self.handle, ctypes.byref(packet), ctypes.byref(data))
        if status == 1:
            h = packet.contents
            octets = ctypes.string_at(data.value or 0, h.cap_len) if h.cap_len else b""
            return (h.ts.sec, h.ts.usec, h.cap_len, h.wire_len, octets)
        return ("end",) if status == -2 else ("error", stock.pcap_geterr(self.handle).decode())

    def position(self) -> int:
        """Of the FILE, as a program sees it."""
        return int(libc.ftell(self.fp))

    def seek(self, offset: int) -> None:
        libc.fseek(self.fp, offset, os.SEEK_SET)

    def clear_end(self) -> None:
        libc.clearerr(self.fp)

    def at_end(self) -> bool:
        return bool(libc.feof(self.fp))

    def close(self) -> None:
        if self.handle:
            stock.pcap_close(self.handle)
        else:
            libc.fclose(self.fp)


class OurReader:
    """The same for ours, which checks on the way what every batch and the counters must obey."""

    def __init__(self, fd: int, precision: int = MICRO, window_bytes: int = 0) -> None:
        error = ffi.new("struct ffpf_error *")
        config = ffi.new("struct ffpf_savefile_config *", {"tick": precision, "window_bytes": window_bytes})
        out = ffi.new("struct ffpf_reader **")
        self.fp = lib.fdopen(os.dup(fd), b"rb")
        self.batch = ffi.new("struct ffpf_batch *")
        self.used = 0
        self.delivered = 0
        self.header: tuple[int, ...] = ()
        rc = lib.ffpf_savefile_open(out, self.fp, config, error)
        self.failure = ffi.string(error.text).decode()
        self.reader = out[0]
        assert (rc == 0) == (self.reader != ffi.NULL)
        if rc == 0:
            info = self.reader.info
            link = (info.link_type, info.link_type_ext, info.snap_len)
            self.header = (*link, int(info.swapped), info.version_major, info.version_minor)

    def next(self) -> Event:
        reader, batch = self.reader, self.batch
        if self.used == batch.count:
            batch.count = self.used = 0
            outcome = reader.ops.next(reader, batch)
            if outcome == lib.FFPF_END:
                return ("end",)
            if outcome == lib.FFPF_FAILED:
                return ("error", ffi.string(reader.err.text).decode())
            assert outcome == lib.FFPF_BATCH and batch.count > 0
        pkt = batch.pkts + self.used
        assert batch.mem_lo + 16 <= pkt.data and pkt.data + pkt.cap_len <= batch.mem_hi
        assert pkt.flags & lib.FFPF_PACKET_HEAD_READABLE and pkt.result == 0xFFFFFFFF
        self.used += 1
        reader.ops.release(reader, 1)
        self.delivered += 1
        wide = pkt.flags & lib.FFPF_PACKET_FRAC_WIDE
        frac = lib.ffpf_savefile_wide_frac(reader, pkt) if wide else pkt.ts_frac
        data = ffi.buffer(pkt.data, pkt.cap_len)[:] if pkt.cap_len else b""
        return (pkt.ts_sec, frac, pkt.cap_len, pkt.wire_len, data)

    def sync(self) -> None:
        """What the drop-in does around each use of the FILE by the program."""
        if lib.ffpf_savefile_sync_position(self.reader):
            self.batch.count = self.used = 0

    def position(self) -> int:
        self.sync()
        return int(lib.ftell(self.fp))

    def seek(self, offset: int) -> None:
        self.sync()
        lib.fseek(self.fp, offset, os.SEEK_SET)
        self.sync()

    def clear_end(self) -> None:
        lib.clearerr(self.fp)

    def at_end(self) -> bool:
        return bool(lib.feof(self.fp))

    def close(self) -> None:
        if self.reader:
            counters = ffi.new("struct ffpf_counters *")
            assert self.reader.ops.counters(self.reader, counters) == 0
            assert (counters.seen, counters.filtered, counters.delivered) == (self.delivered, 0, self.delivered)
            self.reader.ops.close(self.reader)
        lib.fclose(self.fp)


def story_of(reader: StockReader | OurReader) -> Story:
    """Reads to the end of the story and closes."""
    if not reader.header:
        reader.close()
        return Story((), (("error", reader.failure),))
    events: list[Event] = []
    errors: list[str] = []
    while not finished(events, errors):
        event = reader.next()
        events.append(event)
        if event[0] == "error":
            errors.append(str(event[1]))
    reader.close()
    return Story(reader.header, tuple(events))


def read_stock(fd: int, precision: int = MICRO) -> Story:
    return story_of(StockReader(fd, precision))


def read_ours(fd: int, precision: int = MICRO, window_bytes: int = 0) -> Story:
    return story_of(OurReader(fd, precision, window_bytes))


def first_difference(ours: Story, theirs: Story) -> str:
    """Where two stories part; empty when they do not."""
    if ours.header != theirs.header:
        return f"header {ours.header} instead of {theirs.header} (events {ours.events[:1]} / {theirs.events[:1]})"
    for i, (mine, stock_event) in enumerate(zip(ours.events, theirs.events, strict=False)):
        if mine != stock_event:
            return f"event {i}: {mine!r:.400} instead of {stock_event!r:.400}"
    if len(ours.events) != len(theirs.events):
        return f"{len(ours.events)} events instead of {len(theirs.events)}"
    return ""


def assert_same(content: bytes, *, chunks: Sequence[int] = (), precisions: Sequence[int] = (MICRO, NANO)) -> None:
    """Ours tells the same story as the system's, from a file and, with chunks, from a stream."""
    for precision in precisions:
        with as_file(content) as fd:
            theirs = read_stock(fd, precision)
        with as_file(content) as fd:
            difference = first_difference(read_ours(fd, precision), theirs)
        assert not difference, f"file, precision {precision}: {difference}"
        if chunks:
            with as_stream(content, chunks) as fd:
                difference = first_difference(read_ours(fd, precision), theirs)
            assert not difference, f"stream of {list(chunks)[:8]}, precision {precision}: {difference}"
