# SPDX-License-Identifier: BSD-3-Clause
"""(i) The kernel's hook by number of flows that want a packet: ns a packet, and the time to make and remove a flow.

The programs run by BPF_PROG_TEST_RUN on a packet of the given size, again and again: programs and state are in the
cache, nothing is fetched from a socket, no reader sleeps. Under SRP nobody reads, so each packet goes to memory that
was not touched before; under FRP a PBuf of 1 MiB is overwritten many times. Classify is the smallest there is: its
columns accept everything. Row 0 is the hook up to classify, and a store that finds nobody.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import struct
import time

from pyffpf._core import lib

from bench import measure
from compat_tests.netns import Netns
from kernel.kernel_testing import SYS_BPF, Source, check

BPF_PROG_TEST_RUN = 10
DURATION = 36  # offset of the answer in the system call's attributes
BMS = {"srp": 1, "frp": 2}
CELLS_LOG2 = 14
_libc = ctypes.CDLL(None, use_errno=True)


def nanoseconds(program: int, size: int, repeat: int) -> int:
    """Mean of one run of the program on a packet of so many octets."""
    frame = ctypes.create_string_buffer(bytes.fromhex("02000000000b02000000000a88b5").ljust(size, b"z"), size)
    fields = struct.pack("=IIIIQQII", program, 0, size, 0, ctypes.addressof(frame), 0, repeat, 0)
    attributes = ctypes.create_string_buffer(fields, 144)
    if _libc.syscall(SYS_BPF, BPF_PROG_TEST_RUN, attributes, 144) < 0:
        raise OSError(ctypes.get_errno(), "BPF_PROG_TEST_RUN")
    return int(struct.unpack_from("=I", attributes.raw, DURATION)[0])


def cost(source: Source, size: int, repeat: int, rounds: int) -> measure.Spread:
    """Of rounds, each so short that it hardly meets other work."""
    program = source.fds.fd[lib.FFPF_KERNEL_FD_PROG_MAIN]
    return measure.Spread.of([float(nanoseconds(program, size, repeat)) for _ in range(rounds)])


def one_row(ns: Netns, bms: str, size: int, flows: int, rounds: int) -> list[str]:
    made, removed = [], []
    with Source(ns, ns.left, cells_log2=CELLS_LOG2) as source:
        source.group(0, BMS[bms])
        source.accept_all(words=max(1, (2 * flows + 63) // 64))
        for slot in range(flows):
            start = time.monotonic()
            source.flow(slot, ibuf_slots=16384)
            made.append((time.monotonic() - start) * 1000)
        source.activate(*range(0, 2 * flows, 2))
        # no more than PBuf has room for
        fits = (1 << CELLS_LOG2) // ((48 + size + 63) // 64)
        figures = cost(source, size, 4000 if bms == "frp" or not flows else max(1, fits // rounds), rounds)
        source.activate()
        for slot in range(flows):
            start = time.monotonic()
            check(lib.ffpf_kernel_flow_remove, source.kernel, slot)
            removed.append((time.monotonic() - start) * 1000)
    times = [measure.Spread.of(each).text() if each else "" for each in (made, removed)]
    return [bms, str(size), str(flows), figures.text(0), *times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows: list[list[str]] = []
    with Netns() as ns:
        for bms in BMS:
            for size in (64, 1500):
                rows += [one_row(ns, bms, size, flows, args.rounds) for flows in (0, 1, 2, 4, 8, 64)]
    print(measure.table(["BMS", "octets", "flows", "ns/packet", "make one, ms", "remove one, ms"], rows))


if __name__ == "__main__":
    main()
