# SPDX-License-Identifier: BSD-3-Clause
"""The class FPL-1: programs assembled by fpl1 in a child, or objects, run on packets that a test hands over."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyffpf._core import ffi, lib

from fpl.fpl1 import assemble
from fpl.fpl1.isa import Insn
from graph.test_fpl2 import Graph, frame

FPL1 = Path(sys.executable).parent / "fpl1"
WEB = """.memory 200
pkt.u8 23; push 6; ne; jnz out
pkt.u16 36; push 80; ne; jnz out
push 1; addm.u32 64
ret 7
out: ret 0"""


def dropped(graph: Graph, node: int) -> int:
    counters, error = ffi.new("struct ffpf_node_counters *"), ffi.new("struct ffpf_error *")
    assert lib.ffpf_graph_flow_counters(graph.flow, node, counters, error) == 0
    return sum(counters.dropped)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Graph]]:
    """Graphs that a test makes, closed behind it; the assembler is this environment's."""
    monkeypatch.setenv("FFPF_FPL1", str(FPL1))
    made: list[Graph] = []
    yield made
    for graph in made:
        graph.close()


@pytest.mark.parametrize("as_object", [False, True])
def test_a_program_filters_and_counts(as_object: bool, graphs: list[Graph], tmp_path: Path) -> None:
    program = tmp_path / "web.fpl1"
    program.write_bytes(assemble(WEB).to_bytes())
    text = f"file:{program}" if as_object else WEB
    graph = Graph(f'(device,hook:test) -> (FPL-1,"{text}",20) -> (packetcount)')
    graphs.append(graph)
    graph.activate()
    graph.hand_over(frame(80), frame(81), frame(80, proto=17), frame(80)[:30], frame(80))
    assert graph.counters(1) == (5, 2)
    memory = graph.mbuf(1)
    assert struct.unpack_from("64I", memory)[16] == 2
    assert memory[-32:] == struct.pack("QQIIII", 2, 0, 256, len(assemble(WEB).code), 0, 0)
    assert memory[256:264] == Insn(0x40, k=23).to_bytes()
    assert struct.unpack_from("Q", graph.mbuf(2))[0] == 2


def test_functions_from_outside_and_steps(graphs: list[Graph]) -> None:
    graph = Graph('(device,hook:test) -> (FPL-1,"push 0; dup; call checksum of=ip; push 1; add; ret") -> '
                  '(FPL-1,"pkt.u16 36; push 80; ne; jnz l; push 0; dup; call drop; ret; l: jmp l")')  # fmt: skip
    graphs.append(graph)
    graph.activate()
    graph.hand_over(frame(80), frame(81))
    assert graph.counters(1) == (2, 2)
    assert graph.counters(2) == (2, 0)
    assert dropped(graph, 2) == 2


def test_one_object_is_one_node_and_another_is_not(graphs: list[Graph], tmp_path: Path) -> None:
    program = tmp_path / "some.fpl1"
    text = f'(device,hook:test) -> (FPL-1,"file:{program}")'
    graphs.append(Graph(text))
    flows = []
    for number, instances in ((1, 2), (1, 2), (2, 3)):
        program.write_bytes(assemble(f"ret {number}").to_bytes())
        flow, error = ffi.new("struct ffpf_graph_flow **"), ffi.new("struct ffpf_graph_error *")
        plain = ffi.new("struct ffpf_error *")
        share = lib.FFPF_GRAPH_SHARE_ALL
        assert lib.ffpf_graph_flow_create(flow, graphs[0].engine, ffi.NULL, share, plain) == 0
        flows.append(flow[0])
        assert lib.ffpf_graph_flow_populate(flow[0], text.encode(), error) == 0
        assert lib.ffpf_graph_flow_instantiate(flow[0], error) == 0
        assert lib.ffpf_engine_instance_count(graphs[0].engine) == instances  # the device, and programs
    for each in flows:
        lib.ffpf_graph_flow_destroy(each)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pkt.u16 36; psh 5; ret", "1:43: FPL-1, 1:13: psh is no operation. Is it push"),
        ("mem.u8 0; ret", "1:31: FPL-1, 1:1: there is no memory. Begin with .memory OCTETS"),
        ("push 0; dup; call Get; ret", "Get"),
        ("push 0; dup; call checksum of=all; ret", "all"),
        ("push 0; dup; call checksum; ret", "checksum reads 8 octets and writes 0: the memory has 0"),
        ("file:/nowhere", "/nowhere: No such file"),
        ("file:/dev/null", "no object of FPL-1"),
    ],
)
def test_what_is_wrong_is_the_error(text: str, words: str, graphs: list[Graph]) -> None:
    graph = Graph(f'(device,hook:test) -> (FPL-1,"{text}")')
    graphs.append(graph)
    assert graph.instantiate() < 0
    assert words in graph.words()


def test_where_programs_must_be_signed_there_is_no_fpl_1(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFPF_REQUIRE_SIGNED", "1")
    graph = Graph('(device,hook:test) -> (FPL-1,"ret 1")')
    graphs.append(graph)
    assert graph.instantiate() < 0
    assert "those in FPL-1 are not. FFPF_REQUIRE_SIGNED is set" in graph.words()
