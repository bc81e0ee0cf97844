# SPDX-License-Identifier: BSD-3-Clause
"""Figure 7: the data of streams whose ports RTSP negotiates, delivered.

python figure_7.py capture.pcap     # or an interface, for ten seconds
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyffpf
from pyffpf.compose import device, node


def main(source: str) -> None:
    program = node("FPL-2", Path(__file__).with_name("figure_7.fpl").read_text(), mbuf=256, name="dynamic")
    with pyffpf.Graph(engine="embedded") as graph, graph.flow(device(source) >> program) as flow:
        flow["dynamic"].begin()
        graph.run(seconds=10)
        known = flow["dynamic"].mbuf.view("u4")
        print(f"ports that RTSP negotiated: {', '.join(map(str, known[1 : 1 + known[0]].tolist())) or 'none'}")
        print(f"{sum(len(batch) for batch in flow['dynamic'].batches())} packets delivered")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
