# SPDX-License-Identifier: BSD-3-Clause
"""(o) FPL-2 beside what else filters packets: libpcap's interpreter, our BPF compiler, the kernel's, and C by hand.

The six filters of all benches in two ways of writing them in FPL-2: by the names of fields, which find headers behind
tags, options and extension headers, and by offsets, as libpcap's own code looks at a packet. fpl2.c runs them in turns
in one process; FPL-1's interpreter runs what the second way becomes in its language. Then what compiling costs: Figure
7's program in a warm process, stage by stage, and through the child.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import build
from bench import measure
from bench.filter_cost import system_libpcap
from bench.filters import FILTERS, HUNDRED_HOSTS
from compat_tests import captures
from fpl.fpl1.translate import translate
from fpl.fpl2 import check, compile_native
from fpl.fpl2.check import Policy
from fpl.fpl2.externals import External

PACKETS = 1_000_000
PLACES = ("cache", "stream")
ENGINES = ("libpcap", "jit", "kernel", "hand", "names", "offsets")
FPL1 = "fpl1"  # the filter by offsets, as `fpl1 translate` makes it FPL-1
AIM_HAND = 1.15  # times the C by hand, at most
AIM_LIBPCAP = 10.0  # times faster than libpcap's interpreter, at least
AIM_HOSTS = 0.1  # of what the kernel's compiler makes of 100 hosts, at most

HOSTS = HUNDRED_HOSTS.replace("host ", "").replace(" or ", ", ")
TWO = FILTERS["two hosts"].replace("host ", "").replace(" or ", ", ")
BY_NAMES = "RETURN IP_SRC IN {{{0}}} || IP_DST IN {{{0}}} || ARP_SENDER IN {{{0}}} || ARP_TARGET IN {{{0}}};"
BY_OFFSETS = """
IF (PKT.U16[12] == 0x0800) THEN RETURN PKT.U32[26] IN {{{0}}} || PKT.U32[30] IN {{{0}}}; FI
IF (PKT.U16[12] IN {{0x0806, 0x8035}}) THEN RETURN PKT.U32[28] IN {{{0}}} || PKT.U32[38] IN {{{0}}}; FI
"""
IPV4_TCP = "PKT.U16[12] == 0x0800 && PKT.U8[23] == 6 && (PKT.U16[20] & 0x1fff) == 0"


@dataclass(frozen=True)
class Case:
    """A filter of FILTERS: the function of fpl2.c that is the same, and both ways of writing it in FPL-2."""

    hand: str
    names: str
    offsets: str


CASES = {
    "none": Case("none", "RETURN 1;", "RETURN 1;"),
    "ip": Case("ip", "RETURN IS_IP;", "RETURN PKT.U16[12] == 0x0800;"),
    "tcp port 80": Case("port_80", "RETURN TCP_SPORT == 80 || TCP_DPORT == 80;", f"""
IF ({IPV4_TCP}) THEN
    R[0] = 14 + (PKT.U8[14] & 15) * 4;
    RETURN PKT.U16[R[0]] == 80 || PKT.U16[R[0] + 2] == 80;
FI
IF (PKT.U16[12] == 0x86dd && PKT.U8[20] == 6) THEN RETURN PKT.U16[54] == 80 || PKT.U16[56] == 80; FI
"""),
    "syn, not 10/8": Case("syn", "RETURN IS_IP && (TCP_FLAGS & 2) != 0 && IP_SRC NOT IN {10.0.0.0/8};", f"""
IF ({IPV4_TCP} && PKT.U8[26] != 10) THEN RETURN PKT.U8[27 + (PKT.U8[14] & 15) * 4] & 2; FI
"""),
    "two hosts": Case("two_hosts", BY_NAMES.format(TWO), BY_OFFSETS.format(TWO)),
    "100 hosts": Case("hosts", BY_NAMES.format(HOSTS), BY_OFFSETS.format(HOSTS)),
}  # fmt: skip

FIGURE_7 = """
IF (PKT.IP_PROTO == PROTO_TCP) THEN
    IF (PKT.TCP_DPORT == 554) THEN
        MEM[MEM[255] & 127] = EXTERN("GetDynTCPDPortFromRTSP", 0, 0);
        MEM[255]++;
    ELSE
        FOR (R[0] = 0; R[0] < MEM[255]; R[0]++) MAX 128
            IF (PKT.TCP_DPORT == MEM[R[0]]) THEN RETURN TRUE; FI
        ROF
    FI
