# SPDX-License-Identifier: BSD-3-Clause
"""libpcap's ABI through ctypes, and how a test runs one program on stock and on FFPF.

A test module holds *programs*, functions marked with `@program` that use the library and print what they see, and tests
that call `same_on_both(program)`: the module is started as a script, once on stock and once on FFPF, and everything
printed must be equal. Programs must not print what differs from run to run (times, ports, pointers).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ctypes import POINTER, Structure, c_char_p, c_int, c_long, c_size_t, c_ubyte, c_uint, c_uint32, c_ushort, c_void_p
from pathlib import Path

from compat_tests import harness

Program = Callable[..., None]
PROGRAMS: dict[str, Program] = {}
ERRBUF_SIZE = 256
CLONE_NEWNET = 0x40000000
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}


class PcapPkthdr(Structure):
    """struct pcap_pkthdr: 24 octets."""

    _fields_ = (("sec", c_long), ("frac", c_long), ("caplen", c_uint32), ("len", c_uint32))


class PcapStat(Structure):
    """struct pcap_stat: 12 octets."""

    _fields_ = (("recv", c_uint), ("drop", c_uint), ("ifdrop", c_uint))


class BpfInsn(Structure):
    """struct bpf_insn: 8 octets."""

    _fields_ = (("code", c_ushort), ("jt", c_ubyte), ("jf", c_ubyte), ("k", c_uint32))


class BpfProgram(Structure):
    """struct bpf_program: 16 octets."""

    _fields_ = (("bf_len", c_uint), ("bf_insns", POINTER(BpfInsn)))


Handler = ctypes.CFUNCTYPE(None, c_void_p, POINTER(PcapPkthdr), POINTER(c_ubyte))
Handle = c_void_p

PROTOTYPES: dict[str, tuple[object, tuple[object, ...]]] = {
    "pcap_create": (Handle, (c_char_p, c_char_p)),
    "pcap_open_live": (Handle, (c_char_p, c_int, c_int, c_int, c_char_p)),
    "pcap_open_offline": (Handle, (c_char_p, c_char_p)),
    "pcap_open_offline_with_tstamp_precision": (Handle, (c_char_p, c_uint, c_char_p)),
    "pcap_fopen_offline": (Handle, (c_void_p, c_char_p)),
    "pcap_open_dead": (Handle, (c_int, c_int)),
    "pcap_open_dead_with_tstamp_precision": (Handle, (c_int, c_int, c_uint)),
    "pcap_close": (None, (Handle,)),
    "pcap_loop": (c_int, (Handle, c_int, Handler, c_void_p)),
    "pcap_dispatch": (c_int, (Handle, c_int, Handler, c_void_p)),
    "pcap_next": (c_void_p, (Handle, POINTER(PcapPkthdr))),
    "pcap_next_ex": (c_int, (Handle, POINTER(POINTER(PcapPkthdr)), POINTER(POINTER(c_ubyte)))),
    "pcap_breakloop": (None, (Handle,)),
    "pcap_stats": (c_int, (Handle, POINTER(PcapStat))),
    "pcap_setfilter": (c_int, (Handle, POINTER(BpfProgram))),
    "pcap_compile": (c_int, (Handle, POINTER(BpfProgram), c_char_p, c_int, c_uint32)),
    "pcap_freecode": (None, (POINTER(BpfProgram),)),
    "pcap_offline_filter": (c_int, (POINTER(BpfProgram), POINTER(PcapPkthdr), c_void_p)),
    "bpf_filter": (c_uint, (POINTER(BpfInsn), c_char_p, c_uint, c_uint)),
    "bpf_validate": (c_int, (POINTER(BpfInsn), c_int)),
    "pcap_setdirection": (c_int, (Handle, c_int)),
    "pcap_getnonblock": (c_int, (Handle, c_char_p)),
    "pcap_setnonblock": (c_int, (Handle, c_int, c_char_p)),
    "pcap_inject": (c_int, (Handle, c_char_p, c_size_t)),
    "pcap_sendpacket": (c_int, (Handle, c_char_p, c_int)),
    "pcap_statustostr": (c_char_p, (c_int,)),
    "pcap_strerror": (c_char_p, (c_int,)),
    "pcap_geterr": (c_void_p, (Handle,)),
    "pcap_perror": (None, (Handle, c_char_p)),
    "pcap_lib_version": (c_char_p, ()),
    "pcap_init": (c_int, (c_uint, c_char_p)),
    "pcap_file": (c_void_p, (Handle,)),
    "pcap_get_required_select_timeout": (c_void_p, (Handle,)),
    "pcap_list_datalinks": (c_int, (Handle, POINTER(POINTER(c_int)))),
    "pcap_free_datalinks": (None, (POINTER(c_int),)),
    "pcap_list_tstamp_types": (c_int, (Handle, POINTER(POINTER(c_int)))),
    "pcap_free_tstamp_types": (None, (POINTER(c_int),)),
    "pcap_tstamp_type_name_to_val": (c_int, (c_char_p,)),
    "pcap_tstamp_type_val_to_name": (c_char_p, (c_int,)),
    "pcap_tstamp_type_val_to_description": (c_char_p, (c_int,)),
    "pcap_datalink_val_to_name": (c_char_p, (c_int,)),
    **{
        f"pcap_set_{name}": (c_int, (Handle, c_int))
        for name in ("snaplen", "promisc", "rfmon", "timeout", "buffer_size", "immediate_mode", "protocol_linux",
                     "tstamp_type", "tstamp_precision", "datalink")
    },
    **{
        f"pcap_{name}": (c_int, (Handle,))
        for name in ("activate", "can_set_rfmon", "get_selectable_fd", "fileno", "is_swapped", "major_version",
                     "minor_version", "snapshot", "bufsize", "datalink", "datalink_ext", "get_tstamp_precision")
    },
}  # fmt: skip


def load() -> ctypes.CDLL:
    """The library that a program asking for libpcap gets, with prototypes: stock, or FFPF when it is preloaded."""
    library = ctypes.CDLL("libpcap.so.0.8", use_errno=True)
    for name, (result, arguments) in PROTOTYPES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


class Pcap:
    """A handle with what programs need often; `lib` is the library. Raises OSError with errbuf when opening fails."""

    def __init__(self, lib: ctypes.CDLL, handle: int | None, errbuf: ctypes.Array[ctypes.c_char] | None = None) -> None:
        if not handle:
            raise OSError(errbuf.value.decode() if errbuf else "no handle")
        self.lib = lib
        self.handle = Handle(handle)

    @staticmethod
    def offline(lib: ctypes.CDLL, path: str | Path) -> Pcap:
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        return Pcap(lib, lib.pcap_open_offline(str(path).encode(), errbuf), errbuf)

    @staticmethod
    def create(lib: ctypes.CDLL, device: str, **options: int) -> Pcap:
        """An inactive handle; options are the names behind pcap_set_."""
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        p = Pcap(lib, lib.pcap_create(device.encode(), errbuf), errbuf)
        for name, value in options.items():
            assert getattr(lib, f"pcap_set_{name}")(p.handle, value) == 0, name
        return p

    @staticmethod
    def live(lib: ctypes.CDLL, device: str, **options: int) -> Pcap:
        """An active handle with a read timeout of 50 ms unless told otherwise."""
        p = Pcap.create(lib, device, **{"timeout": 50, **options})
        status = lib.pcap_activate(p.handle)
        assert status >= 0, f"{status} {p.error()}"
        return p

    def error(self) -> str:
        return ctypes.string_at(self.lib.pcap_geterr(self.handle)).decode(errors="replace")

    def compile(self, text: str) -> BpfProgram:
        code = BpfProgram()
        assert self.lib.pcap_compile(self.handle, ctypes.byref(code), text.encode(), 1, 0xFFFFFFFF) == 0, self.error()
        return code

    def filter(self, text: str) -> None:
        code = self.compile(text)
        assert self.lib.pcap_setfilter(self.handle, ctypes.byref(code)) == 0, self.error()
        self.lib.pcap_freecode(ctypes.byref(code))

    def next(self) -> tuple[int, bytes, PcapPkthdr]:
        """pcap_next_ex: its status, the packet's octets, a copy of the header."""
        header, data = POINTER(PcapPkthdr)(), POINTER(c_ubyte)()
        status = self.lib.pcap_next_ex(self.handle, ctypes.byref(header), ctypes.byref(data))
        if status != 1:
            return status, b"", PcapPkthdr()
        copy = PcapPkthdr.from_buffer_copy(header.contents)
        return status, ctypes.string_at(data, copy.caplen), copy

    def packets(self, seconds: float = 0.5) -> Iterator[bytes]:
        """Packets until the end of the file, or until none came for so long on a live, non-blocking handle."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            status, data, _ = self.next()
            if status == 1:
                limit = time.monotonic() + seconds
                yield data
            elif status == 0:
                time.sleep(0.01)
            else:
                return

    def nonblock(self, on: bool = True) -> None:
        errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
        assert self.lib.pcap_setnonblock(self.handle, int(on), errbuf) == 0, errbuf.value

    def statistics(self) -> tuple[int, int, int]:
        stat = PcapStat()
        assert self.lib.pcap_stats(self.handle, ctypes.byref(stat)) == 0, self.error()
        return stat.recv, stat.drop, stat.ifdrop

    def close(self) -> None:
        self.lib.pcap_close(self.handle)


def savefile(path: str | Path, packets: list[bytes], dlt: int = 1, snaplen: int = 262144) -> str:
    """Writes a pcap file without any library; one packet a second. Returns its name."""
    octets = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, dlt)
    for number, packet in enumerate(packets):
        octets += struct.pack("=IIII", 1_700_000_000 + number, number, len(packet), len(packet)) + packet
    Path(path).write_bytes(octets)
    return str(path)


def frame(number: int, ethertype: int = 0x88B5, length: int = 60, vlan: bytes = b"") -> bytes:
    """An Ethernet frame for nobody, told by `number` (in octets 14-17, behind a tag further on)."""
    head = bytes.fromhex("020000000002020000000001") + vlan + struct.pack("!HI", ethertype, number)
    return head.ljust(length, b"\0")


def udp_frame(number: int, port: int = 9, length: int = 60) -> bytes:
    """An IPv4 UDP datagram to 10.9.9.9:port; its identification is `number`. Without checksums."""
    total = length - 14
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, number & 0xFFFF, 0, 64, 17, 0, bytes([10, 9, 9, 1]),
                     bytes([10, 9, 9, 9]))  # fmt: skip
    head = bytes.fromhex("020000000002020000000001") + b"\x08\x00" + ip + struct.pack("!HHHH", 7, port, total - 20, 0)
    return head.ljust(length, b"\0")


def own_network() -> None:
    """Moves this process into a network of its own, with the pair va - vb and lo up; gone when the process ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")  # no packets but ours
    ip("link add va type veth peer name vb")
    ip("link set lo up", "link set va up", "link set vb up")


