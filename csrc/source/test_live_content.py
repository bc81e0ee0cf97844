# SPDX-License-Identifier: BSD-3-Clause
"""What a live packet looks like: octets, lengths, tags, time; beside the system's libpcap on the same traffic."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns
from source.live_frames import TAGGINGS, ethernet, numbered, udp
from source.live_reader import OurReader, StockReader, same

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.fixture(scope="module")
def giant_ns() -> Iterator[Netns]:
    with Netns(mtu=65535) as made:
        yield made


ASSORTED = [
    *(numbered(i, size) for i, size in enumerate((14, 15, 16, 17, 18, 59, 60, 61, 127, 128, 1000, 1514))),
    *(numbered(100, tags=tags) for tags in TAGGINGS.values()),
    *(numbered(101, 14, tags=tags) for tags in TAGGINGS.values()),
    *(ethernet(udp(1, 2, b"x" * 30), 0x0800, tags) for tags in TAGGINGS.values()),
]


SNAP_LENS = [1, 13, 14, 16, 18, 20, 60, 64, 96, 65535, 262144]


@pytest.mark.parametrize("snap_len", SNAP_LENS)
def test_same_as_stock(ns: Netns, snap_len: int) -> None:
    with OurReader(ns, ns.left, snap_len=snap_len) as ours, StockReader(ns, ns.left, snap_len=snap_len) as theirs:
        ns.send(ns.right, ASSORTED)
        expected = theirs.read(len(ASSORTED))
        assert len(expected) == len(ASSORTED)
        same(ours.read(len(ASSORTED)), expected)


@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
@pytest.mark.parametrize("snap_len", SNAP_LENS)
def test_what_was_sent_cut_at_the_snapshot_length(ns: Netns, immediate: bool, snap_len: int) -> None:
    """In immediate mode stock cuts short ones shorter, and then forgets the tag's four octets in the length."""
    with OurReader(ns, ns.left, snap_len=snap_len, immediate=immediate) as ours:
        for chunk in (ASSORTED[i : i + 16] for i in range(0, len(ASSORTED), 16)):  # its ring has at least 32 frames
            ns.send(ns.right, chunk)
            got = ours.read(len(chunk))
            assert [(p.data, p.wire_len) for p in got] == [(f[:snap_len], len(f)) for f in chunk]


@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
def test_same_as_stock_on_the_sending_side(ns: Netns, immediate: bool) -> None:
    with OurReader(ns, ns.right, immediate=immediate) as ours, StockReader(ns, ns.right, immediate=immediate) as theirs:
        for chunk in (ASSORTED[i : i + 16] for i in range(0, len(ASSORTED), 16)):
            ns.send(ns.right, chunk)
            got = ours.read(len(chunk))
            same(got, theirs.read(len(chunk)))
            assert {p.pkt_type for p in got} == {4}


@pytest.mark.parametrize("tagging", TAGGINGS)
def test_tag_comes_back_where_it_was(ns: Netns, tagging: str) -> None:
    tags = TAGGINGS[tagging]
    frame = numbered(7, tags=tags)
    with OurReader(ns, ns.left) as ours:
        ns.send(ns.right, [frame])
        (packet,) = ours.read(1)
    assert packet.data == frame
    assert packet.wire_len == len(frame)
    # what the kernel took out is told; 0x9100 it does not take
    taken = tags[0] if tags and tags[0][0] in (0x8100, 0x88A8) else None
    assert packet.vlan == taken


def test_descriptor_says_what_the_kernel_knows(ns: Netns) -> None:
    with OurReader(ns, ns.left, promisc=True) as ours:
        ns.send(ns.right, [ethernet(udp(1, 2), 0x0800), ns.mac(ns.left) + numbered(1)[6:]])
        other, host = ours.read(2)
    assert (other.pkt_type, host.pkt_type) == (3, 0)  # PACKET_OTHERHOST, PACKET_HOST
    assert (other.protocol, host.protocol) == (0x0800, 0x88B5)
    assert other.ifindex == host.ifindex > 0
    assert other.result == host.result == 0xFFFFFFFF


@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
def test_room_for_a_record_header_before_every_packet(ns: Netns, immediate: bool) -> None:
    frames = [numbered(i, 60 + i, tags) for i, tags in enumerate(TAGGINGS.values())]
    with OurReader(ns, ns.left, immediate=immediate) as ours:
        ns.send(ns.right, frames)
        got: list[bytes] = []
        while len(got) < len(frames):
            assert ours.next() == lib.FFPF_BATCH
            for i in range(ours.batch.count):
                packet = ours.batch.pkts[i]
                assert packet.flags & lib.FFPF_PACKET_HEAD_WRITABLE
                assert packet.data - 16 >= ours.batch.mem_lo
                ffi.buffer(packet.data - 16, 16)[:] = b"\xff" * 16  # a record header
            got += [ours.packet(i).data for i in range(ours.batch.count)]
            ours.release(ours.batch.count)
    assert got == frames


