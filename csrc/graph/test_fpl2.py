# SPDX-License-Identifier: BSD-3-Clause
"""The class FPL-2: programs compiled by fplc in a child, run on packets that a test hands over."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyffpf._core import ffi, lib

FPLC = Path(sys.executable).parent / "fplc"
COUNT = "IF (PKT.TCP_DPORT == 80) THEN MEM[PKT.TCP_DPORT & 63]++; RETURN 7; FI"


def frame(port: int, proto: int = 6) -> bytes:
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, proto, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return bytes(12) + b"\x08\0" + ip + struct.pack("!HHIIBBHHH", 1234, port, 0, 0, 0x50, 2, 0, 0, 0)


class Graph:
    """An engine with a hook named `test`, and one flow."""

    def __init__(self, text: str) -> None:
        self.error = ffi.new("struct ffpf_graph_error *")
        plain = ffi.new("struct ffpf_error *")
        engine, hook, flow = (ffi.new(f"struct {kind} **") for kind in ("ffpf_engine", "ffpf_engine_hook",
                                                                          "ffpf_graph_flow"))  # fmt: skip
        assert lib.ffpf_engine_create(engine, ffi.new("struct ffpf_engine_config *"), plain) == 0
        self.engine = engine[0]
        assert lib.ffpf_engine_hook_open(hook, self.engine, b"test", 1, plain) == 0
        self._hook = hook[0]
        assert lib.ffpf_graph_flow_create(flow, self.engine, ffi.NULL, lib.FFPF_GRAPH_SHARE_ALL, plain) == 0
        self.flow, self._plain = flow[0], plain
        assert lib.ffpf_graph_flow_populate(self.flow, text.encode(), self.error) == 0, ffi.string(
            self.error.error.text
        )

    def instantiate(self) -> int:
        return int(lib.ffpf_graph_flow_instantiate(self.flow, self.error))

    def words(self) -> str:
        return bytes(ffi.string(self.error.error.text)).decode()

    def activate(self) -> None:
        assert self.instantiate() == 0, self.words()
        assert lib.ffpf_graph_flow_activate(self.flow, self._plain) == 0

    def hand_over(self, *frames: bytes) -> None:
        packets = ffi.new("struct ffpf_packet[]", len(frames))
        kept = [ffi.from_buffer(octets) for octets in frames]
        for packet, octets in zip(packets, kept, strict=True):
            packet.data, packet.cap_len, packet.wire_len = octets, len(octets), len(octets)
            packet.ifindex, packet.result = 3, 0xFFFFFFFF
        assert lib.ffpf_engine_hook_handle_packets(self._hook, packets, len(frames), self._plain) == 0

    def counters(self, node: int) -> tuple[int, int]:
        counters = ffi.new("struct ffpf_node_counters *")
        assert lib.ffpf_graph_flow_counters(self.flow, node, counters, self._plain) == 0
        return counters[0].__getattribute__("in"), counters.out

    def mbuf(self, node: int) -> bytes:
        data, size = ffi.new("void **"), ffi.new("size_t *")
        assert lib.ffpf_graph_flow_mbuf(self.flow, node, data, size, self._plain) == 0
        return bytes(ffi.buffer(data[0], size[0]))

    def close(self) -> None:
        lib.ffpf_graph_flow_destroy(self.flow)
        lib.ffpf_engine_destroy(self.engine)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Graph]]:
    """Graphs that a test makes, closed behind it; the compiler is this environment's."""
    monkeypatch.setenv("FFPF_FPLC", str(FPLC))
    made: list[Graph] = []
    yield made
    for graph in made:
        graph.close()


def test_a_program_filters_and_counts(graphs: list[Graph]) -> None:
    graph = Graph(f'(device,hook:test) -> (FPL-2,"{COUNT}",200) -> (packetcount)')
    graphs.append(graph)
    graph.activate()
    graph.hand_over(frame(80), frame(81), frame(80, proto=17), frame(80)[:30], frame(80))
    assert graph.counters(1) == (5, 2)
    memory = graph.mbuf(1)
    assert len(memory) == 256  # a power of two
    assert struct.unpack_from("64I", memory)[16] == 2
    assert struct.unpack_from("Q", graph.mbuf(2))[0] == 2


