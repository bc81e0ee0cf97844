# SPDX-License-Identifier: BSD-3-Clause
"""Waiting: timeouts, immediate mode, wake-ups, the selectable descriptor, and interfaces that go away."""

from __future__ import annotations

import select
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pyffpf._core import lib

from compat_tests.netns import Netns, wait_until
from source.live_frames import number_of, numbered
from source.live_reader import OurReader, StockReader

pytestmark = pytest.mark.live

NEVER_MS = 600_000
LAYOUTS = pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def readable(reader: OurReader, wait_ms: int = 0) -> bool:
    poller = select.poll()
    poller.register(reader.poll_fd, select.POLLIN)
    return bool(poller.poll(wait_ms))


class Waiter(threading.Thread):
    """Calls next() in a thread of its own; `outcome` when it came back."""

    def __init__(self, reader: OurReader) -> None:
        super().__init__(daemon=True)
        self.reader = reader
        self.outcome: int | None = None
        self.start()

    def run(self) -> None:
        self.outcome = self.reader.next()

    def result(self) -> int:
        self.join(20)
        assert self.outcome is not None, "next() still waits"
        return self.outcome


@LAYOUTS
def test_timeout_without_packets(ns: Netns, immediate: bool) -> None:
    with OurReader(ns, ns.left, timeout_ms=30, immediate=immediate) as ours:
        before = time.monotonic()
        assert ours.next() == lib.FFPF_TIMEOUT
        assert time.monotonic() - before >= 0.03


def test_packets_that_are_turned_away_do_not_prolong_the_timeout(ns: Netns) -> None:
    with OurReader(ns, ns.left, timeout_ms=50) as ours:
        ours.set_direction(lib.FFPF_DIR_OUT)
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                ns.send(ns.right, [numbered(1)])
                time.sleep(0.001)

        sender = threading.Thread(target=load)
        sender.start()
        try:
            assert ours.next() == lib.FFPF_TIMEOUT
        finally:
            stop.set()
            sender.join()


def test_immediate_mode_waits_for_nothing(ns: Netns) -> None:
    """Each packet is there although the timeout is far away; a block would not be."""
    with OurReader(ns, ns.left, timeout_ms=NEVER_MS, immediate=True) as ours:
        for i in range(50):
            ns.send(ns.right, [numbered(i)])
            assert [number_of(p.data) for p in ours.take()] == [i]


def test_a_block_is_handed_over_when_its_time_has_come(ns: Netns) -> None:
    with OurReader(ns, ns.left, timeout_ms=300) as ours:
        ns.send(ns.right, [numbered(1)])
        assert not readable(ours)
        ns.send(ns.right, [numbered(2)])
        assert [number_of(p.data) for p in ours.read(2)] == [1, 2]


@LAYOUTS
def test_timeout_0_waits_for_a_full_unit(ns: Netns, immediate: bool) -> None:
    with OurReader(ns, ns.left, timeout_ms=0, immediate=immediate, snap_len=65535) as ours:
        waiter = Waiter(ours)
        if not immediate:
            ns.send(ns.right, (numbered(i, 1000) for i in range(100)))
            waiter.join(0.2)
            assert waiter.outcome is None
        ns.send(ns.right, (numbered(i, 1000) for i in range(200)))
        assert waiter.result() == lib.FFPF_BATCH


@LAYOUTS
def test_non_blocking(ns: Netns, immediate: bool) -> None:
    with OurReader(ns, ns.left, timeout_ms=20, nonblock=True, immediate=immediate) as ours:
        assert ours.next() == lib.FFPF_WOULD_BLOCK
        ns.send(ns.right, [numbered(1)])
        assert readable(ours, 5000)
        assert [number_of(p.data) for p in ours.take()] == [1]
        assert ours.next() == lib.FFPF_WOULD_BLOCK
        ours.set_nonblock(False)
        assert ours.next() == lib.FFPF_TIMEOUT
        ours.set_nonblock(True)
        assert ours.next() == lib.FFPF_WOULD_BLOCK


@LAYOUTS
def test_descriptor_is_readable_while_packets_wait(ns: Netns, immediate: bool) -> None:
    """Level-triggered, to the last packet; and not longer, although that packet's memory is still the consumer's."""
    several = 3  # no more than a batch holds of a ring of the largest frames (LIVE_SHARE)
    with OurReader(ns, ns.left, timeout_ms=20, nonblock=True, immediate=immediate) as ours:
        assert not readable(ours)
        for _ in range(100):
            ns.send(ns.right, [numbered(i) for i in range(several)])
            assert readable(ours, 5000)
            assert ours.next() == lib.FFPF_BATCH
            if ours.batch.count == several:
                break
            ours.release(ours.batch.count)  # a second unit was not there yet
            ours.read(several - ours.batch.count)
            ours.settle()
        assert ours.batch.count == several
        for i in range(ours.batch.count):
            ours.settle()
            assert readable(ours)
            packet = ours.packet(i)
            ours.release(1)
        ours.settle()
        assert not readable(ours)
        assert ours.packet(ours.batch.count - 1) == packet
        ns.send(ns.right, [numbered(9)])
        assert readable(ours, 5000)
        assert ours.packet(ours.batch.count - 1) == packet
        assert [number_of(p.data) for p in ours.take()] == [9]


@LAYOUTS
def test_every_packet_passes_through_select(ns: Netns, immediate: bool) -> None:
    """A consumer that reads one batch for each time the descriptor becomes readable gets them all."""
    count = 3000
    with OurReader(ns, ns.left, timeout_ms=5, nonblock=True, immediate=immediate, snap_len=100) as ours:
        sender = threading.Thread(target=lambda: ns.send(ns.right, (numbered(i) for i in range(count))))
        sender.start()
        got: list[int] = []
        while len(got) < count and readable(ours, 5000):
            got += [number_of(p.data) for p in ours.take()]
            ours.settle()
        sender.join()
        assert got == list(range(count))
        assert not readable(ours)


