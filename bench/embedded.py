# SPDX-License-Identifier: BSD-3-Clause
"""(n) The embedded engine: what it costs to make, switch and run flows, and a filter on an interface.

Calls are timed one by one; packets are handed to a hook, 4,096 TCP packets of 64 octets again and again, and cost CPU
time of the thread; variants have their turns in each round. The live part counts as bench/live.py does: CPU of sender
and reader above a sender alone; of tcpdump the whole process, of ours the thread that reads. It runs in a network
namespace of its own, which goes with it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyffpf._core import ffi, lib

import build
from bench import live, measure
from compat_tests import capture_packets as packets
from graph.graph_engine import Engine, checked

ETHERNET = 1
DEPTHS = (1, 4, 16)
PACKETS = 4096
LAPS = 25  # of all packets, in one figure
COUNT = "(packetcount,,8)"
FILTER = '(BPF,"tcp port 80")'
PREFIX = f'(device,hook:h) -> {FILTER} -> (topk,"k=10")'
MOVES = {
    "hook, packetcount": f"(device,hook:h) -> {COUNT}",
    "hook, BPF and packetcount": f"(device,hook:h) -> {FILTER} -> {COUNT}",
    "hook, 16 packetcounts": "(device,hook:h)" + f" -> {COUNT}" * 16,
    "interface, packetcount": f"(device,{live.SIDES[1]}) -> {COUNT}",
    "interface, BPF and packetcount": f"(device,{live.SIDES[1]}) -> {FILTER} -> {COUNT}",
}


@dataclass
class Timed:
    """Microseconds of each call of one flow after the other."""

    calls: dict[str, list[float]]

    def call(self, name: str, function: Callable[..., int], *arguments: Any) -> None:
        began = time.perf_counter_ns()
        status = function(*arguments)
        self.calls.setdefault(name, []).append((time.perf_counter_ns() - began) / 1e3)
        checked(status, arguments[-1])

    def text(self, name: str) -> str:
        return measure.Spread.of(self.calls[name]).text()


def populated(engine: Engine, text: str) -> Any:
    flow, place = ffi.new("struct ffpf_graph_flow **"), ffi.new("struct ffpf_graph_error *")
    checked(lib.ffpf_graph_flow_create(flow, engine.engine, ffi.NULL, lib.FFPF_GRAPH_SHARE_ALL, engine.err), engine.err)
    checked(lib.ffpf_graph_flow_populate(flow[0], text.encode(), place), place)
    return flow[0]


def moves(repeats: int) -> list[list[str]]:
    """A flow, and a second one with the same nodes while the first is active."""
    rows = []
    for name, text in MOVES.items():
        timed = Timed({})
        engine = Engine()
        engine.hook("h", ETHERNET)
        for _ in range(repeats):
            both = [populated(engine, text) for _ in range(2)]
            for which, flow in enumerate(both):
                timed.call(f"instantiate {which}", lib.ffpf_graph_flow_instantiate, flow,
                           ffi.new("struct ffpf_graph_error *"))  # fmt: skip
                timed.call(f"activate {which}", lib.ffpf_graph_flow_activate, flow, engine.err)
            for which, flow in reversed(list(enumerate(both))):
                timed.call(f"pause {which}", lib.ffpf_graph_flow_pause, flow, engine.err)
                timed.call(f"close {which}", lib.ffpf_graph_flow_close, flow, engine.err)
                lib.ffpf_graph_flow_destroy(flow)
        for which, label in enumerate((name, "a second one like it")):
            calls = ("instantiate", "activate", "pause", "close")
            rows.append([label, *(timed.text(f"{call} {which}") for call in calls)])
    return rows


class Fed:
    """An engine whose hook is handed the same packets again and again."""

    def __init__(self, *flows: tuple[str, int]) -> None:
        self.engine = Engine()
        self.hook = self.engine.hook("h", ETHERNET)
        self.flows = [self.engine.flow(text, sharing) for text, sharing in flows]
        octets = [
            packets.ethernet(packets.tcp4(b"", sport=1024 + i % 256, dport=80)).ljust(64, b"\0") for i in range(PACKETS)
        ]
        self._memory = ffi.new("uint8_t[]", b"".join(octets))
        self._packets = ffi.new("struct ffpf_packet[]", PACKETS)
        for i, packet in enumerate(self._packets):
            packet.data, packet.cap_len, packet.wire_len, packet.ts_sec = self._memory + 64 * i, 64, 64, 1_700_000_000

    def ns(self) -> float:
        """CPU time a packet."""
        began = time.thread_time_ns()
        for _ in range(LAPS):
            status = lib.ffpf_engine_hook_handle_packets(self.hook, self._packets, PACKETS, self.engine.err)
            checked(status, self.engine.err)
        return (time.thread_time_ns() - began) / (LAPS * PACKETS)


def turns(variants: dict[str, Fed], rounds: int) -> dict[str, list[float]]:
    for fed in variants.values():
        fed.ns()
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, fed in variants.items():
            figures[name].append(fed.ns())
    return figures


def running(rounds: int) -> list[list[str]]:
    """ns a packet, and above the row that a row is compared with."""
    everyone, nobody = lib.FFPF_GRAPH_SHARE_ALL, lib.FFPF_GRAPH_SHARE_NONE
    first = (f"{PREFIX} -> {COUNT}", everyone)
    variants = {f"{depth} packetcount{'s in a row' if depth > 1 else ''}": Fed(
        ("(device,hook:h)" + f" -> {COUNT}" * depth, everyone)) for depth in DEPTHS}  # fmt: skip
    variants |= {
        "BPF, topk, packetcount": Fed(first),
        "and BPF, topk, bytecount: shared": Fed(first, (f"{PREFIX} -> (bytecount,,8)", everyone)),
        "and BPF, topk, bytecount: not shared": Fed(first, (f"{PREFIX} -> (bytecount,,8)", nobody)),
    }
    base = {name: "BPF, topk, packetcount" if "topk" in name else "1 packetcount" for name in variants}
    figures = turns(variants, rounds)
    rows = []
    for name, found in figures.items():
        more = [a - b for a, b in zip(found, figures[base[name]], strict=True)]
        rows.append(
            [name, measure.Spread.of(found).text(), "" if base[name] == name else measure.Spread.of(more).text()]
        )
    return rows


def classes() -> list[list[str]]:
    """csrc/graph/bench_classes.c prints a line for each class."""
    with build.locked():
        (program,) = build.build_programs("bench_classes", "normal")
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return [[found[1], found[2]] for found in re.finditer(r"^(\(.*\)) (\S+ \[\S+\]) ns", said, re.MULTILINE)]


def follow(texts: Sequence[str], load: live.Load) -> live.Capture:
    """The sender's and the reader's ns a packet while flows run; `captured`: what the device brought up."""
    engine = Engine()
    flows = [engine.flow(text) for text in texts]
    done = threading.Event()
    spent: list[int] = []

    def read() -> None:
        began = time.thread_time_ns()
        while not done.is_set():
            engine.run(0, 100)
        engine.run(0, 50)
        spent.append(time.thread_time_ns() - began)

    reader = threading.Thread(target=read)
    reader.start()
    sender = live.send(load.count, load.size, load.rate)
    done.set()
    reader.join()
    counters = engine.counters(flows[0], 0)
    return live.Capture(sender, spent[0] / load.count, counters.out, sum(counters.dropped))


def interface(rounds: int, load: live.Load, folder: Path) -> list[list[str]]:
    device = f"(device,{live.SIDES[1]})"
    flows = {
        "BPF, packetcount: on the socket": [f"{device} -> {FILTER} -> {COUNT}"],
        "two BPFs, packetcount: in the nodes": [f'{device} -> {FILTER} | (BPF,"tcp port 81") -> {COUNT}'],
        "packetcount": [f"{device} -> {COUNT}"],
    }
    stock = {"tcpdump, filter: stock": ["-w", "/dev/null", "tcp port 80"], "tcpdump: stock": ["-w", "/dev/null"]}
    runs: dict[str, list[live.Capture]] = {name: [] for name in (*flows, *stock)}
    idle: list[float] = []
    for first in range(rounds):
        idle.append(live.send(load.count, load.size, load.rate))
        order = list(runs)
        for name in order[first % len(order) :] + order[: first % len(order)]:  # whoever comes after idle changes
            if name in flows:
                runs[name].append(follow(flows[name], load))
            else:
                runs[name].append(live.capture("stock", stock[name], load, folder))
    rows = []
    for name, found in runs.items():
        kernel = measure.Spread.of([one.sender - least for one, least in zip(found, idle, strict=True)])
        came = measure.Spread.of([float(one.captured) for one in found])
        reader = measure.Spread.of([one.tool for one in found])
        lost = sum(one.dropped for one in found)
        rows.append([name, kernel.text(0), reader.text(0), f"{came.median:,.0f}", f"{lost:,}"])
    return rows


def inside(rounds: int, repeats: int, load: live.Load) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*live.SIDES)
    print(f"embedded engine, {rounds} rounds in turns, calls {repeats} times; {measure.machine()}\n")
    print(measure.table(["flow", "instantiate us", "activate us", "pause us", "close us"], moves(repeats)), "\n")
    print(measure.table(["flows", "ns a packet", "more"], running(rounds)), "\n")
    print(measure.table(["class", "ns a packet"], classes()), "\n")
    print(f"{load.count} packets of {load.size} octets at {load.rate}/s: CPU ns a packet above no capture")
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-") as folder:
        rows = interface(min(rounds, 5), load, Path(folder))
    print(measure.table(["reader", "kernel", "reader's process", "brought up", "lost"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=100, help="of each call")
    parser.add_argument("--packets", type=int, default=400_000, help="sent in each live run")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds, args.repeats, live.Load(args.packets, 64))
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
    options = ["--rounds", str(args.rounds), "--repeats", str(args.repeats), "--packets", str(args.packets)]
    raise SystemExit(measure.again_in_namespace("bench.embedded", options))


if __name__ == "__main__":
    main()
