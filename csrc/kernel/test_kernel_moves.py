# SPDX-License-Identifier: BSD-3-Clause
"""Filters that change, IBufs that grow, groups that move, sources that are adopted: while packets come."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns, wait_until
from kernel.kernel_testing import KernelError, Reader, Source, all_maps, check, classify, close_all, number_of_map
from source.live_frames import number_of, numbered

SRP, FRP = 1, 2
STREAM = (
    "import socket, struct, sys\n"
    "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); s.bind((sys.argv[1], 0))\n"
    "head = bytes.fromhex('02000000000b02000000000a88b5')\n"
    "n = 0\n"
    "while n < int(sys.argv[2]): s.send(head + struct.pack('!I', n).ljust(46, b'\\xa5')); n += 1\n"
)
# As many frames as were asked for, each time an octet can be read.
BURSTS = (
    "import socket, struct, sys\n"
    "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); s.bind((sys.argv[1], 0))\n"
    "head = bytes.fromhex('02000000000b02000000000a88b5')\n"
    "n = 0\n"
    "while sys.stdin.buffer.read(1):\n"
    "    for n in range(n, n + int(sys.argv[2])): s.send(head + struct.pack('!I', n).ljust(46, b'\\xa5'))\n"
    "    n += 1\n"
)


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.fixture(scope="module")
def small_one(ns: Netns) -> Iterator[Source]:
    with Source(ns, ns.left, cells_log2=14) as made:
        yield made


@pytest.fixture(scope="module")
def large_one(ns: Netns) -> Iterator[Source]:
    with Source(ns, ns.left, cells_log2=17) as made:
        yield made


@pytest.fixture
def source(small_one: Source) -> Iterator[Source]:
    small_one.accept_all()
    yield small_one
    small_one.reset()


@pytest.fixture
def large(large_one: Source) -> Iterator[Source]:
    """Room for all that a test sends: what it does to lanes meanwhile takes as long as the machine likes."""
    large_one.accept_all()
    yield large_one
    large_one.reset()


def stream(ns: Netns, count: int, pinned: bool = False) -> subprocess.Popen[bytes]:
    """Numbered frames from the right end, as fast as a script can; from CPU 0 alone, or from any."""
    script = ["python3", "-c", STREAM, ns.right, str(count)]
    return ns.popen(["taskset", "-c", "0", *script] if pinned else script)


def numbers(reader: Reader) -> list[int]:
    return [number_of(p.data) for p in reader.drain()]


def grow(source: Source, slot: int, ibuf_slots: int) -> list[int]:
    fds = ffi.new("int[]", source.cpus)
    check(lib.ffpf_kernel_flow_grow, source.kernel, slot, ibuf_slots, fds)
    return list(fds)


def tell(source: Source, slot: int, lanes: list[int], ibufs: list[int]) -> None:
    """The flow's reader may go on there."""
    flow = source.flows[slot]
    flow.successors = {cpu: (lanes[cpu], ibufs[cpu]) for cpu in range(source.cpus)}


def finish(sender: subprocess.Popen[bytes], reader: Reader, got: list[int], count: int) -> None:
    """Reads until all that was sent is there; each number once, in order."""
    while sender.poll() is None:
        got += numbers(reader)
    got += numbers(reader)
    assert sender.returncode == 0
    assert got == list(range(count))


@pytest.mark.parametrize("bms", [SRP, FRP])
def test_ibuf_grows_under_load(ns: Netns, large: Source, bms: int) -> None:
    """Each packet once, in order, though the reader gets its new IBuf only later; the law holds over both."""
    source = large
    count = 20000
    source.group(0, bms)
    flow = source.flow(0, ibuf_slots=32768)
    source.activate(0)
    kept: list[int] = []
    with flow.reader() as reader:
        sender = stream(ns, count)
        got: list[int] = []
        size = 32768
        while sender.poll() is None and len(kept) < 3 * source.cpus:
            got += numbers(reader)
            if got and not flow.successors:
                try:
                    fresh = grow(source, 0, 2 * size)
                except KernelError as error:
                    assert error.code == lib.FFPF_E_GENERIC  # its reader is not there yet
                    continue
                size *= 2
                kept += fresh
                got += numbers(reader)
                tell(source, 0, source.lanes[0], fresh)
        finish(sender, reader, got, count)
        counted, indexed = reader.counters(), source.counters(0)
        assert (counted.seen, counted.delivered, indexed.delivered) == (count, count, count)
        assert source.status(0, 0).slots == size
    close_all(kept)


