# SPDX-License-Identifier: BSD-3-Clause
"""Live captures by both engines, on a veth pair in a namespace: what arrives, waits and how they end, errors."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import pyffpf
from compat_tests.capture_packets import ETH_VLAN, ethernet, tagged, tcp4, udp4
from compat_tests.netns import Netns
from compat_tests.shared import ANNA, CONFIG, EVE, Ffpfd, as_user

pytestmark = pytest.mark.live

Open = Callable[..., pyffpf.Capture]


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def opener(ns: Netns, engine: str) -> Open:
    def opened(*arguments: object, **options: object) -> pyffpf.Capture:
        with ns.entered():
            return pyffpf.open(*arguments, engine=engine, **options)  # type: ignore[arg-type]

    return opened


@pytest.fixture(params=["embedded", "shared"])
def open_live(request: pytest.FixtureRequest, ns: Netns, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """pyffpf.open in the namespace, by the engine."""
    if request.param == "embedded":
        yield opener(ns, "embedded")
        return
    with Ffpfd(ns) as ffpfd:
        monkeypatch.setenv("FFPF_SOCKET", str(ffpfd.socket))
        yield opener(ns, "shared")


def datagram(number: int, size: int = 100, port: int = 53) -> bytes:
    return ethernet(udp4(number.to_bytes(4, "big") + bytes(size), "10.0.0.2", "10.0.0.1", 4000, port))


def number_of(packet: pyffpf.Packet) -> int:
    return int.from_bytes(packet.data[42:46], "big")


def test_packets_arrive_with_what_the_kernel_says(ns: Netns, open_live: Open) -> None:
    frames = [datagram(i) for i in range(300)]
    vlan = tagged(datagram(300), [(ETH_VLAN, 0x2007)])
    before = time.time_ns()
    with open_live(ns.left, "udp or vlan") as capture:
        ns.send(ns.right, [ethernet(tcp4(b"")), *frames, vlan])
        packets = [packet for _, packet in zip(range(301), capture, strict=False)]
        counted = capture.statistics
        assert capture.live and capture.link_type == 1
    assert [packet.data for packet in packets] == [*frames, vlan]
    assert all(before <= packet.ts_ns <= time.time_ns() for packet in packets)
    assert [packet.vlan for packet in packets] == [None] * 300 + [0x2007]
    assert {packet.ifindex for packet in packets} == {packets[0].ifindex} != {0}
    assert not any(packet.outgoing for packet in packets)
    assert counted.dropped == 0
    assert counted.seen == counted.filtered + counted.delivered
    assert counted.delivered == 301


def test_columns_headers_and_batches_in_place(ns: Netns, open_live: Open) -> None:
    frames = [datagram(i, port=1000 + i) for i in range(400)]
    for way in ("columns", "headers", "in place"):
        with open_live(ns.left, "udp") as capture:
            ns.send(ns.right, frames)
            ports: list[int] = []
            while len(ports) < 400:
                if way == "columns":
                    ports += next(capture.columns("udp.dport"))["udp.dport"].tolist()
                elif way == "headers":
                    ports += [int.from_bytes(bytes(head[36:38]), "big") for head in next(capture.headers(48))]
                else:
                    batch = capture.read_batch(copy=False)
                    assert batch is not None
                    with batch:
                        some = batch.fields("udp.dport")["udp.dport"].tolist()
                        assert [packet.data for packet in batch] == frames[len(ports) : len(ports) + len(batch)]
                        # as one piece, though they lie scattered over the memory of several processors
                        half = batch.select(batch["len"] > 0)
                        for whole in (batch, half):
                            cuts = zip(whole.starts, whole.ends, strict=True)
                            octets = whole.octet_bytes
                            assert [octets[a:b] for a, b in cuts] == [packet.data for packet in batch]
                        del half, whole
                    assert batch.octets is None
                    ports += some
            assert ports == list(range(1000, 1400)), way


def test_under_a_view_nothing_is_given_back(ns: Netns, open_live: Open) -> None:
    with open_live(ns.left, "udp") as capture:
        ns.send(ns.right, [datagram(i, 1000) for i in range(10)])
        batch = capture.read_batch(copy=False)
        assert batch is not None
        views = [batch.view(row) for row in range(len(batch))]
        # much more than the rings hold: what is viewed must not be overwritten by it
        for i in range(20_000):
            ns.send(ns.right, [datagram(1000 + i, 1300)])
        with pytest.raises(pyffpf.StillViewed):
            capture.read_batch()
        assert [bytes(view) for view in views] == [datagram(i, 1000) for i in range(len(views))]
        del views, batch
        following = capture.read_batch()
        assert following is not None and len(following)
        counted = capture.statistics
        assert counted.dropped > 0
        assert counted.dropped == sum(counted.drops.values())


def test_timeouts_and_batches_that_are_empty(ns: Netns, open_live: Open) -> None:
    with open_live(ns.left, "udp", delay=0.02) as capture:
        for timeout in (0, 0.05):
            batch = capture.read_batch(timeout=timeout)
            assert batch is not None and len(batch) == 0
        ns.send(ns.right, [datagram(1)])
        batch = capture.read_batch(timeout=30)
        assert batch is not None and [number_of(packet) for packet in batch] == [1]


def test_a_descriptor_to_select_on(ns: Netns, open_live: Open) -> None:
    with open_live(ns.left, "udp", delay=0.01) as capture:
        assert capture.read_batch(timeout=0) is not None
        assert not select.select([capture], [], [], 0.05)[0]
        ns.send(ns.right, [datagram(5)])
        assert select.select([capture], [], [], 10)[0]
        batch = capture.read_batch(timeout=5)
        assert batch is not None and len(batch) == 1


def test_stop_from_another_thread_ends_a_wait(ns: Netns, open_live: Open) -> None:
    with open_live(ns.left, "udp") as capture:
        timer = threading.Timer(0.1, capture.stop)
        timer.start()
        assert list(capture) == []
        timer.join()


def test_ctrl_c_ends_every_wait(ns: Netns, open_live: Open) -> None:
    def interrupted() -> None:
        time.sleep(0.15)
        os.kill(os.getpid(), signal.SIGINT)

    with open_live(ns.left, "udp") as capture:
        waits: list[Callable[[], object]] = [
            lambda: list(capture), capture.read_batch, capture.count, lambda: next(capture.columns("ip.src")),
            lambda: next(capture.headers(5)), lambda: capture.loop(print), lambda: capture.read_batch(copy=False),
        ]  # fmt: skip
        for wait in waits:
            thread = threading.Thread(target=interrupted)
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                wait()
            thread.join()
        ns.send(ns.right, [datagram(9)])
        batch = capture.read_batch()
        assert batch is not None and [number_of(packet) for packet in batch] == [9]


def test_a_filter_changes_and_a_packet_is_sent(ns: Netns, open_live: Open) -> None:
    with open_live(ns.left, "udp") as capture, open_live(ns.right, "udp port 7") as other:
        ns.send(ns.right, [datagram(i, port=1 + i % 2) for i in range(10)])
        capture.set_filter("udp port 2")
        batch = capture.read_batch(5)
        assert batch is not None and {number_of(packet) % 2 for packet in batch} == {1}
        with ns.entered():
            assert capture.send(datagram(77, port=7)) == len(datagram(77))
        batch = other.read_batch()
        assert batch is not None and [number_of(packet) for packet in batch] == [77]
        with pytest.raises(ValueError, match="direction"):
            capture.set_direction("up")


def test_a_vanished_interface_is_an_error(ns: Netns, open_live: Open) -> None:
    with open_live(ns.left) as capture:
        ns.ip("link", "del", ns.left)
        with pytest.raises(pyffpf.DeviceGone):
            for _ in capture:
                pass


def test_engines_are_chosen(ns: Netns, monkeypatch: pytest.MonkeyPatch) -> None:
    auto = opener(ns, "auto")
    monkeypatch.setenv("FFPF_SOCKET", "/nonexistent/socket")
    with auto(ns.left) as capture:
        assert capture.engine == "embedded"
    with pytest.raises(pyffpf.NoServer):
        opener(ns, "shared")(ns.left)
    with pytest.raises(pyffpf.NoSuchDevice):
        auto("nosuch0")
    with Ffpfd(ns) as ffpfd:
        monkeypatch.setenv("FFPF_SOCKET", str(ffpfd.socket))
        with auto(ns.left) as capture:
            assert capture.engine == "shared"


def test_users_without_a_right_join_ffpfd_or_are_told_why(ns: Netns, monkeypatch: pytest.MonkeyPatch) -> None:
    def reads() -> tuple[str, int]:
        with pyffpf.open(ns.left, "udp") as capture:
            totals = capture.count(3)
            return capture.engine, totals.packets

    def is_refused() -> str:
        try:
            pyffpf.open(ns.left)
        except PermissionError as error:
            return str(error)
        return ""

    with Ffpfd(ns, CONFIG) as ffpfd:
        monkeypatch.setenv("FFPF_SOCKET", str(ffpfd.socket))
        sending = threading.Event()

        def send() -> None:
            while not sending.wait(0.02):
                ns.send(ns.right, [datagram(1)])

        thread = threading.Thread(target=send)
        thread.start()
        try:
            assert as_user(ns, ANNA, reads) == ("shared", 3)
        finally:
            sending.set()
            thread.join()
        assert "ffpfd" in as_user(ns, EVE, is_refused)
