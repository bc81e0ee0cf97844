# SPDX-License-Identifier: BSD-3-Clause
"""What live handles deliver and send: tags, cooked headers, directions, time stamps, injection. As on stock."""

from __future__ import annotations

import ctypes
import functools
import socket
import struct
import time

import pytest

from libffpfpcap import pcap_abi
from libffpfpcap.pcap_abi import (
    Pcap,
    frame,
    main,
    open_quiet,
    own_network,
    program,
    send,
    udp_frame,
)

pytestmark = pytest.mark.live

VLAN_7 = bytes.fromhex("81000007")
QINQ = bytes.fromhex("88a80064") + VLAN_7
ETH_P_ALL = 3

same_on_both = functools.partial(pcap_abi.same_on_both, at_once=True)


@program
def tagged(lib: ctypes.CDLL) -> None:
    own_network()
    handles = {}
    for text in ("", "vlan", "vlan 7", "vlan 100 and vlan 7", "udp", "vlan and udp", "not vlan"):
        for snaplen in (262144, 68, 60, 14):
            p = handles[text, snaplen] = Pcap.live(lib, "va", snaplen=snaplen)
            p.nonblock()
            if text:
                p.filter(text)
    plain, one, two = (udp_frame(number) for number in (1, 2, 3))
    send("vb", plain, one[:12] + VLAN_7 + one[12:], two[:12] + QINQ + two[12:])
    time.sleep(0.3)
    for case, p in handles.items():
        status, data, header = p.next()
        while status == 1:
            print(case, header.caplen, header.len, data.hex())
            status, data, header = p.next()
        p.close()


def test_pitfall_18_and_snort_2_tags_are_put_back_after_the_filter() -> None:
    text = same_on_both(tagged, handles=28)
    assert "('vlan 100 and vlan 7', 262144) 68 68 02000000000202000000000188a8006481000007" in text


@program
def cooked(lib: ctypes.CDLL, dlt: str) -> None:
    p = open_quiet(lib, "any")
    kinds = ctypes.POINTER(ctypes.c_int)()
    count = lib.pcap_list_datalinks(p.handle, ctypes.byref(kinds))
    print([kinds[i] for i in range(count)], lib.pcap_datalink(p.handle), lib.pcap_set_datalink(p.handle, int(dlt)))
    print(lib.pcap_datalink(p.handle))
    send("vb", udp_frame(1), udp_frame(2)[:12] + VLAN_7 + udp_frame(2)[12:])
    for data in p.packets():
        print(data.hex())
    p.filter("inbound and udp")
    send("vb", udp_frame(3))
    for data in p.packets():
        print(data.hex())
    p.close()


@pytest.mark.parametrize("dlt", [113, 276])
def test_pitfall_19_any_in_both_cooked_forms(dlt: int) -> None:
    same_on_both(cooked, dlt)


@program
def loopback(lib: ctypes.CDLL, direction: str) -> None:
    p = open_quiet(lib, "lo")
    print(lib.pcap_setdirection(p.handle, int(direction)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number in range(5):
            out.sendto(struct.pack("!I", number), ("127.0.0.1", 9))
    print([data[-4:] for data in p.packets() if data[23] == 17])
    p.close()


@pytest.mark.parametrize("direction", [0, 1, 2])
def test_pitfall_19_loopback_once(direction: int) -> None:
    same_on_both(loopback, direction)


@program
def directions(lib: ctypes.CDLL, device: str) -> None:
    p = open_quiet(lib, device)
    for direction in (0, 1, 2, 0):
        print(lib.pcap_setdirection(p.handle, direction), p.error())
        send("vb", frame(1), frame(2))
        send("va", frame(101), frame(102))
        print(sorted(len(data) * 1000 + data[-43] for data in p.packets()))
    p.close()


@pytest.mark.parametrize("device", ["va", "any"])
def test_pitfall_19_directions(device: str) -> None:
    same_on_both(directions, device)


@program
def precision(lib: ctypes.CDLL, wanted: str) -> None:
    p = open_quiet(lib, "va", tstamp_precision=int(wanted))
    print(lib.pcap_get_tstamp_precision(p.handle))
    begin = time.time()
    send("vb", *(frame(number) for number in range(200)))
    fractions = []
    for _ in range(10000):
        status, _, header = p.next()
        if status == 1:
            assert begin - 5 < header.sec < begin + 60
            fractions.append(header.frac)
        if len(fractions) == 200:
            break
        time.sleep(0.001)
    print(len(fractions), max(fractions) < 1_000_000, max(fractions) < 1_000_000_000)
    p.close()


@pytest.mark.parametrize("wanted", [0, 1])
def test_pitfall_26_precision_of_time_stamps(wanted: int) -> None:
    same_on_both(precision, wanted, served=200)


@program
def injected(lib: ctypes.CDLL, device: str) -> None:
    p = open_quiet(lib, device)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as listener:
        listener.bind(("vb", 0))
        listener.settimeout(0.5)
        print(lib.pcap_inject(p.handle, frame(5), 60), p.error())
        print(lib.pcap_sendpacket(p.handle, frame(6), 60), p.error())
        print(lib.pcap_inject(p.handle, frame(7, length=60000), 60000), p.error())
        for _ in range(2):
            try:
                print(listener.recv(2000)[14:18])
            except TimeoutError:
                print("nothing")
    p.close()


@pytest.mark.parametrize("device", ["va", "any", "lo"])
def test_inject(device: str) -> None:
    same_on_both(injected, device)


if __name__ == "__main__":
    main()