def wake_from_thread(reader: OurReader) -> None:
    threading.Timer(0.05, reader.wake).start()


def wake_from_signal_handler(reader: OurReader) -> None:
    signal.signal(signal.SIGALRM, lambda *_: reader.wake())
    signal.setitimer(signal.ITIMER_REAL, 0.05)


@LAYOUTS
@pytest.mark.parametrize("timeout_ms", [0, NEVER_MS])
def test_wake_from_another_thread(ns: Netns, immediate: bool, timeout_ms: int) -> None:
    with OurReader(ns, ns.left, timeout_ms=timeout_ms, immediate=immediate) as ours:
        for _ in range(3):
            waiter = Waiter(ours)
            ours.wake()
            assert waiter.result() == lib.FFPF_INTERRUPTED
        ours.wake()
        ours.wake()
        assert ours.next() == lib.FFPF_INTERRUPTED  # once, however often
        ours.set_nonblock(True)
        assert ours.next() == lib.FFPF_WOULD_BLOCK


@LAYOUTS
def test_wake_comes_before_packets(ns: Netns, immediate: bool) -> None:
    with OurReader(ns, ns.left, immediate=immediate) as ours:
        ns.send(ns.right, [numbered(1)])
        assert readable(ours, 5000)
        ours.wake()
        assert ours.next() == lib.FFPF_INTERRUPTED
        assert [number_of(p.data) for p in ours.read(1)] == [1]


def test_a_signal_ends_the_wait(ns: Netns) -> None:
    """Its handler runs; the caller is told, and may go on."""
    seen: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
    try:
        with OurReader(ns, ns.left, timeout_ms=NEVER_MS) as ours:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            assert ours.next() == lib.FFPF_INTERRUPTED
    finally:
        signal.signal(signal.SIGALRM, old)
    assert seen == [signal.SIGALRM]


@LAYOUTS
def test_interface_set_down_and_up_again(ns: Netns, immediate: bool) -> None:
    """Down is no end: what comes after is captured, without a word."""
    with OurReader(ns, ns.left, immediate=immediate) as ours, StockReader(ns, ns.left, immediate=immediate) as theirs:
        ns.send(ns.right, [numbered(1)])
        assert len(ours.read(1)) == len(theirs.read(1)) == 1
        ns.ip("link", "set", ns.left, "down")
        assert [ours.next() for _ in range(3)] == [lib.FFPF_TIMEOUT] * 3
        assert lib.ffpf_live_needs_polling(ours.reader)
        assert theirs.take() is None
        ns.ip("link", "set", ns.left, "up")
        wait_until(lambda: ns.is_up(ns.left), "the link")
        assert ours.next() == lib.FFPF_TIMEOUT
        assert not lib.ffpf_live_needs_polling(ours.reader)
        ns.send(ns.right, [numbered(2)])
        assert [number_of(p.data) for p in ours.read(1)] == [2]
        assert [number_of(p.data) for p in theirs.read(1)] == [2]


def delete(ns: Netns) -> None:
    ns.ip("link", "del", ns.left)


def move_away(ns: Netns) -> None:
    ns.ip("link", "set", ns.left, "netns", "1")


def delete_when_down(ns: Netns) -> None:
    ns.ip("link", "set", ns.left, "down")
    delete(ns)


@LAYOUTS
@pytest.mark.parametrize("nonblock", [False, True], ids=["blocking", "non-blocking"])
@pytest.mark.parametrize("remove", [delete, delete_when_down])
def test_interface_disappears(ns: Netns, immediate: bool, nonblock: bool, remove: Callable[[Netns], None]) -> None:
    with OurReader(ns, ns.left, immediate=immediate, nonblock=nonblock) as ours:
        ns.send(ns.right, [numbered(1)])
        assert readable(ours, 5000)
        remove(ns)
        assert [number_of(p.data) for p in ours.read(1)] == [1]
        wait_until(lambda: ours.next() == lib.FFPF_FAILED, "the end of the capture")
        assert ours.error == "The interface disappeared"
        assert ours.reader.err.code == lib.FFPF_E_DEVICE_GONE
        assert ours.next() == lib.FFPF_FAILED
        assert ours.counters()["delivered"] == 1


def test_interface_disappears_under_a_blocked_reader(ns: Netns) -> None:
    with OurReader(ns, ns.left, timeout_ms=0) as ours:
        waiter = Waiter(ours)
        delete(ns)
        assert waiter.result() == lib.FFPF_FAILED
        assert ours.error == "The interface disappeared"


def test_renamed_interface_is_still_there(ns: Netns) -> None:
    with OurReader(ns, ns.left) as ours:
        ns.ip("link", "set", ns.left, "down")
        ns.ip("link", "set", ns.left, "name", "renamed0")
        assert ours.next() == lib.FFPF_TIMEOUT
        ns.ip("link", "set", "renamed0", "up")
        wait_until(lambda: ns.is_up("renamed0"), "the link")
        ns.send(ns.right, [numbered(3)])
        assert [number_of(p.data) for p in ours.read(1)] == [3]


def test_any_outlives_its_interfaces(ns: Netns) -> None:
    with OurReader(ns, "any") as ours:
        delete(ns)
        assert ours.next() in (lib.FFPF_TIMEOUT, lib.FFPF_BATCH)
        ours.drain()
        ns.add_veth("ve0", "vf0")
        ns.send("vf0", [numbered(4)])
        assert len(ours.read(2)) == 2
