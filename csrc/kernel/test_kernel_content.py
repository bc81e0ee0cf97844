# SPDX-License-Identifier: BSD-3-Clause
"""What a record holds is what the system's libpcap shows of the same packet: octets, lengths, tag, direction, time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from pyffpf._core import lib

from compat_tests.netns import Netns
from kernel.kernel_testing import FORMS, Packet, Reader, Source, skip_unless
from source.live_frames import TAGGINGS, numbered
from source.live_reader import OurReader, StockReader

PACKET_HOST, PACKET_OTHERHOST, PACKET_OUTGOING = 0, 3, 4
SO_TIMESTAMPNS = 35


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.fixture(scope="module", params=FORMS)
def made(ns: Netns, request: pytest.FixtureRequest) -> Iterator[Source]:
    """A source on the left end; each form of the hook."""
    with source_of(ns, ns.left, request.param) as source:
        yield source


@pytest.fixture
def source(made: Source) -> Iterator[Source]:
    made.group(0)
    yield made
    made.reset()


def source_of(ns: Netns, interface: str | None, form: str, cells_log2: int = 14) -> Source:
    source = Source(ns, interface, cells_log2, form=FORMS[form])
    skip_unless(source, FORMS[form])
    return source


def capture_all(source: Source, **options: int) -> Reader:
    flow = source.flow(0, **options)
    source.accept_all()
    source.activate(0)
    return Reader(flow)


def assert_same(ours: list[Packet], stock: list[tuple[bytes, int]]) -> None:
    assert [(p.data, p.wire_len) for p in ours] == stock


def test_tagged_frames_of_all_sizes(ns: Netns, source: Source) -> None:
    frames = [numbered(7, 100, tags) for tags in TAGGINGS.values()]
    frames += [numbered(size, size) for size in (60, 63, 64, 65, 79, 80, 81, 127, 128, 1513, 1514)]
    reader = capture_all(source)
    with StockReader(ns, ns.left, nano=True) as stock, OurReader(ns, ns.left, nano=True) as other:
        ns.send(ns.right, frames)
        ns.send(ns.left, frames)
        theirs = stock.read(2 * len(frames))
        others = other.read(2 * len(frames))
        ours = reader.drain()
        assert_same(ours, [(p.data, p.wire_len) for p in theirs])
        assert [p.vlan for p in ours] == [p.vlan for p in others]
        assert [p.protocol for p in ours] == [p.protocol for p in others]
        assert [p.pkt_type for p in ours] == [PACKET_OTHERHOST] * len(frames) + [PACKET_OUTGOING] * len(frames)
        assert {p.ifindex for p in ours} == {source.ifindex}
        # both were stamped on the way of the same packet: apart by what one reader costs
        assert all(abs(p.time_ns - q.time) < 10**9 for p, q in zip(ours, theirs, strict=True))
    reader.close()


def test_packet_for_this_host_is_told_apart(ns: Netns, source: Source) -> None:
    reader = capture_all(source)
    ns.send(ns.right, [ns.mac(ns.left) + b"\x02\0\0\0\0\x0a\x88\xb5" + bytes(50), b"\xff" * 6 + bytes(60)])
    assert [p.pkt_type for p in reader.drain()] == [PACKET_HOST, 1]
    reader.close()


@pytest.mark.parametrize("form", FORMS)
def test_tcp_segments_of_64_kilobytes(ns: Netns, form: str) -> None:
    """As large as segmentation offload makes them: on the loopback interface they are never cut."""
    with (
        ns.entered(),
        source_of(ns, "lo", form, cells_log2=16) as source,
        StockReader(ns, "lo", buffer_bytes=1 << 27) as stock,
    ):
        source.group(0)
        reader = capture_all(source)
        listener = socket.create_server(("127.0.0.1", 0))
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
        content = bytes(i * 7 & 255 for i in range(1 << 20))
        thread = threading.Thread(target=sender.sendall, args=(content,))
        thread.start()
        left = len(content)
        while left > 0:
            left -= len(receiver.recv(1 << 18))
        thread.join()
        for end in (sender, receiver, listener):
            end.close()
        ours = reader.drain()
        theirs = stock.read(len(ours))
        # segments are of half the receiver's window at least, by which they grow to 64 KiB when it reads fast enough
        assert max(len(p.data) for p in ours) > 32000
        assert sorted((p.data, p.wire_len) for p in ours) == sorted((p.data, p.wire_len) for p in theirs)
        reader.close()


def test_snap_length_is_the_largest_that_is_wanted(ns: Netns, source: Source) -> None:
    """Of the flows that want the packet; a tag may be cut too."""
    flows = [source.flow(0, snap_len=40), source.flow(1, snap_len=14), source.flow(2, snap_len=100)]
    source.accept_all()
    with flows[0].reader() as reader:
        source.activate(0, 2)
        ns.send(ns.right, [numbered(1, 80), numbered(1, 80, TAGGINGS["vlan"])])
        source.activate(0, 2, 4)
        ns.send(ns.right, [numbered(2, 80), numbered(2, 200)])
        got = reader.drain()
        assert [(len(p.data), p.wire_len) for p in got] == [(40, 80), (40, 84), (80, 80), (100, 200)]
        assert got[1].data == numbered(1, 80, TAGGINGS["vlan"])[:40]
    with flows[1].reader() as reader:
        reader.drain()
        source.activate(2)
        ns.send(ns.right, [numbered(3, 80, TAGGINGS["vlan"])])
        (got_one,) = reader.drain()
        assert (got_one.data, got_one.wire_len) == (numbered(3, 80, TAGGINGS["vlan"])[:14], 84)


def test_what_loopback_sends_is_seen_once(ns: Netns) -> None:
    with Source(ns, "lo") as source:
        source.group(0)
        reader = capture_all(source)
        with ns.entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sender.sendto(b"once", ("127.0.0.1", 9))
            sender.close()
        udp = [p for p in reader.drain() if p.data[23] == socket.IPPROTO_UDP]  # the answer is ICMP
        assert [p.pkt_type for p in udp] == [PACKET_HOST]
        reader.close()


@pytest.mark.parametrize("form", FORMS)
def test_any_interface_is_cooked(ns: Netns, form: str) -> None:
    """With LINUX_SLL2's header, as libpcap writes it; the tag is beside the packet, as there."""
    with source_of(ns, None, form) as source, OurReader(ns, "any", nano=True) as other:
        source.group(0)
        reader = capture_all(source)
        assert other.set_link_type(276) == 0
        ns.send(ns.right, [numbered(n, 60 + n, tags) for n, tags in enumerate(TAGGINGS.values())])
        with ns.entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sender.sendto(b"hello", ("127.0.0.1", 9))
            sender.close()
        ours = reader.drain()
        theirs = other.read(len(ours))
        if form == "plain":  # the hook cannot know the interface's type, nor so whether there is an address
            kept = [(p.data[:8] + p.data[20:], p.wire_len) for p in ours]
            assert kept == [(p.data[:8] + p.data[20:], p.wire_len) for p in theirs]
        else:
            assert_same(ours, [(p.data, p.wire_len) for p in theirs])
        assert [p.ifindex for p in ours] == [p.ifindex for p in theirs]
        reader.close()


