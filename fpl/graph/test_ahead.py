# SPDX-License-Identifier: BSD-3-Clause
"""What is compiled before it is a graph's turn is found when it is, and nothing else is different."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpl.classify import Compiler, Compilers
from fpl.classify.testing import Packet
from fpl.fpl2.packets import ethernet, ip4, tcp
from fpl.graph.node import Instance, Level, Node
from fpl.graph.testing import DEVICE, TestStage, bpf_node

MEMORY = "IF (TCP_DPORT == 80) THEN MEM[0]++; RETURN 1; FI"
TABLE = "RETURN IP_PROTO == 6;"
CODE = "RETURN TCP_DPORT;"  # several values: no table
CALLS_C = "RETURN TCP_DPORT == EXTERN(GetDynTCPDPortFromRTSP, 0, 4);"
WEB = Packet(ethernet(ip4(6, tcp(1000, 80, b"x"))))
OTHER = Packet(ethernet(ip4(6, tcp(1000, 81, b"x"))))


def program(text: str, *inputs: int, mbuf: int = 0) -> Node:
    return Node("FPL-2", text, inputs or (0,), mbuf=mbuf)


@pytest.fixture
def preparing() -> Iterator[Compiler]:
    with contextlib.closing(Compiler()) as compiler:
        yield compiler


@pytest.fixture
def apart(compiler: Compiler, preparing: Compiler, one_processor: None) -> Iterator[TestStage]:
    """What is prepared has a compiler of its own."""
    with TestStage(compiler, preparing=Compilers(preparing)) as stage:
        yield stage


def opened(stage: TestStage, flow: int, nodes: list[Node]) -> Instance:
    with contextlib.closing(stage.stage.ahead(nodes)) as ahead:
        ahead.compile()
        return stage.open(flow, nodes, filters=ahead.filters)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def how(instance: Instance) -> list[tuple[Level, str, str]]:
    return [(placed.level, placed.how, placed.reason) for placed in instance.placed]


NODES = {
    "with memory": [DEVICE, program(MEMORY, mbuf=8)],
    "a table": [DEVICE, program(TABLE)],
    "code": [DEVICE, program(CODE)],
    "code behind another": [DEVICE, bpf_node(23, 6), program(CODE, 1)],
    "a table behind another": [DEVICE, bpf_node(23, 6), program(TABLE, 1)],
    "twice": [DEVICE, program(CODE), program(MEMORY, mbuf=8), program(CODE, 2)],
    "functions in C": [DEVICE, program(CALLS_C, mbuf=8)],
}


@pytest.mark.parametrize("which", NODES)
def test_a_graph_is_as_it_were_without(apart: TestStage, made: TestStage, which: str) -> None:
    nodes = NODES[which]
    files = descriptors()
    with_it, without = opened(apart, 1, nodes), made.open(1, nodes)
    assert how(with_it) == how(without)
    assert all(level is Level.KERNEL for level, *_ in how(with_it))
    assert ("in tables" in how(with_it)[-1][1]) == which.startswith("a table")
    for packet in (WEB, OTHER, WEB):
        assert apart.send(packet) == made.send(packet)
    assert apart.counts(1) == made.counts(1)
    for stage in (apart, made):
        stage.close(1)
    assert descriptors() <= files + 8, "the compilers' pipes, and a program of each stage"


def test_the_stage_compiles_no_program_again(apart: TestStage, compiler: Compiler, preparing: Compiler) -> None:
    """What is left for it: what is around the functions, alone and with all others."""
    text = MEMORY.replace("80", "8123")  # that no other test has
    with contextlib.closing(apart.stage.ahead([DEVICE, program(text, mbuf=8)])) as ahead:
        ahead.compile()
        before = compiler.count
        apart.open(1, [DEVICE, program(text, mbuf=8)], filters=ahead.filters)
    assert preparing.count == 1
    with_it = compiler.count - before
    other = MEMORY.replace("80", "8124")
    apart.open(2, [DEVICE, program(other, mbuf=8)])
    assert compiler.count - before - with_it == with_it + 1


def test_what_is_wrong_is_said_by_who_places_it(apart: TestStage) -> None:
    nodes = [DEVICE, program("RETURN 1 +;"), program("file:/nowhere.fplo"), Node("packetcount", "", (0,))]
    instance = opened(apart, 1, nodes)
    assert [placed.level for placed in instance.placed] == [
        Level.KERNEL, Level.USERSPACE, Level.USERSPACE, Level.KERNEL,
    ]  # fmt: skip
    assert "the compiler for the kernel" in instance.placed[1].reason
    assert apart.stage.ahead(nodes).is_slow and not apart.stage.ahead(nodes[3:]).is_slow


def test_cancelled_it_ends_and_leaves_all_to_the_stage(apart: TestStage, preparing: Compiler) -> None:
    nodes = [DEVICE, *(program(CODE.replace("TCP_DPORT", f"TCP_DPORT + {number}")) for number in range(20))]
    with contextlib.closing(apart.stage.ahead(nodes)) as ahead:
        work = threading.Thread(target=ahead.compile)
        work.start()
        ahead.cancel()
        work.join(60)
        assert not work.is_alive()
        assert preparing.count < 20
        assert apart.stage.ahead(nodes).is_slow
    instance = opened(apart, 1, nodes[:2])
    assert instance.placed[1].level is Level.KERNEL
    apart.send(WEB)
    assert apart.counts(1) == [None, (1, 1)]
