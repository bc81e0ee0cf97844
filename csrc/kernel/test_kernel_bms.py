# SPDX-License-Identifier: BSD-3-Clause
"""SRP and FRP in the kernel: what is lost, by which cause, and that the law holds; hostile and dead readers."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

import pytest
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns
from kernel.kernel_testing import ALL, Source, check, classify
from source.live_frames import number_of, numbered

SRP, FRP = 1, 2
CELLS_LOG2 = 12  # the smallest there is
CELLS = 1 << CELLS_LOG2
CELLS_OF_1500 = (48 + 1500 + 63) // 64


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.fixture(scope="module")
def made(ns: Netns) -> Iterator[Source]:
    with Source(ns, ns.left, cells_log2=CELLS_LOG2) as source:
        yield source


@pytest.fixture
def source(made: Source) -> Iterator[Source]:
    """One lane only: CPU 0's, where the tests send."""
    made.accept_all()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    yield made
    os.sched_setaffinity(0, before)
    made.reset()


def send(ns: Netns, first: int, count: int, size: int = 60) -> None:
    ns.send(ns.right, [numbered(n, size) for n in range(first, first + count)])


def test_srp_loses_the_newest_by_cause(ns: Netns, source: Source) -> None:
    """IBuf full: that flow's loss alone. PBuf full: everybody's. What was released makes room again."""
    source.group(0, SRP)
    small, large = source.flow(0, ibuf_slots=8), source.flow(1)
    source.activate(0, 2)
    with small.reader() as reader, large.reader() as other:
        send(ns, 0, 20)
        assert [number_of(p.data) for p in reader.drain()] == list(range(8))
        counted = source.counters(0)
        assert (counted.seen, counted.delivered, counted.dropped[lib.FFPF_DROP_IBUF]) == (20, 8, 12)
        assert source.counters(1).delivered == 20
        # the other flow has read nothing: PBuf fills up
        fits = (CELLS - 20 * 2) // CELLS_OF_1500
        send(ns, 20, fits + 10, 1500)
        assert source.counters(1).dropped[lib.FFPF_DROP_PBUF] == 10
        counted = source.counters(0)
        assert counted.dropped[lib.FFPF_DROP_PBUF] + counted.dropped[lib.FFPF_DROP_IBUF] == 12 + 10 + fits - 8
        assert [number_of(p.data) for p in other.drain()] == list(range(20 + fits))
        send(ns, 500, 3)
        assert [number_of(p.data) for p in other.drain()] == [500, 501, 502]
        assert other.counters().seen == 20 + fits + 13


def test_a_flow_that_matches_nothing_stops_nobody(ns: Netns, source: Source) -> None:
    """R counts in the reader's own IBuf: an empty one does not constrain."""
    source.group(0, SRP)
    source.flow(0)
    other = source.flow(1)
    source.classify(classify(source.fds, [0b0100]))
    source.activate(0, 2)
    count = 5 * CELLS // 2
    with other.reader() as reader:
        for n in range(0, count, 64):
            send(ns, n, 64)
            assert len(reader.drain()) == 64
    assert source.counters(1).delivered == source.counters(0).filtered == count


def test_frp_loses_for_the_slow_reader_alone(ns: Netns, source: Source) -> None:
    source.group(0, FRP)
    slow, fast = source.flow(0), source.flow(1)
    source.activate(0, 2)
    got: list[int] = []
    count = 4 * CELLS
    with slow.reader() as late, fast.reader() as reader:
        for n in range(0, count, 64):
            send(ns, n, 64)
            got += [number_of(p.data) for p in reader.drain()]
        assert got == list(range(count))
        left = [number_of(p.data) for p in late.drain()]
        assert left == list(range(count - len(left), count))
        assert 0 < len(left) <= CELLS // 2
        counted = late.counters()
        assert (counted.seen, counted.dropped[lib.FFPF_DROP_LAPPED]) == (count, count - len(left))
        assert reader.counters().dropped[lib.FFPF_DROP_LAPPED] == 0


