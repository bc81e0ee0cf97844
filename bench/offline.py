# SPDX-License-Identifier: BSD-3-Clause
"""(a) `tcpdump -r FILE -w /dev/null FILTER` on a million packets of mixed sizes: FFPF beside stock libpcap."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench import measure
from bench.filters import FILTERS
from compat_tests.captures import write_imix

PACKETS = 1_000_000
AIMS = {"none": 3.0, "100 hosts": 10.0}  # times faster than stock; elsewhere 2.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--packets", type=int, default=PACKETS)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        Path(folder).chmod(0o755)
        capture = Path(folder) / "imix.pcap"
        write_imix(capture, args.packets)
        for name, text in FILTERS.items():
            command = ["tcpdump", "-r", str(capture), "-w", "/dev/null", *([text] if text else [])]
            kind = measure.served_by_ffpf(command).split("filter=")[1].split()[0]
            taken = measure.both(command, args.rounds)
            per_packet = {
                peer: measure.Spread.of([use.cpu * 1e9 / args.packets for use in uses]) for peer, uses in taken.items()
            }
            faster = measure.ratios([use.cpu for use in taken["stock"]], [use.cpu for use in taken["ffpf"]])
            wall = measure.ratios([use.wall for use in taken["stock"]], [use.wall for use in taken["ffpf"]])
            costs = [per_packet[peer].text() for peer in measure.PEERS]
            rows.append([name, kind, *costs, faster.text(2), wall.text(2), f"{AIMS.get(name, 2.3):.1f}"])
    print(f"tcpdump -r, {args.packets} packets, {args.rounds} rounds in turns; {measure.machine()}")
    print("CPU in ns per packet, user and system, start-up included; how many times stock's cost\n")
    print(measure.table(["filter", "run by", "stock ns", "FFPF ns", "CPU ratio", "wall ratio", "aim"], rows))


if __name__ == "__main__":
    main()
