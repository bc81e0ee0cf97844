# SPDX-License-Identifier: BSD-3-Clause
"""Graphs in the kernel, on packets written by hand: what runs once, what is counted, what is delivered."""

from __future__ import annotations

import mmap

import pytest

from fpl.classify.testing import Packet, octets_of
from fpl.graph.node import GraphError, Level, Node
from fpl.graph.testing import DEVICE, TestStage, bpf_node

ONE, TWO = Packet(bytes([1]) * 60), Packet(bytes([2]) * 100)
DEVICES = 0xFFFFFFFF  # the result of packets that came out of no filter


def test_packets_are_counted_behind_a_filter_and_go_to_nobody(made: TestStage) -> None:
    instance = made.open(1, [DEVICE, bpf_node(0, 1), Node("packetcount", "", (1,)), Node("bytecount", "", (1,))])
    for packet in (ONE, TWO, ONE, ONE):
        assert made.send(packet) == {}
    assert (made.u64(1, 2), made.u64(1, 3)) == (3, 180)
    assert made.counts(1) == [None, (4, 3), (3, 3), (3, 3)]
    assert instance.delivered == []
    assert {placed.level for placed in instance.placed} == {Level.KERNEL}


def test_a_prefix_of_two_flows_runs_once(made: TestStage) -> None:
    made.open(1, [DEVICE, bpf_node(0, 1), Node("packetcount", "", (1,))])
    made.send(ONE)
    second = made.open(2, [DEVICE, bpf_node(0, 1), Node("packetcount", "", (1,)), Node("bytecount", "", (2,))])
    assert [placed.shared for placed in second.placed] == [True, True, True, False]
    compiled = made.compiler.count
    made.open(3, [DEVICE, bpf_node(0, 1), Node("packetcount", "", (1,))])
    assert made.compiler.count == compiled, "a flow whose nodes are all there compiles nothing"
    made.send(ONE)
    assert made.u64(1, 2) == made.u64(2, 2) == 2
    assert made.u64(2, 3) == 60
    assert made.counts(1)[1] == made.counts(2)[1] == (2, 2)
    assert made.stage.running == 3


def test_of_two_groups_filters_are_shared_and_counters_are_not(made: TestStage) -> None:
    graph = [DEVICE, bpf_node(0, 1), Node("packetcount", "", (1,))]
    made.open(1, graph, "students")
    made.send(ONE)
    placed = made.open(2, graph, "operators").placed
    assert [where.shared for where in placed] == [True, True, False]
    made.send(ONE)
    assert (made.u64(1, 2), made.u64(2, 2)) == (2, 1)


def test_a_private_node_is_not_shared_and_may_be_written(made: TestStage) -> None:
    graph = [DEVICE, Node("packetcount", "", (0,), private=True)]
    made.open(1, graph)
    made.open(2, graph)
    found = made.stage.mbuf(1, 1)
    assert found is not None
    with mmap.mmap(found.fd, found.at + 8) as memory:
        memory[found.at :] = (1000).to_bytes(8, "little")
    made.send(ONE)
    assert (made.u64(1, 1), made.u64(2, 1)) == (1001, 1)


def test_a_shared_mbuf_cannot_be_written(made: TestStage) -> None:
    made.open(1, [DEVICE, Node("packetcount", "", (0,))])
    found = made.stage.mbuf(1, 1)
    assert found is not None
    with pytest.raises(PermissionError):
        mmap.mmap(found.fd, found.at + 8)


def test_a_flow_gets_what_comes_out_of_its_last_node(made: TestStage) -> None:
    made.open(1, [DEVICE, bpf_node(0, 1)])
    made.open(2, [DEVICE, bpf_node(0, 2), bpf_node(1, 2, 1)])
    assert made.send(ONE) == {1: 262144}
    assert made.send(TWO) == {2: 262144}
    assert made.send(Packet(bytes([2, 9]) + bytes(60))) == {}
    assert made.counts(2) == [None, (3, 2), (2, 1)]


def test_results_say_which_of_several_nodes_a_packet_came_out_of(made: TestStage) -> None:
    made.open(1, [DEVICE, bpf_node(0, 1), bpf_node(1, 1), Node("packetcount", "", (1, 2), deliver=True)])
    made.open(2, [DEVICE, bpf_node(0, 1), bpf_node(1, 1)])
    assert made.send(ONE) == {1: DEVICES, 2: 0b11}
    assert made.send(Packet(bytes([1, 9]) * 30)) == {1: DEVICES, 2: 0b01}
    assert made.send(Packet(bytes([9, 1]) * 30)) == {1: DEVICES, 2: 0b10}
    assert made.send(TWO) == {}
    assert made.u64(1, 3) == 3


def test_a_paused_flow_counts_nothing_and_stops_nobody(made: TestStage) -> None:
    graph = [DEVICE, bpf_node(0, 1), Node("packetcount", "", (1,), deliver=True)]
    made.open(1, graph, on=False)
    assert made.send(ONE) == {}
    assert made.u64(1, 2) == 0
    made.stage.switch(1, True)
    assert made.send(ONE) == {1: 262144}
    made.open(2, graph)
    made.stage.switch(1, False)
    assert made.send(ONE) == {2: 262144}
    assert made.u64(1, 2) == 2


