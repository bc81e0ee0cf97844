# SPDX-License-Identifier: BSD-3-Clause
"""Cooked capture: `any` with several interfaces, in both header versions, beside the system's libpcap."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator

import pytest
from pyffpf._core import lib

from compat_tests.netns import Netns
from source.live_frames import BROADCAST, ETH_EXPERIMENTAL, FROM, TAGGINGS, ethernet, numbered, udp
from source.live_reader import LiveError, OurReader, StockReader, same

pytestmark = pytest.mark.live

SLL, SLL2 = 113, 276
OTHER_LEFT, OTHER_RIGHT = "vc0", "vd0"


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        made.add_veth(OTHER_LEFT, OTHER_RIGHT)
        yield made


def traffic(ns: Netns) -> int:
    """Packets of every type on two interfaces and the loopback; how often a reader of all interfaces sees them."""
    to_us = ns.mac(ns.left) + numbered(1)[6:]
    to_all = BROADCAST + numbered(2)[6:]
    to_many = bytes.fromhex("01005e000001") + numbered(3)[6:]
    frames = [to_us, to_all, to_many, numbered(4), ethernet(udp(7, 9, b"abc"), 0x0800)]
    frames += [numbered(5, tags=tags) for tags in TAGGINGS.values()]
    frames += [BROADCAST + FROM + (40).to_bytes(2, "big") + b"\x42\x42\x03" + bytes(43)]  # 802.2
    frames += [BROADCAST + FROM + (40).to_bytes(2, "big") + b"\xff\xff" + bytes(44)]  # 802.3 with Novell's checksum
    sent = ns.send(ns.right, frames) + ns.send(OTHER_RIGHT, frames) + ns.send(ns.left, frames[:4])
    with ns.entered():
        talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with talker, listener:
        listener.bind(("127.0.0.1", 0))
        talker.sendto(b"once", listener.getsockname())
    return 2 * sent + 1


@pytest.mark.parametrize("dlt", [SLL, SLL2], ids=["SLL", "SLL2"])
@pytest.mark.parametrize("snap_len", [1, 21, 40, 262144])
@pytest.mark.parametrize("direction", [0, 1, 2], ids=["inout", "in", "out"])
def test_any_has_the_octets_that_stock_has(ns: Netns, dlt: int, snap_len: int, direction: int) -> None:
    with OurReader(ns, "any", snap_len=snap_len) as ours, StockReader(ns, "any", snap_len=snap_len) as theirs:
        assert ours.set_link_type(dlt) == 0
        theirs.set_link_type(dlt)
        ours.set_direction(direction)
        theirs.set_direction(direction)
        total = traffic(ns)
        got = ours.drain()
        same(got, theirs.read(len(got)))
        assert theirs.take() is None
        if direction == 0:
            assert len(got) == total
        assert ours.counters()["seen"] == theirs.stats()[0]


@pytest.mark.parametrize("dlt", [SLL, SLL2], ids=["SLL", "SLL2"])
def test_any_in_immediate_mode(ns: Netns, dlt: int) -> None:
    with OurReader(ns, "any", immediate=True) as ours, OurReader(ns, "any", immediate=False) as blocks:
        assert ours.set_link_type(dlt) == 0 and blocks.set_link_type(dlt) == 0
        ns.send(ns.right, [numbered(i) for i in range(2)])  # its ring has eight frames of 256 KiB
        got = ours.drain()
        assert [(p.data, p.wire_len) for p in got] == [(p.data, p.wire_len) for p in blocks.drain()]
        assert len(got) == 4


def test_header_fields(ns: Netns) -> None:
    frame = BROADCAST + numbered(9)[6:]
    index = int(ns.run(["cat", f"/sys/class/net/{ns.left}/ifindex"]).stdout)
    with OurReader(ns, "any") as ours:
        assert ours.set_link_type(SLL2) == 0
        ours.set_direction(lib.FFPF_DIR_IN)
        ns.send(ns.right, [frame])
        (packet,) = ours.drain()
    protocol = ETH_EXPERIMENTAL.to_bytes(2, "big")
    header = protocol + bytes(2) + index.to_bytes(4, "big") + b"\0\1" + b"\1" + b"\6" + FROM + bytes(2)
    assert packet.data == header + frame[14:]
    assert (packet.ifindex, packet.pkt_type, packet.wire_len) == (index, 1, len(frame) - 14 + 20)


def test_choices(ns: Netns) -> None:
    for device in ("any", ns.left, "lo"):
        with OurReader(ns, device) as ours, StockReader(ns, device) as theirs:
            assert ours.link_type == theirs.link_type
            assert (ours.link_types or [ours.link_type]) == theirs.link_types
            assert ours.set_link_type(147) == -lib.FFPF_E_INVALID


def test_docsis_is_ethernet_by_another_name(ns: Netns) -> None:
    docsis = 143
    with OurReader(ns, ns.left) as ours, StockReader(ns, ns.left) as theirs:
        assert ours.set_link_type(docsis) == 0
        theirs.set_link_type(docsis)
        ns.send(ns.right, [numbered(1, tags=((0x8100, 5),))])
        got = ours.read(1)
        same(got, theirs.read(1))
        assert len(got) == 1 and ours.link_type == docsis


@pytest.fixture
def tunnel(ns: Netns) -> Iterator[tuple[str, int]]:
    """An interface that has no link header (ARPHRD_NONE), and the descriptor whose writer is its wire."""
    set_interface = 0x400454CA  # TUNSETIFF of linux/if_tun.h
    tun_without_info = 0x1001  # IFF_TUN | IFF_NO_PI
    with ns.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(fd, set_interface, struct.pack("16sH22x", b"ft0", tun_without_info))
    ns.ip("link", "set", "ft0", "up")
    yield "ft0", fd
    os.close(fd)


@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
def test_interface_without_link_header(ns: Netns, tunnel: tuple[str, int], immediate: bool) -> None:
    device, wire = tunnel
    with OurReader(ns, device, immediate=immediate) as ours, StockReader(ns, device, immediate=immediate) as theirs:
        assert ours.link_type == theirs.link_type == 12  # DLT_RAW
        packets = [udp(1, 2, bytes([i]) * (1 + i)) for i in range(5)]
        for packet in packets:
            os.write(wire, packet)
        got = ours.read(len(packets))
        same(got, theirs.read(len(packets)))
        assert [p.data for p in got] == packets
        assert all(p.flags & lib.FFPF_PACKET_HEAD_WRITABLE for p in got)


@pytest.mark.parametrize("device", ["any"])
def test_nothing_is_sent_there(ns: Netns, device: str) -> None:
    with OurReader(ns, device) as ours:
        assert ours.inject(numbered(1)) == -lib.FFPF_E_NOT_SUPPORTED
        assert ours.error == 'Sending packets isn\'t supported on the "any" device'


def test_inject(ns: Netns) -> None:
    with OurReader(ns, ns.left) as sender, OurReader(ns, ns.right) as receiver, StockReader(ns, ns.left) as theirs:
        receiver.set_direction(lib.FFPF_DIR_IN)
        assert sender.inject(numbered(77)) == 60
        assert [p.data for p in receiver.read(1)] == [numbered(77)]
        too_long = bytes(4000)
        assert sender.inject(too_long) == -lib.FFPF_E_SYSTEM
        assert theirs.inject(too_long) == -1
        assert sender.error == theirs.error


def test_errors_are_raised_with_their_code(ns: Netns) -> None:
    with pytest.raises(LiveError) as raised:
        OurReader(ns, "any", snap_len=0)
    assert raised.value.code == lib.FFPF_E_INVALID
