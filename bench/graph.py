# SPDX-License-Identifier: BSD-3-Clause
"""(m) Nodes of filter graphs in the kernel: ns a packet by depth and by class; what it costs to make and switch a flow.

As in bench/classify.py, programs run by BPF_PROG_TEST_RUN on a scratch that is written by hand; `more` is what the
nodes add to a source whose flows are no graphs. Every packet is the same, so the caches are warm.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

from bench import measure
from compat_tests import capture_packets as packets
from fpl.classify import Compiler
from fpl.classify.testing import Packet
from fpl.graph.node import Node
from fpl.graph.testing import DEVICE, TestStage

DEPTHS = (1, 4, 16)
CLASSES = (("packetcount", ""), ("bytecount", ""), ("sampler", "2"), ("sampler", "1/2 random"), ("sampler", "1/2 hash"),
           ("flow_hash", ""), ("histogram", ""), ("first_n", "5"), ("topk", ""))  # fmt: skip
REPEAT = 200_000
SWITCHES = 200
PACKET = Packet(packets.ethernet(packets.tcp4(bytes(200))))


def ns_of(made: TestStage, rounds: int) -> float:
    """The least of so many rounds."""
    made.source.place(PACKET, min(os.sched_getaffinity(0)))
    return min(made.source.run(REPEAT)[1] for _ in range(rounds))


def ms_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def switch_us(made: TestStage) -> float:
    def both() -> None:
        made.stage.switch(1, False)
        made.stage.switch(1, True)

    return statistics.median(ms_of(both) / 2 * 1e3 for _ in range(SWITCHES))


def depths(made: TestStage, none: float, rounds: int) -> list[list[str]]:
    rows = []
    for depth in DEPTHS:
        graph = [DEVICE, *(Node("packetcount", "", (n,)) for n in range(depth))]
        first = ms_of(partial(made.open, 1, graph))
        alone = ns_of(made, rounds)
        second = ms_of(partial(made.open, 2, graph))
        rows.append([str(depth), f"{alone - none:.0f}", f"{first:.0f}", f"{second:.2f}",
                     f"{ns_of(made, rounds) - alone:.0f}", f"{switch_us(made):.1f}"])  # fmt: skip
        made.close(2)
        made.close(1)
    return rows


def classes(made: TestStage, none: float, rounds: int) -> list[list[str]]:
    rows = []
    for kind, argument in CLASSES:
        made.open(1, [DEVICE, Node(kind, argument, (0,))])
        insns, steps = made.stage.program
        rows.append([f"({kind},{argument})", f"{ns_of(made, rounds) - none:.0f}", str(insns), str(steps)])
        made.close(1)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    compiler = Compiler()
    try:
        with TestStage(compiler) as made:
            none = ns_of(made, args.rounds)
            columns = [
                "packetcounts in a row",
                "more ns",
                "instantiate ms",
                "a second such flow: ms",
                "its ns",
                "switch us",
            ]
            print(measure.table(columns, depths(made, none, args.rounds)))
            print()
            print(measure.table(["class", "more ns", "insns", "steps"], classes(made, none, args.rounds)))
    finally:
        compiler.close()


if __name__ == "__main__":
    main()
