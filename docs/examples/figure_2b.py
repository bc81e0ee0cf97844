# SPDX-License-Identifier: BSD-3-Clause
"""Figure 2b: the ten busiest TCP connections, found by a function in C that the filter calls with its own memory.

python figure_2b.py capture.pcap     # or an interface, for ten seconds
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Address
from pathlib import Path

import pyffpf
from pyffpf.compose import device, node


def main(source: str) -> None:
    program = node("FPL-2", Path(__file__).with_name("figure_2b.fpl").read_text(), mbuf=4096, name="top")
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
