# SPDX-License-Identifier: BSD-3-Clause
"""(b) What one run of a filter costs, in ns per packet: libpcap's interpreter, ours, our native code, and C.

The C is the same bytecode translated by filter_to_c.py and compiled by gcc -O3, and for two filters also what a person
would write. Packets lie in the cache (1,024 of them), or stream through it (more octets than the last-level cache
holds). The engines run in turns in one process; a ratio is taken between neighbours of the same round.
"""

from __future__ import annotations

import argparse
import ctypes.util
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import build
from bench import filter_to_c, measure
from bench.filters import FILTERS
from compat_tests import captures

PACKETS = 300_000  # about 110 MB
PLACES = ("cache", "stream")
ENGINES = ("libpcap", "interpreter", "c", "jit", "hand")
AIM = 1.3  # times the C, at most
AIM_HOSTS = 0.1  # 100 hosts: ten times better than the C

HIT_HOSTS = " or ".join(f"host {host}" for host in captures.HUNDRED_HOSTS)
SCATTERED_HOSTS = " or ".join(
    f"host {i * 7919 % 223 + 1}.{i * 104729 % 256}.{i * 1299709 % 256}.{i * 15485863 % 254 + 1}" for i in range(1, 101)
)
CASES: dict[str, str] = {
    **FILTERS,
    "two hosts, hit": " or ".join(f"host {host}" for host in captures.HOST_PAIR),
    "100 hosts, hit": HIT_HOSTS,
    "100 hosts, scattered": SCATTERED_HOSTS,
    "100 source hosts": HIT_HOSTS.replace("host", "src host"),
    "100 ports": " or ".join(f"port {443 + 37 * i}" for i in range(100)),
    "100 nets": " or ".join(
        f"net 10.{i}.0.0/16" if i % 3 == 0 else f"net 172.16.{i}.0/24" if i % 3 == 1 else f"net 203.{i}.0.0/17"
        for i in range(1, 101)
    ),
    "100 ip6 hosts": " or ".join(f"ip6 host 2001:db8:{i % 7:x}::{77 * i + 1:x}" for i in range(100)),
    "http payload": "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
}
HAND: Mapping[str, str] = {
    "tcp port 80": "tcp_port_80",
    "100 hosts": "hosts",
    "100 hosts, hit": "hosts",
    "100 hosts, scattered": "hosts",
}


def system_libpcap() -> str:
    """Path of the system's library, as the dynamic linker finds it."""
    name = ctypes.util.find_library("pcap")
    if not name:
        raise RuntimeError("the system has no libpcap")
    return name


def build_runner() -> Path:
    """Compiles filter_cost.c with the core; returns the program."""
    source = measure.ROOT / "bench" / "filter_cost.c"
    output = build.BUILD / "normal" / "bin" / "bench_filter_cost"
    with build.locked():
        core = build.build_core("normal")
        return build.link(output, "normal", [build.compile_object(source, "normal"), core], ["-pthread", "-ldl"])


def compile_translation(runner: Path, text: str, output: Path) -> int:
    """Makes a shared object of the filter as C at -O3; returns the number of instructions."""
    dump = subprocess.run([runner, system_libpcap(), "dump", text], capture_output=True, text=True, check=True).stdout
    program = [filter_to_c.Insn(*map(int, line.split())) for line in dump.splitlines()]
    command = ["gcc", "-O3", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(output)]
    subprocess.run(command, input=filter_to_c.translate(program), text=True, check=True)
    return len(program)


Costs = dict[tuple[str, str], list[float]]  # (engine, place) -> ns per packet of each round


def costs_of(runner: Path, text: str, hand: str, capture: Path, rounds: int) -> tuple[int, float, Costs]:
    """Instructions, share of packets accepted, and costs; raises RuntimeError when engines disagree."""
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        translated = Path(folder) / "filter.so"
        length = compile_translation(runner, text, translated)
        command = [str(runner), system_libpcap(), "run", str(rounds), str(capture), text, str(translated), hand]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    costs: Costs = defaultdict(list)
    accepted: dict[str, set[int]] = defaultdict(set)
    for line in said.splitlines():
        engine, place, _, ns, count = line.split()
        costs[engine, place].append(float(ns))
        accepted[place].add(int(count))
    if any(len(counts) != 1 for counts in accepted.values()):
        raise RuntimeError(f"engines disagree on {text!r}: {dict(accepted)}")
    return length, accepted["stream"].pop() / PACKETS, costs


def row(name: str, length: int, share: float, place: str, costs: Costs) -> list[str]:
    """One line of the table."""
    cells = [measure.Spread.of(costs[engine, place]).text(2) if costs[engine, place] else "" for engine in ENGINES]
    ratio = measure.ratios(costs["jit", place], costs["c", place])
    faster = measure.ratios(costs["libpcap", place], costs["jit", place])
    aim = AIM_HOSTS if name.startswith("100 hosts") else AIM
    return [name, str(length), f"{share:.3f}", place, *cells, faster.text(1), ratio.text(2), f"{aim:.1f}"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="only cases whose name has this text in it")
    args = parser.parse_args(arguments)
    runner = build_runner()
    rows = []
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        capture = Path(folder) / "imix.pcap"
        captures.write_imix(capture, PACKETS)
        for name, text in CASES.items():
            if args.only not in name:
                continue
            length, share, costs = costs_of(runner, text, HAND.get(name, "-"), capture, args.rounds)
            rows += [row(name, length, share, place, costs) for place in PLACES]
    header = ["filter", "insns", "accepted", "place", *ENGINES, "libpcap/jit", "jit/c", "aim"]
    print(f"{PACKETS} packets, {args.rounds} rounds in turns; {measure.machine()}")
    print("ns per packet, call and loop included: median [quartiles]\n")
    print(measure.table(header, rows))


if __name__ == "__main__":
    main()