@pytest.mark.parametrize("bms", [SRP, FRP])
def test_random_schedules_obey_the_law(ns: Netns, source: Source, bms: int) -> None:
    """Whole packets, in order, each delivered or counted, for readers that read now and then."""
    seed = int(os.environ.get("FFPF_SEED", str(random.SystemRandom().randrange(1 << 32))))
    print(f"seed={seed} (again: FFPF_SEED={seed})")
    rng = random.Random(seed)
    source.group(0, bms)
    flows = [source.flow(slot, ibuf_slots=rng.choice([16, 64, 1024])) for slot in (0, 40, 511)]
    check(lib.ffpf_kernel_set_words, source.kernel, 16)
    source.classify(classify(source.fds, [ALL] * 16))
    source.activate(*(2 * f.slot for f in flows))
    readers = [f.reader() for f in flows]
    opened = [r.__enter__() for r in readers]
    got: list[list[int]] = [[] for _ in flows]
    sent = 0
    for _ in range(300):
        size = rng.choice([60, 200, 1514])
        frames = [numbered(n, size) for n in range(sent, sent + rng.randrange(1, 40))]
        sent += len(frames)
        ns.send(ns.right, frames)
        for reader, numbers in zip(opened, got, strict=True):
            if rng.random() < 0.3:
                taken = reader.drain()
                assert all(p.data == numbered(number_of(p.data), len(p.data)) for p in taken)
                numbers += [number_of(p.data) for p in taken]
    for flow, reader, numbers in zip(flows, opened, got, strict=True):
        numbers += [number_of(p.data) for p in reader.drain()]
        assert numbers == sorted(set(numbers))
        counted, indexed = reader.counters(), source.counters(flow.slot)
        assert (counted.seen, indexed.seen, counted.filtered) == (sent, sent, 0)
        assert counted.delivered == len(numbers)
        assert (indexed.delivered == len(numbers)) or bms == FRP
    for made in readers:
        made.__exit__(None, None, None)


@pytest.mark.parametrize("wrong", ["beyond W", "back"])
def test_wrong_r_evicts_its_flow_alone(ns: Netns, source: Source, wrong: str) -> None:
    source.group(0, SRP)
    bad, good = source.flow(0, ibuf_slots=16), source.flow(1)
    source.activate(0, 2)
    with bad.reader() as reader, good.reader() as other:
        send(ns, 0, 16)
        reader.drain()
        send(ns, 16, 16)
        reader.drain()
        send(ns, 32, 8)
        reader.page[2048 // 8] = 1 << 40 if wrong == "beyond W" else 3
        send(ns, 40, 30)
        assert source.status(0, 0).state == lib.FFPF_IBUF_EVICTED
        assert source.counters(0).dropped[lib.FFPF_DROP_EVICTED] > 0
        assert reader.next()[0] == lib.FFPF_FAILED
        assert [number_of(p.data) for p in other.drain()] == list(range(70))
        for n in range(70, 70 + 2 * CELLS, 64):  # nothing waits for it
            send(ns, n, 64)
            other.drain()
        assert lib.ffpf_counters_dropped(source.counters(1)) == 0
        source.activate(2)
        check(lib.ffpf_kernel_flow_remove, source.kernel, 0)


def test_killed_reader_blocks_until_it_is_removed(ns: Netns, source: Source) -> None:
    source.group(0, SRP)
    dead, alive = source.flow(0), source.flow(1)
    source.activate(0, 2)
    child = os.fork()
    if child == 0:
        with dead.reader() as reader:
            reader.drain()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with alive.reader() as reader:
        for n in range(0, 2 * CELLS, 64):
            send(ns, n, 64)
            reader.drain()
        assert source.counters(1).dropped[lib.FFPF_DROP_PBUF] > 0
        source.activate(2)
        check(lib.ffpf_kernel_flow_remove, source.kernel, 0)
        lost = source.counters(1).dropped[lib.FFPF_DROP_PBUF]
        for n in range(0, 2 * CELLS, 64):
            send(ns, n, 64)
            assert len(reader.drain()) == 64
        assert source.counters(1).dropped[lib.FFPF_DROP_PBUF] == lost


def test_groups_do_not_touch_each_others_memory(ns: Netns, source: Source) -> None:
    """What nobody in a group wants does not get into it: not a cell is written."""
    source.group(0, SRP)
    source.group(3, FRP)
    source.flow(0, group=0)
    other = source.flow(33, group=3)
    check(lib.ffpf_kernel_set_words, source.kernel, 2)
    source.classify(classify(source.fds, [1, 0]))
    source.activate(0, 66)
    part = ffi.new("struct ffpf_lanes_part *")
    check(lib.ffpf_lanes_map_part, part, source.lanes[3][0], other.ibufs[0])
    before = bytes(ffi.buffer(part.lane.base, part.lane.bytes))
    send(ns, 0, 100)
    assert source.counters(0).delivered == 100
    assert bytes(ffi.buffer(part.lane.base, part.lane.bytes)) == before
    assert (source.counters(33).seen, source.counters(33).filtered) == (100, 100)
    source.classify(classify(source.fds, [0, 4]))
    send(ns, 100, 5)
    assert (source.counters(0).delivered, source.counters(33).delivered) == (100, 5)
    lib.ffpf_lanes_unmap_part(part)
