# SPDX-License-Identifier: BSD-3-Clause
"""(u) Python following an interface at 200,000 packets/s, beside one tcpdump on stock libpcap.

CPU per packet sent: of the kernel, as in bench/live.py the sender's above its own with no capture; and of the process
that reads, from when it captures until it has read all, so that neither has its start-up counted. Sleeps are the
reader's: how often it went to sleep. What ffpfd uses meanwhile is counted with the reader. The benchmark runs itself
again in a network namespace of its own, which goes with it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import build
from bench import live, measure, shared

FLUSH_S = 1.2  # the last packets come with the read timeout, tcpdump's being the longest
STOCK = "tcpdump -w /dev/null: stock"
READERS = {
    "flow, batches: embedded": ("flow", "batches", "embedded"),
    "flow, rows: embedded": ("flow", "rows", "embedded"),
    "flow, columns: embedded": ("flow", "columns", "embedded"),
    "capture, batches: embedded": ("capture", "batches", "embedded"),
    "capture, columns: embedded": ("capture", "columns", "embedded"),
    "flow, batches: ffpfd": ("flow", "batches", "shared"),
    "flow, rows: ffpfd": ("flow", "rows", "shared"),
    "flow, columns: ffpfd": ("flow", "columns", "shared"),
    "capture, batches: ffpfd": ("capture", "batches", "shared"),
    "capture, columns: ffpfd": ("capture", "columns", "shared"),
}


@dataclass(frozen=True)
class Used:
    """What a process has used so far."""

    cpu_ns: int
    sleeps: int

    @classmethod
    def by(cls, pid: int) -> Used:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        cpu = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
        slept = (re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.MULTILINE)
                 for task in tasks)  # fmt: skip
        return cls(cpu, sum(int(found[1]) for found in slept if found))


@dataclass(frozen=True)
class Followed:
    """One run, a packet sent; lost: packets that were sent and not read."""

    sender: float
    reader: float
    sleeps: float
    lost: int


def measured(pid: int, load: live.Load, daemon: shared.Daemon) -> tuple[float, float, float]:
    """Sends while a process reads: ns of the sender and of reader and ffpfd, and sleeps, a packet."""
    before, beside = Used.by(pid), daemon.cpu_ns()
    sender = live.send(load.count, load.size, load.rate)
    time.sleep(FLUSH_S)
    after = Used.by(pid)
    cpu = after.cpu_ns - before.cpu_ns + daemon.cpu_ns() - beside
    return sender, cpu / load.count, (after.sleeps - before.sleeps) / load.count


def follow_stock(load: live.Load, daemon: shared.Daemon, folder: Path) -> Followed:
    report = folder / "report"
    with report.open("w") as said:
        command = ["tcpdump", "-Z", "root", "-i", live.SIDES[1], "-w", "/dev/null"]
        tool = subprocess.Popen(command, env=measure.environment("stock"), stdout=subprocess.DEVNULL, stderr=said)
        measure.wait_until_listening(report)
        figures = measured(tool.pid, load, daemon)
        tool.send_signal(signal.SIGINT)
        tool.wait()
    return Followed(*figures, load.count - live.count_of(report.read_text(), "captured"))


def follow_python(reader: tuple[str, str, str], load: live.Load, daemon: shared.Daemon) -> Followed:
    command = [sys.executable, "-m", "bench.follow_reader", *reader, live.SIDES[1]]
    env = {**os.environ, "FFPF_SOCKET": str(daemon.socket)}
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"the reader {reader} did not begin")
    figures = measured(process.pid, load, daemon)
    said, _ = process.communicate("")
    return Followed(*figures, load.count - int(said.split()[0]))


def one(name: str, load: live.Load, daemon: shared.Daemon, folder: Path) -> Followed:
    if name == STOCK:
        return follow_stock(load, daemon, folder)
    return follow_python(READERS[name], load, daemon)


def rows_of(runs: Mapping[str, list[Followed]], idle: list[float]) -> list[list[str]]:
    def sums(name: str) -> list[float]:
        return [run.sender - least + run.reader for run, least in zip(runs[name], idle, strict=True)]

    rows = []
    for name, found in runs.items():
        kernel = measure.Spread.of([run.sender - least for run, least in zip(found, idle, strict=True)])
        rows.append(
            [
                name,
                kernel.text(0),
                measure.Spread.of([run.reader for run in found]).text(0),
                measure.ratios(sums(name), sums(STOCK)).text(2),
                measure.Spread.of([1000 * run.sleeps for run in found]).text(2),
                f"{sum(run.lost for run in found):,}",
            ]
        )
    return rows


def inside(rounds: int, load: live.Load, only: str) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*live.SIDES)
    names = [STOCK, *(name for name in READERS if only in name)]
    runs: dict[str, list[Followed]] = {name: [] for name in names}
    idle: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="ffpf-bench-", dir="/dev/shm") as name,
        shared.running(Path(name)) as daemon,
    ):
        for number in range(rounds):
            idle.append(live.send(load.count, load.size, load.rate))
            first = number % len(names)
            for reader in names[first:] + names[:first]:  # whoever comes after idle changes
                runs[reader].append(one(reader, load, daemon, Path(name)))
    print(f"following {load.count} packets of {load.size} octets at {load.rate}/s, {rounds} rounds in turns; ", end="")
    print(measure.machine())
    print("CPU in ns per packet above no capture; the ratio is of kernel and reader together\n")
    header = ["reader", "kernel", "reader's process", "of tcpdump's", "sleeps in 1,000 packets", "lost"]
    print(measure.table(header, rows_of(runs, idle)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packets", type=int, default=400_000)
    parser.add_argument("--size", type=int, default=64, help="octets of a packet")
    parser.add_argument("--rate", type=int, default=live.RATE, help="packets a second")
    parser.add_argument("--only", default="", help="readers whose name has this text in it")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds, live.Load(args.packets, args.size, args.rate), args.only)
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
    options = ["--rounds", str(args.rounds), "--packets", str(args.packets), "--size", str(args.size),
               "--rate", str(args.rate), f"--only={args.only}"]  # fmt: skip
    raise SystemExit(measure.again_in_namespace("bench.following", options))


if __name__ == "__main__":
    main()
