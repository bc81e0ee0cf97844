# SPDX-License-Identifier: BSD-3-Clause
"""(q) Rows 5 to 8 of the paper's table 1: Aho-Corasick that finds and that does not, a simple filter of tcpdump in
FPL-2 and in BPF. Each is a node of a graph in this process, which gets batches of 256 packets; what a packet costs
with a packetcount in the node's place is taken off.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from pyffpf._core import ffi, lib

from bench import measure
from fpl.fpl2.packets import ethernet, ip4, tcp
from graph.graph_engine import Engine

BATCH = 256
BATCHES = 400  # of one measurement
SIZES = (60, 1500)
WORD = b"/default.ida?NNNN"
WORDS = [
    WORD,
    b"cmd.exe",
    b"/etc/passwd",
    b"root.exe",
    b"../..",
    b"xp_cmdshell",
    b"%c0%af",
    b"/bin/sh",
    b"wget ",
    b"<script",
]
ETHERNET = 1


def frame(size: int, *, found: bool) -> bytes:
    """A packet to port 80 of so many octets, the word at its end if it is to be found."""
    end = WORD if found and size > 100 else b""
    payload = b"GET /index.html " * 100
    return ethernet(ip4(6, tcp(40000, 80, payload[: max(0, size - 54 - len(end))] + end)))[:size]


class Node:
    """A flow of one node behind a hook, and a batch of one packet."""

    def __init__(self, text: str, octets: bytes) -> None:
        self._engine = Engine()
        self._hook = self._engine.hook("bench", ETHERNET)
        self._flow = self._engine.flow(f"(device,hook:bench) -> {text}")
        self._octets = ffi.new("uint8_t[]", octets)
        self._packets = ffi.new("struct ffpf_packet[]", BATCH)
        for packet in self._packets:
            packet.data, packet.cap_len, packet.wire_len, packet.result = self._octets, len(octets), len(octets), 1
        self._error = ffi.new("struct ffpf_error *")

    def run(self) -> float:
        """ns a packet, processor time."""
        began = time.thread_time_ns()
        for _ in range(BATCHES):
            lib.ffpf_engine_hook_handle_packets(self._hook, self._packets, BATCH, self._error)
        return (time.thread_time_ns() - began) / BATCHES / BATCH

    def let_through(self) -> bool:
        """The packet, so far."""
        return bool(self._engine.counters(self._flow, 1).out)


def nodes_of(size: int, words: Path) -> dict[str, tuple[Node, bool | None]]:
    """By row: the node, and whether the packet must pass it."""
    search = f'(FPL-2,"RETURN EXTERN(\\"ahocorasick file={words.name}\\", 0, 0);",8)'
    made: dict[str, tuple[Node, bool | None]] = {"": (Node("(packetcount)", frame(size, found=False)), None)}
    if size > 100:
        made["Aho-Corasick, found"] = Node(search, frame(size, found=True)), True
    made["Aho-Corasick, not found"] = Node(search, frame(size, found=False)), False
    made["tcp port 80 in FPL-2"] = (
        Node('(FPL-2,"RETURN TCP_SPORT == 80 || TCP_DPORT == 80;")', frame(size, found=False)), True
    )  # fmt: skip
    made["tcp port 80 in BPF, our compiler"] = Node('(BPF,"tcp port 80")', frame(size, found=False)), True
    return made


def rows_of(size: int, rounds: int, words: Path) -> list[list[str]]:
    nodes = nodes_of(size, words)
    runs: dict[str, Callable[[], float]] = {name: node.run for name, (node, _) in nodes.items()}
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(run())
    for name, (node, passes) in nodes.items():
        if passes is not None and node.let_through() != passes:
            raise RuntimeError(f"{name}: the packet of {size} octets {'did not pass' if passes else 'passed'}")
    rows = []
    for name in nodes:
        if name:
            above = [cost - nothing for cost, nothing in zip(taken[name], taken[""], strict=True)]
            rows.append([name, str(size), measure.Spread.of(above).text(1)])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    args = parser.parse_args(arguments)
    os.environ.setdefault("FFPF_FPLC", str(Path(sys.executable).parent / "fplc"))
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        os.environ["FFPF_FPL_PATH"] = folder
        words = Path(folder) / "words"
        words.write_bytes(b"\n".join(WORDS) + b"\n")
        rows = [row for size in SIZES for row in rows_of(size, args.rounds, words)]
    print(f"{args.rounds} rounds in turns, batches of {BATCH} in cache; {len(WORDS)} patterns; {measure.machine()}")
    print("ns per packet above a packetcount: median [quartiles]\n")
    print(measure.table(["row", "octets", "ns"], rows))


if __name__ == "__main__":
    main()
