# SPDX-License-Identifier: BSD-3-Clause
"""Devices that the system's libpcap serves: everything that a program does with them works as on stock."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import threading
import time
from pathlib import Path

import pytest

from libffpfpcap.dump_abi import LIBC, Each, dump_all, dump_to
from libffpfpcap.nflog import log_what_is_sent
from libffpfpcap.pcap_abi import (
    ERRBUF_SIZE,
    BpfProgram,
    Pcap,
    frame,
    ip,
    main,
    on_ffpf,
    own_network,
    program,
    same_on_both,
    send,
    udp_frame,
)  # fmt: skip

pytestmark = pytest.mark.live


def datagrams(count: int, size: int = 100) -> None:
    """Sent to this namespace's own loopback, to somebody who takes them: no ICMP is sent back."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taker,
    ):
        taker.bind(("127.0.0.1", 9))
        for number in range(count):
            out.sendto(bytes([number]).ljust(size, b"x"), ("127.0.0.1", 9))


def ip_packet(octets: bytes) -> str:
    """The datagram at the end of a logged packet: its length and first octet of data."""
    start = octets.rfind(b"\x45\x00")
    return f"{len(octets) - start} {octets[start + 28]}"


@program
def nflog(lib: ctypes.CDLL, target: str) -> None:
    own_network()
    log_what_is_sent()
    p = Pcap.live(lib, "nflog", snaplen=60_000)  # its buffer is little larger than that
    print(lib.pcap_datalink(p.handle), lib.pcap_snapshot(p.handle), lib.pcap_get_tstamp_precision(p.handle))
    print(lib.pcap_get_selectable_fd(p.handle) >= 0, lib.pcap_fileno(p.handle) >= 0, lib.pcap_bufsize(p.handle) > 0)
    datagrams(5)
    seen: list[str] = []

    def act(number: int, header: object, data: int) -> None:
        seen.append(ip_packet(ctypes.string_at(data, header.contents.caplen)))  # type: ignore[attr-defined]

    print(Each(act).loop(p, 3), seen)
    print(p.next()[0], ip_packet(p.next()[1]))
    p.filter("len > 150")
    dumper = dump_to(p, target)
    datagrams(2, 10)
    datagrams(3, 160)
    print(dump_all(p, dumper, 3), lib.pcap_dump_ftell(dumper))
    LIBC.fwrite(b"end", 1, 3, dumper)
    lib.pcap_dump_close(dumper)
    print(Path(target).read_bytes()[:24].hex(), Path(target).read_bytes()[-3:])
    print(p.statistics())
    print(lib.pcap_setdirection(p.handle, 1), p.error(), lib.pcap_inject(p.handle, b"x" * 60, 60), p.error())
    p.close()


def test_logged_packets(tmp_path: Path) -> None:
    text = same_on_both(nflog, tmp_path / "out.pcap", engine="system", served=8)
    assert "239 60000" in text  # DLT_NFLOG
    assert "128 2" in text


@program
def missing(lib: ctypes.CDLL, device: str, precision: str) -> None:
    own_network()
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    handle = lib.pcap_create(device.encode(), errbuf)
    p = Pcap(lib, handle, errbuf)
    print(lib.pcap_set_tstamp_precision(p.handle, int(precision)), lib.pcap_can_set_rfmon(p.handle))
    print(lib.pcap_set_timeout(p.handle, 100), lib.pcap_activate(p.handle), p.error())
    p.close()
    print(lib.pcap_open_live(device.encode(), 100, 0, 100, errbuf), errbuf.value)


DEVICES = ["bluetooth0", "bluetooth-monitor", "usbmon1", "usbmon77", "nflog:99999999", "nflog:x", "nfqueue:70000",
           "dbus-system", "dbus-session", "dbus://nowhere", "nflogger", "usbmon", "usbmonx", "usbmon-3", "bluetooth",
           "a/usbmon1", "none0", "", "dbus-sys"]  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
def test_devices_that_cannot_be_opened(device: str) -> None:
    for precision in (0, 1):
        same_on_both(missing, device, precision, handles=0)


