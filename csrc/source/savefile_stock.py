# SPDX-License-Identifier: BSD-3-Clause
"""Reads a savefile with the system's libpcap and with ours, and says what happened in the same words.

What happened is a Story: what the header said, then events in order: packets, errors, the end. Reading goes on after an error
as a program may, so that what each library consumed is compared too.
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

Event = tuple[str, ...] | tuple[int, int, int, int, bytes]


@dataclass(frozen=True)
class Story:
    """header: link type (DLT), extra bits of it, snapshot length, swapped, version; empty when opening failed."""

    header: tuple[int, ...]
    events: tuple[Event, ...]


class Timeval(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("usec", ctypes.c_long)]  # noqa: RUF012 (the form that ctypes asks for)


class PacketHeader(ctypes.Structure):
    _fields_ = [("ts", Timeval), ("cap_len", ctypes.c_uint32), ("wire_len", ctypes.c_uint32)]  # noqa: RUF012


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
    for name in ("geterr", "datalink", "datalink_ext", "snapshot", "is_swapped", "major_version", "minor_version"):
        getattr(pcap, f"pcap_{name}").argtypes = [ctypes.c_void_p]
    pcap.pcap_close.argtypes = [ctypes.c_void_p]
    pcap.pcap_close.restype = None
    return pcap


stock = load_stock()
libc = ctypes.CDLL(None, use_errno=True)
libc.fdopen.restype = ctypes.c_void_p
libc.fdopen.argtypes = [ctypes.c_int, ctypes.c_char_p]
libc.fclose.argtypes = [ctypes.c_void_p]


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


def read_stock(fd: int, precision: int = MICRO) -> Story:
    errbuf = ctypes.create_string_buffer(ERRBUF_OCTETS)
    fp = libc.fdopen(os.dup(fd), b"rb")
    handle = stock.pcap_fopen_offline_with_tstamp_precision(fp, precision, errbuf)
    if not handle:
        libc.fclose(fp)
        return Story((), (("error", errbuf.value.decode()),))
    header = tuple(
        getattr(stock, f"pcap_{name}")(handle)
        for name in ("datalink", "datalink_ext", "snapshot", "is_swapped", "major_version", "minor_version")
    )
    events: list[Event] = []
    errors: list[str] = []
    packet = ctypes.POINTER(PacketHeader)()
    data = ctypes.c_void_p()
    while not finished(events, errors):
        status = stock.pcap_next_ex(handle, ctypes.byref(packet), ctypes.byref(data))
        if status == 1:
            h = packet.contents
            octets = ctypes.string_at(data.value or 0, h.cap_len) if h.cap_len else b""
            events.append((h.ts.sec, h.ts.usec, h.cap_len, h.wire_len, octets))
        elif status == -2:
            events.append(("end",))
        else:
            errors.append(stock.pcap_geterr(handle).decode())
            events.append(("error", errors[-1]))
    stock.pcap_close(handle)
    return Story(header, tuple(events))


def event_of(reader: object, pkt: object) -> Event:
    """One descriptor in the words of a Story."""
    frac = lib.ffpf_savefile_wide_frac(reader, pkt) if pkt.flags & lib.FFPF_PACKET_FRAC_WIDE else pkt.ts_frac  # type: ignore[attr-defined]
    data = ffi.buffer(pkt.data, pkt.cap_len)[:] if pkt.cap_len else b""  # type: ignore[attr-defined]
    return (pkt.ts_sec, frac, pkt.cap_len, pkt.wire_len, data)  # type: ignore[attr-defined]


def read_ours(fd: int, precision: int = MICRO, window_bytes: int = 0) -> Story:
    """As read_stock; checks what every batch and the counters must obey on the way."""
    fp = lib.fdopen(os.dup(fd), b"rb")
    error = ffi.new("struct ffpf_error *")
    config = ffi.new("struct ffpf_savefile_config *", {"tick": precision, "window_bytes": window_bytes})
    out = ffi.new("struct ffpf_reader **")
    try:
        if lib.ffpf_savefile_open(out, fp, config, error) != 0:
            assert out[0] == ffi.NULL
            return Story((), (("error", ffi.string(error.text).decode()),))
        reader = out[0]
        info = reader.info
        header = (info.link_type, info.link_type_ext, info.snap_len, int(info.swapped), info.version_major, info.version_minor)
        events: list[Event] = []
        errors: list[str] = []
        batch = ffi.new("struct ffpf_batch *")
        while not finished(events, errors):
            outcome = reader.ops.next(reader, batch)
            if outcome == lib.FFPF_BATCH:
                assert batch.count > 0
                for i in range(batch.count):
                    pkt = batch.pkts[i]
                    assert batch.mem_lo + 16 <= pkt.data and pkt.data + pkt.cap_len <= batch.mem_hi
                    assert pkt.flags & lib.FFPF_PACKET_HEAD_READABLE and pkt.result == 0xFFFFFFFF
                    events.append(event_of(reader, batch.pkts + i))
                    reader.ops.release(reader, 1)
                    if finished(events, errors):
                        break
            elif outcome == lib.FFPF_END:
                events.append(("end",))
            else:
                assert outcome == lib.FFPF_FAILED
                errors.append(ffi.string(reader.err.text).decode())
                events.append(("error", errors[-1]))
        counters = ffi.new("struct ffpf_counters *")
        assert reader.ops.counters(reader, counters) == 0
        delivered = sum(isinstance(event[0], int) for event in events)
        assert (counters.seen, counters.filtered, counters.delivered) == (delivered, 0, delivered)
        reader.ops.close(reader)
        return Story(header, tuple(events))
    finally:
        lib.fclose(fp)


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