def rtsp(sport: int, dport: int, text: bytes) -> bytes:
    return frame(dport)[:16] + (40 + len(text)).to_bytes(2, "big") + frame(dport)[18:] + text


def test_figure_7_follows_the_ports_that_rtsp_settles(graphs: list[Graph]) -> None:
    """Of the paper, with the count in memory: a register is zero at every packet."""
    program = """
        IF (PKT.IP_PROTO == PROTO_TCP) THEN
            IF (PKT.TCP_DPORT == 554) THEN
                R[2] = EXTERN(\\"GetDynTCPDPortFromRTSP\\", 0, 0);
                IF (R[2] && MEM[0] < 63) THEN MEM[0]++; MEM[MEM[0]] = R[2]; FI
            ELSE
                FOR (R[1] = 1; R[1] <= MEM[0]; R[1]++)
                    IF (PKT.TCP_DPORT == M[R[1]]) THEN RETURN TRUE; FI
                ROF
            FI
        FI
        RETURN FALSE;"""
    graph = Graph(f'(device,hook:test) -> (FPL-2,"{program}",256) -> (packetcount)')
    graphs.append(graph)
    graph.activate()
    setup = rtsp(4000, 554, b"SETUP rtsp://a RTSP/1.0\r\nTransport: RTP/AVP/TCP;client_port=5004-5005\r\n\r\n")
    graph.hand_over(frame(5004), setup, rtsp(4000, 554, b"PLAY"), frame(5004), frame(5005), frame(5004))
    assert struct.unpack_from("4I", graph.mbuf(1)) == (1, 5004, 0, 0)
    assert graph.counters(1) == (6, 2)


def test_dropped_packets_are_not_filtered_ones(graphs: list[Graph]) -> None:
    program = "IF (PKT.TCP_DPORT == 80) THEN EXTERN(drop,0,0); RETURN 1; FI RETURN 5 * (PKT.TCP_DPORT == 81);"
    graph = Graph(f'(device,hook:test) -> (FPL-2,"{program}")')
    graphs.append(graph)
    graph.activate()
    graph.hand_over(frame(80), frame(81), frame(82), frame(80))
    counters = ffi.new("struct ffpf_node_counters *")
    assert lib.ffpf_graph_flow_counters(graph.flow, 1, counters, graph._plain) == 0
    assert (counters.out, counters.filtered, counters.dropped[lib.FFPF_NODE_DROP_CLASS]) == (1, 1, 2)


def test_equal_programs_are_one_node(graphs: list[Graph]) -> None:
    graph = Graph('(device,hook:test) -> (FPL-2,"RETURN LEN;") | (FPL-2,"RETURN LEN;") -> (packetcount)')
    graphs.append(graph)
    graph.activate()
    graph.hand_over(frame(80))
    assert lib.ffpf_engine_instance_count(graph.engine) == 3


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("RETURN PKT.TCP_DPORTS;", "FPL-2, 1:12: TCP_DPORTS is not known. Is it TCP_DPORT or", 11),
        ("MEM[0]++;", "FPL-2, 1:1: this filter has no MBuf. Give the tuple a size", 0),
        ("EXTERN(no,0,0);", "FPL-2, 1:1: no external function no may be called here. Known: ahocorasick,", 0),
        ("EXTERN(checksum,0,0);", "FPL-2, 1:1: checksum reads 8 octets of MBuf; this filter has 0", 0),
        ('EXTERN(\\"checksum of=tea\\",0,0);', 'FPL-2, 1:1: "tea" is not range, packet or payload, nor mbuf:N', 0),
        ("RETURN 1", "FPL-2, 1:9: the program ends too early. Expected", 8),
        ("/* \u00e9\u20ac */ RETURN LENS;", "FPL-2, 1:17: LENS is not known", 19),  # three octets more than characters
        ("R[0] = 1;\n  RETURN LENS;", "FPL-2, 2:10: LENS is not known", 19),
        ('// \\" \n\nRETURN LENS;', "FPL-2, 3:8: LENS is not known", 15),  # a backslash of the graph's text
    ],
)
def test_what_the_compiler_says_is_the_error_and_it_is_there(
    text: str, words: str, at: int, graphs: list[Graph]
) -> None:
    """at: octet of the text as it stands in the graph's."""
    before = '(device,hook:test) -> (FPL-2,"'
    graph = Graph(f'{before}{text}")')
    graphs.append(graph)
    assert graph.instantiate() < 0
    assert words in graph.words()
    assert graph.error.offset == len(before) + at
    assert lib.ffpf_graph_flow_state(graph.flow) == lib.FFPF_GRAPH_POPULATED