def test_growing_keeps_what_was_not_read(ns: Netns, source: Source) -> None:
    """SRP: unread entries of the old IBuf still protect their records, until the reader has come to the new one."""
    source.group(0, SRP)
    flow = source.flow(0, ibuf_slots=1024)
    source.activate(0)
    os.sched_setaffinity(0, {0})
    with flow.reader() as reader:
        ns.send(ns.right, [numbered(n) for n in range(1000)])
        fresh = grow(source, 0, 1 << 16)
        ns.send(ns.right, [numbered(n) for n in range(1000, 20000)])  # more than PBuf has room for
        counted = source.counters(0)
        kept = (1 << 14) // 2
        assert (counted.delivered, counted.dropped[lib.FFPF_DROP_PBUF]) == (kept, 20000 - kept)
        with pytest.raises(KernelError, match="has not come from the move"):
            grow(source, 0, 1 << 17)
        assert source.status(0, 0).r < source.status(0, 0).first_pos
        tell(source, 0, source.lanes[0], fresh)
        assert numbers(reader) == list(range(kept))
        assert source.status(0, 0).r >= source.status(0, 0).first_pos
        ns.send(ns.right, [numbered(n) for n in range(20000, 24000)])
        assert numbers(reader) == list(range(20000, 24000))
        assert source.counters(0).dropped[lib.FFPF_DROP_PBUF] == 20000 - kept
        close_all(grow(source, 0, 1 << 17))
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
    close_all(fresh)


@pytest.mark.parametrize("bms", [SRP, FRP])
def test_group_moves_under_load(ns: Netns, large: Source, bms: int) -> None:
    """The stalled reader keeps what it has, whole, and is told afterwards; everybody else goes on without a loss."""
    source = large
    count = 20000
    source.group(0, bms)
    stalled, going = source.flow(0, ibuf_slots=32768), source.flow(1, ibuf_slots=32768)
    source.activate(0, 2)
    with stalled.reader() as late, going.reader() as reader:
        sender = stream(ns, count)
        got: list[int] = []
        while len(got) < 500:
            got += numbers(reader)
        source.activate(2)
        lanes, ibufs = ffi.new("int[]", source.cpus), ffi.new("int[]", source.cpus)
        slots, sizes = ffi.new("uint32_t[]", [1]), ffi.new("uint32_t[]", [32768])
        check(lib.ffpf_kernel_group_move, source.kernel, 0, slots, sizes, 1, lanes, ibufs)
        tell(source, 1, list(lanes), list(ibufs))
        finish(sender, reader, got, count)
        assert reader.counters().delivered == source.counters(1).delivered == count
        stalled.successors = dict.fromkeys(range(source.cpus), (-1, -1))
        kept = []
        outcome = lib.FFPF_BATCH
        while outcome in (lib.FFPF_BATCH, lib.FFPF_LAPPED):
            outcome, packets = late.next()
            kept += [number_of(p.data) for p in packets]
        assert (outcome, late.r.err.code) == (lib.FFPF_FAILED, lib.FFPF_E_DENIED)
        assert kept == list(range(source.counters(0).delivered))
        check(lib.ffpf_kernel_flow_remove, source.kernel, 0)
    close_all([*lanes, *ibufs])


def test_a_flow_that_was_left_behind_comes_back(ns: Netns, source: Source) -> None:
    """Its reader reads what it had, and goes on with what came after it was taken up again. What its filter would have
    taken in between is counted, by the hook that took it for nobody: other filter, other count."""
    source.group(0)
    flow = source.flow(0)
    source.flow(1)
    even, odd = 0b101, 0b110  # column 0 has even numbers, column 1 odd ones, and the other flow all
    source.classify(classify(source.fds, [even], octet=(17, 1), otherwise=odd, mask=1))
    source.activate(0, 2)
    with flow.reader() as reader:
        ns.send(ns.right, [numbered(n) for n in range(100)])
        check(lib.ffpf_kernel_flow_leave, source.kernel, 0, 0)
        with pytest.raises(KernelError, match="column 2 is not flow 0's"):
            check(lib.ffpf_kernel_flow_leave, source.kernel, 0, 2)
        lanes, ibufs = ffi.new("int[]", source.cpus), ffi.new("int[]", source.cpus)
        slots, sizes = ffi.new("uint32_t[]", [1]), ffi.new("uint32_t[]", [1024])
        check(lib.ffpf_kernel_group_move, source.kernel, 0, slots, sizes, 1, lanes, ibufs)
        ns.send(ns.right, [numbered(n) for n in range(100, 161)])
        counted, indexed = reader.counters(), source.counters(0)
        assert (counted.seen, counted.dropped[lib.FFPF_DROP_LEFT]) == (111, 31)  # it has read nothing yet
        assert (indexed.seen, indexed.filtered, indexed.dropped[lib.FFPF_DROP_LEFT]) == (161, 80, 31)
        check(lib.ffpf_kernel_column_set, source.kernel, 1, 1, 2)
        check(lib.ffpf_kernel_flow_leave, source.kernel, 0, 1)
        ns.send(ns.right, [numbered(n) for n in range(161, 180)])
        fresh = grow(source, 0, 2048)
        ns.send(ns.right, [numbered(n) for n in range(180, 200)])
        source.activate(1, 2)
        ns.send(ns.right, [numbered(n) for n in range(200, 300)])
        tell(source, 0, list(lanes), fresh)
        assert numbers(reader) == [*range(0, 100, 2), *range(201, 300, 2)]
        left = 31 + 20 // 2 + 20 // 2
        counted, indexed = reader.counters(), source.counters(0)
        for c in (counted, indexed):
            assert (c.seen, c.delivered, c.dropped[lib.FFPF_DROP_LEFT]) == (300, 100, left)
            assert c.filtered == 300 - 100 - left
        assert source.counters(1).delivered == 300
        source.accept_all()
        # R* is that of the new lanes: more than PBuf has room for passes, if both read
    with source.flows[1].reader_at(list(lanes), list(ibufs)) as other, flow.reader_at(list(lanes), fresh) as again:
        for first in range(0, 20000, 500):
            ns.send(ns.right, [numbered(n) for n in range(first, first + 500)])
            assert numbers(again) == list(range(first, first + 500))
            other.drain()
    close_all([*lanes, *ibufs, *fresh])


