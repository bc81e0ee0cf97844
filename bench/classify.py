# SPDX-License-Identifier: BSD-3-Clause
"""(f) The classify stage by number of filters: ns a packet, size of its program, time to add a flow and to load.

No socket and no hook: the emitted programs run by BPF_PROG_TEST_RUN on a scratch that is written by hand, between a
program that only calls classify and one that only returns. Row `none` is the cost of that, and of writing the verdict.
`compiled`: how many of the 12 filters that were added then made the compiler run. Of code, insns and steps are those of
the filters alone, summed; load is that of the empty tables.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from unittest.mock import patch

from bench import measure
from bpf.engines import stock_compile
from fpl.classify import Classifier, filter_bpf
from fpl.classify.symbolic import Node, NotTable
from fpl.classify.testing import Packet, TestSource, octets_of

ETHERNET = 1
COUNTS = (1, 10, 100, 500, 1000)
AS_CODE_MAX = 100
ADDED = 12
PACKETS = 16
REPEAT = 20_000
SEED = 3


def host(number: int) -> str:
    """Distinct hosts of many nets."""
    return f"host 10.{number * 37 % 256}.{number * 11 % 251}.{number // 250 + number % 250 + 1 & 255}"


def mixed(number: int) -> str:
    """Hosts, nets, ports, ranges, protocols, IPv6 hosts, negations and conjunctions, in turn."""
    low, port = 1024 + number * 13, number * 61 % 50000 + 1
    return [
        host(number), f"net 10.{number % 256}.{number * 7 % 256}.0/24", f"tcp port {port}", f"udp port {port}",
        f"portrange {low}-{low + 500}", f"ip6 host 2001:db8:{number % 9:x}::{number + 1:x}",
        f"{host(number)} and tcp port {port}", f"tcp and not port {port}",
        f"src net 172.{16 + number % 16}.0.0/16 and not dst {host(number)}", ["icmp", "arp", "udp", "ip6"][number % 4],
    ][number % 10]  # fmt: skip


def packets(rng: random.Random) -> list[Packet]:
    """IPv4 TCP and UDP, IPv6, and ARP: some from hosts that filters name, most not."""
    made = []
    for number in range(PACKETS):
        ethernet = bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2])
        ports = rng.choice([80, 443, 53, 62, 2000]).to_bytes(2, "big") + rng.randrange(1024, 65536).to_bytes(2, "big")
        if number % 8 == 6:
            address = bytes.fromhex("20010db8000100000000000000000002")
            octets = ethernet + b"\x86\xdd" + bytes([0x60, 0, 0, 0, 0, 40, 6, 64]) + address + rng.randbytes(16) + ports
        elif number % 8 == 7:
            octets = ethernet + b"\x08\x06" + bytes(8) + rng.randbytes(20)
        else:
            named = number % 4 == 0
            source = bytes(map(int, host(rng.randrange(1000))[5:].split("."))) if named else rng.randbytes(4)
            head = bytes([0x45, 0, 1, 0, 0, 0, 0, 0, 64, 6 if number % 2 else 17, 0, 0])
            octets = ethernet + b"\x08\x00" + head + source + rng.randbytes(4) + ports
        made.append(Packet(octets.ljust(100, b"\0")))
    return made


def cost(source: TestSource, rng: random.Random, rounds: int) -> list[float]:
    """ns of one packet, averaged over the packets, of each round."""
    (cpu,) = os.sched_getaffinity(0)
    figures = []
    for _ in range(rounds):
        total = 0
        for packet in packets(rng):
            source.place(packet, cpu)
            total += source.run(REPEAT)[1]
        figures.append(total / PACKETS)
    return figures


def never_a_table(_: object) -> Node:
    raise NotTable("asked for as code")


def row(name: str, count: int, text: Callable[[int], str], rounds: int, *, code: bool = False) -> list[str]:
    """One line of the table; code: no filter is made a table."""
    with ExitStack() as stack:
        source = stack.enter_context(TestSource())
        if code:
            stack.enter_context(patch.object(filter_bpf, "graph", never_a_table))
        classifier = Classifier(source.maps)
        stack.callback(classifier.close)
        kinds = [classifier.set(i, octets_of(stock_compile(ETHERNET, text(i)))).kind for i in range(count)]
        assert kinds.count("code" if code else "table") == count
        figures = cost(source, random.Random(SEED), rounds)
        adding, compiled = [], 0
        for i in range(ADDED if count > 1 else 0):
            column, program = i * 7 % count, octets_of(stock_compile(ETHERNET, text(count + 10 * i + i)))
            started = time.perf_counter()
            compiled += classifier.set(column, program).compiled
            adding.append((time.perf_counter() - started) * 1e3)
        insns, verified, loading = classifier.measure_load()
        graces = []
        for _ in range(ADDED):
            started = time.perf_counter()
            classifier.wait()
            graces.append((time.perf_counter() - started) * 1e3)
        if code:
            infos = [classifier.info(i) for i in range(count)]
            insns, verified = sum(i.insns for i in infos if i), sum(i.steps for i in infos if i)
    added = measure.Spread.of(adding).text(1) if adding else ""
    return [name, str(count), measure.Spread.of(figures).text(0), str(insns), str(verified), added, str(compiled),
            measure.Spread.of(graces).text(1), f"{loading * 1e3:.1f}"]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(arguments)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = [row("none", 0, host, args.rounds)]
    for name, text in (("hosts", host), ("mixed", mixed)):
        rows += [row(name, count, text, args.rounds) for count in COUNTS]
        rows += [
            row(f"{name}, as code", count, text, args.rounds, code=True) for count in COUNTS if count <= AS_CODE_MAX
        ]
    header = [
        "filters",
        "number",
        "ns/packet",
        "insns",
        "verifier steps",
        "add one, ms",
        "compiled",
        "grace, ms",
        "load, ms",
    ]
    print(f"{PACKETS} packets, {args.rounds} rounds; {measure.machine()}")
    print("median [quartiles]\n")
    print(measure.table(header, rows))


if __name__ == "__main__":
    main()