@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
@pytest.mark.parametrize("snap_len", [65535, 262144])
def test_packets_of_64_kilobytes(giant_ns: Netns, immediate: bool, snap_len: int) -> None:
    ns = giant_ns
    frames = [numbered(i, size) for i, size in enumerate((9014, 32768, 65000, 65535, 65549))]
    frames += [numbered(9, 65549, ((0x8100, 5),))]
    with (
        OurReader(ns, ns.left, snap_len=snap_len, immediate=immediate) as ours,
        StockReader(ns, ns.left, snap_len=snap_len, immediate=immediate) as theirs,
    ):
        ns.send(ns.right, frames)
        got = ours.read(len(frames))
        expected = theirs.read(len(frames))
        if immediate:  # stock's frames hold 65553 octets, of which a tag's 4 may be too many
            assert [p.data[:65535] for p in got] == [p.data[:65535] for p in expected]
            assert [p.wire_len for p in got] == [p.wire_len for p in expected]
        else:
            same(got, expected)
        assert [p.data for p in got] == [f[:snap_len] for f in frames]


def test_many_blocks_in_order(ns: Netns) -> None:
    count = 6000
    with OurReader(ns, ns.left, buffer_bytes=8 << 20) as ours:
        ns.send(ns.right, (numbered(i, 60 + i * 7 % 1400) for i in range(count)))
        got = ours.read(count)
    assert [p.data for p in got] == [numbered(i, 60 + i * 7 % 1400) for i in range(count)]


@pytest.mark.parametrize("nano", [False, True], ids=["micro", "nano"])
@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
def test_time_of_arrival(ns: Netns, nano: bool, immediate: bool) -> None:
    options = {"nano": nano, "immediate": immediate}
    with OurReader(ns, ns.left, **options) as ours, StockReader(ns, ns.left, **options) as theirs:
        before = time.time_ns()
        ns.send(ns.right, [numbered(i) for i in range(20)])
        after = time.time_ns()
        got, expected = ours.read(20), theirs.read(20)
    tick = 1_000_000_000 // ours.ticks
    times = [p.time * tick for p in got]
    assert all(before - tick < t <= after for t in times)
    if nano:  # stamped once, when the packet enters the stack: both read the same stamp
        assert [p.time for p in got] == [p.time for p in expected]
    else:
        assert times == sorted(times)
        assert all(abs(a.time - b.time) * tick < after - before for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("direction", [0, 1, 2], ids=["inout", "in", "out"])
@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
def test_direction(ns: Netns, direction: int, immediate: bool) -> None:
    with OurReader(ns, ns.left, immediate=immediate) as ours, StockReader(ns, ns.left, immediate=immediate) as theirs:
        ours.set_direction(direction)
        theirs.set_direction(direction)
        for i in range(10):
            ns.send(ns.right, [numbered(2 * i)])
            ns.send(ns.left, [numbered(2 * i + 1)])
        expected = {0: list(range(20)), 1: list(range(0, 20, 2)), 2: list(range(1, 20, 2))}[direction]
        got = ours.drain()
        assert [p.data for p in got] == [numbered(i) for i in expected]
        same(got, theirs.read(len(expected)))
        counters = ours.counters()
    assert counters["filtered"] == 20 - len(expected)
    assert counters["delivered"] == len(expected)
    assert sum(p.skipped for p in got) <= counters["filtered"]


def test_loopback_once(ns: Netns) -> None:
    with OurReader(ns, "lo") as ours, StockReader(ns, "lo") as theirs:
        with ns.entered():
            talker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with talker, listener:
            listener.bind(("127.0.0.1", 0))
            for _ in range(6):
                talker.sendto(b"once", listener.getsockname())
        got = ours.drain()
        same(got, theirs.read(len(got)))
        stats = theirs.stats()
        counters = ours.counters()
    assert len(got) == 6
    assert counters["seen"] == stats[0] == 12  # the second copies count as received, there and here
    assert counters["filtered"] == 6


def test_not_promiscuous(ns: Netns) -> None:
    flags = f"/sys/class/net/{ns.left}/flags"

    def promiscuous() -> bool:
        return bool(int(ns.run(["cat", flags]).stdout, 16) & 0x100)

    with OurReader(ns, ns.left, promisc=False):
        assert not promiscuous()
        with OurReader(ns, ns.left, promisc=True):
            assert promiscuous()
        assert not promiscuous()
