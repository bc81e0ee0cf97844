# SPDX-License-Identifier: BSD-3-Clause
"""Names of hosts, ports, protocols, Ethernet addresses and link types: same answers as stock."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_ubyte, c_uint32, c_void_p
from pathlib import Path

import pytest

from libffpfpcap.pcap_abi import main, program, same_on_both

NAMES = [
    "http",
    "domain",
    "80",
    "0",
    "65535",
    "65536",
    "-1",
    "nosuch",
    "",
    "ssh",
    "ftp-data",
    "1-2",
    "tftp",
    "ntp",
    "1e1",
]
RANGES = [
    "1-2",
    "2-1",
    "20-http",
    "ftp-http",
    "http",
    "domain-http",
    "tftp-ssh",
    "-",
    "a-b",
    "80-",
    "-80",
    "ssh-nosuch",
    "",
]
PROTOCOLS = [
    "tcp",
    "udp",
    "icmp",
    "ipv6-icmp",
    "nosuch",
    "",
    "ip",
    "arp",
    "ip6",
    "aarp",
    "sca",
    "ARP",
    "iso",
    "stp",
    "ipx",
    "netbeui",
    "loopback",
]
ADDRESSES = [
    "00:11:22:33:44:55",
    "1:2:3:a:B:f",
    "0011.2233.4455",
    "00-11-22-33-44-55",
    "001122334455",
    "aa.bb:cc-dd.ee:FF",
]
ETHERS = [
    "00:11:22:33:44:55 host-a\n",
    "# comment\n\n1:2:3:4:5:6\tb  junk behind\n",
    "zz\n  aa:bb:cc:dd:ee:ff   spaced # c\n",
    "00:11:22:33:44:55\nno address\n0:0:0:0:0:1 c",
    "00:11:22:33:44:55x bad\n0:0:0:0:0:2 d\r\n",
    "",
    "1:2:3 short\n",
    "1:2:3:4:5:6 " + "n" * 200 + "\n1:2:3:4:5:7 after\n",
    "1:2:3:4:5:6 # only comment\n1:2:3:4:5:8 e\n",
    "1:2:3:4:5:6   \n",
]


class EtherEntry(ctypes.Structure):
    """struct pcap_etherent."""

    _fields_ = (("addr", c_ubyte * 6), ("name", ctypes.c_char * 122))


@program
def ports(lib: ctypes.CDLL) -> None:
    port, end, proto = c_int(), c_int(), c_int()
    for name in NAMES:
        if lib.pcap_nametoport(name.encode(), byref(port), byref(proto)):
            print(name, port.value, proto.value)
        else:
            print(name, "none")
    for name in RANGES:
        if lib.pcap_nametoportrange(name.encode(), byref(port), byref(end), byref(proto)):
            print(name, port.value, end.value, proto.value)
        else:
            print(name, "none")


@program
def protocols(lib: ctypes.CDLL) -> None:
    lib.pcap_nametonetaddr.restype = c_uint32
    for name in PROTOCOLS:
        print(name, *(getattr(lib, f"pcap_nameto{kind}")(name.encode()) for kind in ("proto", "eproto", "llc")))
    for name in ("loopback", "link-local", "default", "nosuch", ""):
        print(name, lib.pcap_nametonetaddr(name.encode()))


@program
def hosts(lib: ctypes.CDLL) -> None:
    lib.pcap_nametoaddr.restype = POINTER(POINTER(c_uint32))
    lib.pcap_nametoaddrinfo.restype = c_void_p
    free = ctypes.CDLL(None).freeaddrinfo
    free.argtypes = (c_void_p,)
    for name in ("localhost", "127.0.0.1", "1.2.3.4", "::1", "host.invalid"):
        found = lib.pcap_nametoaddr(name.encode())
        print(name, hex(found[0].contents.value) if found else "none")
        info = lib.pcap_nametoaddrinfo(name.encode())
        print(name, bool(info))
        if info:
            free(info)  # it must come from this process's own libc


@program
def ether_addresses(lib: ctypes.CDLL, ethers: str) -> None:
    libc = ctypes.CDLL(None)
    libc.fopen.restype = c_void_p
    libc.free.argtypes = libc.fclose.argtypes = (c_void_p,)
    lib.pcap_ether_aton.restype = lib.pcap_ether_hostton.restype = c_void_p
    lib.pcap_next_etherent.restype = POINTER(EtherEntry)
    lib.pcap_next_etherent.argtypes = (c_void_p,)
    for text in ADDRESSES:
        address = lib.pcap_ether_aton(text.encode())
        print(text, ctypes.string_at(address, 6).hex())
        libc.free(address)
    print(lib.pcap_ether_hostton(b"nosuch-host"))
    for path in sorted(Path(ethers).iterdir()):
        file = libc.fopen(str(path).encode(), b"r")
        while entry := lib.pcap_next_etherent(file):
            print(path.name, bytes(entry.contents.addr).hex(), entry.contents.name)
        libc.fclose(file)


@program
def link_types(lib: ctypes.CDLL) -> None:
    for function in ("val_to_name", "val_to_description", "val_to_description_or_dlt"):
        getattr(lib, f"pcap_datalink_{function}").restype = c_char_p
    names = set()
    for dlt in range(-2, 1100):
        name = lib.pcap_datalink_val_to_name(dlt)
        names.add(name or b"")
        print(dlt, name, lib.pcap_datalink_val_to_description(dlt), lib.pcap_datalink_val_to_description_or_dlt(dlt))
    for name in sorted(names):
        for form in (name, name.lower(), b"DLT_" + name, name + b"x"):
            print(form, lib.pcap_datalink_name_to_val(form))


@pytest.mark.parametrize("function", [ports, protocols, hosts, link_types], ids=lambda function: function.__name__)
def test_same_names(function: object) -> None:
    same_on_both(function, handles=0, engine="none")  # type: ignore[arg-type]


def test_same_ethernet_addresses(tmp_path: Path) -> None:
    for number, text in enumerate(ETHERS):
        (tmp_path / f"{number:02}").write_bytes(text.encode())
    printed = same_on_both(ether_addresses, tmp_path, handles=0, engine="none")
    assert "host-a" in printed


def test_next_etherent_takes_garbage_as_stock_does(tmp_path: Path) -> None:
    """Every cut of a file: what follows the cut may be the end inside an address or a name."""
    whole = "".join(ETHERS[:3]).encode()
    for cut in range(len(whole)):
        (tmp_path / f"{cut:03}").write_bytes(whole[:cut])
    same_on_both(ether_addresses, tmp_path, handles=0, engine="none")


if __name__ == "__main__":
    main()