FI
RETURN FALSE;
"""
FIGURE_7_POLICY = Policy(externals=(External("GetDynTCPDPortFromRTSP", 0, 0),))
FIGURE_7_MBUF = 1024
AIM_COMPILE_MS = 60

Costs = dict[tuple[str, str], list[float]]  # (engine, place) -> ns per packet of each round


def build_runner() -> Path:
    """Compiles fpl2.c with the core; returns the program."""
    output = build.BUILD / "normal" / "bin" / "bench_fpl2"
    with build.locked():
        core = build.build_core("normal")
        made = build.compile_object(measure.ROOT / "bench" / "fpl2.c", "normal")
        return build.link(output, "normal", [made, core], ["-pthread", "-ldl"])


def costs_of(runner: Path, name: str, case: Case, capture: Path, rounds: int) -> tuple[float, Costs]:
    """Share of packets accepted, and costs; RuntimeError when engines disagree."""
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        codes, stack_code = [], Path(folder) / FPL1
        stack_code.write_bytes(translate(check(case.offsets)).to_bytes())
        for way, text in (("names", case.names), ("offsets", case.offsets)):
            code = Path(folder) / way
            code.write_bytes(compile_native(check(text)).octets)
            codes.append(f"{way}={code}")
        command = [
            str(runner),
            system_libpcap(),
            str(rounds),
            str(capture),
            FILTERS[name],
            case.hand,
            str(stack_code),
            *codes,
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    costs: Costs = defaultdict(list)
    accepted: dict[str, set[int]] = defaultdict(set)
    for line in said.splitlines():
        engine, place, _, ns, count = line.split()
        costs[engine, place].append(float(ns))
        accepted[place].add(int(count))
    if any(len(accepted[place]) != 1 for place in PLACES):
        raise RuntimeError(f"engines disagree on {name!r}: {dict(accepted)}")
    return accepted["stream"].pop() / PACKETS, costs


def row(name: str, share: float, place: str, costs: Costs) -> list[str]:
    """One line of the table. What the kernel's costs is the same in both places."""
    cells = [measure.Spread.of(costs[engine, "kernel" if engine == "kernel" else place]).text(1) for engine in ENGINES]
    ratios = [measure.ratios(costs[way, place], costs["hand", place]).text(2) for way in ("names", "offsets")]
    faster = measure.ratios(costs["libpcap", place], costs["names", place])
    kernel = measure.ratios(costs["names", place], costs["kernel", "kernel"])
    return [name, f"{share:.3f}", place, *cells, *ratios, faster.text(1), kernel.text(2)]


def row_of_fpl1(name: str, place: str, costs: Costs) -> list[str]:
    """One line of the table of FPL-1."""
    mine = costs[FPL1, place]
    beside = [measure.ratios(mine, costs[engine, place]).text(1) for engine in ("libpcap", "offsets")]
    return [name, place, measure.Spread.of(mine).text(1), *beside]


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of processor time."""
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def compiling(rounds: int) -> list[list[str]]:
    """Figure 7: in this process, when it has compiled once; and as the class FPL-2 has it done, by a child."""
    checked = check(FIGURE_7, mbuf_bytes=FIGURE_7_MBUF, policy=FIGURE_7_POLICY)
    compile_native(checked)
    stages: dict[str, Callable[[], object]] = {
        "text to checked": lambda: check(FIGURE_7, mbuf_bytes=FIGURE_7_MBUF, policy=FIGURE_7_POLICY),
        "checked to x86-64": lambda: compile_native(checked),
    }
    costs: dict[str, list[float]] = defaultdict(list)
    with tempfile.NamedTemporaryFile("w", suffix=".fpl") as text:
        text.write(FIGURE_7)
        text.flush()
        child = [
            str(Path(sys.executable).parent / "fplc"),
            "compile",
            "--record",
            "--mbuf",
            str(FIGURE_7_MBUF),
            text.name,
        ]
        for _ in range(rounds):
            for name, work in stages.items():
                costs[name].append(timed(work))
            costs["both"].append(costs["text to checked"][-1] + costs["checked to x86-64"][-1])
            used = measure.run(child, "stock")
            costs["fplc, a child: processor"].append(1000 * used.cpu)
            costs["fplc, a child: by the clock"].append(1000 * used.wall)
    aims = {"both": f"{AIM_COMPILE_MS}"}
    return [[name, measure.Spread.of(found).text(1), aims.get(name, "")] for name, found in costs.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="only filters whose name has this text in it")
    args = parser.parse_args(arguments)
    runner, rows, of_fpl1 = build_runner(), [], []
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        capture = Path(folder) / "imix.pcap"
        captures.write_imix(capture, PACKETS)
        for name, case in CASES.items():
            if args.only in name:
                share, costs = costs_of(runner, name, case, capture, args.rounds)
                rows += [row(name, share, place, costs) for place in PLACES]
                of_fpl1 += [row_of_fpl1(name, place, costs) for place in PLACES]
    header = ["filter", "accepted", "place", *ENGINES, "names/hand", "offsets/hand", "libpcap/names", "names/kernel"]
    print(f"{PACKETS} packets, {args.rounds} rounds in turns; {measure.machine()}")
    print(f"aims: names/hand {AIM_HAND}, libpcap/names {AIM_LIBPCAP:.0f}; names/kernel of 100 hosts {AIM_HOSTS}")
    print("ns per packet, call and loop included (kernel: above a filter of one instruction): median [quartiles]\n")
    print(measure.table(header, rows))
    print("\nFPL-1, interpreted, the filter by offsets\n")
    print(measure.table(["filter", "place", FPL1, "fpl1/libpcap", "fpl1/offsets"], of_fpl1))
    print("\nFigure 7 compiled, ms: median [quartiles]\n")
    print(measure.table(["what", "ms", "aim"], compiling(args.rounds)))


if __name__ == "__main__":
    main()
