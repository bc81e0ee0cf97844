# SPDX-License-Identifier: BSD-3-Clause
"""The framework's rows of the paper's Table 1, in the kernel: a call of the hook with a filter, a packet stored, an
index stored.

Flows are opened by the control protocol and not read, in a group under FRP, so no tool costs anything and nobody is
woken: what the sender's CPU time has above that with no capture is the hook's. Each figure is a difference of
neighbours in one round. The paper's ratio of storing a packet of 1500 octets to storing an index is 50.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import build
from bench import live, measure, shared
from pyffpf.cli.control import Control

SIZES = (64, 1500)
CROWD = 8
CONFIG = '[buffers]\nbms = "frp"\n'
# ldb [0]; jeq #255: no packet of the sender's begins so
TURNS_ALL_AWAY = struct.pack("<" + "HBBI" * 4, 0x30, 0, 0, 0, 0x15, 0, 1, 255, 0x06, 0, 0, 262144, 0x06, 0, 0, 0)


@contextlib.contextmanager
def flows(daemon: shared.Daemon, number: int, insns: bytes | None) -> Iterator[None]:
    """So many flows that nobody reads."""
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(Control(daemon.socket, "bench"))
        for _ in range(number):
            opened = control.ask("open", source=live.SIDES[1], snap_len=262144, promisc=False, group=None)
            for fd in opened.fds.values():
                stack.callback(os.close, fd)
            text = base64.b64encode(insns).decode() if insns else None
            control.ask("filter", flow=opened.fields["flow"], insns=text)
        yield
    wait_until_idle(daemon)


def wait_until_idle(daemon: shared.Daemon) -> None:
    """Until ffpfd has closed the last source: what it frees would be counted with the next figure."""
    with Control(daemon.socket, "bench") as control:
        for _ in range(500):
            fd = control.ask("status").fds["status"]
            sources = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))["sources"]
            os.close(fd)
            if not sources:
                return
            time.sleep(0.02)
    raise RuntimeError("ffpfd keeps a source that nobody uses")


def one_round(daemon: shared.Daemon, size: int, packets: int) -> dict[str, float]:
    """Sender's CPU in ns per packet, by what captures."""
    cost = {"none": live.send(packets, size)}
    for name, number, insns in (("filter", 1, TURNS_ALL_AWAY), ("one", 1, None), ("crowd", CROWD, None)):
        with flows(daemon, number, insns):
            cost[name] = live.send(packets, size)
    return cost


def rows_of(size: int, rounds: list[dict[str, float]]) -> list[list[str]]:
    called = [r["filter"] - r["none"] for r in rounds]
    index = [(r["crowd"] - r["one"]) / (CROWD - 1) for r in rounds]
    stored = [r["one"] - r["filter"] - i for r, i in zip(rounds, index, strict=True)]
    middle = {name: measure.Spread.of(taken) for name, taken in (("c", called), ("i", index), ("s", stored))}
    ratio = middle["s"].median / middle["i"].median
    return [
        [str(size), "hook called, one filter turns all away", middle["c"].text(0)],
        [str(size), "packet stored in PBuf", middle["s"].text(0)],
        [str(size), "index stored in an IBuf", middle["i"].text(1)],
        [str(size), "packet / index, of the medians", f"{ratio:.1f}"],
    ]


def inside(rounds: int, packets: int) -> None:
    """What runs in the namespace."""
    measure.make_veth_pair(*live.SIDES)
    taken: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory(prefix="ffpf-bench-", dir="/dev/shm") as name:
        folder = Path(name)
        with shared.running(folder, CONFIG) as daemon:
            one_round(daemon, SIZES[0], packets // 4)
            for _ in range(rounds):
                for size in SIZES:
                    taken[size].append(one_round(daemon, size, packets))
    print(f"The hook in the kernel, {live.RATE} packets/s, {packets} packets, {rounds} rounds; {measure.machine()}")
    print("CPU in ns per packet, of the sender, above its own with no capture\n")
    rows = [row for size in SIZES for row in rows_of(size, taken[size])]
    print(measure.table(["octets", "what", "ns"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--packets", type=int, default=300_000)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.rounds, args.packets)
        return
    with build.locked():
        build.build_bench_program(measure.ROOT / "bench" / "send.c")
    options = ["--rounds", str(args.rounds), "--packets", str(args.packets)]
    raise SystemExit(measure.again_in_namespace("bench.framework", options))


if __name__ == "__main__":
    main()