@program
def through_the_system(lib: ctypes.CDLL, target: str) -> None:
    os.environ["FFPF_ENGINE"] = "system"
    own_network()
    p = Pcap.live(lib, "va", immediate_mode=1, snaplen=1000)
    print(lib.pcap_datalink(p.handle), lib.pcap_snapshot(p.handle), lib.pcap_activate(p.handle), p.error())
    print(lib.pcap_major_version(p.handle), lib.pcap_is_swapped(p.handle), lib.pcap_datalink_ext(p.handle))
    choices = ctypes.POINTER(ctypes.c_int)()
    count = lib.pcap_list_datalinks(p.handle, ctypes.byref(choices))
    print([choices[number] for number in range(count)])
    lib.pcap_free_datalinks(choices)
    print(lib.pcap_set_datalink(p.handle, 143), p.error(), lib.pcap_set_datalink(p.handle, 1), p.error())
    p.filter("udp port 53 or vlan 5")
    send("vb", frame(1), udp_frame(2, 53), udp_frame(3, 54), frame(4, vlan=bytes.fromhex("81000005")))
    for _ in range(2):
        status, octets, header = p.next()
        print(status, octets.hex(), header.caplen, header.len)
    print(p.statistics())
    p.filter("")
    print(lib.pcap_inject(p.handle, frame(9), 60), lib.pcap_sendpacket(p.handle, frame(10), 60))
    send("va", frame(9), frame(10))  # what a handle sends itself it does not see
    print([p.next()[1][14:18].hex() for _ in range(2)])
    print(lib.pcap_setdirection(p.handle, 1))
    send("va", frame(11))
    send("vb", frame(12))
    print(p.next()[1][14:18].hex())
    dumper = dump_to(p, target)
    send("vb", *[frame(number) for number in range(50)])
    before = time.time()
    print(dump_all(p, dumper, 50))
    lib.pcap_dump_close(dumper)
    saved = Pcap.offline(lib, target)
    packets = list(saved.packets())
    print(len(packets), [packet[14:18].hex() for packet in packets][::10], abs(time.time() - before) < 100)
    p.close()


def test_the_system_serves_a_network_device(tmp_path: Path) -> None:
    text = same_on_both(through_the_system, tmp_path / "out.pcap", handles=1, engine="embedded+system")
    assert text.startswith("1 1000 -4")


@program
def waits(lib: ctypes.CDLL) -> None:
    os.environ["FFPF_ENGINE"] = "system"
    own_network()
    p = Pcap.live(lib, "va", timeout=300_000)
    each = Each(lambda number, header, data: None)
    threading.Timer(0.3, lambda: lib.pcap_breakloop(p.handle)).start()
    print(each.loop(p))
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    print(lib.pcap_getnonblock(p.handle, errbuf), lib.pcap_setnonblock(p.handle, 1, errbuf))
    print(lib.pcap_getnonblock(p.handle, errbuf), lib.pcap_dispatch(p.handle, 5, each.handler, None), p.next()[0])
    print(lib.pcap_get_required_select_timeout(p.handle))
    q = Pcap.live(lib, "lo", immediate_mode=1)
    fd = lib.pcap_get_selectable_fd(q.handle)
    print(select.select([fd], [], [], 0)[0] == [])
    send("lo", frame(1))
    print(select.select([fd], [], [], 5)[0] == [fd], q.next()[0])
    p.close()
    q.close()


def test_breakloop_and_waiting_through_the_system() -> None:
    assert same_on_both(waits, handles=2, engine="system").startswith("-2")


@program
def goes_away(lib: ctypes.CDLL) -> None:
    os.environ["FFPF_ENGINE"] = "system"
    own_network()
    p = Pcap.live(lib, "va", immediate_mode=1)
    threading.Timer(0.3, lambda: ip("link del va")).start()
    print(Each(lambda number, header, data: None).loop(p), p.error())
    p.close()


def test_a_device_that_vanishes_through_the_system() -> None:
    assert "The interface disappeared" in same_on_both(goes_away, engine="system")


@program
def no_library(lib: ctypes.CDLL) -> None:
    """What is left when there is no system library to pass calls on to."""
    os.environ["FFPF_SYSTEM_LIBPCAP"] = "/nonexistent"
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    p = Pcap(lib, lib.pcap_create(b"nflog", errbuf), errbuf)
    print(lib.pcap_activate(p.handle), p.error())
    p.close()
    own_network()
    p = Pcap.live(lib, "va", immediate_mode=1)
    send("vb", frame(1))
    p.filter("")
    print(p.next()[0])
    print(lib.pcap_compile(p.handle, ctypes.byref(BpfProgram()), b"ip", 1, 0), p.error())
    p.close()


def test_without_a_system_library_captures_still_run() -> None:
    first, second, third = on_ffpf(no_library, served=1).splitlines()
    assert first.startswith("-1 the system's libpcap cannot be loaded")
    assert second == "1"
    assert third.startswith("-1 the system's libpcap cannot be loaded")


@program
def nonblock_before_activation(lib: ctypes.CDLL) -> None:
    for device in ("dbus-system", "dbus://nowhere", "nflog:5", "nfqueue", "usbmon1", "bluetooth0"):
        p = Pcap.create(lib, device)
        for wanted in (1, 0):
            errbuf = ctypes.create_string_buffer(b"untouched", ERRBUF_SIZE)
            print(device, lib.pcap_setnonblock(p.handle, wanted, errbuf), errbuf.value, p.error())
            print(device, lib.pcap_getnonblock(p.handle, errbuf), errbuf.value, p.error())
        p.close()


def test_devices_that_cannot_do_without_blocking_say_so_before_activation() -> None:
    text = same_on_both(nonblock_before_activation, handles=0)
    assert "isn't supported" in text


if __name__ == "__main__":
    main()
