# SPDX-License-Identifier: BSD-3-Clause
"""Figure 2a: two flows that share their first filter.

A looks for the CodeRed worm in web requests, saves who sent it to whom, and delivers the first; B counts the fragments
of web traffic, and delivers the first. Both begin with one BPF filter, which runs once.

    python figure_2a.py capture.pcap            # or an interface, for ten seconds
    python figure_2a.py capture.pcap graph.svg  # and a picture of the graph, with graphviz; graph.dot without
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Address
from pathlib import Path

import pyffpf
from pyffpf.compose import Part, bpf, device, node

WEB = "tcp dst port 80"


def program(name: str, octets: int = 0, as_node: str | None = None) -> Part:
    return node(
        "FPL-2", Path(__file__).with_name(f"figure_2a_{name}.fpl").read_text(), mbuf=octets or None, name=as_node
    )


def main(source: str, picture: str = "") -> None:
    with pyffpf.Graph(engine="embedded") as graph:
        a = graph.flow(
            device(source)
            >> bpf(WEB)
            >> program("code_red")
            >> program("save", 4096, "saved")
            >> program("first", 8, "first"),
            name="A",
        )
        b = graph.flow(
            device(source)
            >> bpf(WEB)
            >> program("fragment")
            >> program("count", 8, "count")
            >> program("first", 8, "first"),
            name="B",
        )
        with a, b:
            a["first"].begin()
            b["first"].begin()
            graph.run(seconds=10)
            total, pairs = int(a["saved"].mbuf.view("u4")[0]), a["saved"].mbuf.view("u4")[2:].reshape(-1, 2)
            print(f"{total} CodeRed requests")
            for sender, victim in pairs[: min(total, len(pairs))].tolist():
                print(f"  {IPv4Address(sender)} to {IPv4Address(victim)}")
            print(f"{int(b['count'].mbuf.view('u4')[0])} fragments of web traffic")
            for flow in (a, b):
                for batch in flow["first"].batches():
                    print(f"{flow.name} delivered {len(batch)} packet")
            print(f"{len(graph.instances())} filters run for the {len(a.nodes) + len(b.nodes)} of the text")
            if picture:
                graph.picture("Figure 2a").save(picture)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
