# SPDX-License-Identifier: BSD-3-Clause
"""Figure 2b: the ten busiest TCP connections. A filter in FPL-2 calls one in FPL-1, which counts, and a function in C,
which finds the largest: all work on the caller's memory.

python figure_2b.py capture.pcap     # or an interface, for ten seconds
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Address
from pathlib import Path

import pyffpf
from pyffpf.compose import device, node


def main(source: str) -> None:
    text, table = (Path(__file__).with_name(name).read_text() for name in ("figure_2b.fpl", "figure_2b_table.fpl1"))
    program = node("FPL-2", text, mbuf=4096, name="top", calls=[node("FPL-1", table, name="table")])
    with pyffpf.Graph(engine="embedded") as graph, graph.flow(device(source) >> program) as flow:
        graph.run(seconds=10)
        memory = flow["top"].mbuf.view("u4")
        for counter, packets in memory[256:276].reshape(-1, 2).tolist():
            if packets:
                sender, receiver = (IPv4Address(int(memory[first + counter])) for first in (512, 768))
                print(f"{packets} packets, the last from {sender} to {receiver}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
