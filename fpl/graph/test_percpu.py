# SPDX-License-Identifier: BSD-3-Clause
"""Programs whose MBuf is one for each processor: packets that come to two, and what a reader sees of both."""

from __future__ import annotations

import mmap
import os
import random
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpl.classify import Compiler, bpf
from fpl.fpl2 import check
from fpl.fpl2.reference import Machine
from fpl.fpl2.test_back_ends import MBUF, PACKETS
from fpl.graph.classes import MAP_BYTES_MAX
from fpl.graph.node import Level, Node
from fpl.graph.test_kept import adopt
from fpl.graph.testing import DEVICE, TestStage
from fpl.graph.testing_fpl2 import Seen, seen

ALONE = "PERCPU MEM MERGE sum; "
COUNTS = (
    "PERCPU MEM MERGE sum; PERCPU MEM[1] MERGE max; PERCPU MEM[2] MERGE min; PERCPU MEM.B[12..15] MERGE or; "
    "PERCPU MEM.S16[16..19] MERGE min; PERCPU MEM.S16[20..23] MERGE max; "
    "MEM[0]++; IF LEN > MEM[1] THEN MEM[1] = LEN; FI IF MEM[2] == 0 || LEN < MEM[2] THEN MEM[2] = LEN; FI "
    "MEM.B[12 + PKT.B[0]] |= PKT.B[1]; MEM.S16[16] = PKT.S8[2]; MEM.S16[20] = PKT.S8[2]; "
    "MEM.Q[3] += 0x100000001; RETURN 1;"
)


@pytest.fixture(scope="module")
def shared(compiler: Compiler) -> Iterator[TestStage]:
    with TestStage(compiler) as made:
        yield made


def on(processor: int, work: Callable[[], None]) -> None:
    """work() by a thread that stays on one processor; returns when it is done."""

    def run() -> None:
        os.sched_setaffinity(0, {processor})
        work()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def of_program(made: TestStage, text: str, mbuf: int, *, private: bool = False) -> None:
    placed = made.open(1, [DEVICE, Node("FPL-2", text, (0,), mbuf, private=private)]).placed[1]
    assert placed.level is Level.KERNEL, placed.reason


def send(made: TestStage, processor: int, packets: Sequence[Seen]) -> None:
    def all_of_them() -> None:
        for each in packets:
            made.source.place(each.packet, processor)
            made.source.run()

    on(processor, all_of_them)


@pytest.fixture
def processors() -> list[int]:
    found = sorted(os.sched_getaffinity(0))[:2]
    assert len(found) == 2, "two processors are needed to tell one memory from two"
    return found


def test_a_reader_sees_what_the_declarations_say_of_both(compiler: Compiler, processors: list[int]) -> None:
    with TestStage(compiler) as made:
        of_program(made, COUNTS, 64)
        assert made.mbuf(1, 1) == bytes(64)
        send(made, processors[0], [seen(bytes([1, 1, 0x85]).ljust(60, b"\0")), seen(bytes([1, 4, 7]).ljust(90, b"\0"))])
        send(made, processors[1], [seen(bytes([1, 8, 0xF0]).ljust(70, b"\0"))])
        assert struct.unpack("=3I4B4h2I", made.mbuf(1, 1)[:32]) == (
            3, 90, 60, 0, 13, 0, 0, -16, 0, 7, 0, 3, 3,
        )  # fmt: skip
        assert made.counts(1)[1] == (3, 3)
        found = made.stage.mbuf(1, 1)
        assert found is not None
        with mmap.mmap(found.fd, found.lanes * found.stride, prot=mmap.PROT_READ) as memory:
            first = {memory[at * found.stride + found.at] for at in processors}
        assert first == {2, 1}, "each processor counts its own"


class Sums:
    """Programs that only add to memory, in places of the kinds that their declarations name."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        ends = sorted({0, MBUF, *(8 * self._chance.randrange(MBUF // 8) for _ in range(3))})
        self._regions = [(at, end, self._chance.choice((8, 16, 32, 64))) for at, end in pairwise(ends)]

    def program(self) -> str:
        declared = [f"PERCPU MEM.U{bits}[{at}..{end - 1}] MERGE sum;" for at, end, bits in self._regions]
        return "\n".join([*declared, *(self._statement() for _ in range(self._chance.randint(1, 6))), "RETURN LEN;"])

    def _statement(self) -> str:
        at, end, bits = self._chance.choice(self._regions)
        index = self._chance.choice((f"{self._chance.randrange(at, end)}", f"{at} + PKT.B[12] % {end - at}"))
        add = self._chance.choice(("++", "--", " += LEN", " -= PKT.B[23]", " += PKT.D[3] * 7", f" += {1 << 63}"))
        test = self._chance.choice(("", "", "IF IS_TCP THEN ", "IF PKT.B[12] == 8 THEN "))
        return f"{test}MEM.U{bits}[{index}]{add};{' FI' if test else ''}"


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 1 << 64))
def test_sums_are_what_one_memory_would_hold(shared: TestStage, processors: list[int], seed: int) -> None:
    """However packets are divided among processors; each beside the reference's one memory."""
    chance = random.Random(seed)
    packets = [seen(packet) for packet in chance.choices(PACKETS, k=8)]
    division = [chance.choice(processors) for _ in packets]
    for text in [Sums(seed * 3 + number).program() for number in range(3)]:
        checked, room = check(text, mbuf_bytes=MBUF), bytearray(MBUF)
        for each in packets:
            Machine(each.octets, each.facts, room).run(checked.program)
        of_program(shared, text, MBUF)
        try:
            for processor in processors:
                send(shared, processor, [each for each, to in zip(packets, division, strict=True) if to == processor])
            assert shared.mbuf(1, 1) == bytes(room), (text, packets, division)
        finally:
            shared.close(1)


def test_memories_go_on_in_the_stage_of_a_later_process(compiler: Compiler, processors: list[int]) -> None:
    packet = seen(bytes([1, 1, 1]).ljust(60, b"\0"))
    with TestStage(compiler) as made:
        of_program(made, COUNTS, 64)
        send(made, processors[0], [packet])
        send(made, processors[1], [packet])
        adopt(made, {1: True})
        assert made.mbuf(1, 1)[:4] == struct.pack("=I", 2)
        send(made, processors[1], [packet])
        assert made.mbuf(1, 1)[:4] == struct.pack("=I", 3)


def test_nobody_writes_to_it_but_the_program(made: TestStage) -> None:
    """Not the application of a private node either: what it wrote, which processor's would it be?"""
    of_program(made, COUNTS, 64, private=True)
    found = made.stage.mbuf(1, 1)
    assert found is not None and not found.writable
    with pytest.raises(PermissionError):
        mmap.mmap(found.fd, found.lanes * found.stride)


def test_what_all_of_them_take_is_the_nodes(made: TestStage) -> None:
    lanes = bpf.possible_cpus()
    of_program(made, ALONE + "MEM[0]++;", 4096)
    found = made.stage.mbuf(1, 1)
    assert found is not None
    assert (made.stage.memory(1), found.stride % 128) == (lanes * found.stride, 0)
    made.close(1)
    placed = made.open(1, [DEVICE, Node("FPL-2", ALONE + "MEM[0]++;", (0,), MAP_BYTES_MAX // 2)]).placed[1]
    assert placed.level is Level.USERSPACE
    assert f"octets for each of {lanes} processors: the kernel has {MAP_BYTES_MAX}" in placed.reason
