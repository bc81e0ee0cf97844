# SPDX-License-Identifier: BSD-3-Clause
"""External functions in Python: added to a graph, and found by their entry point."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyffpf.custom_extern import ExternalFunction
from pyffpf.errors import BadGraph, FfpfError
from pyffpf.graph import Graph
from pyffpf.testing_flows import frames

FPLC = Path(sys.executable).parent / "fplc"


class Tally(ExternalFunction):
    """Adds what stands in MBuf to what stood there."""

    name = "tally"
    reads = 4
    writes = 8
    kept: memoryview

    def __call__(self, packet: memoryview, read: memoryview, write: memoryview) -> int:
        assert packet.readonly
        assert read.readonly
        assert (len(read), len(write)) == (4, 8)
        (step,), (total,) = struct.unpack("=I", read), struct.unpack("=Q", write)
        write[:] = struct.pack("=Q", total + step)
        self.kept = packet  # may be: it is a copy
        return -len(packet)


class Failing(ExternalFunction):
    name = "failing"
    writes = 4

    def __call__(self, packet: memoryview, read: memoryview, write: memoryview) -> int:
        write[:] = b"lost"
        raise ZeroDivisionError("in the function")


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    monkeypatch.setenv("FFPF_FPLC", str(FPLC))
    with Graph() as made:
        made.add_function(Tally())
        made.add_function(Failing())
        yield made


def flow_text(program: str, mbuf: int = 64) -> str:
    return f'(device,hook:h) -> (FPL-2,"{program}",{mbuf})'


def test_a_program_calls_python_with_packet_and_memory(graph: Graph) -> None:
    hook = graph.hook("h")
    with graph.flow(flow_text("MEM[3] = 5; RETURN 0 - EXTERN(Tally, 12, 17);")) as flow:
        hook.handle(frames()[:3])
        node = flow["FPL-2"]
        assert node.counters.packets_out == 3
        memory = bytes(node.mbuf)
        assert memory[17:25] == struct.pack("=Q", 15)
        assert memory[:12] == bytes(12)
        assert memory[25:] == bytes(64 - 25)


def test_what_a_function_raises_reaches_who_drives(graph: Graph) -> None:
    hook = graph.hook("h")
    with graph.flow(flow_text("EXTERN(failing, 0, 0); RETURN 1;")) as flow:
        with pytest.raises(ZeroDivisionError, match="in the function"):
            hook.handle(frames()[:1])
        assert bytes(flow["FPL-2"].mbuf) == bytes(64)


def test_names_and_sizes_are_checked(graph: Graph) -> None:
    graph.hook("h")
    with pytest.raises(BadGraph, match="tally writes 8 octets from 60 on, beyond the MBuf's 64"):
        graph.flow(flow_text("EXTERN(tally, 0, 60);")).instantiate()
    for name in ("tally", "TALLY", "drop"):
        with pytest.raises(FfpfError, match="there is an external function"):
            graph.add_function(type("Other", (Tally,), {"name": name})())
    for name in ("no-name", "2", "", "a b"):
        with pytest.raises(FfpfError, match="is no name"):
            graph.add_function(type("Other", (Tally,), {"name": name})())


MODULE = """
from pyffpf.custom_extern import ExternalFunction

class Octets(ExternalFunction):
    name = "octets"
    summary = "how many octets were captured"
    value = "that"

    def __call__(self, packet, read, write):
        return len(packet)
"""
SCRIPT = """
from pyffpf.graph import Graph
with Graph() as graph:
    hook = graph.hook("h")
    with graph.flow('(device,hook:h) -> (FPL-2,"RETURN EXTERN(octets,0,0) == CAPLEN;")') as flow:
        hook.handle([b"abc", b"x" * 60])
        print(flow["FPL-2"].counters.packets_out)
"""


def test_an_entry_point_is_all_it_needs(tmp_path: Path) -> None:
    info = tmp_path / "oddities-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "oddities.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: oddities\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffpf.externs]\noctets = oddities:Octets\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "FFPF_FPLC": str(FPLC)}

    def run(*command: str) -> str:
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stdout

    assert run(sys.executable, "-c", SCRIPT) == "2\n"
    listed = run(str(FPLC), "externs")
    assert "octets\n    how many octets were captured\n    returns that\n    runs in userspace\n" in listed
