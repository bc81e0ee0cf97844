# SPDX-License-Identifier: BSD-3-Clause
"""Lists of devices, and filter text in every form of handle: what tools show of both must be stock's."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator
from ctypes import POINTER, Structure, c_char_p, c_uint, c_void_p

import pytest

from compat_tests import harness
from libffpfpcap.pcap_abi import (
    ERRBUF_SIZE,
    BpfProgram,
    Pcap,
    frame,
    ip,
    main,
    own_network,
    program,
    same_on_both,
    savefile,
)


class PcapIf(Structure):
    """struct pcap_if: 40 octets."""


class PcapAddr(Structure):
    """struct pcap_addr: 40 octets; the four are struct sockaddr *."""


PcapAddr._fields_ = [
    ("next", POINTER(PcapAddr)), ("addr", c_void_p), ("netmask", c_void_p), ("broadaddr", c_void_p),
    ("dstaddr", c_void_p),
]  # fmt: skip
PcapIf._fields_ = [
    ("next", POINTER(PcapIf)), ("name", c_char_p), ("description", c_char_p), ("addresses", POINTER(PcapAddr)),
    ("flags", c_uint),
]  # fmt: skip


def address(pointer: int | None) -> str:
    """A struct sockaddr in words; the number of an interface is left out, and what the kernel does not fill in."""
    if not pointer:
        return "-"
    (family,) = struct.unpack("=H", ctypes.string_at(pointer, 2))
    if family == socket.AF_INET:
        return socket.inet_ntop(family, ctypes.string_at(pointer + 4, 4))
    if family == socket.AF_INET6:
        return socket.inet_ntop(family, ctypes.string_at(pointer + 8, 16))
    octets = ctypes.string_at(pointer, 20)
    return f"{family} {octets[8:10].hex()} {octets[11]} {octets[12:18].hex()}"


def addresses(first: object) -> Iterator[str]:
    one = first
    while one:
        fields = one.contents  # type: ignore[attr-defined]
        yield ",".join(address(getattr(fields, name)) for name in ("addr", "netmask", "broadaddr", "dstaddr"))
        one = fields.next


@program
def devices(lib: ctypes.CDLL) -> None:
    own_network()
    ip("link set va address 02:00:00:00:00:0a", "link set vb address 02:00:00:00:00:0b", "link set vb down")
    ip("addr add 10.1.2.3/24 brd 10.1.2.255 dev va", "addr add 10.9.9.9 peer 10.9.9.10 dev va")
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    first = POINTER(PcapIf)()
    lib.pcap_freealldevs.argtypes = (POINTER(PcapIf),)
    lib.pcap_freealldevs.restype = None
    print(lib.pcap_findalldevs(ctypes.byref(first), errbuf), errbuf.value)
    one = first
    while one:
        device = one.contents
        print(device.name, device.description, hex(device.flags), *addresses(device.addresses))
        one = device.next
    lib.pcap_freealldevs(first)


def test_pitfall_23_device_lists() -> None:
    text = same_on_both(devices, handles=0)
    for name in ("va", "any", "lo", "bluetooth-monitor", "nflog", "nfqueue", "dbus-system", "dbus-session"):
        assert f"b'{name}'" in text


@pytest.mark.alone
@pytest.mark.parametrize("argv", [("tcpdump", "-D"), ("dumpcap", "-D", "-M"), ("dumpcap", "-D"), ("tshark", "-D")])
def test_pitfall_23_tools_list_devices(argv: tuple[str, ...]) -> None:
    harness.assert_same(*harness.run_both(argv), harness.Expect(handles=0))


GOOD = (
    "", "ip", "tcp port 80", "vlan", "vlan 7 and ip6", "inbound", "host 10.0.0.1 or net 10.1.0.0/16",
    "tcp[13] & 2 != 0", "ether host 02:00:00:00:00:01", "portrange 1-1023", "mpls 5", "pppoes and ip", "icmp6",
    "len > 100", "broadcast",
    " or ".join(f"host 10.0.{number}.1" for number in range(100)), "ip proto \\udp", "ether[0] & 1 = 0 and not arp",
)  # fmt: skip
BAD = ("tcp prot 80", "host", "host no.such.host.invalid", "port 99999", "vlan 9999", "(", "ip[0", "wlan type mgt",
       "ether host 1", "net 10.0.0.1/8", "and", "portrange 9-1", "ip6 host 10.0.0.1", "gateway nowhere")  # fmt: skip


@program
def compiled(lib: ctypes.CDLL, path: str) -> None:
    own_network()
    handles = [
        Pcap(lib, lib.pcap_open_dead(dlt, snaplen)) for dlt in (1, 12, 113, 276, 127, 9999) for snaplen in (0, 96)
    ]
    handles += [Pcap.offline(lib, path), Pcap.live(lib, "va"), Pcap.live(lib, "any"), Pcap.live(lib, "lo", snaplen=70)]
    handles.append(Pcap.create(lib, "va"))
    for number, p in enumerate(handles):
        for text in GOOD + BAD:
            for optimize, netmask in ((1, 0), (0, 0xFFFFFFFF), (1, 0x00FFFFFF)):
                code = BpfProgram()
                status = lib.pcap_compile(p.handle, ctypes.byref(code), text.encode(), optimize, netmask)
                octets = ctypes.string_at(code.bf_insns, 8 * code.bf_len) if status == 0 and code.bf_len else b""
                print(number, text[:40], optimize, netmask, status, p.error() if status else octets.hex())
                lib.pcap_freecode(ctypes.byref(code))


def test_pitfall_24_bytecode_and_texts_of_the_compiler(tmp_path: object) -> None:
    text = same_on_both(compiled, savefile(f"{tmp_path}/a.pcap", [frame(1)]), handles=4)
    assert "can't parse filter expression: syntax error" in text


@pytest.mark.parametrize("text", GOOD + BAD)
def test_pitfall_24_tcpdump_shows_bytecode(text: str) -> None:
    stock, ffpf = harness.run_both(["tcpdump", "-y", "EN10MB", "-d", text])
    harness.assert_same(stock, ffpf, harness.Expect(handles=0))


if __name__ == "__main__":
    main()
