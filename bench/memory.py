# SPDX-License-Identifier: BSD-3-Clause
"""(x) Memory of N tcpdumps on one interface, while packets come: stock libpcap, FFPF in each tool, and ffpfd.

Of the tools and ffpfd with its children, MiB: RSS, each page as often as it is mapped; PSS, each page once. In PSS are
the rings and lanes, which are the kernel's memory mapped: how much of it that is stands beside it. BPF maps: what the
kernel says that those of ffpfd have locked, rings and lanes among them, mapped or not. The benchmark runs itself again
in a network namespace of its own, which goes with it.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import build
from bench import live, measure, shared

COUNTS = (1, 4, 16)
LOAD = live.Load(50_000, 1500, 50_000)
MIB = 1024.0  # KiB
MAPPED_KERNEL = ("socket:", "anon_inode:bpf-map")  # a TPACKET ring, and lanes
ENGINES = {"libpcap": ("stock", ""), "FFPF embedded": ("ffpf", "embedded"), "FFPF shared": ("ffpf", "shared")}


@dataclass(frozen=True)
class Memory:
    """KiB; see the module."""

    rss: float
    pss: float
    kernel: float
    maps: float


def text_of(path: Path) -> str:
    """Of a file in /proc; of what is gone, which has no memory, nothing: ffpfd has children that live for a moment."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def processes_below(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        pid,
        *(one for words in children for child in text_of(words).split() for one in processes_below(int(child))),
    ]


def mappings(pid: int) -> Iterator[tuple[str, dict[str, int]]]:
    """What is mapped, by its name, and its figures in KiB."""
    name, figures = "", dict[str, int]()
    for line in text_of(Path(f"/proc/{pid}/smaps")).splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            if figures:
                yield name, figures
            name, figures = line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else "", {}
        elif line.endswith(" kB"):
            what, kib = line.split()[:2]
            figures[what.rstrip(":")] = int(kib)
    if figures:
        yield name, figures


def locked_by_maps(pids: Iterable[int]) -> float:
    """KiB of the BPF maps that these have descriptors of, each map once."""
    found: dict[int, int] = {}
    for pid in pids:
        for info in Path(f"/proc/{pid}/fdinfo").glob("*"):
            text = text_of(info)
            number = re.search(r"^map_id:\s*(\d+)", text, re.MULTILINE)
            locked = re.search(r"^memlock:\s*(\d+)", text, re.MULTILINE)
            if number and locked:
                found[int(number[1])] = int(locked[1])
    return sum(found.values()) / 1024


def memory_of(pids: Sequence[int]) -> Memory:
    rss = pss = kernel = 0
    for pid in pids:
        for name, figures in mappings(pid):
            rss += figures["Rss"]
            pss += figures["Pss"]
            kernel += figures["Pss"] if name.startswith(MAPPED_KERNEL) else 0
    return Memory(rss, pss, kernel, locked_by_maps(pids))


@contextmanager
def captures(engine: str, number: int, folder: Path, daemon: shared.Daemon) -> Iterator[list[int]]:
    """So many tcpdumps that have seen packets; the pids, with those of ffpfd where it captures."""
    peer, name = ENGINES[engine]
    env = measure.environment(peer, {"FFPF_ENGINE": name, "FFPF_SOCKET": str(daemon.socket)} if name else {})
    tools = []
    try:
        for i in range(number):
            with (folder / f"report.{i}").open("w") as said:
                tools.append(subprocess.Popen(shared.TCPDUMP, env=env, stdout=subprocess.DEVNULL, stderr=said))
        for i, tool in enumerate(tools):
            measure.wait_until_listening(folder / f"report.{i}", tool)
        shared.send(LOAD)
        yield [tool.pid for tool in tools] + (processes_below(daemon.pid) if name == "shared" else [])
    finally:
        for tool in tools:
            tool.send_signal(signal.SIGINT)
        for tool in tools:
            tool.wait(60)


def inside(rounds: int, counts: Sequence[int]) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*live.SIDES)
    taken: dict[tuple[str, int], list[Memory]] = {(engine, n): [] for n in counts for engine in ENGINES}
    idle: list[Memory] = []
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-", dir="/dev/shm") as name:
        for _ in range(rounds):
            with shared.running(Path(name)) as daemon:  # a new one each time: it keeps memory of former captures
                idle.append(memory_of(processes_below(daemon.pid)))
                for (engine, number), found in taken.items():
                    with captures(engine, number, Path(name), daemon) as pids:
                        found.append(memory_of(pids))
    print(f"memory of N tcpdumps -w /dev/null, {LOAD.count} packets, {rounds} rounds in turns; {measure.machine()}")
    print("MiB of tools and ffpfd together\n")
    rows = [[engine, str(number), *cells(found)] for (engine, number), found in taken.items()]
    rows.append(["ffpfd alone", "0", *cells(idle)])
    print(measure.table(["engine", "tcpdumps", "RSS", "PSS", "of it rings and lanes", "BPF maps"], rows))


def cells(found: Sequence[Memory]) -> list[str]:
    columns = ([one.rss for one in found], [one.pss for one in found], [one.kernel for one in found],
               [one.maps for one in found])  # fmt: skip
    return [measure.Spread.of([kib / MIB for kib in column]).text() for column in columns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="how many tcpdumps")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds, args.counts)
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
    options = ["--rounds", str(args.rounds), "--counts", *map(str, args.counts)]
    raise SystemExit(measure.again_in_namespace("bench.memory", options))


if __name__ == "__main__":
    main()
