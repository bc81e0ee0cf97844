# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated network processor can do: one to five filters against the offered rate, how busy its microengines
are, and what each filter costs.

Everything is counted in the board's own cycles, under the stated parameters of docs/ixp.md: no clock is read, and
nothing depends on the machine, or on what else runs. `--plots FOLDER` says where ixp_rate.svg goes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import measure, svg
from compat_tests.captures import write_imix
from fpl.fpl2 import check
from fpl.fpl2.microengine import microcode
from ixp_driver import framework
from ixp_driver.board.testing import play
from ixp_driver.microc import Object

FILTERS = {
    "tcp port 80": "RETURN IS_TCP && (SPORT == 80 || DPORT == 80);",
    "host": "RETURN IP_SRC == 10.0.0.1 || IP_DST == 10.0.0.1;",
    "networks": "RETURN SRC IN {10.0.0.0/8, 192.168.0.0/16, 2001:db8::/32};",
    "SYN": "RETURN IS_TCP && TCP_SYN;",
    "UDP below 1024": "RETURN IS_UDP && UDP_DPORT < 1024;",
}  # five that a board with one port runs at once
SEARCH = 'RETURN PAYLOAD CONTAINS "HTTP";'
EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
MOST = 5
PACKETS = 20_000
OCTETS = 60  # the shortest frame, without its checksum: 1,488,095 a second on the wire
SIZES = (60, 576, 1514)
WIRE_BITS, WIRE_OVERHEAD = 1_000_000_000, 24  # checksum, preamble and gap between frames, in octets
RATES = (100, 200, 400, 600, 700, 800, 850, 900, 1000, 1200, 1488)  # thousands of packets a second
SHOWN = (1, 3, 5)
MBUF = 4096
EVERYTHING = "any"

Played = Mapping[str, Any]


def compiled(text: str) -> Object:
    return microcode(check(text, mbuf_bytes=MBUF))


def share(engine: Mapping[str, int]) -> float:
    """Of the engine's cycles, those in which it worked: neither idle, nor all of its contexts waiting for memory."""
    return engine["busy"] / (engine["busy"] + engine["stalled"] + engine["idle"])


def per_second(played: Played) -> float:
    received: int = played["ports"][0]["received"]
    seconds: float = played["cycles"] / played["clock_hz"]
    return received / seconds


def offered(folder: Path, filters: Sequence[Object], thousands: int) -> Played:
    port = f"generator:{thousands * 1000}pps,size={OCTETS},count={PACKETS},flows=64,hold={len(filters)}"
    return play(folder, [port], filters, variant="normal", mbuf=MBUF)


def sweep(folder: Path, filters: Sequence[Object]) -> dict[int, dict[int, Played]]:
    """By number of filters, then by offered rate."""
    return {n: {rate: offered(folder, filters[:n], rate) for rate in RATES} for n in range(1, MOST + 1)}


def show_sweep(found: Mapping[int, Mapping[int, Played]]) -> None:
    print(f"Packets of {OCTETS} octets that reach the filters, thousands a second, by offered rate\n")
    rows = [[str(n), *(f"{per_second(runs[rate]) / 1000:,.0f}" for rate in RATES)] for n, runs in found.items()]
    print(measure.table(["filters", *map(str, RATES)], rows))
    print("\nOf their cycles, those in which the receive engine and the busiest filter's engine work\n")
    rows = []
    for n in SHOWN:
        for name, engines in (("receive", slice(0, 1)), ("filter", slice(1, n + 1))):
            busiest = (max(map(share, found[n][rate]["engines"][engines])) for rate in RATES)
            rows.append([f"{n}, {name}", *(f"{part:.0%}" for part in busiest)])
    print(measure.table(["filters", *map(str, RATES)], rows))


