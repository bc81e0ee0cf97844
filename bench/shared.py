# SPDX-License-Identifier: BSD-3-Clause
"""N tcpdumps on one interface at 200,000 packets/s: stock libpcap's N captures beside the one of the shared engine.

CPU per packet sent of kernel and tools together, above the cost of no capture, as in bench.live: on a veth pair the
receiving side of the kernel runs in the sender's context, so the kernel's cost is the sender's CPU time above its own
with no capture. What ffpfd itself uses while packets come is counted with the tools. The benchmark runs itself again in
a network namespace of its own, which goes with it.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import build
from bench import live, measure

PEERS = ("stock", "shared")
COUNTS = (1, 2, 4, 8)
SIZES = (64, 1500)
FLUSH_S = 1.2  # the last packets come with the read timeout, with either peer


TCPDUMP = ("tcpdump", "-Z", "root", "-i", live.SIDES[1], "-w", "/dev/null")


def send(load: live.Load) -> float:
    """Returns the sender's CPU ns per frame."""
    return live.send(load.count, load.size, load.rate)


@dataclass(frozen=True)
class Captures:
    """What a number of tcpdumps at once cost, ns of CPU per packet sent; counts as the tools said, summed."""

    sender: float
    tools: float
    captured: int
    dropped: int


class Daemon:
    """An ffpfd of this benchmark's own, on a socket of its own."""

    def __init__(self, folder: Path, config: str = "", under: Sequence[str] = ()) -> None:
        """config: TOML, beside the defaults. under: a command that runs it, with what it is to be denied."""
        self.socket = folder / "ffpfd.sock"
        self._log = (folder / "ffpfd.log").open("w")
        (folder / "ffpfd.toml").write_text(config)
        command = [*under, sys.executable, "-m", "pyffpf.cli.ffpfd", "--config", str(folder / "ffpfd.toml")]
        command += ["--socket", str(self.socket)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        for _ in range(3000):
            if self.socket.exists():
                return
            time.sleep(0.02)
        self.close()
        raise RuntimeError(f"ffpfd did not begin: {(folder / 'ffpfd.log').read_text()}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_ns(self) -> int:
        """CPU time that its threads have used so far."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks)

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
        self._log.close()


@contextmanager
def running(folder: Path, config: str = "", under: Sequence[str] = ()) -> Iterator[Daemon]:
    daemon = Daemon(folder, config, under)
    try:
        yield daemon
    finally:
        daemon.close()


def environment(peer: str, daemon: Daemon) -> dict[str, str]:
    if peer == "stock":
        return measure.environment("stock")
    return measure.environment("ffpf", {"FFPF_ENGINE": "shared", "FFPF_SOCKET": str(daemon.socket)})


def capture(peer: str, number: int, command: Sequence[str], load: live.Load, folder: Path, daemon: Daemon) -> Captures:
    """Runs a command `number` times at once, on a peer, while frames are sent."""
    reports = [folder / f"report.{i}" for i in range(number)]
    tools = []
    started = time.monotonic()
    for report in reports:
        with report.open("w") as said:
            tools.append(
                subprocess.Popen(command, env=environment(peer, daemon), stdout=subprocess.DEVNULL, stderr=said)
            )
    for report in reports:
        measure.wait_until_listening(report)
    before = daemon.cpu_ns()
    sender = send(load)
    time.sleep(FLUSH_S)
    beside = daemon.cpu_ns() - before
    for tool in tools:
        tool.send_signal(signal.SIGINT)
    cpu = sum(measure.finish(tool, started).cpu for tool in tools) * 1e9 + beside
    words = [report.read_text() for report in reports]
    return Captures(
        sender,
        cpu / load.count,
        sum(live.count_of(report, "captured") for report in words),
        sum(live.count_of(report, "dropped by kernel") for report in words),
    )


@dataclass
class Row:
    """Figures of one number of tools and one size, round by round."""

    number: int
    size: int
    kernel: dict[str, list[float]]
    tools: dict[str, list[float]]
    lost: dict[str, int]

    @classmethod
    def empty(cls, number: int, size: int) -> Row:
        return cls(number, size, {p: [] for p in PEERS}, {p: [] for p in PEERS}, dict.fromkeys(PEERS, 0))

    def add(self, peer: str, one: Captures, idle: float, packets: int) -> None:
        self.kernel[peer].append(one.sender - idle)
        self.tools[peer].append(one.tools)
        self.lost[peer] += max(one.dropped, packets * self.number - one.captured)

    def sums(self, peer: str) -> list[float]:
        return [k + t for k, t in zip(self.kernel[peer], self.tools[peer], strict=True)]

    def words(self) -> list[str]:
        parts = [
            f"{measure.Spread.of(self.kernel[peer]).text(0)} + {measure.Spread.of(self.tools[peer]).text(0)}"
            for peer in PEERS
        ]
        ratio = measure.ratios(self.sums("shared"), self.sums("stock"))
        return [
            str(self.number),
            str(self.size),
            *parts,
            ratio.text(2),
            f"{self.lost['stock']} / {self.lost['shared']}",
        ]


def inside(rounds: int, packets: int, buffers: str, counts: Sequence[int]) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*live.SIDES)
    rows = [Row.empty(number, size) for size in SIZES for number in counts]
    config = f'[buffers]\nbytes = "{buffers}"\n' if buffers else ""
    with (
        tempfile.TemporaryDirectory(prefix="ffpf-bench-", dir="/dev/shm") as name,
        running(Path(name), config) as daemon,
    ):
        folder = Path(name)
        for peer in PEERS:
            capture(peer, 1, TCPDUMP, live.Load(packets // 4, SIZES[0]), folder, daemon)
        for _ in range(rounds):
            for row in rows:
                load = live.Load(packets, row.size)
                idle = send(load)
                for peer in PEERS:
                    one = capture(peer, row.number, TCPDUMP, load, folder, daemon)
                    row.add(peer, one, idle, packets)
    print(f"N tcpdumps -w /dev/null at {live.RATE} packets/s, {packets} packets, {rounds} rounds in turns; ", end="")
    print(measure.machine())
    print("CPU in ns per packet sent above no capture, kernel + tools; the ratio is of the sums\n")
    header = ["N", "octets", "stock", "shared", "shared/stock", "lost stock/shared"]
    print(measure.table(header, [row.words() for row in rows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packets", type=int, default=300_000)
    parser.add_argument("--bytes", default="", help="of PBuf for the group, such as '8 MiB'; default: ffpfd's")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="how many tcpdumps")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds, args.packets, args.bytes, args.counts)
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
    options = ["--rounds", str(args.rounds), "--packets", str(args.packets), f"--bytes={args.bytes}",
               "--counts", *map(str, args.counts)]  # fmt: skip
    raise SystemExit(measure.again_in_namespace("bench.shared", options))


if __name__ == "__main__":
    main()
