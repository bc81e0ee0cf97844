# SPDX-License-Identifier: BSD-3-Clause
"""(r) FPL-2 in the kernel beside the kernel's own BPF compiler, on the six filters of all benches.

Packets of a capture are sent into a socket that turns all of them away: by a filter that the kernel compiled (cBPF), or
by the hook of a source, as ffpfd attaches it, with the filter as a node of its graph. So packets, sockets and the loop
around are the same. A cBPF filter costs what is above a filter of one instruction; a node what is above the hook of a
source that has none, the octets that are fetched for it included; `hook`: that hook above the filter of one
instruction. In turns, in one run. All ways must accept the same number of packets.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import socket
import struct
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyffpf._core import ffi, lib

import build
from bench import measure
from bench.filters import FILTERS
from bench.fpl2 import CASES
from bpf.engines import stock_compile
from compat_tests import captures
from compat_tests.netns import Netns
from fpl.classify import Classifier, Compiler, Maps
from fpl.classify.testing import octets_of
from fpl.graph.node import Level, Node
from fpl.graph.stage import Stage
from fpl.graph.testing import DEVICE, ETHERNET
from kernel.kernel_testing import Source
from pyffpf.daemon.kernel_sources import nodes_library

PACKETS = 200_000
COLUMNS = range(100, 200)
DLT_ETHERNET, RETURN = 1, 0x06
SO_ATTACH_FILTER, SO_ATTACH_BPF = 26, 50
FLOW = 1
WAYS = ("BPF", "names", "offsets")


@dataclass(frozen=True)
class Ends:
    """What is sent into, and who turns packets away: both ends of a socket."""

    into: socket.socket
    judge: socket.socket

    @classmethod
    def make(cls) -> Ends:
        return cls(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))

    def close(self) -> None:
        self.into.close()
        self.judge.close()


def turned_away(stack: ExitStack, program: Sequence[tuple[int, int, int, int]]) -> Ends:
    """By a cBPF filter with every result made 0."""
    ends = Ends.make()
    stack.callback(ends.close)
    octets = octets_of([(RETURN, 0, 0, 0) if insn[0] & 7 == RETURN else insn for insn in program])
    kept = ctypes.create_string_buffer(octets, len(octets))
    ends.judge.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                          struct.pack("HP", len(program), ctypes.addressof(kept)))  # fmt: skip
    return ends


class Hooked:
    """A source whose hook is asked by a socket, too; the graph of one flow, or none."""

    def __init__(self, stack: ExitStack, ns: Netns, interface: str, compiler: Compiler) -> None:
        source = stack.enter_context(Source(ns, interface))
        fds = source.fds.fd
        maps = Maps(fds[lib.FFPF_KERNEL_FD_PROGS], fds[lib.FFPF_KERNEL_FD_SCRATCH], fds[lib.FFPF_KERNEL_FD_CONTROL],
                    fds[lib.FFPF_KERNEL_FD_COLUMNS], ffi.sizeof("struct ffpf_kernel_column"))  # fmt: skip
        classifier = Classifier(maps, compiler=compiler)
        stack.callback(classifier.close)
        self.stage = Stage(classifier, compiler, maps, ETHERNET, nodes_library())
        stack.callback(self.stage.close)
        self.ends = Ends.make()
        stack.callback(self.ends.close)
        main = struct.pack("i", fds[lib.FFPF_KERNEL_FD_PROG_MAIN])
        self.ends.judge.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, main)

    @contextmanager
    def flow(self, node: Node) -> Iterator[None]:
        """RuntimeError when the kernel does not run it."""
        columns = list(COLUMNS)
        placed = self.stage.prepare(FLOW, [DEVICE, node], "g", {}, columns).placed[1]
        try:
            if placed.level is not Level.KERNEL:
                raise RuntimeError(f"{node}: {placed.reason}")
            self.stage.commit(FLOW, None)
            self.stage.switch(FLOW, True)
            yield
        finally:
            self.stage.remove(FLOW)

    def accepted(self) -> int:
        """Packets that the node let out so far."""
        counts = self.stage.counts(FLOW)[1]
        assert counts is not None
        return counts.out


class Sender:
    """fpl2_send.c, on one processor."""

    def __init__(self, stack: ExitStack, runner: Path, capture: Path, sockets: Sequence[Ends]) -> None:
        numbers = [ends.into.fileno() for ends in sockets]
        self._child = subprocess.Popen([str(runner), str(capture), str(PACKETS)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, pass_fds=numbers)  # fmt: skip
        stack.callback(self._end)

    def _end(self) -> None:
        self._child.communicate()

    def send(self, ends: Ends) -> float:
        """ns a packet."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(f"{ends.into.fileno()}\n")
        self._child.stdin.flush()
        return float(self._child.stdout.readline())


