# SPDX-License-Identifier: BSD-3-Clause
"""Compiled filters are byte for byte those of a handle of the system's libpcap that captures, reads a savefile, or is
dead; texts that it refuses are refused in the same words.
"""

from __future__ import annotations

import ctypes
import os
import random
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_ubyte, c_uint, c_uint32, c_ushort, c_void_p
from pathlib import Path

import pytest
from pyffpf._core import ffi, lib

from bpf.filter_texts import EXAMPLES, MANUAL_PAGE, long_text

CLONE_NEWNET = 0x40000000
UNKNOWN_NETMASK = 0xFFFFFFFF
ETHERNET, SLL, SLL2, RAW = 1, 113, 276, 12
NULL, SLIP, PPP, IEEE802_11, RADIOTAP, NETANALYZER, PFLOG, MTP2, LOOP = 0, 8, 9, 105, 127, 240, 117, 140, 108
REFUSED = [
    "port", "ip and", "(ip", "ip)", "port 99999", "net 1.2.3.4/33", "ether host 1:2:3", "ip[", "ip[0:3] = 1",
    "vlan 5000", "mpls 2000000", "ip and not ip", "tcp port no-such-port", "\\", "proto 300", "inbound and outbound",
    "ifindex x", "1 = 2", "less x", "portrange 5", "link proto 3", "ip6[0", "\x01", "ip host 2001:db8::1",
    "net 10.0.0.1/8",
]  # fmt: skip
SPECIAL = [
    "vlan or ip", "not vlan", "vlan 5 or vlan 6", "ip or vlan 5", "vlan and vlan", "mpls and vlan", "pppoes and vlan 3",
    "vlan 5 and not inbound", "ether[12:2] = 0x8100", "ifindex 2 and vlan", "geneve and vlan", "outbound",
    "ip broadcast", "vlan and ip broadcast", "", "   ",
]  # fmt: skip
RNG = random.Random(11)
LONG = [long_text(RNG, terms) for terms in (2, 5, 9, 20, 40)]
MANUAL = [text for texts in MANUAL_PAGE.values() for text in texts]
TEXTS = [*dict.fromkeys([*MANUAL, *EXAMPLES, *SPECIAL, *LONG, *REFUSED])]


class Insn(Structure):
    _fields_ = (("code", c_ushort), ("jt", c_ubyte), ("jf", c_ubyte), ("k", c_uint32))


class BpfProgram(Structure):
    _fields_ = (("bf_len", c_uint), ("bf_insns", POINTER(Insn)))


