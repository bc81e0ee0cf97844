# SPDX-License-Identifier: BSD-3-Clause
"""The paper's experiments with tcpdump, stock libpcap beside the shared engine, as tables and as plots.

Figure 11: idle time of the machine against the rate of packets of 1500 octets, a curve for each capture length.
Figure 12: idle time at one rate against the number of tcpdumps. And: the highest rate at which readers that only count
lose nothing, for one and for eight of them.

Idle time is what sender, tools and ffpfd leave of all processors' time while packets are sent; on a veth pair the
kernel's share is the sender's. `--plots FOLDER` says where figure11.svg and figure12.svg go.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import build
from bench import live, measure, shared, svg

OCTETS = 1500
RATES = (50_000, 100_000, 200_000, 300_000, 400_000)
CAPTURE_LENGTHS = (64, 1500)
TOOLS = (1, 2, 4, 8, 12, 16)
RATE_OF_TOOLS = 100_000
COUNTER = measure.ROOT / "build" / "normal" / "bin" / "bench_count"
COUNTERS = (1, 8)
FIRST_RATE, STEP, RATE_MAX = 50_000, 1.2, 2_000_000
NAMES = {"stock": "libpcap", "shared": "FFPF"}

Curves = dict[str, dict[int, list[float]]]  # by name: x to a figure of each round


def idle(one: shared.Captures, load: live.Load) -> float:
    """Per cent of all processors' time."""
    used = (one.sender + one.tools) * load.rate / 1e9
    return 100 * (1 - used / (os.cpu_count() or 1))


def figure_11(curves: Curves, seconds: float, folder: Path, daemon: shared.Daemon) -> None:
    """One round."""
    for rate in RATES:
        load = live.Load(int(rate * seconds), OCTETS, rate)
        for length in CAPTURE_LENGTHS:
            for peer in shared.PEERS:
                one = shared.capture(peer, 1, [*shared.TCPDUMP, "-s", str(length)], load, folder, daemon)
                name = f"{NAMES[peer]}, {length} octets captured"
                curves.setdefault(name, {}).setdefault(rate, []).append(idle(one, load))


def figure_12(curves: Curves, seconds: float, folder: Path, daemon: shared.Daemon) -> None:
    """One round."""
    load = live.Load(int(RATE_OF_TOOLS * seconds), OCTETS, RATE_OF_TOOLS)
    for number in TOOLS:
        for peer in shared.PEERS:
            one = shared.capture(peer, number, shared.TCPDUMP, load, folder, daemon)
            curves.setdefault(NAMES[peer], {}).setdefault(number, []).append(idle(one, load))


def highest_rate(peer: str, number: int, seconds: float, most: int, folder: Path, daemon: shared.Daemon) -> int:
    """The last of rising rates below `most` at which nothing was lost; 0 when something was at the first. Where the
    sender takes all of its processor, and nothing is lost yet, the rate that it reached: then the sender is the limit.
    """
    rate, good = float(FIRST_RATE), 0
    while rate < most:
        load = live.Load(int(rate * seconds), OCTETS, int(rate))
        one = shared.capture(peer, number, [str(COUNTER), live.SIDES[1]], load, folder, daemon)
        if one.captured != number * load.count:
            break
        reached = 1e9 / one.sender
        if reached < rate:
            return max(good, int(reached))
        good, rate = int(rate), rate * STEP
    return good


def table(curves: Curves, what: str) -> str:
    places = sorted(next(iter(curves.values())))
    rows = [[f"{x:,}", *(measure.Spread.of(curve[x]).text(0) for curve in curves.values())] for x in places]
    return measure.table([what, *curves], rows)


@dataclass(frozen=True)
class Words:
    """Of a plot: what its x axis is, its title, what stands below."""

    label: str
    title: str
    caption: str


def plot(curves: Mapping[str, Mapping[int, Sequence[float]]], words: Words, path: Path) -> None:
    """Medians, with bars from quartile to quartile."""
    with svg.drawn(path, figsize=(7, 4.4)) as (figure, axes):
        for name, curve in curves.items():
            spreads = {x: measure.Spread.of(figures) for x, figures in sorted(curve.items())}
            middle = [s.median for s in spreads.values()]
            bars = [[s.median - s.low for s in spreads.values()], [s.high - s.median for s in spreads.values()]]
            axes.errorbar(list(spreads), middle, yerr=bars, marker="o", capsize=3, label=name,
                          linestyle="-" if name.startswith("FFPF") else "--")  # fmt: skip
        axes.set(xlabel=words.label, ylabel="idle, % of all processors", title=words.title, ylim=(0, 100))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        svg.caption(figure, words.caption)


def inside(rounds: int, seconds: float, most: int, plots: Path, only_rates: bool) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*live.SIDES)
    measured = measure.Conditions()
    eleven: Curves = {}
    twelve: Curves = {}
    rates: dict[tuple[str, int], list[float]] = {(peer, n): [] for peer in shared.PEERS for n in COUNTERS}
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-", dir="/dev/shm") as name:
        folder = Path(name)
        with shared.running(folder) as daemon:
            for _ in range(rounds):
                if not only_rates:
                    figure_11(eleven, seconds, folder, daemon)
                    figure_12(twelve, seconds, folder, daemon)
                for (peer, number), good in rates.items():
                    good.append(highest_rate(peer, number, seconds, most, folder, daemon))
    print(f"packets of {OCTETS} octets, {rounds} rounds in turns, {seconds} s each; {measure.machine()}")
    rows = [[NAMES[peer], *(measure.Spread.of(rates[peer, n]).text(0) for n in COUNTERS)] for peer in shared.PEERS]
    print(f"\nHighest rate without loss, packets/s, in steps of {STEP}; readers that count\n")
    print(measure.table(["on", *(f"{n} reader{'s' * (n > 1)}" for n in COUNTERS)], rows))
    if only_rates:
        return
    print(f"\nFigure 11: idle %, one tcpdump -w /dev/null\n\n{table(eleven, 'packets/s')}")
    print(f"\nFigure 12: idle %, {RATE_OF_TOOLS:,} packets/s\n\n{table(twelve, 'tcpdumps')}")
    caption = f"medians and quartiles of {rounds} rounds in turns, {seconds:g} s each; {measured.text()}"
    title = f"One tcpdump, packets of {OCTETS} octets (Figure 11)"
    plot(eleven, Words("packets/s", title, caption), plots / "figure11.svg")
    title = f"{RATE_OF_TOOLS:,} packets/s of {OCTETS} octets (Figure 12)"
    plot(twelve, Words("tcpdumps", title, caption), plots / "figure12.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--plots", type=Path, default=measure.ROOT / "build" / "plots")
    parser.add_argument("--rate-max", type=int, default=RATE_MAX, help="packets/s, where looking for losses ends")
    parser.add_argument("--only-rates", action="store_true", help="the highest rate without loss, and no figure")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds, args.seconds, args.rate_max, args.plots, args.only_rates)
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
        build.build_bench_program(measure.ROOT / "bench" / "count.c", ["-lpcap"])
    options = ["--rounds", str(args.rounds), "--seconds", str(args.seconds), "--plots", str(args.plots)]
    options += ["--rate-max", str(args.rate_max)]
    options += ["--only-rates"] * args.only_rates
    raise SystemExit(measure.again_in_namespace("bench.paper", options))


if __name__ == "__main__":
    main()