def test_numbers_columns_and_switches_of_flows_that_went_are_used_again(made: TestStage) -> None:
    free = sorted(made.columns)
    for round_ in range(3):
        for flow in (1, 2, 3):
            made.open(flow, [DEVICE, bpf_node(0, flow), Node("packetcount", "", (1,), deliver=True)])
        assert made.send(ONE) == {1: 262144}
        made.close(2)
        assert made.send(TWO) == {}
        made.open(4, [DEVICE, bpf_node(0, 2), Node("packetcount", "", (1,))])
        assert made.send(TWO) == {}
        assert made.u64(4, 2) == 1, round_
        assert made.counts(4) == [None, (1, 1), (1, 1)]
        for flow in (4, 1, 3):
            made.close(flow)
    assert sorted(made.columns) == free
    assert made.stage.running == 0
    assert made.stage.program == (0, 0)


def test_what_the_kernel_cannot_run_is_behind_what_it_can(made: TestStage) -> None:
    graph = [DEVICE, bpf_node(0, 1), Node("rate", "1s", (1,), name="r"), Node("packetcount", "", (2,))]
    instance = made.open(1, graph)
    assert [(where.level, where.reason) for where in instance.placed[2:]] == [
        (Level.USERSPACE, "the kernel has no rate"),
        (Level.USERSPACE, "its input r runs in userspace"),
    ]
    assert instance.delivered == [1]
    assert made.send(ONE) == {1: 262144}


def test_pins_are_respected(made: TestStage) -> None:
    graph = [DEVICE, Node("packetcount", "", (0,))]
    instance = made.open(1, graph, pins={"packetcount": Level.USERSPACE})
    assert instance.placed[1].reason == "the administrator keeps packetcount in userspace"
    with pytest.raises(GraphError, match=r"\(rate\): the administrator wants rate in the kernel"):
        made.open(2, [DEVICE, Node("rate", "", (0,))], pins={"rate": Level.KERNEL})


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([], "one node at least"),
        ([DEVICE] * 61, "60 nodes at most"),
        ([Node("packetcount", "", (0,))], "earlier nodes"),
        ([DEVICE, Node("packetcount")], "nothing leads to it"),
        ([DEVICE, Node("packetcount", "x", (0,))], "no argument"),
        ([DEVICE, Node("packetcount", "", (0, 0))], "twice"),
        ([DEVICE, Node("packetcount", "", (0,), mbuf=1 << 31)], "octets at most"),
        ([DEVICE, bpf_node(0, 1, name="a"), bpf_node(0, 1, name="a")], "the same name"),
    ],
)
def test_what_is_no_graph_is_refused_and_leaves_nothing(made: TestStage, nodes: list[Node], said: str) -> None:
    with pytest.raises(GraphError, match=said):
        made.open(1, nodes)
    assert made.stage.running == 0


def test_more_nodes_than_the_kernel_takes_go_to_userspace(made: TestStage) -> None:
    made.open(1, [DEVICE, *(Node("packetcount", "", (n,)) for n in range(59))])
    instance = made.open(2, [DEVICE, *(Node("bytecount", "", (n,)) for n in range(3))])
    assert [where.level for where in instance.placed] == [Level.KERNEL, Level.KERNEL, Level.USERSPACE, Level.USERSPACE]
    assert instance.placed[2].reason == "as many nodes run on this source as the kernel takes"
    made.send(TWO)
    assert (made.u64(1, 59), made.u64(2, 1)) == (1, 100)


def test_results_are_those_of_the_last_filter(made: TestStage) -> None:
    """Of a filter that says different things of packets too."""
    length = octets_of([(0x80, 0, 0, 0), (0x16, 0, 0, 0)])  # ld len; ret a
    lengths = Node("BPF", "", (1,), insns=length)
    made.open(1, [DEVICE, bpf_node(0, 1), lengths, Node("packetcount", "", (2,), deliver=True)])
    made.open(2, [DEVICE, Node("packetcount", "", (0,), deliver=True)])
    assert made.send(ONE) == {1: 60, 2: DEVICES}
    assert made.send(TWO) == {2: DEVICES}


def test_a_sampler_keeps_every_nth_packet_and_counts_in_four_octets(made: TestStage) -> None:
    made.open(1, [DEVICE, Node("sampler", "3", (0,), 4)])
    assert [bool(made.send(ONE)) for _ in range(8)] == [False, False, True] * 2 + [False, False]
    assert made.mbuf(1, 1) == (8).to_bytes(4, "little")
    assert made.counts(1)[1] == (8, 2)


def test_a_random_sampler_follows_its_generator(made: TestStage) -> None:
    """splitmix64 begun at the seed: the numbers that csrc/graph/class_sampler.c draws."""
    made.open(1, [DEVICE, Node("sampler", "1/2 random seed=7", (0,), 8)])
    state, expected = 7, []
    for _ in range(40):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        expected.append(z ^ z >> 31 <= (2**64 - 1) // 2)
    assert [bool(made.send(ONE)) for _ in range(40)] == expected
    assert made.u64(1, 1) == 40


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("", "which packets"), ("0", "no number from 1"), ("2 3", "said twice"), ("2 seed=1", "for random and hash"),
        ("1/2 odd", "none of random, hash"), ("1/2 k=1", "k=1: not known"), ("'a", "is no argument"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_a_sampler_are_refused(made: TestStage, argument: str, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        made.open(1, [DEVICE, Node("sampler", argument, (0,))])


def test_equal_nodes_of_one_flow_are_one_and_both_say_that_they_passed(made: TestStage) -> None:
    made.open(1, [DEVICE, bpf_node(0, 1), bpf_node(0, 1)])
    assert made.stage.running == 1
    assert made.send(ONE) == {1: 0b11}
    assert made.send(TWO) == {}