def show_sizes(folder: Path) -> None:
    rows = []
    for octets in SIZES:
        played = play(folder, [f"generator:full,size={octets},count={PACKETS // 4}"], variant="normal")
        wire = WIRE_BITS / ((octets + WIRE_OVERHEAD) * 8)
        rows.append([str(octets), f"{per_second(played) / 1000:,.0f}", f"{wire / 1000:,.0f}",
                     f"{played['engines'][0]['instructions'] / played['ports'][0]['received']:,.0f}"])  # fmt: skip
    print("\nWith one filter that takes all: thousand packets a second by their octets\n")
    print(measure.table(["octets", "taken", "of the wire", "instructions of the receive engine"], rows))


def costs(folder: Path, programs: Mapping[str, Object | None]) -> dict[str, Played]:
    """Each filter alone, on the mixed capture, as fast as the board takes packets."""
    file = folder / "imix.pcap"
    write_imix(file, PACKETS)
    return {
        name: play(folder, [f"pcap:{file}"], [program], variant="normal", mbuf=MBUF)
        for name, program in programs.items()
    }


def show_costs(found: Mapping[str, Played]) -> None:
    rows = []
    for name, played in found.items():
        engine, port = played["engines"][1], played["ports"][0]
        packets, clock = engine["packets"], played["clock_hz"]
        least, most = (packets * clock / cycles for cycles in (engine["busy"] + engine["stalled"], engine["busy"]))
        figures = (engine["instructions"] / packets, engine["busy"] / packets, engine["stalled"] / packets,
                   least / 1000, most / 1000, least * 8 * port["offered_octets"] / packets / 1e6)  # fmt: skip
        passed = played["readers"][0]["packets"] / packets
        rows.append([name, str(engine["words"]), *(f"{figure:,.0f}" for figure in figures), f"{passed:.0%}"])
    columns = ["filter", "words", "instructions", "busy", "stalled", "at least", "at most", "Mbit", "pass"]
    print(
        "\nWhat a filter's microengine does for a packet of the mixed capture: cycles; and what it could do a second,"
    )
    print(
        "in thousands: at least, if no other context filled its stalls, and at most, if they did; Mbit of the least\n"
    )
    print(measure.table(columns, rows))


def plot(found: Mapping[int, Mapping[int, Played]], path: Path) -> None:
    with svg.drawn(path, columns=2, figsize=(10, 4.2)) as (_, (left, right)):
        for n, runs in found.items():
            label = f"{n} filter{'s' if n > 1 else ''}"
            left.plot(RATES, [per_second(runs[rate]) / 1000 for rate in RATES], "o-", markersize=3, label=label)
        left.plot(RATES, RATES, ":", color="#888888", label="offered")
        left.set(ylabel="thousand packets a second that reach the filters", title=f"{OCTETS} octets, one port")
        for n, style in zip(SHOWN, (":", "--", "-"), strict=True):
            runs = found[n]
            receive = [share(runs[rate]["engines"][0]) for rate in RATES]
            busiest = [max(map(share, runs[rate]["engines"][1 : n + 1])) for rate in RATES]
            right.plot(RATES, receive, style, color="#b3261e", label=f"receive, {n} filter{'s' if n > 1 else ''}")
            right.plot(RATES, busiest, style, color="#3a6fb0", label=f"busiest filter of {n}")
        right.set(ylabel="of a microengine's cycles, those in which it works", title="utilisation", ylim=(0, 1.05))
        for axes in (left, right):
            axes.set(xlabel="thousand packets a second offered", xlim=(0, RATES[-1]))
            axes.grid(alpha=0.3)
            axes.legend(fontsize="small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plots", type=Path, default=measure.ROOT / "build" / "plots")
    args, _ = parser.parse_known_args()
    filters = {name: compiled(text) for name, text in FILTERS.items()}
    others = {"figure 6": compiled((EXAMPLES / "figure_6.fpl").read_text()), "payload": compiled(SEARCH)}
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as name:
        folder = Path(name)
        found = sweep(folder, list(filters.values()))
        show_sweep(found)
        show_sizes(folder)
        show_costs(costs(folder, {EVERYTHING: framework.accept(), **filters, **others}))
    plot(found, args.plots / "ixp_rate.svg")


if __name__ == "__main__":
    main()
