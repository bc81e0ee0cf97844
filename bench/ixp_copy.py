# SPDX-License-Identifier: BSD-3-Clause
"""The paper's argument in its section 4.3: what a packet of the network processor costs the host, by copy mode, against
the accesses that the application makes to a packet. Zero copy wins while it looks at little; then copying once does.

The driver's own accesses are counted, on an emulated board that plays the mixed capture to a reader with a filter;
accesses of the application are the abscissa; latencies are stated (ixp_driver/host/cost.py). No clock is read: nothing
here depends on the machine, or on what else runs. `--plots FOLDER` says where ixp_copy.svg goes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import measure, svg
from compat_tests.captures import write_imix
from ixp_driver.host import cost
from ixp_driver.host.cost import Load, Pci
from ixp_driver.host.counting import counted_run
from ixp_driver.host.running import running

PACKETS = 3000
FILTER = "less 100"  # the small ones of the mixed capture, 7 of 12
SIZES = (64, 256, 1500)  # a filter of the board has judged: the host sees what passes
SHARES = (0.1, 0.5)  # the host's own filter looks at one field
HOST_FILTER = Load(octets=256, filter_accesses=1)
ACCESSES = range(0, 25)
SHOWN = (0, 1, 2, 4, 8, 16, 24)
COLOURS = dict(zip(cost.MODES, ("#b3261e", "#3a6fb0", "#2f8545"), strict=True))

Counted = Mapping[str, float]  # for each packet


def counts(file: Path, folder: Path) -> dict[str, Counted]:
    """By mode, for each packet that the flow was given; and with them the octets of the capture."""
    found: dict[str, Counted] = {}
    for mode in cost.MODES:
        with running(folder, f"pcap:{file}") as board:
            counted, delivered = counted_run(board, mode, FILTER, PACKETS)
        each = {**counted, "delivered": delivered}
        found[mode] = {name: number / counted["packets"] for name, number in each.items()}
    return found


def curve(mode: str, driver: Counted, load: Load, pci: Pci) -> list[float]:
    """Nanoseconds a packet, for each of ACCESSES."""
    return [cost.packet_ns(mode, driver, replace(load, accesses=n), pci) for n in ACCESSES]


def judged_on_board(driver: Counted, pci: Pci) -> dict[str, list[float]]:
    """By name. What passes is all that comes, so both ways of copying are one."""
    found = {"zero copy": curve("zero copy", driver, Load(filter_accesses=0), pci)}
    for octets in SIZES:
        found[f"copied, {octets} octets"] = curve("all", driver, Load(octets, filter_accesses=0), pci)
    return found


def judged_on_host(driver: Counted, pci: Pci) -> dict[str, list[float]]:
    return {
        f"{mode}, {share:.0%} pass": curve(mode, driver, replace(HOST_FILTER, share=share), pci)
        for share in SHARES
        for mode in cost.MODES
    }


def plot(driver: Counted, pci: Pci, path: Path) -> None:
    with svg.drawn(path, columns=2, figsize=(10, 4.2), sharey=True) as (figure, (left, right)):
        for at, (name, points) in enumerate(judged_on_board(driver, pci).items()):
            micro = [ns / 1000 for ns in points]
            left.plot(
                list(ACCESSES),
                micro,
                ("-", "-", "--", ":")[at],
                color=COLOURS["all" if at else "zero copy"],
                label=name,
            )
        for octets in SIZES:
            there = cost.crossover(octets, pci)
            load = Load(octets, filter_accesses=0, accesses=there)
            height = cost.packet_ns("all", driver, load, pci) / 1000
            left.plot([there], [height], "o", color="#222222", markersize=4)
            left.annotate(
                f"{there:.1f}", (there, height), xytext=(5, -11), textcoords="offset points", fontsize="small"
            )
        for name, points in judged_on_host(driver, pci).items():
            style = "-" if name.endswith(f"{SHARES[-1]:.0%} pass") else "--"
            micro = [ns / 1000 for ns in points]
            right.plot(list(ACCESSES), micro, style, color=COLOURS[name.partition(",")[0]], label=name)
        left.set(title="a filter of the board has judged", ylabel="µs a packet for the host")
        right.set(title=f"the host's filter looks once at each, {HOST_FILTER.octets:.0f} octets")
        for axes in (left, right):
            axes.set(xlabel="accesses of the application to a packet that passes", ylim=(0, 14), xlim=(0, ACCESSES[-1]))
            axes.grid(alpha=0.3)
            axes.legend(fontsize="small")
        figure.suptitle(
            f"Copy modes over PCI: stated, a read of {pci.read_ns:.0f} ns, {pci.burst_word_ns:.0f} ns a word in bursts"
        )


def _table(found: Mapping[str, Sequence[float]]) -> str:
    rows = [[name, *(f"{points[n]:,.0f}" for n in SHOWN)] for name, points in found.items()]
    return measure.table(["copy mode", *map(str, SHOWN)], rows)


def show(by_mode: Mapping[str, Counted], pci: Pci) -> None:
    columns = ("reads", "bursts", "burst_words", "writes", "copied", "copied_bytes")
    rows = [[mode, *(f"{counted[name]:.3f}" for name in columns)] for mode, counted in by_mode.items()]
    print(f"Counted by the driver for each packet, filter {FILTER!r} ({by_mode['all']['delivered']:.0%} pass)\n")
    print(measure.table(["copy mode", *columns], rows))
    print(
        f"\nStated: {pci}\n\nNanoseconds a packet, by accesses of the application; a filter of the board has judged\n"
    )
    driver = by_mode["zero copy"]
    print(_table(judged_on_board(driver, pci)))
    print(f"\nThe host's filter makes one access to each packet of {HOST_FILTER.octets:.0f} octets\n")
    print(_table(judged_on_host(driver, pci)))
    print("\nCopying costs less than zero copy from so many accesses on\n")
    rows = []
    for read_ns in (300.0, 600.0, 1200.0):
        other = replace(pci, read_ns=read_ns, burst_ns=read_ns)
        alls = (cost.crossover_all(replace(HOST_FILTER, share=share), other) for share in SHARES)
        figures = (*(cost.crossover(octets, other) for octets in SIZES), *alls)
        rows.append([f"{read_ns:,.0f}", *(f"{figure:.1f}" for figure in figures)])
    print(measure.table(["a read, ns", *(f"{octets} octets" for octets in SIZES),
                         *(f"all, {share:.0%} pass" for share in SHARES)], rows))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plots", type=Path, default=measure.ROOT / "build" / "plots")
    args, _ = parser.parse_known_args()
    pci = Pci()
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as name:
        file = Path(name) / "imix.pcap"
        write_imix(file, PACKETS)
        by_mode = counts(file, Path(name))
    show(by_mode, pci)
    plot(by_mode["zero copy"], pci, args.plots / "ixp_copy.svg")


if __name__ == "__main__":
    main()