@pytest.fixture(scope="module")
def stock() -> ctypes.CDLL:
    """The system's libpcap, an instance that is not ours."""
    library = ctypes.CDLL("libpcap.so.0.8")
    for name, result, arguments in (
        ("pcap_open_dead", c_void_p, (c_int, c_int)),
        ("pcap_open_offline", c_void_p, (c_char_p, c_char_p)),
        ("pcap_create", c_void_p, (c_char_p, c_char_p)),
        ("pcap_set_snaplen", c_int, (c_void_p, c_int)),
        ("pcap_activate", c_int, (c_void_p,)),
        ("pcap_set_datalink", c_int, (c_void_p, c_int)),
        ("pcap_datalink", c_int, (c_void_p,)),
        ("pcap_compile", c_int, (c_void_p, POINTER(BpfProgram), c_char_p, c_int, c_uint32)),
        ("pcap_freecode", None, (POINTER(BpfProgram),)),
        ("pcap_geterr", c_char_p, (c_void_p,)),
        ("pcap_close", None, (c_void_p,)),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def compiled_by_stock(stock: ctypes.CDLL, handle: int, text: bytes, optimize: bool, netmask: int) -> bytes | str:
    """The bytecode, or the words of the refusal."""
    program = BpfProgram()
    if stock.pcap_compile(handle, byref(program), text, optimize, netmask) != 0:
        return bytes(stock.pcap_geterr(handle)).decode(errors="replace")
    octets = ctypes.string_at(program.bf_insns, 8 * program.bf_len)
    stock.pcap_freecode(byref(program))
    return octets


def compiled_by_us(text: bytes, link_type: int, snap_len: int, optimize: bool, netmask: int, form: int) -> bytes | str:
    insns, count, error = ffi.new("struct ffpf_bpf_insn **"), ffi.new("uint32_t *"), ffi.new("struct ffpf_error *")
    result = lib.ffpf_syspcap_compile(insns, count, text, link_type, snap_len, optimize, netmask, form, error)
    if result < 0:
        assert result == -lib.FFPF_E_BAD_FILTER
        return bytes(ffi.string(error.text)).decode(errors="replace")
    octets = bytes(ffi.buffer(insns[0], 8 * count[0]))
    LIBC.free(int(ffi.cast("uintptr_t", insns[0])))
    return octets


LIBC = ctypes.CDLL(None)
LIBC.free.argtypes = (c_void_p,)


def compare(stock: ctypes.CDLL, handle: int, link_type: int, snap_len: int, form: int) -> tuple[int, int]:
    """How many texts compiled, and how many were refused; every answer must be equal."""
    compiled = refused = 0
    for number, text in enumerate(TEXTS):
        for optimize in (True, False):
            netmask = UNKNOWN_NETMASK if number % 2 else 0x00FFFFFF
            theirs = compiled_by_stock(stock, handle, text.encode(), optimize, netmask)
            ours = compiled_by_us(text.encode(), link_type, snap_len, optimize, netmask, form)
            assert ours == theirs, f"link type {link_type}, {'optimized' if optimize else 'plain'}: {text!r}"
            if isinstance(theirs, bytes):
                compiled += 1
            else:
                refused += 1
    return compiled, refused


DEAD = (ETHERNET, SLL, SLL2, RAW, NULL, SLIP, PPP, IEEE802_11, RADIOTAP, NETANALYZER, PFLOG, MTP2, LOOP, 9999)


@pytest.mark.parametrize("link_type", DEAD)
def test_dead_form(stock: ctypes.CDLL, link_type: int) -> None:
    handle = stock.pcap_open_dead(link_type, 1000)
    compiled, refused = compare(stock, handle, link_type, 1000, lib.FFPF_FORM_DEAD)
    assert refused > 20
    assert compiled > 100 or link_type in (MTP2, 9999)
    stock.pcap_close(handle)


# link type of the handle: number in the file
SAVED = {ETHERNET: 1, SLL: 113, SLL2: 276, RAW: 101, NULL: 0, PPP: 9, IEEE802_11: 105, NETANALYZER: 240, LOOP: 108,
         4242: 4242}  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("link_type", SAVED)
def test_savefile_form(stock: ctypes.CDLL, tmp_path: Path, link_type: int, order: str) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, SAVED[link_type]))
    errbuf = ctypes.create_string_buffer(256)
    handle = stock.pcap_open_offline(bytes(path), errbuf)
    assert handle, errbuf.value
    assert stock.pcap_datalink(handle) == link_type
    native = order == ("<" if struct.pack("=H", 1)[0] else ">")
    form = lib.FFPF_FORM_SAVEFILE if native else lib.FFPF_FORM_SAVEFILE_SWAPPED
    compare(stock, handle, link_type, 262144, form)
    stock.pcap_close(handle)


def in_own_network(work: Callable[[], None]) -> None:
    """Runs work in a thread that has a network of its own, with the devices `va` (Ethernet) and `tu` (IP packets)."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            if LIBC.unshare(CLONE_NEWNET) != 0:
                raise OSError("unshare")
            for command in ("link add va type veth peer name vb", "tuntap add tu mode tun", "link set lo up",
                            "link set va up", "link set vb up", "link set tu up"):  # fmt: skip
                subprocess.run(["ip", *command.split()], check=True)
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def live_handles(stock: ctypes.CDLL, snap_len: int) -> Iterator[tuple[int, int]]:
    """(active handle of the system's library, its link type) for each link type that devices here have."""
    for device, link_type in (("va", ETHERNET), ("lo", ETHERNET), ("tu", RAW), ("any", SLL), ("any", SLL2)):
        errbuf = ctypes.create_string_buffer(256)
        handle = stock.pcap_create(device.encode(), errbuf)
        stock.pcap_set_snaplen(handle, snap_len)
        assert stock.pcap_activate(handle) >= 0, stock.pcap_geterr(handle)
        if device == "any":
            assert stock.pcap_set_datalink(handle, link_type) == 0
        assert stock.pcap_datalink(handle) == link_type
        yield handle, link_type
        stock.pcap_close(handle)


def test_live_form(stock: ctypes.CDLL) -> None:
    def work() -> None:
        for snap_len in (262144, 96):
            for handle, link_type in live_handles(stock, snap_len):
                compiled, refused = compare(stock, handle, link_type, snap_len, lib.FFPF_FORM_LIVE)
                assert compiled > 300
                assert refused > 20

    in_own_network(work)


def test_live_form_without_any_right(stock: ctypes.CDLL) -> None:
    """tcpdump has given up root when it compiles nothing any more, but others have when they begin."""
    handle = stock.pcap_open_dead(ETHERNET, 1000)
    dead = compiled_by_stock(stock, handle, b"vlan 5 and ip", True, UNKNOWN_NETMASK)
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        live = compiled_by_us(b"vlan 5 and ip", ETHERNET, 1000, True, UNKNOWN_NETMASK, lib.FFPF_FORM_LIVE)
        os.write(into, live if isinstance(live, bytes) else live.encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as reader:
        live = reader.read()
    os.waitpid(child, 0)
    assert len(live) % 8 == 0
    assert live != dead
    assert struct.pack("=HBBI", 0x30, 0, 0, 0xFFFFF030) in live
