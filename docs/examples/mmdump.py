# SPDX-License-Identifier: BSD-3-Clause
"""mmdump (section 3.3.2): a filter in FPL-1 that extends itself with the ports that RTSP negotiates.

python mmdump.py capture.pcap     # or an interface, for ten seconds
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyffpf
from fpl.fpl1.isa import BY_NAME, Insn
from pyffpf.compose import device, node

CONTROL, MEDIA = 1, 2  # what the program returns
SEGMENT = 32  # octets at the end of its MBuf, which tell how many instructions lie before them


def code(memory: bytes) -> list[Insn]:
    """The program as it lies in its MBuf now."""
    count = int.from_bytes(memory[-SEGMENT + 20 : -SEGMENT + 24], sys.byteorder)
    octets = memory[-SEGMENT - 8 * count : -SEGMENT]
    return [Insn.from_bytes(octets[at : at + 8]) for at in range(0, len(octets), 8)]


def main(source: str) -> None:
    program = node("FPL-1", Path(__file__).with_name("mmdump.fpl1").read_text(), name="mmdump")
    with pyffpf.Graph(engine="embedded") as graph, graph.flow(device(source) >> program) as flow:
        flow["mmdump"].begin()
        graph.run(seconds=10)
        results = [packet.result for batch in flow["mmdump"].batches() for packet in batch]
        added = flow["mmdump"].report()["extended"]
        cases = [insn.b for insn in code(bytes(flow["mmdump"].mbuf)) if insn.op == BY_NAME["case"].code]
        ports = cases[len(cases) - added :]  # the others are the program's from the beginning
        print(f"instructions added, for ports: {', '.join(map(str, ports)) or 'none'}")
        print(f"{results.count(CONTROL)} packets of RTSP, {results.count(MEDIA)} of its media delivered")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
