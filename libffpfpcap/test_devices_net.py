# SPDX-License-Identifier: BSD-3-Clause
"""Devices of other kinds, the device to take when none is named, networks of devices: as on stock."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_uint32

import pytest

from libffpfpcap.pcap_abi import ERRBUF_SIZE, ip, main, own_network, program, same_on_both
from libffpfpcap.test_devices_and_filters import PcapIf, addresses

pytestmark = pytest.mark.live


def configured_network() -> None:
    """Interfaces of several kinds, up and down, with aliases, a peer, and no address at all."""
    own_network()
    ip("link set va address 02:00:00:00:00:0a", "link set vb address 02:00:00:00:00:0b")
    ip("link add br0 address 02:00:00:00:00:0c type bridge", "link set br0 up")
    ip("tuntap add tu mode tun", "tuntap add gone mode tun", "link set tu up")
    ip("addr add 10.1.2.3/24 brd + dev va", "addr add 10.1.2.4/24 dev va label va:alias")
    ip("addr add 172.16.0.1/32 dev vb", "addr add 192.0.2.1 peer 192.0.2.2/32 dev tu", "addr add 10.9.0.1/8 dev gone")


@program
def all_devices(lib: ctypes.CDLL, loopback_only: str) -> None:
    if loopback_only == "True":
        own_network()
        ip("link del va", "link set lo down")
    else:
        configured_network()
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    first = POINTER(PcapIf)()
    lib.pcap_freealldevs.argtypes = (POINTER(PcapIf),)
    for _ in range(2):
        print(lib.pcap_findalldevs(byref(first), errbuf), errbuf.value)
        one = first
        while one:
            device = one.contents
            print(device.name, device.description, hex(device.flags), *addresses(device.addresses))
            one = device.next
        lib.pcap_freealldevs(first)
    lib.pcap_freealldevs(None)
    lib.pcap_lookupdev.restype = c_char_p
    lib.pcap_lookupdev.argtypes = (c_char_p,)
    print(lib.pcap_lookupdev(errbuf), errbuf.value)
    print(lib.pcap_init(0, errbuf), lib.pcap_lookupdev(errbuf), errbuf.value)


@pytest.mark.parametrize("loopback_only", [False, True])
def test_kinds_of_devices_and_the_first_of_them(loopback_only: bool) -> None:
    text = same_on_both(all_devices, loopback_only, handles=0)
    assert loopback_only or "192.0.2.1,255.255.255.255,-,192.0.2.2" in text
    assert "not supported in programs calling pcap_init()" in text


@program
def networks(lib: ctypes.CDLL) -> None:
    configured_network()
    errbuf = ctypes.create_string_buffer(ERRBUF_SIZE)
    net, mask = c_uint32(77), c_uint32(88)
    lib.pcap_lookupnet.argtypes = (c_char_p, POINTER(c_uint32), POINTER(c_uint32), c_char_p)
    lib.pcap_lookupnet.restype = c_int
    for name in (b"va", b"va:alias", b"vb", b"tu", b"lo", b"gone", b"br0", b"none", None, b"any", b"nflog", b"usbmon1",
                 b"bluetooth0", b"x" * 40, b""):  # fmt: skip
        errbuf.value = b""
        print(name, lib.pcap_lookupnet(name, byref(net), byref(mask), errbuf), net.value, mask.value, errbuf.value)


def test_networks_of_devices() -> None:
    assert "no IPv4 address assigned" in same_on_both(networks, handles=0)


if __name__ == "__main__":
    main()
