# SPDX-License-Identifier: BSD-3-Clause
"""What is counted beside delivery: packets within packets, CPUs without a lane, programs that are missing; and that a
source leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns, wait_until
from kernel.kernel_testing import Source, all_maps, bpf, check, close_all, number_of_map
from source.live_frames import number_of, numbered

MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM = 1, 2


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.fixture
def pinned() -> Iterator[None]:
    """On CPU 0 alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    yield
    os.sched_setaffinity(0, before)


def set_inside(source: Source, cpu: int, inside: int) -> None:
    """Makes the hook of a CPU believe that a packet is being handled, or not."""
    key = ctypes.create_string_buffer(struct.pack("=I", cpu))
    value = ctypes.create_string_buffer(ffi.sizeof("struct ffpf_scratch"))
    fd = source.fds.fd[lib.FFPF_KERNEL_FD_SCRATCH]
    attr = struct.pack("=I4xQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0)
    bpf(MAP_LOOKUP_ELEM, attr)
    struct.pack_into("=I", value, ffi.offsetof("struct ffpf_scratch", "inside"), inside)
    bpf(MAP_UPDATE_ELEM, attr)


def scratch_of(source: Source, cpu: int) -> bytes:
    key = ctypes.create_string_buffer(struct.pack("=I", cpu))
    value = ctypes.create_string_buffer(ffi.sizeof("struct ffpf_scratch"))
    fd = source.fds.fd[lib.FFPF_KERNEL_FD_SCRATCH]
    bpf(MAP_LOOKUP_ELEM, struct.pack("=I4xQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0))
    return value.raw


def test_what_came_before_a_flow_was_active_is_not_seen_by_it(ns: Netns) -> None:
    """But what comes while a filter is changed, and after a move, is."""
    with Source(ns, ns.left, cells_log2=12) as source:
        source.group(0)
        flow = source.flow(0)
        source.accept_all()
        ns.send(ns.right, [numbered(n) for n in range(5)])
        source.activate(0)
        with flow.reader() as reader:
            ns.send(ns.right, [numbered(n) for n in range(5, 8)])
            assert [number_of(p.data) for p in reader.drain()] == [5, 6, 7]
            source.activate(1)
            ns.send(ns.right, [numbered(8)])
            assert [number_of(p.data) for p in reader.drain()] == [8]
            for counted in (reader.counters(), source.counters(0)):
                assert (counted.seen, counted.filtered, counted.delivered) == (4, 0, 4)


def test_a_packet_within_a_packet_is_a_counted_drop(ns: Netns, pinned: None) -> None:
    with Source(ns, ns.left, cells_log2=12) as source:
        source.group(0)
        flow = source.flow(0)
        source.accept_all()
        source.activate(0)
        with flow.reader() as reader:
            ns.send(ns.right, [numbered(n) for n in range(3)])
            set_inside(source, 0, 1)
            ns.send(ns.right, [numbered(n) for n in range(3, 8)])
            set_inside(source, 0, 0)
            ns.send(ns.right, [numbered(8)])
            assert [number_of(p.data) for p in reader.drain()] == [0, 1, 2, 8]
            for counted in (reader.counters(), source.counters(0)):
                assert (counted.seen, counted.dropped[lib.FFPF_DROP_NESTED]) == (9, 5)
        later = source.flow(1)
        with later.reader() as reader:
            assert reader.counters().seen == 0


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU")
def test_a_cpu_without_a_lane(ns: Netns, pinned: None) -> None:
    with Source(ns, ns.left, cells_log2=12, cpus=1) as source:
        source.group(0)
        flow = source.flow(0)
        source.accept_all()
        source.activate(0)
        region = ffi.new("struct ffpf_region *")
        check(lib.ffpf_lanes_map_counts, region, source.fds.fd[lib.FFPF_KERNEL_FD_COUNTS])
        no_lane = ffi.cast("uint64_t *", region.base) + (64 + 16) // 8
        with flow.reader() as reader:
            ns.send(ns.right, [numbered(1)])
            os.sched_setaffinity(0, {1})
            ns.send(ns.right, [numbered(n) for n in range(2, 6)])
            os.sched_setaffinity(0, {0})
            assert no_lane[0] == 4
            ns.send(ns.right, [numbered(6)])
            assert [number_of(p.data) for p in reader.drain()] == [1, 6]
        lib.ffpf_region_close(region)


def test_missing_programs_lose_nothing_but_packets(ns: Netns, pinned: None) -> None:
    """No classify: nobody wants anything. No store behind classify: it leaves, as it must."""
    with Source(ns, ns.left, cells_log2=12) as source:
        source.group(0)
        flow = source.flow(0)
        source.activate(0)
        store = os.dup(source.fds.fd[lib.FFPF_KERNEL_FD_PROG_STORE])
        with flow.reader() as reader:
            ns.send(ns.right, [numbered(0)])
            source.accept_all()
            check(lib.ffpf_kernel_prog_set, source.kernel, lib.FFPF_KERNEL_PROG_STORE, -1)
            ns.send(ns.right, [numbered(1)])
            check(lib.ffpf_kernel_prog_set, source.kernel, lib.FFPF_KERNEL_PROG_STORE, store)
            ns.send(ns.right, [numbered(2)])
            check(lib.ffpf_kernel_prog_set, source.kernel, lib.FFPF_KERNEL_PROG_CLASSIFY, -1)
            ns.send(ns.right, [numbered(3)])
            assert [number_of(p.data) for p in reader.drain()] == [2]
            counted = reader.counters()
            assert (counted.seen, counted.filtered, counted.dropped[lib.FFPF_DROP_NESTED]) == (4, 3, 0)
        os.close(store)


def test_metadata_and_octets_for_filters(ns: Netns, pinned: None) -> None:
    """What classify finds in the scratch: as classic BPF sees a packet."""
    with Source(ns, ns.left, cells_log2=12) as source:
        source.group(0)
        source.accept_all(fetch=100)
        ns.send(ns.right, [numbered(5, 200, ((0x8100, 0x2007),))])
        scratch = scratch_of(source, 0)
        untagged = numbered(5, 200)
        data = ffi.offsetof("struct ffpf_scratch", "data")
        assert scratch[data : data + 100] == untagged[:100]
        fields = struct.unpack_from("=14I", scratch, 128)
        assert fields[:10] == (0, 100, 200, source.ifindex, 3, 0x88B5, 1, 1, 0x2007, 0x8100)
        assert fields[13] == 0  # CPU
        assert struct.unpack_from("=Q", scratch, 184) == (0,)
        ns.send(ns.right, [numbered(6, 64)])
        fields = struct.unpack_from("=14I", scratch_of(source, 0), 128)
        assert (fields[1], fields[2], fields[7]) == (64, 64, 0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_source_leaves_nothing_behind(ns: Netns) -> None:
    """No map and no descriptor, whatever was made in it."""
    ns.sender(ns.right)  # the namespace keeps the socket it sends by: open before descriptors are counted
    before = descriptors()
    with Source(ns, ns.left, cells_log2=12) as source:
        source.accept_all()
        for bms in (1, 2):
            source.group(bms, bms)
            source.flow(bms, group=bms)
            grown = ffi.new("int[]", source.cpus)
            check(lib.ffpf_kernel_flow_grow, source.kernel, bms, 8192, grown)
            close_all(list(grown))
        first = lib.FFPF_KERNEL_FD_PROGS
        own = [fd for fd in list(source.fds.fd)[first:] if fd >= 0]
        fds = [*own, *source.lanes[1], *source.flows[0].ibufs, source.flows[1].reader_fd]
        mine = {number_of_map(fd) for fd in fds}
        assert mine <= all_maps()
        source.activate(2, 4)
        ns.send(ns.right, [numbered(n) for n in range(100)])
    assert descriptors() == before
    wait_until(lambda: not mine & all_maps(), "the source's maps to go")
