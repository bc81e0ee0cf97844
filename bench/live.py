# SPDX-License-Identifier: BSD-3-Clause
"""(c) One live tcpdump at 200,000 packets/s: CPU per packet of kernel and tool, above the cost of no capture.

On a veth pair the receiving side of the kernel runs in the sender's context, so the kernel's cost of a capture is the
sender's CPU time above its own with no capture (the tick-sampled softirq figure of /proc/stat would miss most of it).
The benchmark runs itself again in a network namespace of its own, which goes with it.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import build
from bench import measure

RATE = 200_000
SENDER = measure.ROOT / "build" / "normal" / "bin" / "bench_send"
SIDES = ("ffpf-out", "ffpf-in")


@dataclass(frozen=True)
class Capture:
    """One capture, ns of CPU per packet sent; `captured` and `dropped` as tcpdump said."""

    sender: float
    tool: float
    captured: int
    dropped: int


@dataclass(frozen=True)
class Load:
    """What is sent: frames, their size in octets, and how many a second."""

    count: int
    size: int
    rate: int = RATE


def send(count: int, size: int, rate: int = RATE) -> float:
    """Sends count frames of size octets at a rate; returns the sender's CPU ns per frame."""
    said = subprocess.run(
        [SENDER, SIDES[0], str(count), str(rate), str(size)], capture_output=True, text=True, check=True
    )
    return float(said.stdout.split()[1])


def count_of(report: str, what: str) -> int:
    found = re.search(rf"^(\d+) packets? {what}", report, re.MULTILINE)
    return int(found[1]) if found else -1


def capture(peer: str, options: Sequence[str], load: Load, folder: Path) -> Capture:
    """Runs tcpdump on a peer while the load is sent; `none` is the sender alone."""
    if peer == "none":
        return Capture(send(load.count, load.size, load.rate), 0.0, 0, 0)
    for written in folder.glob("*.pcap"):  # else this tool would have the memory of the last one's file to free
        written.unlink()
    report = folder / "report"
    with report.open("w") as said:
        started = time.monotonic()
        command = ["tcpdump", "-Z", "root", "-i", SIDES[1], *options]
        tool = subprocess.Popen(command, env=measure.environment(peer), stdout=subprocess.DEVNULL, stderr=said)
        measure.wait_until_listening(report)
        sender = send(load.count, load.size, load.rate)
        time.sleep(1.2)  # the last block comes with the read timeout, with either peer
        tool.send_signal(signal.SIGINT)
        usage = measure.finish(tool, started)
    words = report.read_text()
    return Capture(
        sender, usage.cpu * 1e9 / load.count, count_of(words, "captured"), count_of(words, "dropped by kernel")
    )


def compare(name: str, options: Sequence[str], load: Load, rounds: int, folder: Path) -> list[str]:
    """One row of the table."""
    kernel: dict[str, list[float]] = {peer: [] for peer in measure.PEERS}
    tool: dict[str, list[float]] = {peer: [] for peer in measure.PEERS}
    lost = dict.fromkeys(measure.PEERS, 0)
    for peer in ("none", *measure.PEERS):
        capture(peer, options, replace(load, count=load.count // 4), folder)
    for number in range(rounds):
        idle = capture("none", options, load, folder)
        for peer in measure.PEERS[:: -1 if number % 2 else 1]:  # whoever comes after idle changes
            one = capture(peer, options, load, folder)
            kernel[peer].append(one.sender - idle.sender)
            tool[peer].append(one.tool)
            lost[peer] += one.dropped
    cost = {peer: [k + t for k, t in zip(kernel[peer], tool[peer], strict=True)] for peer in measure.PEERS}
    words = [
        f"{measure.Spread.of(kernel[peer]).median:.0f} + {measure.Spread.of(tool[peer]).text(0)}"
        for peer in measure.PEERS
    ]
    ratio = measure.ratios(cost["ffpf"], cost["stock"])
    return [name, str(load.size), *words, ratio.text(2), f"{lost['stock']} / {lost['ffpf']}"]


def inside(rounds: int, count: int, rate: int, only: str, folder_of_all: str) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*SIDES)
    rows = []
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-", dir=folder_of_all) as name:
        folder = Path(name)
        cases = {
            "-w /dev/null": ["-w", "/dev/null"],
            "-w FILE": ["-w", str(folder / "out.pcap")],
            "-w FILE, filter": ["-w", str(folder / "out.pcap"), "udp port 53"],
            "filter, none match": ["-w", "/dev/null", "tcp port 80"],
        }
        for case, options in cases.items():
            for size in (64, 1500):
                if only not in f"{case} {size}":
                    continue
                rows.append(compare(case, options, Load(count, size, rate), rounds, folder))
    print(f"live tcpdump at {rate} packets/s, {count} packets, {rounds} rounds in turns; {measure.machine()}")
    print("CPU in ns per packet above no capture, kernel + tool; the ratio is of the sums\n")
    print(measure.table(["tcpdump", "octets", "stock", "FFPF", "FFPF/stock", "lost stock/FFPF"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packets", type=int, default=600_000)
    parser.add_argument(
        "--only", default="", help="rows whose name and size, as in '-w FILE 64', have this text in them"
    )
    parser.add_argument("--rate", type=int, default=RATE, help="packets a second")
    parser.add_argument("--folder", default="/dev/shm", help="on whose file system the tools write")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds, args.packets, args.rate, args.only, args.folder)
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
    options = ["--rounds", str(args.rounds), "--packets", str(args.packets), "--rate", str(args.rate),
               f"--only={args.only}", "--folder", args.folder]  # fmt: skip
    raise SystemExit(measure.again_in_namespace("bench.live", options))


if __name__ == "__main__":
    main()
