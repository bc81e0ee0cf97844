# SPDX-License-Identifier: BSD-3-Clause
"""Programs that read MBufs of other nodes (the paper's section 2.2): MEM@name[n]."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from pyffpf._core import ffi, lib

from graph.hooked_engine import FRAMES, Hooked, memory_of


class Case(NamedTuple):
    text: str
    results: tuple[int, ...]  # of the packets that pass the last node


COUNT = "n=(packetcount)"
CASES = {
    "what a class counts": Case(f'(device,hook:h) -> {COUNT} -> (FPL-2,"RETURN M@N[0];")', (5, 5, 5, 5, 5)),
    "of a node beside it": Case(
        f'(device,hook:h) -> [{COUNT} -> (BPF,udp)] | (FPL-2,"RETURN 10 + MEM@n.Q[0];")', (15,) * 5),
    "another program's": Case(
        '(device,hook:h) -> save=(FPL-2,"MEM[3] = TCP_DPORT; RETURN 1;",16) -> (FPL-2,"RETURN MEM@SAVE.W[6];")',
        (80,) * 5),
    "from a filter that is called": Case(
        f'seen=(FPL-2,"RETURN MEM@n[0];"); (device,hook:h) -> {COUNT} -> (FPL-2,"RETURN 1 + EXTERN(seen,0,0);")',
        (6,) * 5),
    "FPL-1": Case(f'(device,hook:h) -> {COUNT} -> (FPL-1,"push 0; push 4; call mem@n; ret")', (5,) * 5),
    "behind its end": Case(f'(device,hook:h) -> {COUNT} -> (FPL-2,"RETURN 1 + MEM@n[1] + MEM@n[2];")', (6,) * 5),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_reads(case: Case, engine: Hooked) -> None:
    """The frames are one batch: a node has seen all of it before those behind it see the first."""
    flow = engine.flow(case.text)
    engine.read_begin(flow)
    engine.hand_over_frames()
    assert tuple(result for _, _, result in engine.read(flow, 99, wait_ms=0)) == case.results


def test_a_node_of_another_flow_is_read_and_runs_as_long_as_its_reader(engine: Hooked) -> None:
    plain = ffi.new("struct ffpf_graph_flow **")
    assert lib.ffpf_graph_flow_create(plain, engine.engine, b"web", lib.FFPF_GRAPH_SHARE_ALL, engine.err) == 0
    place = ffi.new("struct ffpf_graph_error *")
    assert lib.ffpf_graph_flow_populate(plain[0], b"(device,hook:h) -> n=(packetcount)", place) == 0
    assert lib.ffpf_graph_flow_instantiate(plain[0], place) == 0
    reader = engine.flow('seen=web.n; (device,hook:h) -> (FPL-2,"MEM[0] = MEM@seen[0]; RETURN 1;",8)')
    engine.hand_over_frames()  # the other flow is not active: its node runs for the reader
    assert memory_of(engine, reader, 2, 1) == (len(FRAMES),)
    lib.ffpf_graph_flow_destroy(plain[0])
    engine.hand_over_frames()
    assert memory_of(engine, reader, 2, 1) == (2 * len(FRAMES),)
    assert lib.ffpf_engine_instance_count(engine.engine) == 3
    lib.ffpf_graph_flow_destroy(reader)
    assert lib.ffpf_engine_instance_count(engine.engine) == 0


def test_whose_memory_is_read_is_part_of_what_is_shared(engine: Hooked) -> None:
    texts = [
        f'(device,hook:h) -> {first}=(packetcount) | {second}=(bytecount) -> (FPL-2,"RETURN MEM@x[0];")'
        for first, second in (("x", "y"), ("y", "x"), ("x", "z"))
    ]
    found = []
    for text in texts:
        node = ffi.new("struct ffpf_graph_flow_node *")
        assert lib.ffpf_graph_flow_node(engine.flow(text), 3, node, engine.err) == 0
        found.append(int(node.instance))
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ('(device,hook:h) -> n=(BPF,tcp) -> (FPL-2,"RETURN MEM@n[0];")', 50, "no filter n is there whose MBuf"),
        ('(device,hook:h) -> (FPL-2,"RETURN MEM@n[0];") -> n=(packetcount)', 35, "no filter n is there"),
        ('(device,hook:h) -> n=(FPL-2,"MEM[0]++; RETURN MEM@n[0];",8)', 47, "no filter n is there"),
        ('(device,hook:h) -> n=(packetcount) | N=(bytecount) -> (FPL-2,"RETURN MEM@n[0];")', 70, "no filter n is"),
        ('x=gone.n; (device,hook:h) -> (FPL-2,"RETURN MEM@x[0];")', 1, 'has a node "gone.n"'),
    ],
)
def test_refusals(text: str, column: int, words: str, engine: Hooked) -> None:
    flow, place = ffi.new("struct ffpf_graph_flow **"), ffi.new("struct ffpf_graph_error *")
    assert lib.ffpf_graph_flow_create(flow, engine.engine, ffi.NULL, lib.FFPF_GRAPH_SHARE_ALL, engine.err) == 0
    assert lib.ffpf_graph_flow_populate(flow[0], text.encode(), place) == 0
    assert lib.ffpf_graph_flow_instantiate(flow[0], place) < 0
    said = bytes(ffi.string(place.error.text)).decode()
    assert words in said
    assert (place.line, place.column) == (1, column), said