def test_compilers_that_are_not_there_or_misbehave(
    graphs: list[Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph('(device,hook:test) -> (FPL-2,"RETURN 1;")')
    graphs.append(graph)
    script = tmp_path / "fplc"
    for body, words in (
        (None, "could not be run"),
        ("#!/bin/sh\nkill -9 $$\n", "the compiler of FPL-2 died (signal 9)"),
        ("#!/bin/sh\nexit 1\n", "no reason was given"),
        ("#!/bin/sh\nexit 0\n", "gave no code that can be run"),
        ("#!/bin/sh\nhead -c 2000000 /dev/zero\n", "gave no code that can be run"),
    ):
        if body:
            script.write_text(body)
            script.chmod(0o755)
        monkeypatch.setenv("FFPF_FPLC", str(script))
        assert graph.instantiate() < 0
        assert words in graph.words(), body
    monkeypatch.setenv("FFPF_FPLC", str(FPLC))
    assert graph.instantiate() == 0, graph.words()


def test_link_types_that_fpl2_does_not_know(graphs: list[Graph]) -> None:
    graph = Graph('(device,hook:other) -> (FPL-2,"RETURN 1;")')
    graphs.append(graph)
    hook, error = ffi.new("struct ffpf_engine_hook **"), ffi.new("struct ffpf_error *")
    assert lib.ffpf_engine_hook_open(hook, graph.engine, b"other", 105, error) == 0
    assert graph.instantiate() < 0
    assert "FPL-2 does not know packets of link type 105" in graph.words()


def test_interfaces_of_savefiles_have_no_names(graphs: list[Graph], tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    file.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    text = '(FPL-2,"RETURN INTERFACE == \\"lo\\";")'
    for device, words in ((f"(device,{file})", "packets of savefiles have no interface"), ("(device,hook:test)", "")):
        graph = Graph(f"{device} -> {text}")
        graphs.append(graph)
        status = graph.instantiate()
        assert (status < 0) == bool(words)
        assert words in graph.words() if words else status == 0


def test_files_that_programs_use(graphs: list[Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folders that the environment names, and from no other."""
    (tmp_path / "own.fpl").write_text("MACRO WANTED = TCP_DPORT;\n")
    (tmp_path / "ports.txt").write_text("80 # web\n8000..8080\n")
    program = '(FPL-2,"USE \\"own.fpl\\"; RETURN WANTED IN {USE \\"ports.txt\\"};")'
    graph = Graph(f"(device,hook:test) -> {program} -> (packetcount)")
    graphs.append(graph)
    monkeypatch.delenv("FFPF_FPL_PATH", raising=False)
    assert graph.instantiate() < 0
    assert "no files may be used here. Set FFPF_FPL_PATH to the folders that have them." in graph.words()
    monkeypatch.setenv("FFPF_FPL_PATH", str(tmp_path))
    graph.activate()
    graph.hand_over(frame(80), frame(81), frame(8001))
    assert graph.counters(1) == (3, 2)
