# SPDX-License-Identifier: BSD-3-Clause
"""Whole processes measured in turns, A B A B: the machine's speed drifts, the ratio of neighbours does not.

Every figure is a median; the spread beside it is the range of the middle half of the runs (the quartiles).
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "build" / "normal" / "libffpfpcap.so"
PEERS = ("stock", "ffpf")


@dataclass(frozen=True)
class Usage:
    """What one finished process cost, in seconds."""

    user: float
    system: float
    wall: float

    @property
    def cpu(self) -> float:
        return self.user + self.system


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of a list of figures."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        if len(figures) < 2:
            return cls(figures[0], figures[0], figures[0])
        low, median, high = statistics.quantiles(figures, n=4, method="inclusive")
        return cls(low, median, high)

    def text(self, digits: int = 1) -> str:
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}..{self.high:.{digits}f}]"


def environment(peer: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that runs on the given peer: `stock` libpcap or `ffpf`."""
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    if peer == "ffpf":
        env["LD_PRELOAD"] = str(LIBRARY)
    env.update(extra or {})
    return env


def finish(process: subprocess.Popen[bytes], started: float) -> Usage:
    """Waits for a process and returns what it cost; raises CalledProcessError when it failed."""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Usage(usage.ru_utime, usage.ru_stime, wall)


def run(command: Sequence[str], peer: str) -> Usage:
    """Runs a command on a peer, what it prints thrown away."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, env=environment(peer), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return finish(process, started)


def again_in_namespace(module: str, options: Sequence[str]) -> int:
    """Runs a benchmark again, in a network namespace of its own that goes with it; returns its exit code."""
    command = ["unshare", "--net", sys.executable, "-m", module, "--inside", *options]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'csrc'}"}
    return subprocess.run(command, env=env, cwd=ROOT).returncode


def make_veth_pair(*sides: str) -> None:
    """Two connected interfaces, up, in this process's network namespace; IPv6 says nothing on them by itself."""
    subprocess.run(["ip", "link", "add", sides[0], "type", "veth", "peer", "name", sides[1]], check=True)
    for side in sides:
        Path(f"/proc/sys/net/ipv6/conf/{side}/disable_ipv6").write_text("1")
        subprocess.run(["ip", "link", "set", side, "up"], check=True)


def wait_until_listening(report: Path, tool: subprocess.Popen[bytes] | None = None) -> None:
    """Waits until a tool like tcpdump, whose standard error goes to the file report, captures. RuntimeError after a
    minute, or when it has ended."""
    end = time.monotonic() + 60
    while time.monotonic() < end and (tool is None or tool.poll() is None):
        if "listening on" in report.read_text():
            return
        time.sleep(0.01)
    raise RuntimeError(f"the tool did not begin: {report.read_text()}")


def peak_kib(command: Sequence[str], peer: str) -> int:
    """Largest resident set of one run, in KiB.

    Asked of time(1), which is small: the kernel counts what a process had in memory before it became the command, and
    that would be this Python (Linux, fs/exec.c, exec_mmap).
    """
    with tempfile.NamedTemporaryFile("r", suffix=".peak") as peak:
        timed = [
            "time",
            "-f",
            "%M",
            "-o",
            peak.name,
            "env",
            *(["LD_PRELOAD=" + str(LIBRARY)] if peer == "ffpf" else []),
        ]
        subprocess.run([*timed, *command], stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return int(peak.read().split()[-1])


def served_by_ffpf(command: Sequence[str]) -> str:
    """The FFPF_STATS line of one run of the command on FFPF; raises when FFPF did not serve it."""
    with tempfile.NamedTemporaryFile("r", suffix=".stats") as stats:
        Path(stats.name).chmod(0o666)  # tcpdump gives up root before it ends
        env = environment("ffpf", {"FFPF_STATS": stats.name})
        subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        line = stats.read().strip()
    if not line.startswith("ffpf:"):
        raise RuntimeError(f"FFPF did not serve {command}: {line!r}")
    return line


def in_turns(variants: Mapping[str, Callable[[], Usage]], rounds: int) -> dict[str, list[Usage]]:
    """One warm-up of each variant, then `rounds` rounds in which each has its turn."""
    for variant in variants.values():
        variant()
    taken: dict[str, list[Usage]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            taken[name].append(variant())
    return taken


def both(command: Sequence[str], rounds: int) -> dict[str, list[Usage]]:
    """The same command on both peers, in turns."""
    return in_turns({peer: partial(run, command, peer) for peer in PEERS}, rounds)


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Pairwise ratios above/below of runs that were neighbours."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])


def machine() -> str:
    """One line about where the figures come from."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{os.cpu_count()} processors ({model}), {platform.system()} {platform.release().split('-')[0]}"


def load() -> str:
    """The load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


class Conditions:
    """What the machine was when figures were taken: made when that begins."""

    def __init__(self) -> None:
        self._began, self._load = time.strftime("%Y-%m-%d %H:%M"), load()

    def text(self) -> str:
        """One line; to be called at the end."""
        return f"{machine()}; {self._began}, load average {self._load} and {load()} at the end"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it also reads well as text."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [header, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