def ip(*commands: str) -> None:
    for command in commands:
        env = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "FFPF_STATS")}
        subprocess.run(["ip", *command.split()], check=True, env=env)


def send(device: str, *frames: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((device, 0))
        for octets in frames:
            out.send(octets)


def numbers(p: Pcap, seconds: float = 0.5) -> list[int]:
    """The numbers in the frames that come within so long of each other; the handle must not block."""
    return [int.from_bytes(data[14:18], "big") for data in p.packets(seconds)]


def open_quiet(lib: ctypes.CDLL, device: str, **options: int) -> Pcap:
    """A live handle that does not block, in a network of its own."""
    own_network()
    p = Pcap.live(lib, device, **options)
    p.nonblock()
    return p


def program(function: Program) -> Program:
    """Marks a function that a test runs on both libraries. It gets the library and the words behind its name."""
    PROGRAMS[function.__name__] = function
    return function


def main() -> None:
    """For the foot of a test module: runs the program that the command line names."""
    PROGRAMS[sys.argv[1]](load(), *sys.argv[2:])


def command(function: Program, *arguments: object) -> list[str]:
    """The command line that runs a program; it needs ENVIRONMENT."""
    return [sys.executable, function.__code__.co_filename, function.__name__, *map(str, arguments)]


def same_on_both(
    function: Program,
    *arguments: object,
    handles: int = 1,
    served: int | None = None,
    engine: str = "embedded",
    at_once: bool = False,
) -> str:
    """Runs a program on stock and on FFPF and returns its (equal) output.

    handles: how many the program opened for reading, at least; served: packets that FFPF must have delivered; at_once:
    both at the same time, for programs that mostly wait and share no file.
    """
    both = (harness.STOCK, harness.FFPF)
    if at_once:
        runs = [harness.Run(command(function, *arguments), side, env=ENVIRONMENT) for side in both]
        stock, ffpf = (run.finish() for run in runs)
    else:
        stock, ffpf = (harness.run(command(function, *arguments), side, env=ENVIRONMENT) for side in both)
    harness.assert_same(stock, ffpf, harness.Expect(engine=engine, handles=handles, delivered=served))
    assert stock.returncode == 0, stock.stderr.decode()
    return stock.stdout.decode()


def on_ffpf(function: Program, *arguments: object, handles: int = 1, served: int | None = None) -> str:
    """Runs a program on FFPF alone, where stock has a flaw or cannot do it, and returns its output."""
    outcome = harness.run(command(function, *arguments), harness.FFPF, env=ENVIRONMENT)
    assert outcome.returncode == 0, outcome.stderr.decode()
    harness.assert_served(outcome, harness.Expect(handles=handles, delivered=served))
    return outcome.stdout.decode()
