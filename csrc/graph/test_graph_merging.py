# SPDX-License-Identifier: BSD-3-Clause
"""Merging changes what runs, and nothing that is seen: random flows over the same hooks, merged, each for itself, and
as a model in Python says, count and deliver the same."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyffpf._core import ffi, lib

from graph.graph_engine import Engine, checked

HOOKS = ("a", "b")
DLT_EN10MB = 1
SNAP_LEN = 262144
UNFILTERED = 2**32 - 1
COUNTERS = ("packetcount", "bytecount")

Packet = tuple[str, int]  # hook, octets on the wire

DEVICES = st.sampled_from(["(device,hook:a)", "(device,hook:b)", "(device,hook:a) | (device,hook:b)"])
FILTERS = ("(sampler,2)", "(sampler,3,4)", '(BPF,"len > 100")', "(BPF,len < 300)", "(packetcount,,8)", "(bytecount,,8)",
           "(packetcount,,16)")  # fmt: skip
TUPLES = st.sampled_from(FILTERS)
STAGES = st.one_of(
    TUPLES,
    TUPLES,
    st.lists(TUPLES, min_size=2, max_size=3).map(" | ".join),
    st.tuples(TUPLES, TUPLES, TUPLES).map(lambda t: f"[{t[0]} -> {t[1]}] | {t[2]}"),
)
FLOWS = st.builds(lambda device, stages: " -> ".join([device, *stages]), DEVICES, st.lists(STAGES, max_size=4))
PACKETS = st.lists(st.tuples(st.sampled_from(HOOKS), st.integers(14, 500)), max_size=60)


@dataclass
class Seen:
    """What one flow has to show."""

    nodes: list[tuple[int, int]]  # packets in and out
    mbufs: list[int | None]  # the first word
    packets: list[tuple[int, int]]  # number and result of each that the last stage let through


@dataclass
class Model:
    """A flow alone, packet by packet."""

    nodes: Sequence[tuple[str, str, tuple[int, ...]]]
    ends: Sequence[int]
    seen: Seen = field(init=False)

    def __post_init__(self) -> None:
        self.since = [0] * len(self.nodes)
        self.seen = Seen([(0, 0) for _ in self.nodes], [None for _ in self.nodes], [])
        for i, (class_name, _, _) in enumerate(self.nodes):
            if class_name in COUNTERS:
                self.seen.mbufs[i] = 0

    def judge(self, i: int, class_name: str, expression: str, wire_len: int, result: int) -> int:
        if class_name == "sampler":
            self.since[i] = (self.since[i] + 1) % int(expression)
            return 0 if self.since[i] else result
        if class_name == "BPF":
            _, operator, number = expression.split()
            passes = wire_len > int(number) if operator == ">" else wire_len < int(number)
            return SNAP_LEN if passes else 0
        self.seen.mbufs[i] = (self.seen.mbufs[i] or 0) + (wire_len if class_name == "bytecount" else 1)
        return result

    def handle(self, number: int, packet: Packet) -> None:
        hook, wire_len = packet
        results: list[int] = []
        for i, (class_name, expression, inputs) in enumerate(self.nodes):
            if class_name == "device":
                came = out = UNFILTERED if expression == f"hook:{hook}" else 0
            else:
                came = next((results[j] for j in inputs if results[j]), 0)
                out = self.judge(i, class_name, expression, wire_len, came) if came else 0
            results.append(out)
            before_in, before_out = self.seen.nodes[i]
            self.seen.nodes[i] = (before_in + bool(came), before_out + bool(out))
        result = next((results[j] for j in self.ends if results[j]), 0)
        if result:
            self.seen.packets.append((number, result))


def shape(text: str) -> Model:
    out, err = ffi.new("struct ffpf_graph_text **"), ffi.new("struct ffpf_graph_error *")
    checked(lib.ffpf_graph_text_parse(out, text.encode(), len(text), err), err)
    graph = ffi.gc(out[0], lib.ffpf_graph_text_free)
    nodes = []
    for n in (graph.nodes[i] for i in range(graph.count)):
        inputs = tuple(n.inputs[i] for i in range(n.input_count))
        nodes.append((ffi.string(getattr(n, "class")).decode(), ffi.string(n.expression).decode(), inputs))
    return Model(nodes, [graph.ends[i] for i in range(graph.end_count)])


class Flows:
    """Flows over the hooks of HOOKS, all active, and read at their last stage."""

    def __init__(self, texts: Sequence[str], sharing: int) -> None:
        self.engine = Engine(batch=8, queue_slots=4096)
        self.hooks = {name: self.engine.hook(name, DLT_EN10MB) for name in HOOKS}
        self.flows = [self.engine.flow(text, sharing) for text in texts]
        for flow in self.flows:
            self.engine.read_begin(flow)

    def handle(self, numbers: Sequence[int], hook: str, lengths: Sequence[int]) -> None:
        packets = [(struct.pack("<4I", n, 0, 0, 0), length, n) for n, length in zip(numbers, lengths, strict=True)]
        self.engine.hand_over(self.hooks[hook], packets)

    def seen(self, flow: Any, classes: Sequence[str]) -> Seen:
        seen = Seen([], [], [])
        for octets, time_ns, result in self.engine.read(flow, 4096, wait_ms=0, at_once=7):
            assert struct.unpack_from("<I", octets)[0] * 1_000_000_000 == time_ns
            seen.packets.append((time_ns // 1_000_000_000, result))
        for i, class_name in enumerate(classes):
            counters = self.engine.counters(flow, i)
            seen.nodes.append((getattr(counters, "in"), counters.out))
            seen.mbufs.append(self.engine.word(flow, i) if class_name in COUNTERS else None)
        return seen


@settings(max_examples=40)
@given(st.lists(FLOWS, min_size=1, max_size=5), PACKETS, st.integers(1, 20))
@example(["(device,hook:a) -> (sampler,2) -> (packetcount,,8)"] * 3, [("a", 60)] * 30, 7)
def test_merged_flows_see_what_they_would_see_alone(texts: list[str], packets: list[Packet], at_once: int) -> None:
    models = [shape(text) for text in texts]
    merged, alone = Flows(texts, lib.FFPF_GRAPH_SHARE_ALL), Flows(texts, lib.FFPF_GRAPH_SHARE_NONE)
    counts = [lib.ffpf_engine_instance_count(flows.engine.engine) for flows in (merged, alone)]
    assert counts[0] <= counts[1]
    number = 0
    while number < len(packets):
        hook = packets[number][0]
        end = number + 1
        while end < len(packets) and end - number < at_once and packets[end][0] == hook:
            end += 1
        for flows in (merged, alone):
            flows.handle(range(number, end), hook, [length for _, length in packets[number:end]])
        for i in range(number, end):
            for model in models:
                model.handle(i, packets[i])
        number = end
    for model, one, other in zip(models, merged.flows, alone.flows, strict=True):
        classes = [class_name for class_name, _, _ in model.nodes]
        assert merged.seen(one, classes) == model.seen
        assert alone.seen(other, classes) == model.seen