def build_sender() -> Path:
    with build.locked():
        core = build.build_core("normal")
        made = build.compile_object(measure.ROOT / "bench" / "fpl2_send.c", "normal")
        return build.link(build.BUILD / "normal" / "bin" / "bench_fpl2_send", "normal", [made, core], ["-ldl"])


def node_of(name: str, way: str) -> Node:
    case = CASES[name]
    if way == "BPF":
        return Node(
            "BPF", FILTERS[name], (0,), insns=octets_of(stock_compile(DLT_ETHERNET, FILTERS[name])), deliver=False
        )
    return Node("FPL-2", case.names if way == "names" else case.offsets, (0,), deliver=False)


def costs_of(name: str, rounds: int, send: Callable[[Ends], float], sockets: Sequence[Ends], judged: Hooked
             ) -> dict[str, list[float]]:  # fmt: skip
    """By way of judging, ns a packet of each round. sockets: cBPF's, of one instruction, of a source without nodes."""
    filtered, empty, bare = sockets
    costs, accepted = defaultdict[str, list[float]](list), defaultdict[str, set[int]](set)
    for way in WAYS:
        with judged.flow(node_of(name, way)):
            send(judged.ends)
            for _ in range(rounds):
                nothing, hook = send(empty), send(bare)
                costs["cBPF"].append(send(filtered) - nothing)
                costs["hook"].append(hook - nothing)
                before = judged.accepted()
                costs[way].append(send(judged.ends) - hook)
                accepted[way].add(judged.accepted() - before)
    if len(set.union(*accepted.values())) != 1:
        raise RuntimeError(f"they disagree on {name!r}: {dict(accepted)}")
    return costs


def row(name: str, costs: dict[str, list[float]]) -> list[str]:
    """One line of the table. A ratio is of medians, and there is none where cBPF costs hardly more than nothing."""
    spreads = {way: measure.Spread.of(figures) for way, figures in costs.items()}
    compiled = spreads["cBPF"]
    some = compiled.low > compiled.high - compiled.low
    ratios = [f"{spreads[way].median / compiled.median:.2f}" if some else "" for way in ("names", "offsets")]
    return [name, *(spreads[way].text(1) for way in ("hook", "cBPF", *WAYS)), *ratios]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="only filters whose name has this text in it")
    args = parser.parse_args(arguments)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    runner, compiler, rows = build_sender(), Compiler(), []
    with ExitStack() as stack:
        stack.callback(compiler.close)
        capture = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ffpf-bench-"))) / "imix.pcap"
        captures.write_imix(capture, PACKETS)
        ns = stack.enter_context(Netns())
        judged, bare = Hooked(stack, ns, ns.left, compiler), Hooked(stack, ns, ns.right, compiler)
        empty = turned_away(stack, [(RETURN, 0, 0, 0)])
        for name in CASES:
            if args.only not in name:
                continue
            with ExitStack() as mine:
                sockets = [turned_away(mine, stock_compile(DLT_ETHERNET, FILTERS[name])), empty, bare.ends]
                sender = Sender(mine, runner, capture, [*sockets, judged.ends])
                rows.append(row(name, costs_of(name, args.rounds, sender.send, sockets, judged)))
    print(f"{PACKETS} packets, {args.rounds} rounds of each way in turns; {measure.machine()}")
    print("ns a packet: cBPF, hook: above a filter of one instruction; others: above the hook; median [quartiles]\n")
    header = ["filter", "hook", "cBPF, kernel's compiler", *WAYS, "names/cBPF", "offsets/cBPF"]
    print(measure.table(header, rows))


if __name__ == "__main__":
    main()
