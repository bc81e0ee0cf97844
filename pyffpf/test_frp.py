# SPDX-License-Identifier: BSD-3-Clause
"""Fast reader preference: ffpfd with a group that waits for no reader, and packets that are read in place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pyffpf
from compat_tests.capture_packets import ethernet, udp4
from compat_tests.netns import Netns
from compat_tests.shared import CONFIG, Ffpfd

pytestmark = pytest.mark.live

PBUF = 1 << 20  # octets, of the smallest that takes what is read here
ROUNDS = 60  # of a PBuf's size at most, until each lane that there is was overwritten
SIZE = 1300


@pytest.fixture(scope="module")
def ffpfd() -> Iterator[Ffpfd]:
    config = CONFIG.replace('bytes = "16 MiB"', f'bms = "frp"\nbytes = {PBUF}', 1)
    with Netns() as made, Ffpfd(made, config) as daemon:
        yield daemon


@pytest.fixture
def ns(ffpfd: Ffpfd) -> Netns:
    return ffpfd.ns


@pytest.fixture
def capture(ffpfd: Ffpfd, ns: Netns, monkeypatch: pytest.MonkeyPatch) -> Iterator[pyffpf.Capture]:
    monkeypatch.setenv("FFPF_SOCKET", str(ffpfd.socket))
    with ns.entered():
        opened = pyffpf.open(ns.left, "udp port 53", engine="shared", delay=0.02)
    with opened:
        yield opened


def datagram(number: int, size: int = SIZE) -> bytes:
    octets = number.to_bytes(4, "big")
    return ethernet(udp4(octets * (size // 4), "10.0.0.2", "10.0.0.1", 4000, 53))


def in_place(capture: pyffpf.Capture) -> pyffpf.Batch:
    batch = capture.read_batch(copy=False)
    assert batch is not None and len(batch)
    return batch


def flood(ns: Netns, first: int, datagrams: int) -> int:
    ns.send(ns.right, [datagram(first + i) for i in range(datagrams)])
    return first + datagrams


def overtake(ns: Netns, views: list[memoryview], number: int) -> int:
    """Sends until none of the views is what it was; the next number."""
    was = [bytes(view) for view in views]
    for _ in range(ROUNDS):
        number = flood(ns, number, PBUF // SIZE)
        if all(bytes(view) != octets for view, octets in zip(views, was, strict=True)):
            return number
    raise AssertionError(f"{ROUNDS} times a PBuf, and it was not overwritten")


def read_rest(capture: pyffpf.Capture) -> list[bytes]:
    found: list[bytes] = []
    while (batch := capture.read_batch(timeout=0.3)) is not None and len(batch):
        found += [packet.data for packet in batch]
    return found


def test_in_place_nothing_is_lost_if_the_reader_keeps_up(ns: Netns, capture: pyffpf.Capture) -> None:
    found: list[bytes] = []
    for first in range(0, 400, 100):
        ns.send(ns.right, [datagram(first + i, 100) for i in range(100)])
        while len(found) < first + 100:
            with in_place(capture) as batch:
                found += [bytes(batch.view(row)) for row in range(len(batch))]
                assert [packet.data for packet in batch] == found[-len(batch) :]
                assert batch.headers(20).shape == (len(batch), 20)
    assert found == [datagram(i, 100) for i in range(400)]
    counted = capture.statistics
    assert (counted.delivered, counted.dropped, counted.seen) == (400, 0, 400)


def test_octets_in_place_are_there_only_while_somebody_checks_them(ns: Netns, capture: pyffpf.Capture) -> None:
    ns.send(ns.right, [datagram(i) for i in range(3)])
    batch = in_place(capture)
    assert batch.octets is None
    assert (batch["caplen"] == len(datagram(0))).all()
    with pytest.raises(ValueError, match="with batch"):
        batch.fields("udp.dport")
    with batch:
        assert batch.fields("udp.dport")["udp.dport"].tolist() == [53] * len(batch)
        kept = batch.view(0)
    with pytest.raises(ValueError, match="released"):
        batch.view(0)
    with pytest.raises(pyffpf.StillViewed):
        capture.read_batch()
    del kept
    ns.send(ns.right, [datagram(9)])
    copied = capture.read_batch()
    assert copied is not None
    with copied:
        pass
    assert copied.packet(-1).data == datagram(9)  # copies stay


def test_who_is_overtaken_is_told_which_rows(ns: Netns, capture: pyffpf.Capture) -> None:
    ns.send(ns.right, [datagram(i) for i in range(5)])
    with pytest.raises(pyffpf.Lapped) as caught, in_place(capture) as batch:
        views = [batch.view(row) for row in range(len(batch))]
        assert bytes(views[0]) == datagram(0)
        sent = overtake(ns, views, 5)
        views.clear()
    assert caught.value.rows.tolist() == list(range(len(batch)))
    assert f"{len(batch)} of {len(batch)} packets" in str(caught.value)
    counted = capture.statistics
    assert (counted.delivered, counted.drops["lapped"]) == (0, len(batch))
    rest = read_rest(capture)
    assert rest
    for octets in rest:  # copies, of which none is torn
        assert octets == datagram(int.from_bytes(octets[42:46], "big"))
    counted = capture.statistics
    assert counted.seen == counted.filtered + counted.delivered + counted.dropped == sent
    assert (counted.delivered, counted.drops["lapped"]) == (len(rest), sent - len(rest))


def test_rows_that_were_whole_to_the_end_stay_delivered(ns: Netns, capture: pyffpf.Capture) -> None:
    found = named = sent = 0
    for round_ in range(40):
        ns.send(ns.right, [datagram(sent + i) for i in range(100)])
        sent += 100
        try:
            with in_place(capture) as batch:
                rows = len(batch)
                sent = flood(ns, sent, PBUF // SIZE // 8 * (round_ % 8))
                octets = [packet.data for packet in batch]
        except pyffpf.Lapped as lapped:
            gone = set(lapped.rows.tolist())
            assert gone
        else:
            gone = set()
        for row in set(range(rows)) - gone:
            assert octets[row] == datagram(int.from_bytes(octets[row][42:46], "big"))
        named += len(gone)
        found += rows - len(gone)
    counted = capture.statistics
    assert counted.delivered == found
    found += len(read_rest(capture))
    counted = capture.statistics
    assert counted.delivered == found
    assert counted.seen == counted.delivered + counted.dropped == sent
    assert counted.drops["lapped"] == counted.dropped >= named


def test_an_error_on_packets_that_changed_is_explained(ns: Netns, capture: pyffpf.Capture) -> None:
    ns.send(ns.right, [datagram(0)])

    def use(error: BaseException) -> None:
        with in_place(capture) as batch:
            views = [batch.view(0)]
            overtake(ns, views, 1)
            views.clear()
            raise error

    with pytest.raises(pyffpf.Lapped) as caught:
        use(KeyError("nonsense"))
    assert isinstance(caught.value.__context__, KeyError)
    with pytest.raises(KeyboardInterrupt):
        use(KeyboardInterrupt())
    assert capture.statistics.delivered == 0  # both were counted


def test_a_batch_that_nobody_uses_is_counted_when_the_capture_goes_on(ns: Netns, capture: pyffpf.Capture) -> None:
    ns.send(ns.right, [datagram(i) for i in range(4)])
    first = len(in_place(capture))
    number = flood(ns, 4, 8 * PBUF // SIZE)
    got = 0
    for copy in (False, True, False):
        batch = capture.read_batch(10, copy=copy)
        assert batch is not None
        got += len(batch)
        batch.release()
    got += len(read_rest(capture))
    counted = capture.statistics
    assert counted.seen == counted.delivered + counted.dropped == number
    assert got <= counted.delivered <= got + first