@pytest.mark.parametrize("form", FORMS)
def test_time_is_the_packets_own_where_the_kernel_stamped_it(ns: Netns, form: str) -> None:
    """The embedded engine's stamp is the kernel's; the plain form cannot see it, and reads the clock later."""
    count = 20
    asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asks.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    with source_of(ns, ns.left, form) as source, OurReader(ns, ns.left, nano=True) as other:
        source.group(0)
        reader = capture_all(source)
        ns.send(ns.right, [numbered(n, 60) for n in range(count)])
        theirs = [p.time for p in other.read(count)]
        ours = [p.time_ns for p in reader.drain()]
        if form == "plain":
            assert all(p > q for p, q in zip(ours, theirs, strict=True))
        else:
            assert ours == theirs
        reader.close()
    asks.close()


@pytest.mark.parametrize("stamped", [False, True])
def test_time_never_goes_back_over_two_lanes(ns: Netns, stamped: bool) -> None:
    """Whether the hook reads the clock, or the kernel stamped the packets because a socket asked for it."""
    count = 4000
    with Source(ns, ns.left, cells_log2=16) as source:
        if source.cpus < 2:
            pytest.skip("one CPU")
        source.group(0)
        reader = capture_all(source, ibuf_slots=16384)
        asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if stamped:
            asks.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        script = (
            "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); s.bind((sys.argv[1], 0))\n"
            f"for n in range({count}): s.send(b'\\2\\0\\0\\0\\0\\x0b' + n.to_bytes(8, 'big') + bytes(50))"
        )
        senders = [
            ns.popen(["taskset", "-c", str(cpu), "python3", "-c", script, end])
            for cpu, end in ((0, ns.right), (1, ns.right))
        ]
        times: list[int] = []
        done = False
        while not done:
            done = all(sender.poll() is not None for sender in senders)
            times += [p.time_ns for p in reader.drain()]
        asks.close()
        counted = reader.counters()
        assert len(times) + lib.ffpf_counters_dropped(counted) == 2 * count
        assert times == sorted(times)
        assert all(source.status(0, cpu).w > 0 for cpu in (0, 1))
        reader.close()
