# SPDX-License-Identifier: BSD-3-Clause
"""Figure 6: how many packets has each TCP connection? The filter delivers nothing; its memory is the answer.

python figure_6.py capture.pcap     # or an interface, for ten seconds
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyffpf
from pyffpf.compose import device, node


def main(source: str) -> None:
    program = node("FPL-2", Path(__file__).with_name("figure_6.fpl").read_text(), mbuf=1024, name="connections")
    with pyffpf.Graph(engine="embedded") as graph, graph.flow(device(source) >> program) as flow:
        graph.run(seconds=10)
        counters = flow["connections"].mbuf.view("u4")
        print(
            f"{int(counters.sum())} packets of {int((counters > 0).sum())} TCP connections (more, if hashes are equal)"
        )
        for place in counters.argsort()[::-1][:10].tolist():
            if counters[place]:
                print(f"  {int(counters[place])} packets, counter {place}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
