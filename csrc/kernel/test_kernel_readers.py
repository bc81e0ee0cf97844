# SPDX-License-Identifier: BSD-3-Clause
"""Readers of a source in the kernel: sleeping and waking, and what one without rights can do with its descriptors."""

from __future__ import annotations

import ctypes
import mmap
import os
import queue
import select
import struct
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyffpf._core import ffi, lib

from compat_tests.netns import Netns
from kernel.kernel_testing import SYS_BPF, Flow, Reader, Source, check
from source.live_frames import number_of, numbered

NOBODY = 65534
PAGE = mmap.PAGESIZE
MAP_UPDATE_ELEM, MAP_FREEZE, RECORD_BYTES = 2, 22, 16
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.fixture(scope="module")
def made(ns: Netns) -> Iterator[Source]:
    with Source(ns, ns.left, cells_log2=14) as source:
        yield source


@pytest.fixture
def source(made: Source) -> Iterator[Source]:
    made.group(0)
    made.accept_all()
    yield made
    made.reset()


def rings(flow: Flow) -> int:
    """Records that were written into the flow's event descriptor so far."""
    with mmap.mmap(flow.wake_fd, PAGE, prot=mmap.PROT_READ, offset=PAGE) as producer:
        return int(struct.unpack_from("=Q", producer)[0]) // RECORD_BYTES


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


# ---- sleeping and waking ----


def test_no_wake_up_is_lost(ns: Netns, source: Source) -> None:
    """A reader that sleeps in next() is woken by each of many packets, sent when it may just be falling asleep."""
    rounds = 2000
    flow = source.flow(0)
    source.activate(0)
    got: queue.SimpleQueue[int] = queue.SimpleQueue()
    with flow.reader(nonblock=False) as reader:

        def read() -> None:
            count = 0
            while count < rounds:
                outcome, packets = reader.next()
                assert outcome == lib.FFPF_BATCH
                count += len(packets)
                for packet in packets:
                    got.put(number_of(packet.data))

        thread = threading.Thread(target=read)
        thread.start()
        for number in range(rounds):
            ns.send(ns.right, [numbered(number)])
            if number % 3:  # else the next one comes while this one is read
                continue
            while got.get(timeout=20) != number:
                pass
        thread.join(20)
        assert not thread.is_alive()


def test_descriptor_is_readable_while_next_would_not_wait(ns: Netns, source: Source) -> None:
    flow = source.flow(0)
    source.activate(0)
    with flow.reader(want=100) as reader:
        fd = reader.r.ops.poll_fd(reader.r)
        assert not readable(fd)
        ns.send(ns.right, [numbered(0)])  # who waits outside is told of each packet
        assert readable(fd)
        assert len(reader.drain()) == 1
        reader.r.ops.settle(reader.r)
        assert not readable(fd)
        before = rings(flow)
        ns.send(ns.right, [numbered(n) for n in range(50)])
        assert readable(fd)
        assert 1 <= rings(flow) - before <= source.cpus  # one sleep is answered once by a lane
        reader.drain()
        reader.r.ops.wake(reader.r)
        assert readable(fd)
        assert reader.next()[0] == lib.FFPF_INTERRUPTED
        reader.r.ops.settle(reader.r)
        check(lib.ffpf_kernel_flow_wake, source.kernel, 0)
        assert readable(fd)


