# SPDX-License-Identifier: BSD-3-Clause
"""(h) Userspace lanes: a savefile replayed as fast as possible into 1, 2 and 4 readers that only count.

Packets a second from the first packet to the end that the last reader sees: lossless (SRP, the feed waits for room),
so every reader gets every packet. Beside it the same file read by the savefile reader alone: the feed cannot be faster.
Readers are processes, which share few processors with the feed: the CPU time a packet says more than the rate.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyffpf._core import ffi, lib

from bench import measure
from compat_tests.captures import write_imix

READERS = (1, 2, 4)
PBUF_BYTES = 64 << 20
IBUF_SLOTS = 1 << 16
FOREVER = 2**64 - 1


@dataclass(frozen=True)
class Run:
    """Seconds, and CPU seconds of the feed (or the reader alone) and of all readers together."""

    wall: float
    feed: float
    readers: float


def own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def called(function: Callable[..., int], *arguments: Any) -> None:
    error = ffi.new("struct ffpf_error *")
    if function(*arguments, error) < 0:
        raise RuntimeError(ffi.string(error.text).decode())


def read_alone(path: Path) -> Run:
    """The file without a lane."""
    made = ffi.new("struct ffpf_reader **")
    batch = ffi.new("struct ffpf_batch *")
    stream = lib.fopen(str(path).encode(), b"rb")
    called(lib.ffpf_savefile_open, made, stream, ffi.NULL)
    began, cpu = time.monotonic(), own_cpu()
    while made[0].ops.next(made[0], batch) == lib.FFPF_BATCH:
        made[0].ops.release(made[0], batch.count)
    took = Run(time.monotonic() - began, own_cpu() - cpu, 0)
    made[0].ops.close(made[0])
    lib.fclose(stream)
    return took


def count_packets(flow: Any) -> int:
    """A reader's work, until the lane ends."""
    config = ffi.new("struct ffpf_lanes_config *", {"snap_len": 262144, "want": 128, "timeout_ms": 1000})
    made, batch = ffi.new("struct ffpf_reader **"), ffi.new("struct ffpf_batch *")
    called(lib.ffpf_lanes_open_flow, made, flow, config)
    count = 0
    while (outcome := made[0].ops.next(made[0], batch)) in (lib.FFPF_BATCH, lib.FFPF_TIMEOUT):
        if outcome == lib.FFPF_BATCH:
            count += batch.count
            made[0].ops.release(made[0], batch.count)
    return count


def feed_readers(path: Path, readers: int, packets: int) -> Run:
    """Until every reader has had every packet."""
    config = ffi.new("struct ffpf_feed_config *", {"full": lib.FFPF_FEED_WAITS, "patience_ns": FOREVER, "loops": 1})
    feed, hook = ffi.new("struct ffpf_feed **"), ffi.new("struct ffpf_hook **")
    descriptor = os.open(path, os.O_RDONLY)
    called(lib.ffpf_feed_create_savefile, feed, descriptor, config)
    os.close(descriptor)
    settings = ffi.new("struct ffpf_hook_config *", {"pbuf_bytes": PBUF_BYTES, "bms": lib.FFPF_BMS_SRP})
    settings.publish_batch = 32
    lib.ffpf_feed_describe(feed[0], settings)
    called(lib.ffpf_hook_create, hook, settings)
    flows, children = [], []
    for _ in range(readers):
        flow = ffi.new("struct ffpf_flow **")
        called(lib.ffpf_flow_create, flow, ffi.new("struct ffpf_flow_config *", {"ibuf_slots": IBUF_SLOTS}))
        called(lib.ffpf_hook_attach, hook[0], flow[0])
        flows.append(flow[0])
        child = os.fork()
        if not child:
            os._exit(0 if count_packets(flow[0]) == packets else 1)
        children.append(child)
    called(lib.ffpf_feed_add, feed[0], hook[0])
    began, cpu = time.monotonic(), own_cpu()
    called(lib.ffpf_feed_start, feed[0])
    ended = [os.wait4(child, 0) for child in children]
    wall = time.monotonic() - began
    lib.ffpf_feed_join(feed[0])
    took = Run(wall, own_cpu() - cpu, sum(usage.ru_utime + usage.ru_stime for _, _, usage in ended))
    codes = [os.waitstatus_to_exitcode(status) for _, status, _ in ended]
    lib.ffpf_feed_remove(feed[0], hook[0])
    for flow in flows:
        called(lib.ffpf_hook_detach, hook[0], flow)
        lib.ffpf_flow_destroy(flow)
    lib.ffpf_hook_destroy(hook[0])
    lib.ffpf_feed_destroy(feed[0])
    if any(codes):
        raise RuntimeError(f"a reader did not get every packet: {codes}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packets", type=int, default=1_000_000)
    args, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "imix.pcap"
        write_imix(path, args.packets)
        variants: dict[str, Callable[[], Run]] = {"savefile reader alone": lambda: read_alone(path)}
        for readers in READERS:
            name = f"feed, {readers} reader{'s' if readers > 1 else ''}"
            variants[name] = lambda readers=readers: feed_readers(path, readers, args.packets)  # type: ignore[misc]
        taken: dict[str, list[Run]] = {name: [] for name in variants}
        for number in range(args.rounds + 1):
            for name, variant in variants.items():
                run = variant()
                if number:  # the first is a warm-up
                    taken[name].append(run)
    rows = [
        [
            name,
            measure.Spread.of([args.packets / run.wall / 1e6 for run in runs]).text(2),
            measure.Spread.of([run.feed / args.packets * 1e9 for run in runs]).text(0),
            measure.Spread.of([run.readers / args.packets * 1e9 for run in runs]).text(0),
        ]
        for name, runs in taken.items()
    ]
    print(measure.machine(), "\n")
    print(measure.table(["", "million packets/s", "CPU of the feed, ns a packet", "of all readers"], rows))


if __name__ == "__main__":
    main()
