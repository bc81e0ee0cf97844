# SPDX-License-Identifier: BSD-3-Clause
"""Graphs on a board: FPL-2 nodes right behind it run in microengines, the rest on the host, with the results that the
same graph has on the same capture as a savefile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ixp_driver.host.cost import MODES
from ixp_driver.host.counting import set_mode
from ixp_driver.host.running import running
from pyffpf import BadGraph, Busy, Flow, Graph, Node, NotSupported

PORT = "IF (PKT.IP_PROTO == PROTO_UDP && PKT.IP_LEN > 100) THEN MEM[0]++; RETURN 256 + PKT.B[35]; FI RETURN 0;"
FLOW = f'(device,DEVICE) -> first=(FPL-2,"{PORT}",64) -> (BPF,"less 1000") -> count=(packetcount)'
ENGINES = 5  # of a board with one port


CACHED = """#!/bin/sh
# what fplc made of the same text, but for blanks, with the same arguments, or fplc itself
text=$(tr -s ' ')
kept={folder}/$(printf '%s\\n' "$*" "$text" | md5sum | cut -c 1-32)
if [ ! -f "$kept" ]; then
    printf '%s' "$text" | {fplc} "$@" > "$kept.$$" || exit $?
    mv "$kept.$$" "$kept"
fi
cat "$kept"
"""


@pytest.fixture(scope="module")
def fplc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fplc")
    path = folder / "fplc"
    path.write_text(CACHED.format(folder=folder, fplc=Path(sys.executable).parent / "fplc"))
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fplc: Path) -> Path:
    monkeypatch.setenv("FFPF_IXP_DIR", str(tmp_path))
    monkeypatch.setenv("FFPF_FPLC", str(fplc))
    return tmp_path


def same(number: int) -> str:
    """Programs that are the same, and are compiled once, but make nodes of their own."""
    return f"RETURN {' ' * number}1;"


Seen = tuple[list[tuple[int, int, bytes]], int, int]


def what(node: Node) -> list[tuple[int, int, bytes]]:
    return [(packet.ts_ns, packet.result, bytes(packet)) for packet in node]


def seen(device: str) -> Seen:
    """Packets of the node `first` with their results, what its memory and the node behind have counted."""
    with Graph(engine="embedded") as graph:
        flow = graph.flow(FLOW.replace("DEVICE", device)).instantiate().activate()
        packets = what(flow["first"])
        memory = int.from_bytes(flow["first"].mbuf[:4].tobytes(), "little")
        return packets, memory, flow["count"].counters.packets_in


def test_a_filters_counts_do_not_begin_with_those_of_the_engines_last_one(folder: Path, imix: Path) -> None:
    with running(folder, f"pcap:{imix}"), Graph(engine="embedded") as graph:
        with graph.flow('(device,ixp0) -> (FPL-2,"RETURN IS_UDP;") -> (packetcount)') as flow:
            graph.run()
            assert flow["FPL-2"].level == "nic" and flow["FPL-2"].counters.filtered > 0
        with graph.flow("(device,ixp0) -> (packetcount)") as flow:
            packets = graph.run().packets
            counters = flow["device"].counters
            assert (counters.packets_in, counters.packets_out, counters.filtered) == (packets, packets, 0)


def placed(flow: Flow) -> list[tuple[str, str, str]]:
    return [(node.class_name, node.level, node.serving.reason) for node in flow.nodes]


@pytest.mark.parametrize("mode", MODES)
def test_what_runs_on_the_board_has_the_results_of_the_host(folder: Path, imix: Path, mode: str) -> None:
    with running(folder, f"pcap:{imix}") as board:
        set_mode(board, mode)
        found = seen("ixp0")
    packets, memory, _ = found
    assert 100 < len(packets) == memory < 2000
    assert len({result for _, result, _ in packets}) > 10
    assert found == seen(f'"{imix}"')


def test_explain_and_picture_say_where(folder: Path, imix: Path) -> None:
    drawn = folder / "graph.dot"
    with running(folder, f"pcap:{imix}") as board:
        command = [sys.executable, "-m", "pyffpf.cli.flow", "--engine", "embedded", "--explain", "--json",
                   "--graph", str(drawn), FLOW.replace("DEVICE", "ixp0")]  # fmt: skip
        done = subprocess.run(command, env=board.environ, capture_output=True, text=True, timeout=60, check=True)
    nodes = json.loads(done.stdout)["flows"][0]["nodes"]
    assert [node["level"] for node in nodes] == ["nic", "nic", "userspace", "userspace"]
    assert nodes[1]["reason"] == "microengine 1 of ixp0"
    assert "● nic" in drawn.read_text()


def test_the_sixth_filter_runs_on_the_host(folder: Path, imix: Path) -> None:
    """And so does the fifth then: its engine lets everything through, for the sixth."""
    texts = [f'(device,ixp0) -> (FPL-2,"{same(number)}") -> (packetcount)' for number in range(ENGINES + 1)]
    with running(folder, f"pcap:{imix},hold={ENGINES}"), Graph(engine="embedded") as graph:
        flows = [graph.flow(text).instantiate() for text in texts]
        where = [placed(flow)[1] for flow in flows]
        assert [level for _, level, _ in where] == ["nic"] * 4 + ["userspace"] * 2
        assert where[4][2].startswith("on the host: its microengine lets everything through")
        assert where[5][2] == "on the host: ixp0: all 5 microengines that run filters are taken"
        for flow in flows:
            flow.activate()
        assert graph.run(seconds=60).ended
        assert [flow.nodes[2].counters.packets_in for flow in flows] == [2000] * 6


def test_five_that_run_leave_none_for_the_host(folder: Path) -> None:
    with running(folder, "generator:1000pps"), Graph(engine="embedded") as graph:
        texts = [f'(device,ixp0) -> (FPL-2,"{same(number)}") -> (packetcount)' for number in range(ENGINES)]
        flows = [graph.flow(text).instantiate().activate() for text in texts]  # kept: one that nobody has is closed
        assert [placed(flow)[1][1] for flow in flows] == ["nic"] * ENGINES
        with pytest.raises(Busy, match="ixp0: every microengine has a filter, and the host needs one"):
            graph.flow("(device,ixp0) -> (packetcount)").instantiate()


REFUSED = [
    ('(device,DEVICE) -> x=(FPL-2,"RETURN EXTERN(\\"xxhash64\\", 0, 8);",64)', "external functions"),
    ('(device,DEVICE) -> x=(BPF,udp)', "ixp0 runs programs in FPL-2 alone"),
    ('(device,DEVICE) -> a=(FPL-2,"RETURN 1;") | b=(FPL-2,"RETURN 2;") -> x=(packetcount)', "meet others"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=["functions", "class", "join"])
def test_what_the_board_does_not_run(folder: Path, imix: Path, text: str, reason: str) -> None:
    def counted(device: str) -> tuple[str, int]:
        with Graph(engine="embedded") as graph:
            flow = graph.flow(text.replace("DEVICE", device)).instantiate()
            _, level, why = placed(flow)[1]
            assert level == "userspace"
            flow.activate()
            assert graph.run(seconds=60).ended
            return why, flow["x"].counters.packets_out

    with running(folder, f"pcap:{imix}"):
        why, packets = counted("ixp0")
    assert why.startswith("on the host: ")
    assert reason in why
    assert packets == counted(f'"{imix}"')[1]


def test_pausing_stops_the_microengine(folder: Path) -> None:
    with running(folder, "generator:100000pps,hold=0"), Graph(engine="embedded") as graph:
        flow = graph.flow('(device,ixp0) -> x=(FPL-2,"RETURN 1;")').instantiate()
        flow.activate()
        graph.run(100)
        flow.pause()
        graph.run(seconds=0.2)
        before = flow["x"].counters.packets_out
        graph.run(seconds=0.2)
        assert flow["x"].counters.packets_out == before
        flow.activate()
        graph.run(100)
        assert flow["x"].counters.packets_out >= before + 100


def test_a_program_that_is_wrong_is_wrong_on_the_host_too(folder: Path, imix: Path) -> None:
    with (
        running(folder, f"pcap:{imix}"),
        Graph(engine="embedded") as graph,
        pytest.raises((BadGraph, NotSupported), match="FPL-2"),
    ):
        graph.flow('(device,ixp0) -> (FPL-2,"RETURN NOTHING_OF_THAT_NAME;")').instantiate()