@pytest.mark.parametrize(
    ("want", "ibuf_slots", "size", "packets"),
    [(1 << 20, 64, 60, 32), (1 << 20, 16384, 1500, (1 << 14) // 2 // 25 + 1), (20, 16384, 60, 20)],
    ids=["IBuf half full", "PBuf half full", "as many as it wants"],
)
def test_sleeper_is_woken_when_due(
    ns: Netns, source: Source, want: int, ibuf_slots: int, size: int, packets: int
) -> None:
    """And not before: with one packet less its sleep was not answered."""
    flow = source.flow(0, ibuf_slots=ibuf_slots)
    source.activate(0)
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    with flow.reader(want=want, nonblock=False) as reader:
        reader.r.ops.set_nonblock(reader.r, True)
        reader.drain()
        reader.r.ops.set_nonblock(reader.r, False)
        before = rings(flow)
        asleep = ffi.cast("uint32_t *", reader.page)
        thread = threading.Thread(target=reader.next)
        thread.start()
        while asleep[64 // 4] & 3 == 0 or asleep[68 // 4] != want:
            pass
        ns.send(ns.right, [numbered(n, size) for n in range(packets - 1)])
        assert rings(flow) == before
        ns.send(ns.right, [numbered(packets, size)])
        thread.join(20)
        assert not thread.is_alive()
        assert rings(flow) == before + 1
    os.sched_setaffinity(0, affinity)


def test_timeout_ends_a_wait_for_more(ns: Netns, source: Source) -> None:
    """The hook keeps no time: the reader does, and delivers what there is."""
    flow = source.flow(0)
    source.activate(0)
    with flow.reader(want=1000, timeout_ms=30, nonblock=False) as reader:
        ns.send(ns.right, [numbered(5)])
        outcome, packets = reader.next()
        assert (outcome, [number_of(p.data) for p in packets]) == (lib.FFPF_BATCH, [5])
        assert reader.next() == (lib.FFPF_TIMEOUT, [])


# ---- a reader without rights ----


def as_nobody(action: Callable[[], None]) -> None:
    """Runs the action in a child process without any right; it must return."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def bpf(command: int, attr: bytes) -> int:
    """The system call; 0 or errno."""
    text = ctypes.create_string_buffer(attr, 144)
    return 0 if _libc.syscall(SYS_BPF, command, text, 144) >= 0 else ctypes.get_errno()


def test_frozen_memories_cannot_be_written(source: Source) -> None:
    flow = source.flow(0)
    frozen = [*source.lanes[0], *flow.ibufs, source.fds.fd[lib.FFPF_KERNEL_FD_COUNTS]]
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(4096)

    def try_everything() -> None:
        for fd in frozen:
            mapped = mmap.mmap(fd, PAGE, prot=mmap.PROT_READ)
            address = int(ffi.cast("uintptr_t", ffi.from_buffer(mapped)))
            for protection in (mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE):
                with pytest.raises(OSError):
                    mmap.mmap(fd, PAGE, prot=protection)
                assert _libc.mprotect(ctypes.c_void_p(address), PAGE, protection) != 0
            attr = struct.pack("=I4xQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0)
            assert bpf(MAP_UPDATE_ELEM, attr) != 0
            for flags in (os.O_RDWR, os.O_WRONLY):
                with pytest.raises(OSError):
                    os.open(f"/proc/self/fd/{fd}", flags)
        with pytest.raises(OSError):
            mmap.mmap(flow.wake_fd, PAGE, offset=PAGE)  # the producer's page
        mmap.mmap(flow.wake_fd, PAGE)[0:8] = bytes(8)  # the consumer's
        mmap.mmap(flow.reader_fd, PAGE)[2048:2056] = bytes(8)

    try_everything()  # not even with all rights
    as_nobody(try_everything)


def test_memory_that_is_not_frozen_is_refused(source: Source) -> None:
    """A reader does not take a lane that somebody else could write."""
    flow = source.flow(0)
    part = ffi.new("struct ffpf_lanes_part *")
    columns = source.fds.fd[lib.FFPF_KERNEL_FD_COLUMNS]
    for lane, ibuf in ((flow.reader_fd, flow.ibufs[0]), (source.lanes[0][0], flow.reader_fd), (columns, columns)):
        with pytest.raises(Exception, match=r"memory|map"):
            check(lib.ffpf_lanes_map_part, part, lane, ibuf)


def test_nobody_reads_and_sleeps(ns: Netns, source: Source) -> None:
    """All of reading works without a right: mapping, waiting, giving back."""
    flow = source.flow(0)
    source.activate(0)
    count = 3 * (1 << 14) // 2  # more than PBuf has room for at a time
    done_read, done_write = os.pipe()

    def read() -> None:
        reader = Reader(flow, nonblock=False)
        expected = 0
        while expected < count:
            outcome, packets = reader.next()
            assert outcome == lib.FFPF_BATCH
            assert [number_of(p.data) for p in packets] == list(range(expected, expected + len(packets)))
            expected += len(packets)
            os.write(done_write, struct.pack("=I", expected))
        reader.close()

    sender = threading.Thread(target=lambda: send_as_read(ns, done_read, count))
    sender.start()
    as_nobody(read)
    sender.join()
    assert source.counters(0).delivered == count
    for end in (done_read, done_write):
        os.close(end)


def send_as_read(ns: Netns, progress: int, count: int) -> None:
    """Sends frames, at most a thousand ahead of the reader."""
    read = 0
    for first in range(0, count, 256):
        while first + 256 - read > 1024:
            (read,) = struct.unpack("=I", os.read(progress, 4))
        ns.send(ns.right, [numbered(n) for n in range(first, first + 256)])


def test_the_drop_in_has_no_loader(root: Path) -> None:
    """libffpfpcap.so neither needs libbpf nor has the programs in it."""
    library = root / "build" / "normal" / "libffpfpcap.so"
    content = library.read_bytes()
    assert b"libbpf.so" not in content
    assert b"hook_store" not in content
    assert b"ffpf_kernel_create" not in content