def test_old_lanes_are_given_back(ns: Netns, source: Source) -> None:
    """After a move nothing of the source holds them: what the last descriptor is closed of is gone."""
    source.group(0)
    source.flow(0)
    source.activate(0)
    old = [number_of_map(fd) for fd in source.lanes[0]]
    assert set(old) <= all_maps()
    lanes, ibufs = ffi.new("int[]", source.cpus), ffi.new("int[]", source.cpus)
    slots, sizes = ffi.new("uint32_t[]", [0]), ffi.new("uint32_t[]", [1024])
    check(lib.ffpf_kernel_group_move, source.kernel, 0, slots, sizes, 1, lanes, ibufs)
    close_all(source.lanes.pop(0))
    source.flows[0].close()
    wait_until(lambda: not set(old) & all_maps(), "the old lanes to go")
    source.lanes[0] = list(lanes)
    close_all(list(ibufs))


def test_a_filter_changes_at_an_exact_place(ns: Netns, large: Source) -> None:
    """Alternating between disjoint sets: what was indexed from a position on passes the filter of its generation."""
    source = large
    flips, burst = 30, 1000
    source.group(0)
    flow, other = source.flow(0, ibuf_slots=32768), source.flow(1, ibuf_slots=32768)
    # column 0 takes even numbers, column 1 odd ones; the other flow all
    even, odd = 0b101, 0b110
    # octet 17 is the last of the number: its lowest bit decides
    source.classify(classify(source.fds, [even], octet=(17, 1), otherwise=odd, mask=1))
    source.activate(0, 2)
    sender = ns.popen(["taskset", "-c", "0", "python3", "-c", BURSTS, ns.right, str(burst)], stdin=subprocess.PIPE)
    assert sender.stdin
    places = [(1, 0)]
    for generation in range(2, flips + 2):
        sender.stdin.write(b".")
        sender.stdin.flush()
        begun = (generation - 2) * burst
        wait_until(lambda least=begun: source.counters(1).delivered > least, "the burst to begin")
        column = (generation - 1) % 2
        check(lib.ffpf_kernel_column_set, source.kernel, column, 1 + column, generation)
        source.activate(column, 2)
        check(lib.ffpf_kernel_synchronize, source.kernel)
        positions = ffi.new("uint64_t[]", source.cpus)
        check(lib.ffpf_kernel_flow_positions, source.kernel, 0, generation, positions)
        places.append((generation, positions[0]))
    sender.stdin.close()
    assert sender.wait() == 0
    with flow.reader() as reader, other.reader() as all_of_them:
        assert numbers(all_of_them) == list(range(flips * burst))
        got = numbers(reader)
        assert sum(source.status(0, cpu).w for cpu in range(1, source.cpus)) == 0
        for place, number in enumerate(got):
            decided = max(generation for generation, at in places if at <= place)
            assert number % 2 == (decided - 1) % 2
        assert len(set(got)) == len(got)
        assert {number % 2 for number in got} == {0, 1}


