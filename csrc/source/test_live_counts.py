# SPDX-License-Identifier: BSD-3-Clause
"""What a live reader counts, with a ring too small for its traffic; and the ring's size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyffpf._core import lib

from compat_tests.netns import Netns
from source.live_frames import number_of, numbered
from source.live_reader import OurReader, StockReader

pytestmark = pytest.mark.live

LAYOUTS = pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@LAYOUTS
@pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered here"])
def test_law_with_drops(ns: Netns, immediate: bool, filtered: bool) -> None:
    """seen = filtered + delivered + dropped, and what was sent is seen or waiting, at every moment."""
    rounds, each = 6, 1500
    odd = [(0x80, 0, 0, 0)] * 4096 + [(0x20, 0, 0, 14), (0x45, 0, 1, 1), (6, 0, 0, 262144), (6, 0, 0, 0)]
    with OurReader(ns, ns.left, immediate=immediate, buffer_bytes=600_000, snap_len=65535) as ours:
        if filtered:
            ours.set_filter(odd)
        sent = 0
        got: list[int] = []
        for _ in range(rounds):
            sent += ns.send(ns.right, (numbered(i, 1000) for i in range(sent, sent + each)))
            counters = ours.counters()
            assert counters["seen"] + counters["waiting"] == sent
            for _ in range(2):
                got += [number_of(p.data) for p in ours.take()]
                counters = ours.counters()
                assert counters["delivered"] == len(got)
                assert counters["seen"] + counters["waiting"] == sent
        got += [number_of(p.data) for p in ours.drain()]
        counters = ours.counters()
    assert counters["waiting"] == 0
    assert counters["seen"] == sent == rounds * each
    assert counters["kernel"] == counters["dropped"] > 0
    assert got == sorted(set(got))
    if filtered:
        assert all(number % 2 for number in got)
        assert abs(counters["filtered"] - len(got)) <= rounds * 3 + 1
    else:
        assert counters["filtered"] == 0


@LAYOUTS
def test_same_numbers_as_stock(ns: Netns, immediate: bool) -> None:
    """Received and dropped, while nobody reads and afterwards."""
    with OurReader(ns, ns.left, immediate=immediate) as ours, StockReader(ns, ns.left, immediate=immediate) as theirs:
        ns.send(ns.right, (numbered(i, 1514) for i in range(3000)))
        mine, other = ours.counters(), theirs.stats()
        assert mine["seen"] + mine["waiting"] == other[0] == 3000
        assert mine["kernel"] > 0 and other[1] > 0
        ours.drain()
        theirs.read_quiet()
        ns.send(ns.right, [numbered(1)])
        assert len(ours.read(1)) == len(theirs.read(1)) == 1
        assert ours.counters()["seen"] == theirs.stats()[0] == 3001
        assert ours.counters()["iface"] == theirs.stats()[2] == 0


@LAYOUTS
def test_skipped_says_what_was_turned_away_before_a_packet(ns: Netns, immediate: bool) -> None:
    with OurReader(ns, ns.left, immediate=immediate) as ours:
        ours.set_direction(lib.FFPF_DIR_OUT)
        for i in range(12):
            ns.send(ns.left if i % 4 == 3 else ns.right, [numbered(i)])
        got = ours.drain()
        assert [number_of(p.data) for p in got] == [3, 7, 11]
        assert [p.skipped for p in got] == [3, 3, 3]
        assert ours.counters()["filtered"] == 9


def test_ring_has_the_size_asked_for(ns: Netns) -> None:
    for megabytes in (1, 2, 16):
        with (
            OurReader(ns, ns.left, buffer_bytes=megabytes << 20) as ours,
            StockReader(ns, ns.left, buffer_bytes=megabytes << 20) as theirs,
        ):
            assert ours.reader.info.buffer_bytes == megabytes << 20
            assert lib.ffpf_live_unit_bytes(ours.reader) == theirs.buffer_bytes
    with OurReader(ns, ns.left, buffer_bytes=1) as ours:
        assert ours.reader.info.buffer_bytes >= 262144
        ns.send(ns.right, [numbered(1)])
        assert len(ours.read(1)) == 1
