# SPDX-License-Identifier: BSD-3-Clause
"""Random graphs of several flows, merged in the kernel, beside each of them alone in Python, packet by packet."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpl.classify import Compiler
from fpl.classify.testing import Packet
from fpl.graph.model import Model
from fpl.graph.node import Node
from fpl.graph.testing import DEVICE, TestStage, octet_is

VALUES = 3  # few: so that prefixes are equal, and filters both accept and refuse


def node_of(kind: str, number: int, inputs: tuple[int, ...]) -> Node:
    if kind == "BPF":
        at, value = number % 2, number // 2 % VALUES
        return Node("BPF", f"{at} {value}", inputs, insns=octet_is(at, value))
    if kind == "sampler":
        return Node("sampler", str(1 + number % 3), inputs, 4)
    return Node(kind, "", inputs)


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    nodes = [DEVICE]
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["BPF", "BPF", "sampler", "packetcount", "bytecount"]))
        inputs = draw(st.sets(st.integers(0, len(nodes) - 1), min_size=1, max_size=2))
        nodes.append(node_of(kind, draw(st.integers(0, 5)), tuple(sorted(inputs))))
    return nodes


PACKETS = st.lists(st.tuples(st.integers(0, VALUES - 1), st.integers(0, VALUES - 1), st.integers(14, 200)), max_size=25)


@pytest.fixture(scope="module")
def shared(compiler: Compiler) -> Iterator[TestStage]:
    """One for all examples: it takes longer to make than a graph."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    with TestStage(compiler) as made:
        yield made
    os.sched_setaffinity(0, before)


@given(flows=st.lists(graphs(), min_size=1, max_size=4), packets=PACKETS, ends=st.integers(0, 25), seed=st.integers(0))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_merged_graphs_do_what_each_does_alone(
    shared: TestStage, flows: list[list[Node]], packets: list[tuple[int, int, int]], ends: int, seed: int
) -> None:
    """In the middle one flow ends, and one is paused: nobody else notices."""
    try:
        _compare(shared, flows, packets, ends, seed)
    finally:
        for flow in list(shared.flows):
            shared.close(flow)
    assert shared.stage.running == 0


def _compare(
    made: TestStage, flows: list[list[Node]], packets: list[tuple[int, int, int]], ends: int, seed: int
) -> None:
    models = {number: Model(nodes) for number, nodes in enumerate(flows, 1)}
    for number, nodes in enumerate(flows, 1):
        made.open(number, nodes, f"group {number % 2}", on=False)
    for number in models:
        made.stage.switch(number, True)
    paused: set[int] = set()
    for place, (first, second, size) in enumerate(packets):
        if place == ends and len(models) > 1:
            gone = 1 + seed % len(flows)
            made.close(gone)
            del models[gone]
            paused = {1 + (seed + 1) % len(flows)} & set(models)
            for number in paused:
                made.stage.switch(number, False)
                del models[number]
        octets = bytes([first, second]).ljust(size, b"x")
        delivered = made.send(Packet(octets))
        expected = {}
        for number, model in models.items():
            out = model.handle(octets)
            bits = [out[position] for position in model.ends]
            if any(bits):
                expected[number] = bits
        assert delivered.keys() == expected.keys()
        for number, bits in expected.items():
            if len(bits) > 1:
                assert delivered[number] == sum(bit << j for j, bit in enumerate(bits))
    for number, model in models.items():
        assert made.counts(number) == [None, *((known.came, known.out) for known in model.running[1:])]
        for position, known in enumerate(model.running):
            if known.node.kind == "sampler":
                assert struct.unpack("=I", made.mbuf(number, position)[:4])[0] == known.value
            elif known.node.kind in ("packetcount", "bytecount"):
                assert made.u64(number, position) == known.value
