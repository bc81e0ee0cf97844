# SPDX-License-Identifier: BSD-3-Clause
"""(a) `tcpdump -r FILE -w /dev/null FILTER` on a million packets of mixed sizes: FFPF beside stock libpcap."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
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
        capture, single = Path(folder) / "imix.pcap", Path(folder) / "single.pcap"
        write_imix(capture, args.packets)
        write_imix(single, 1)
        for name, text in FILTERS.items():
            words = ["-w", "/dev/null", *([text] if text else [])]
            rows.append([name, *compare(capture, single, words, args), f"{AIMS.get(name, 2.3):.1f}"])
    print(f"tcpdump -r, {args.packets} packets, {args.rounds} rounds in turns; {measure.machine()}")
    print(
        "CPU in ns per packet, user and system, of the whole process; how many times FFPF's cost stock's is, in CPU and"
    )
    print("wall time; and in CPU without start-up: less what the same command costs on a file of one packet\n")
    header = ["filter", "run by", "stock ns", "FFPF ns", "CPU ratio", "wall ratio", "no start-up", "aim"]
    print(measure.table(header, rows))


def compare(capture: Path, single: Path, words: Sequence[str], args: argparse.Namespace) -> list[str]:
    """One row: kind of filter, costs of both peers, ratios."""
    command = ["tcpdump", "-r", str(capture), *words]
    kind = measure.served_by_ffpf(command).split("filter=")[1].split()[0]
    taken = measure.both(command, args.rounds)
    start = measure.both(["tcpdump", "-r", str(single), *words], args.rounds)
    cpu = {peer: [use.cpu for use in uses] for peer, uses in taken.items()}
    begin = {peer: measure.Spread.of([use.cpu for use in uses]).median for peer, uses in start.items()}
    running = {peer: [figure - begin[peer] for figure in cpu[peer]] for peer in measure.PEERS}
    wall = {peer: [use.wall for use in uses] for peer, uses in taken.items()}
    costs = [measure.Spread.of([figure * 1e9 / args.packets for figure in cpu[peer]]).text() for peer in measure.PEERS]
    return [kind, *costs, *(measure.ratios(each["stock"], each["ffpf"]).text(2) for each in (cpu, wall, running))]


if __name__ == "__main__":
    main()
