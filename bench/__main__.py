# SPDX-License-Identifier: BSD-3-Clause
"""`python -m bench [NAME ...] [OPTION ...]`: runs the named benchmarks, or all, in turn; options go to each.

What they print is shown as it comes, and kept: build/bench has report.txt, figures.json and pictures of the last run
(one for each table, and those that a benchmark draws itself), and history.jsonl, to which each run adds a line (see
bench.compare). What a benchmark that fails, or takes longer than `--limit`, has printed is kept, too, and the others
run; so is what was had when the run is interrupted.

Exit code 0: all ran; 1: one failed, which the end of the report names; 2: wrong options; 130: interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import compare, figures, measure, plots
from bench.figures import Run


@dataclass(frozen=True)
class Bench:
    """A module of this directory, its options for a quick run, and whether it draws pictures of its own."""

    module: str
    quick: tuple[str, ...] = ("--rounds", "1")
    draws: bool = False


BENCHES = {
    "offline": Bench("bench.offline", ("--rounds", "1", "--packets", "20000")),
    "filter_cost": Bench("bench.filter_cost", ("--rounds", "1", "--only", "two hosts")),
    "fpl2": Bench("bench.fpl2", ("--rounds", "1", "--only", "two hosts")),
    "fpl2_kernel": Bench("bench.fpl2_kernel", ("--rounds", "1", "--only", "two hosts")),
    "table1": Bench("bench.table1"),
    "live": Bench("bench.live", ("--rounds", "1", "--packets", "20000", "--only", "null 64")),
    "startup": Bench("bench.startup"),
    "first_packet": Bench("bench.first_packet"),
    "memory": Bench("bench.memory", ("--rounds", "1", "--counts", "1", "4")),
    "feed": Bench("bench.feed", ("--rounds", "1", "--packets", "50000")),
    "shared": Bench("bench.shared", ("--rounds", "1", "--packets", "20000", "--counts", "1", "2")),
    "framework": Bench("bench.framework", ("--rounds", "1", "--packets", "20000")),
    "paper": Bench("bench.paper", ("--rounds", "1", "--seconds", "0.1", "--rate-max", "60000"), draws=True),
    "latency": Bench("bench.latency", ("--rounds", "1", "--scale", "0.1"), draws=True),
    "classify": Bench("bench.classify"),
    "graph": Bench("bench.graph"),
    "embedded": Bench("bench.embedded", ("--rounds", "1", "--repeats", "3", "--packets", "20000")),
    "hook": Bench("bench.hook", ("--rounds", "2")),
    "python": Bench("bench.python", ("--rounds", "1", "--only", "count")),
    "following": Bench("bench.following", ("--rounds", "1", "--packets", "20000", "--only", "batches")),
    "patterns": Bench("bench.patterns", ()),
    "ixp_copy": Bench("bench.ixp_copy", (), draws=True),
    "ixp_rate": Bench("bench.ixp_rate", (), draws=True),
}
LIMIT_S = 3600
MODULES = (measure.ROOT, measure.ROOT / "csrc")  # where they are, and what they import


@dataclass
class Session:
    """One run of several benchmarks, as far as it came."""

    folder: Path
    quick: bool
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    said: list[str] = field(default_factory=lambda: [f"{measure.machine()}\n"])
    outputs: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def say(self, text: str) -> None:
        print(text, end="", flush=True)
        self.said.append(text)

    def run(self, name: str, options: Sequence[str], limit: float) -> None:
        self.say(f"\n== {name}\n\n")
        bench = BENCHES[name]
        words = list(bench.quick) if self.quick else []
        words += ["--plots", str(self.folder.resolve() / "plots")] if bench.draws else []
        words += options  # the last one counts
        began, load = time.monotonic(), measure.load()
        lines: list[str] = []
        try:
            why = shown([sys.executable, "-m", bench.module, *words], limit, lines)
        finally:
            self.outputs[name] = "".join(lines)
            self.said.append(self.outputs[name])
        if why:
            self.failed[name] = why
            self.say(f"\n{name} failed: {why}\n")
        self.say(f"\n({time.monotonic() - began:.0f} s, load average {load}, {measure.load()} at the end)\n")

    def keep(self) -> None:
        """The last run's report, figures and pictures, and the history's next line."""
        found = [one for name, output in self.outputs.items() for one in figures.read(name, output)]
        self.folder.mkdir(parents=True, exist_ok=True)
        asked = ["git", "-C", str(measure.ROOT), "describe", "--always", "--dirty"]
        commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
        load = (self.load, os.getloadavg()[0])
        run = Run(time.time(), measure.machine(), commit, tuple(found), self.quick, load)
        (self.folder / "report.txt").write_text("".join(self.said))
        (self.folder / "figures.json").write_text(run.line() + "\n")
        if not found:
            return
        figures.keep(self.folder / compare.HISTORY.name, run)
        titles = {
            (name, number): title
            for name, output in self.outputs.items()
            for number, title in enumerate(figures.titles(output), 1)
        }
        drawn = plots.draw(run, titles, self.folder / "plots")
        print(f"\n{len(found)} figures kept in {self.folder}, {len(drawn)} pictures in {self.folder / 'plots'}")


def shown(command: Sequence[str], limit: float, lines: list[str]) -> str:
    """Runs a benchmark; what it prints appears at once, and in lines. Why it failed, or ""."""
    env = {**os.environ, "PYTHONPATH": ":".join(map(str, MODULES)), "PYTHONUNBUFFERED": "1"}
    over = threading.Event()
    # Of a session of its own, so that what it has started ends with it.
    with subprocess.Popen(
        command, env=env, cwd=measure.ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:

        def end_all() -> None:
            over.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, end_all)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
    if over.is_set():
        return f"took longer than {limit:g} s"
    return f"exit code {process.returncode}" if process.returncode else ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Runs benchmarks, each in a process of its own."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--keep", dest="folder", type=Path, default=compare.HISTORY.parent, metavar="FOLDER",
                        help="where report, figures, pictures and history are kept")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few rounds and packets: whether all work, in minutes")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="of one benchmark")
    args, options = parser.parse_known_args(argv)
    unknown = set(args.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    session = Session(args.folder, args.quick)
    began = time.monotonic()
    code = 0
    try:
        for name in args.names or list(BENCHES):
            session.run(name, options, args.limit)
    except KeyboardInterrupt:
        session.say("\ninterrupted\n")
        code = 130
    session.say(f"\n{len(session.outputs)} benchmarks in {(time.monotonic() - began) / 60:.1f} minutes\n")
    for name, why in session.failed.items():
        session.say(f"failed: {name}: {why}\n")
        code = code or 1
    session.keep()
    return code


if __name__ == "__main__":
    sys.exit(main())
