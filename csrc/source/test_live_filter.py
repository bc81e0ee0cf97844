# SPDX-License-Identifier: BSD-3-Clause
"""Filters of live readers: placed in the kernel when it can run them, obeyed from the next packet on anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyffpf._core import lib

from compat_tests.netns import Netns
from source.live_frames import TAGGINGS, ethernet, number_of, numbered, udp
from source.live_reader import Insns, OurReader, StockReader

pytestmark = pytest.mark.live

SLL, SLL2 = 113, 276
LD_H_ABS, LD_B_ABS, LD_W_ABS, LDX_LEN, JEQ, JSET, RET_K, RET_A, LD_LEN = (
    0x28,
    0x30,
    0x20,
    0x81,
    0x15,
    0x45,
    6,
    0x16,
    0x80,
)
ACCEPT, REJECT = (RET_K, 0, 0, 262144), (RET_K, 0, 0, 0)


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def odd_numbers() -> Insns:
    """Numbered frames with an odd number."""
    return [(LD_W_ABS, 0, 0, 14), (JSET, 0, 1, 1), ACCEPT, REJECT]


def multiples_of_four() -> Insns:
    return [(LD_W_ABS, 0, 0, 14), (JSET, 0, 1, 3), REJECT, ACCEPT]


PASSES: dict[str, Callable[[int], bool]] = {
    "odd": lambda n: n % 2 == 1,
    "four": lambda n: n % 4 == 0,
    "all": lambda n: True,
}


def padded(insns: Insns, count: int) -> Insns:
    """The same program behind so many instructions that the kernel (4096) refuses it."""
    return [(LD_LEN, 0, 0, 0)] * count + insns


FRAMES = [
    *(numbered(i, 60, tags) for i, tags in enumerate(TAGGINGS.values())),
    *(ethernet(udp(7, 80 + i, b"x" * i), 0x0800, tags) for i, tags in enumerate(TAGGINGS.values())),
]
TEXTS = [
    "ip", "udp port 80", "vlan", "vlan 100", "vlan 100 and vlan 10", "not vlan", "inbound", "outbound",
    "udp and outbound", "greater 80", "ether host 02:00:00:00:00:0a", "ether[12:2] == 0x88b5", "udp[8] == 0x78",
    "ip[8] == 64",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_kernel_and_process_agree_with_stock(ns: Netns, text: str) -> None:
    """The same text run by the kernel, and here because it is too long for the kernel; on both sides of the wire."""
    for device in (ns.left, ns.right):
        with OurReader(ns, device) as kernel, OurReader(ns, device) as process, StockReader(ns, device) as theirs:
            insns = theirs.compile(text)
            theirs.set_filter(insns)
            kernel.set_filter(insns)
            process.set_filter(padded(insns, 4096))
            assert kernel.filter_kind == lib.FFPF_FILTER_KERNEL
            assert process.filter_kind in (lib.FFPF_FILTER_JIT, lib.FFPF_FILTER_INTERPRETER)
            assert process.filter_warning == "Warning: Kernel filter failed: Invalid argument"
            assert kernel.filter_warning is None
            ns.send(ns.right, FRAMES)
            ns.send(ns.right, [ethernet(udp(1, 1), 0x0800)])
            expected = [(p.data, p.wire_len) for p in process.drain()]
            assert [(p.data, p.wire_len) for p in kernel.drain()] == expected
            if "bound" not in text:  # stock loses these: its pass over the ring does not know the direction
                assert [(p.data, p.wire_len) for p in theirs.read_quiet()] == expected
            # the kernel counts what passed it; here what was turned away is counted
            assert kernel.counters()["seen"] == len(expected)
            assert process.counters()["seen"] == len(FRAMES) + 1


# Untagged: of a tag that is still in the packet the kernel tells filters another protocol than readers.
COOKED_FRAMES = [numbered(i, 40 + 5 * i) for i in range(6)] + [
    ethernet(udp(7, 80, b"x" * i), 0x0800) for i in range(40)
]
COOKED = [
    *(
        (dlt, text, True)
        for dlt in (SLL, SLL2)
        for text in ("ip", "udp port 80", "inbound", "greater 60", "udp[8] == 120")
    ),
    (SLL2, "ifindex 3", True),
    (SLL, "link[14:2] == 0x0800", True),
    (SLL, "link[0:2] == 4", True),
    (SLL, "link[4:2] == 6", False),  # the length of the sender's address, which the kernel's filters cannot ask for
    (SLL, "link[1] == 3", False),  # half a field
    (SLL2, "link[12:4] == 0x02000000", False),
    (SLL2, "link[4:2] == 0", False),
]


@pytest.mark.parametrize(("dlt", "text", "in_kernel"), COOKED)
def test_cooked_filters(ns: Netns, dlt: int, text: str, in_kernel: bool) -> None:
    """The kernel sees no cooked header: what a filter asks of it is asked of the kernel instead, or here."""
    with OurReader(ns, "any") as ours, OurReader(ns, "any") as process, StockReader(ns, "any") as theirs:
        theirs.set_link_type(dlt)
        assert ours.set_link_type(dlt) == 0 and process.set_link_type(dlt) == 0
        insns = theirs.compile(text)
        theirs.set_filter(insns)
        ours.set_filter(insns)
        process.set_filter(padded(insns, 4096))
        assert (ours.filter_kind == lib.FFPF_FILTER_KERNEL) == in_kernel
        ns.send(ns.right, COOKED_FRAMES)
        process_got = [(p.data, p.wire_len) for p in process.drain()]
        assert [(p.data, p.wire_len) for p in ours.drain()] == process_got
        assert len(process_got) > 0
        if text not in ("link[1] == 3", "link[4:2] == 0", "inbound"):  # stock takes these for others, or loses them
            assert [(p.data, p.wire_len) for p in theirs.read_quiet()] == process_got


def test_no_filter_again(ns: Netns) -> None:
    with OurReader(ns, ns.left) as ours:
        ours.set_filter([REJECT])
        ns.send(ns.right, FRAMES)
        assert ours.drain() == []
        ours.set_filter(None)
        assert ours.filter_kind == lib.FFPF_FILTER_NONE
        ns.send(ns.right, FRAMES)
        assert [p.data for p in ours.read(len(FRAMES))] == FRAMES


def test_a_filter_that_accepts_all_is_none(ns: Netns) -> None:
    """tcpdump sets it when it was given no expression."""
    with OurReader(ns, ns.left) as ours:
        ours.set_filter([REJECT])
        ns.send(ns.right, FRAMES)
        ours.set_filter([ACCEPT])
        assert ours.filter_kind == lib.FFPF_FILTER_NONE
        ns.send(ns.right, FRAMES)
        got = ours.read(len(FRAMES))
        assert [p.data for p in got] == FRAMES
        assert {p.result for p in got} == {262144}
        assert ours.counters()["seen"] == len(FRAMES)
    with OurReader(ns, ns.left, snap_len=100) as ours:
        ours.set_filter([(RET_K, 0, 0, 60)])
        assert ours.filter_kind == lib.FFPF_FILTER_KERNEL
        ns.send(ns.right, [numbered(1, 90)])
        assert [(p.data, p.wire_len) for p in ours.read(1)] == [(numbered(1, 90)[:60], 90)]


@pytest.mark.parametrize("padding", [0, 4096, 70000 - 65535 + 61000], ids=["kernel", "long", "longest"])
def test_result_is_what_the_filter_returned(ns: Netns, padding: int) -> None:
    """Also when the kernel ran it; and the packet is cut there, as the kernel does."""
    with OurReader(ns, ns.left) as ours:
        ours.set_filter(padded([(LD_W_ABS, 0, 0, 14), (JSET, 0, 1, 1), (RET_K, 0, 0, 30), (RET_K, 0, 0, 40)], padding))
        ns.send(ns.right, [numbered(i) for i in range(4)])
        got = ours.read(4)
    assert [p.result for p in got] == [40, 30, 40, 30]
    assert [p.data for p in got] == [numbered(i)[: 30 if i % 2 else 40] for i in range(4)]
    assert {p.wire_len for p in got} == {60}


@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
@pytest.mark.parametrize("padding", [0, 4096], ids=["kernel", "process"])
def test_packets_in_the_ring_obey_the_new_filter(ns: Netns, immediate: bool, padding: int) -> None:
    """Nothing that fails it comes out, nothing that passes it is lost, although the old filter let all of it in."""
    with OurReader(ns, ns.left, immediate=immediate) as ours:
        ns.send(ns.right, [numbered(i) for i in range(20)])
        ours.set_filter(padded(odd_numbers(), padding))
        ns.send(ns.right, [numbered(i) for i in range(20, 30)])
        got = ours.drain()
        counters = ours.counters()
    assert [number_of(p.data) for p in got] == list(range(1, 30, 2))
    assert counters["delivered"] == 15
    assert counters["filtered"] == (10 if padding == 0 else 15)


def test_what_needs_metadata_is_judged_in_the_ring_too(ns: Netns) -> None:
    """Stock's pass over its ring does not know a packet's direction, and loses what it holds."""
    with OurReader(ns, ns.left) as ours, StockReader(ns, ns.left) as theirs:
        for i in range(10):
            ns.send(ns.right, [numbered(2 * i)])
            ns.send(ns.left, [numbered(2 * i + 1)])
        ours.set_filter(theirs.compile("inbound"))
        assert [number_of(p.data) for p in ours.drain()] == list(range(0, 20, 2))
        ours.set_filter(theirs.compile("vlan 7"))
        ns.send(ns.right, [numbered(1, tags=((0x8100, 7),)), numbered(2), numbered(3, tags=((0x8100, 8),))])
        ours.set_filter(theirs.compile("vlan"))
        assert [p.data for p in ours.drain()] == [numbered(1, tags=((0x8100, 7),))]


ONE_TAG = [tags for tags in TAGGINGS.values() if len(tags) < 2]  # so that the number is where the filters look


@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
@given(
    tags=st.lists(st.sampled_from(ONE_TAG), min_size=1, max_size=12),
    keep=st.integers(0, 12),
    padding=st.sampled_from([0, 4096]),
    kinds=st.lists(st.sampled_from(["odd", "four", "all"]), min_size=1, max_size=3),
)
@settings(max_examples=25, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_served_packets_are_taken_back(
    ns: Netns, immediate: bool, tags: list[tuple[tuple[int, int], ...]], keep: int, padding: int, kinds: list[str]
) -> None:
    """A filter set in the middle of a batch: what was not released is judged again, with its tag where it was."""
    programs = {"odd": odd_numbers(), "four": multiples_of_four(), "all": [ACCEPT]}
    passes = PASSES
    frames = [numbered(i, 60, t) for i, t in enumerate(tags)]
    numbers = {frame: i for i, frame in enumerate(frames)}
    with OurReader(ns, ns.left, immediate=immediate, timeout_ms=5) as ours:
        ns.send(ns.right, frames)
        got: list[int] = []
        certain = set(range(len(frames)))  # what passes every filter that was set before it came
        for kind in ["all", *kinds]:
            ours.set_filter(padded(programs[kind], padding))
            certain = {n for n in certain if n in got or passes[kind](n)}
            if ours.next() != lib.FFPF_BATCH:
                continue
            for i in range(min(keep, ours.batch.count)):
                number = numbers[ours.packet(i).data]
                assert passes[kind](number)
                got.append(number)
            ours.release(min(keep, ours.batch.count))
            if keep < ours.batch.count:
                assert passes[kind](numbers[ours.packet(keep).data])
        ours.set_filter([ACCEPT])
        got += [numbers[p.data] for p in ours.drain(3)]
        assert got == sorted(set(got))
        assert certain <= set(got)
        counters = ours.counters()
        assert counters["delivered"] == len(got)
        assert counters["waiting"] == 0
        assert counters["seen"] == len(frames)


@pytest.mark.parametrize("immediate", [False, True], ids=["blocks", "frames"])
def test_filter_changes_under_load(ns: Netns, immediate: bool) -> None:
    """The first packet after set_filter passes it, whatever the other CPU was doing; what passes every filter comes."""
    count, changes = 30000, 12
    done = threading.Event()

    def load() -> None:
        ns.send(ns.right, (numbered(i) for i in range(count)))
        done.set()

    programs = [(odd_numbers(), PASSES["odd"]), (multiples_of_four(), PASSES["four"])]
    with OurReader(ns, ns.left, immediate=immediate, snap_len=128, buffer_bytes=16 << 20, timeout_ms=2) as ours:
        sender = threading.Thread(target=load)
        ns.sender(ns.right)
        sender.start()
        last = -1
        delivered = 0
        for change in range(changes):
            insns, passes = programs[change % 2]
            ours.set_filter(insns)
            for _ in range(10):
                for packet in ours.take():
                    number = number_of(packet.data)
                    assert passes(number), f"{number} after change {change}"
                    assert number > last
                    last = number
                    delivered += 1
        sender.join()
        ours.set_filter([ACCEPT])
        rest = [number_of(p.data) for p in ours.drain()]
        counters = ours.counters()
    assert done.is_set()
    assert rest == sorted(rest) and (not rest or rest[0] > last)
    assert counters["delivered"] == delivered + len(rest)
    assert counters["dropped"] == 0 and counters["waiting"] == 0


def test_the_kernel_is_the_last_word_once_the_change_has_settled(ns: Netns) -> None:
    """A program that only the kernel can judge (a packet's mark) delivers when nothing of the old filter is left."""
    mark = 0xFFFFF000 + 20  # SKF_AD_MARK
    with OurReader(ns, ns.left, timeout_ms=20) as ours:
        ours.set_filter([(LD_W_ABS, 0, 0, mark), (JEQ, 0, 1, 0), ACCEPT, REJECT])
        for _ in range(200):
            ns.send(ns.right, [numbered(1)])
            if ours.drain(1):
                break
        else:
            raise AssertionError("never delivered")
        assert ours.counters()["delivered"] >= 1


def test_too_much_for_the_kernels_option_memory(ns: Netns) -> None:
    """Programs that fit 4096 instructions each may still not fit net.core.optmem_max."""
    limit = ns.run(["cat", "/proc/sys/net/core/optmem_max"]).stdout.strip()
    ns.run(["sysctl", "-q", "-w", "net.core.optmem_max=4096"])
    try:
        with OurReader(ns, ns.left) as ours:
            ours.set_filter(padded(odd_numbers(), 2000))
            assert ours.filter_warning == (
                "Warning: Couldn't allocate kernel memory for filter: try increasing net.core.optmem_max with sysctl"
            )
            ns.send(ns.right, [numbered(i) for i in range(10)])
            assert [number_of(p.data) for p in ours.drain()] == [1, 3, 5, 7, 9]
    finally:
        ns.run(["sysctl", "-q", "-w", f"net.core.optmem_max={limit}"])
