# SPDX-License-Identifier: BSD-3-Clause
"""(w) From wire to reader: how long a packet takes until a program has it, as a distribution.

latency_send.c writes the time of sending, by CLOCK_MONOTONIC, into each frame, and the reader takes the clock as soon
as it has the packet. What is measured so is the send call, the veth pair, the kernel's stack, the capture, the wake-up
and, where more packets wait than one, those that are read before. Sender and reader have a processor each; ffpfd runs
where it likes. With `--real-time` they all have real-time priority: on a machine that is busy with other things, the
capture is measured, and not the queue for the processor. Readers take turns within a round; a percentile is a round's,
shown as the median and quartiles of the rounds. One is shown where a round has a packet beyond it. The benchmark runs
itself again in a network namespace of its own, which goes with it.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import build
from bench import latency_plot, live, measure, shared

BIN = measure.ROOT / "build" / "normal" / "bin"
TIMEOUT_MS = 1000  # tcpdump's
FLUSH_S = 1.5 * TIMEOUT_MS / 1000
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
# Without these two the kernel refuses the hook, and ffpfd captures by TPACKET into userspace lanes.
NO_HOOK = ("setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin")
REAL_TIME = ("chrt", "--fifo", "1")

Samples = npt.NDArray[np.int64]  # (n, 2), ns: from sending, and from the kernel's time stamp


@dataclass(frozen=True)
class Load:
    """Frames a second, as bursts of so many, for so many seconds."""

    rate: int
    burst: int
    seconds: float

    @property
    def count(self) -> int:
        return max(self.burst, int(self.rate * self.seconds))


LOADS = {
    "20 packets/s": Load(20, 1, 4.0),
    "1,000 packets/s": Load(1_000, 1, 2.0),
    "100,000 packets/s": Load(100_000, 1, 1.0),
    "20 bursts/s of 256 packets": Load(20 * 256, 256, 2.0),
}


@dataclass(frozen=True)
class Reader:
    """peer: whose library, as in measure.environment; engine: FFPF_ENGINE; how: the reading program's last word, and
    where Python reads, that of latency_reader. lane: of the ffpfd that has no hook in the kernel."""

    peer: str
    how: str
    engine: str = ""
    python: bool = False
    lane: bool = False

    @property
    def waits(self) -> bool:
        """Packets may wait for company."""
        return self.how not in ("socket", "immediate")


READERS = {
    "AF_PACKET socket": Reader("stock", "socket"),
    "libpcap, immediate": Reader("stock", "immediate"),
    "FFPF embedded, immediate": Reader("ffpf", "immediate", "embedded"),
    "FFPF shared, immediate": Reader("ffpf", "immediate", "shared"),
    "FFPF shared by TPACKET, immediate": Reader("ffpf", "immediate", "shared", lane=True),
    "Python embedded, immediate": Reader("ffpf", "immediate", "embedded", python=True),
    "Python shared, immediate": Reader("ffpf", "immediate", "shared", python=True),
    "libpcap, 1 s": Reader("stock", str(TIMEOUT_MS)),
    "FFPF embedded, 1 s": Reader("ffpf", str(TIMEOUT_MS), "embedded"),
    "FFPF shared, 1 s": Reader("ffpf", str(TIMEOUT_MS), "shared"),
    "Python shared, 0.1 s": Reader("ffpf", "batches", "shared", python=True),
}


@dataclass(frozen=True)
class Place:
    """Where readers run. under: the command that runs them, sender and ffpfd."""

    hook: shared.Daemon
    lane: shared.Daemon
    folder: Path
    under: tuple[str, ...]


def command_of(reader: Reader, count: int, file: Path, place: Place) -> tuple[list[str], dict[str, str]]:
    """What reads, and its environment."""
    words = [live.SIDES[1], str(count), str(file)]
    socket = str((place.lane if reader.lane else place.hook).socket)
    if reader.python:
        return [sys.executable, "-m", "bench.latency_reader", *words, reader.engine, reader.how], {
            **os.environ, "FFPF_SOCKET": socket}  # fmt: skip
    extra = {"FFPF_ENGINE": reader.engine, "FFPF_SOCKET": socket} if reader.engine else {}
    return [str(BIN / "bench_latency_read"), *words, reader.how], measure.environment(reader.peer, extra)


def taken(reader: Reader, load: Load, place: Place) -> Samples:
    """One run: what was read, in the order of reading."""
    report, file = place.folder / "report", place.folder / "samples"
    processors = sorted(os.sched_getaffinity(0))
    command, env = command_of(reader, load.count, file, place)
    with report.open("w") as said:
        process = subprocess.Popen([*place.under, "taskset", "-c", str(processors[-1]), *command], env=env, stderr=said)
    try:
        measure.wait_until_listening(report, process)
        words = [BIN / "bench_latency_send", live.SIDES[0], load.count, load.rate, load.burst, processors[0]]
        subprocess.run([*place.under, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
        end = time.monotonic() + FLUSH_S
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if process.poll() is None:  # packets were lost
            process.send_signal(signal.SIGINT)
        if process.wait(20):
            raise RuntimeError(f"exit code {process.returncode}: {report.read_text()}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return np.fromfile(file, np.int64).reshape(-1, 2)


def percentile(ns: npt.NDArray[np.int64], of: float) -> float | None:
    """Microseconds; None where no packet is beyond it."""
    if len(ns) * (100 - of) < 100 - 1e-6:
        return None
    return float(np.percentile(ns, of)) / 1000


def cell(figures: Sequence[float | None]) -> str:
    known = [figure for figure in figures if figure is not None]
    return measure.Spread.of(known).text(0 if max(known) >= 1000 else 1) if known else ""


def row(name: str, rounds: Sequence[Samples], count: int) -> list[str]:
    columns = [[percentile(one[:, 0], of) for one in rounds] for of in PERCENTILES]
    most = [float(one[:, 0].max()) / 1000 for one in rounds if len(one)]
    stamp = [percentile(one[:, 1], 50.0) for one in rounds]
    lost = sum(count - len(one) for one in rounds)
    return [name, *(cell(column) for column in columns), cell(most), cell(stamp), f"{lost:,}"]


def show(found: Mapping[str, Mapping[str, list[Samples]]], loads: Mapping[str, Load]) -> None:
    header = ["reader", *(f"{of:g}%" for of in PERCENTILES), "most", "of that since the stamp, 50%", "lost"]
    for load, readers in found.items():
        print(f"\n{load}: microseconds from sending to reading\n")
        print(measure.table(header, [row(name, rounds, loads[load].count) for name, rounds in readers.items()]))


def inside(rounds: int, scale: float, only: str, plots: Path, real_time: bool) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*live.SIDES)
    measured = measure.Conditions()
    names = [name for name in READERS if only in name]
    loads = {name: Load(load.rate, load.burst, load.seconds * scale) for name, load in LOADS.items()}
    found: dict[str, dict[str, list[Samples]]] = {load: {name: [] for name in names} for load in loads}
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ffpf-bench-"))) for _ in range(2)]
        under = REAL_TIME if real_time else ()
        hook = stack.enter_context(shared.running(folders[0], under=under))
        lane = stack.enter_context(shared.running(folders[1], under=(*under, *NO_HOOK)))
        place = Place(hook, lane, folders[0], under)
        for number in range(rounds):
            first = number % len(names)
            for load, readers in found.items():
                for name in names[first:] + names[:first]:  # whoever comes first changes
                    try:
                        samples = taken(READERS[name], loads[load], place)
                    except RuntimeError as error:  # counted as lost: the other readers' figures are good
                        print(f"{name}, {load}: {error}", file=sys.stderr)
                        samples = np.empty((0, 2), np.int64)
                    readers[name].append(samples)
    priority = "real-time priority; " if real_time else ""
    conditions = priority + measured.text()
    print(f"from wire to reader, 64 octets, {rounds} rounds in turns; {conditions}")
    show(found, loads)
    curves = {
        load: {name: [one[:, 0] for one in samples if len(one)] for name, samples in readers.items()}
        for load, readers in found.items()
    }
    waiting = {name for name in names if READERS[name].waits}
    latency_plot.draw(curves, waiting, f"medians of {rounds} rounds; {conditions}", plots / "latency.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the seconds that each load takes")
    parser.add_argument("--only", default="", help="readers whose name has this text in it")
    parser.add_argument("--plots", type=Path, default=measure.ROOT / "build" / "plots", help="where latency.svg goes")
    parser.add_argument("--real-time", action="store_true", help="sender, readers and ffpfd before all other work")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds, args.scale, args.only, args.plots, args.real_time)
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "latency_send.c")
        build.build_bench_program(measure.ROOT / "bench" / "latency_read.c", ["-lpcap"])
    options = ["--rounds", str(args.rounds), "--scale", str(args.scale), f"--only={args.only}"]
    options += ["--real-time"] * args.real_time
    raise SystemExit(measure.again_in_namespace("bench.latency", [*options, "--plots", str(args.plots.resolve())]))


if __name__ == "__main__":
    main()