def test_a_source_is_adopted(ns: Netns, source: Source) -> None:
    """By who has copies of its descriptors; the capture goes on when the first owner is gone."""
    source.group(0)
    flow = source.flow(0)
    source.activate(0)
    copies = ffi.new("struct ffpf_kernel_fds *")
    for which in range(lib.FFPF_KERNEL_FD_COUNT):
        copies.fd[which] = os.dup(source.fds.fd[which]) if source.fds.fd[which] >= 0 else -1
    with flow.reader() as reader:
        ns.send(ns.right, [numbered(n) for n in range(10)])
        lib.ffpf_kernel_close(source.kernel)
        ns.send(ns.right, [numbered(n) for n in range(10, 20)])
        made = ffi.new("struct ffpf_kernel **")
        check(lib.ffpf_kernel_adopt, made, copies)
        source.kernel, source.fds = made[0], lib.ffpf_kernel_fds(made[0])
        assert lib.ffpf_kernel_source(source.kernel).ifindex == source.ifindex
        later = source.flow(1)
        source.activate(0, 2)
        ns.send(ns.right, [numbered(n) for n in range(20, 30)])
        assert numbers(reader) == list(range(30))
        with later.reader() as other:
            assert numbers(other) == list(range(20, 30))
        assert source.counters(0).seen == 30


def test_the_end_and_the_loss_of_a_source(ns: Netns, source: Source) -> None:
    source.group(0)
    flow = source.flow(0)
    source.activate(0)
    with flow.reader() as reader:
        ns.send(ns.right, [numbered(1)])
        check(lib.ffpf_kernel_set_state, source.kernel, lib.FFPF_SOURCE_DOWN)
        assert numbers(reader) == [1]
        check(lib.ffpf_kernel_set_state, source.kernel, lib.FFPF_SOURCE_UP)
        ns.send(ns.right, [numbered(2)])
        check(lib.ffpf_kernel_group_end, source.kernel, 0)
        assert reader.next()[0] == lib.FFPF_BATCH
        assert reader.next()[0] == lib.FFPF_END
        check(lib.ffpf_kernel_set_state, source.kernel, lib.FFPF_SOURCE_GONE)
        assert reader.next()[0] == lib.FFPF_FAILED
        assert reader.r.err.code == lib.FFPF_E_DEVICE_GONE
        source.activate()
        check(lib.ffpf_kernel_flow_remove, source.kernel, 0)
        assert reader.next()[0] == lib.FFPF_FAILED
        assert reader.r.err.code == lib.FFPF_E_DENIED


def test_wrong_calls_are_refused(ns: Netns, source: Source) -> None:
    """And leave things as they were."""
    source.group(0)
    source.flow(0)
    source.activate(0)
    none = ffi.new("int[]", source.cpus)
    pair = ffi.new("int[2]")
    slot_zero = ffi.new("uint32_t[]", [0])
    for call in (
        lambda: check(lib.ffpf_kernel_group_create, source.kernel, 0, 1, none),
        lambda: check(lib.ffpf_kernel_group_create, source.kernel, 32, 1, none),
        lambda: check(lib.ffpf_kernel_group_create, source.kernel, 1, 9, none),
        lambda: check(lib.ffpf_kernel_group_remove, source.kernel, 0),
        lambda: source.flow(0),
        lambda: source.flow(512),
        lambda: source.flow(1, group=1),
        lambda: source.flow(1, ibuf_slots=1000),
        lambda: check(lib.ffpf_kernel_flow_remove, source.kernel, 0),
        lambda: check(lib.ffpf_kernel_flow_remove, source.kernel, 1),
        lambda: check(lib.ffpf_kernel_column_set, source.kernel, 0, 1, 1),
        lambda: check(lib.ffpf_kernel_column_set, source.kernel, 1024, 1, 1),
        lambda: check(lib.ffpf_kernel_set_words, source.kernel, 17),
        lambda: check(lib.ffpf_kernel_set_fetch_len, source.kernel, 65537),
        lambda: check(lib.ffpf_kernel_prog_set, source.kernel, 64, -1),
        lambda: check(lib.ffpf_kernel_flow_grow, source.kernel, 0, 3, none),
        lambda: check(lib.ffpf_kernel_group_move, source.kernel, 0, slot_zero, slot_zero, 0, none, pair),
    ):
        with pytest.raises(KernelError):
            call()
    with source.flows[0].reader() as reader:
        ns.send(ns.right, [numbered(3)])
        assert numbers(reader) == [3]


def test_no_such_interface(ns: Netns) -> None:
    wanted = ffi.new("struct ffpf_kernel_source *", {"ifindex": 1 << 20, "cells_log2": 12, "link_type": 1})
    made = ffi.new("struct ffpf_kernel **")
    with pytest.raises(KernelError) as error:
        check(lib.ffpf_kernel_create, made, wanted)
    assert error.value.code == lib.FFPF_E_NO_SUCH_DEVICE
