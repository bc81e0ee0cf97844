# SPDX-License-Identifier: BSD-3-Clause
"""(d) Memory and start-up time of tcpdump on FFPF and on stock libpcap."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench import measure
from compat_tests.captures import write_imix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        Path(folder).chmod(0o755)
        small, large = Path(folder) / "small.pcap", Path(folder) / "large.pcap"
        write_imix(small, 1)
        write_imix(large, 200_000)
        cases = {
            "open a savefile of 1 packet": ["tcpdump", "-r", str(small), "-w", "/dev/null"],
            "... with a filter": ["tcpdump", "-r", str(small), "-w", "/dev/null", "tcp port 80"],
            "compile a filter (-d)": ["tcpdump", "-y", "EN10MB", "-d", "tcp port 80"],
            "list devices (-D)": ["tcpdump", "-D"],
            "200,000 packets": ["tcpdump", "-r", str(large), "-w", "/dev/null"],
        }
        for name, command in cases.items():
            taken = measure.both(command, args.rounds)
            wall = {peer: measure.Spread.of([use.wall * 1e3 for use in uses]) for peer, uses in taken.items()}
            peaks = {peer: [measure.peak_kib(command, peer) / 1024 for _ in range(5)] for peer in measure.PEERS}
            peak = {peer: measure.Spread.of(figures) for peer, figures in peaks.items()}
            ratio = measure.ratios([use.wall for use in taken["ffpf"]], [use.wall for use in taken["stock"]])
            rows.append(
                [
                    name,
                    wall["stock"].text(2),
                    wall["ffpf"].text(2),
                    ratio.text(2),
                    peak["stock"].text(),
                    peak["ffpf"].text(),
                ]
            )
    print(f"start-up and memory of tcpdump, {args.rounds} rounds in turns; {measure.machine()}\n")
    print(measure.table(["what", "stock ms", "FFPF ms", "FFPF/stock", "stock MiB", "FFPF MiB"], rows))


if __name__ == "__main__":
    main()
