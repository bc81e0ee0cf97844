# SPDX-License-Identifier: BSD-3-Clause
"""Numbered packets, sent at a bounded rate for as long as a test wants: whoever captures them can be asked for gaps.

    with Senders(ns, pps=2000, ports=(1001, 1002)) as senders:
        ...
        sent = senders.stop()                       # by stream
    assert_unbroken(of_savefile(content), sent)

One stream for each of the machine's first two processors, so that packets pass through several lanes. A packet's number
says its port: ports[number % len(ports)]. Nobody answers them: they are for no station and no host of the namespace.

    python -m compat_tests.numbered INTERFACE STREAM PPS COUNTER SIZE PORT...      # until standard input ends
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import socket
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from compat_tests import pcapfile
from compat_tests.capture_packets import ethernet, udp4
from compat_tests.netns import Netns, wait_until

MAGIC = b"FFPF#"
PAYLOAD = struct.Struct(">5s3xIQ")  # magic, stream, number
HEADERS = 14 + 20 + 8
PORT_AT = 14 + 20 + 2
TICK_S = 0.002
STREAMS = min(2, os.cpu_count() or 1)


class Numbered(NamedTuple):
    stream: int
    number: int
    port: int


def parse(frame: bytes) -> Numbered | None:
    """None: it is none of ours."""
    if len(frame) < HEADERS + PAYLOAD.size:
        return None
    magic, stream, number = PAYLOAD.unpack_from(frame, HEADERS)
    (port,) = struct.unpack_from(">H", frame, PORT_AT)
    return Numbered(stream, number, port) if magic == MAGIC else None


def of_savefile(content: bytes) -> list[Numbered]:
    """All that a savefile has, in its order; the last packet may be cut short."""
    found = (parse(record.data) for record in pcapfile.records(content))
    return [packet for packet in found if packet]


def by_stream(packets: Iterable[Numbered]) -> dict[int, list[int]]:
    streams: dict[int, list[int]] = defaultdict(list)
    for packet in packets:
        streams[packet.stream].append(packet.number)
    return streams


def first_break(numbers: Sequence[int], step: int = 1) -> str | None:
    """Where a sequence has a gap, repeats or goes back, in words."""
    for before, after in itertools.pairwise(numbers):
        if after != before + step:
            return f"{after} follows {before}"
    return None


def assert_unbroken(packets: Sequence[Numbered], sent: dict[int, int] | None = None, whose: str = "a reader") -> None:
    """Every stream without a gap; and, where `sent` says how many were sent, up to the last of them."""
    streams = by_stream(packets)
    assert streams, f"{whose} has no packets at all"
    for stream, numbers in streams.items():
        broken = first_break(numbers)
        assert broken is None, f"{whose}, stream {stream} of {len(numbers)} packets: {broken}"
    if sent is not None:
        last = {stream: numbers[-1] + 1 for stream, numbers in streams.items()}
        assert last == sent, f"{whose} read up to {last}, and {sent} were sent"


class Senders:
    """The sending processes; a context manager."""

    def __init__(self, ns: Netns, pps: int, ports: Sequence[int] = (1001,), size: int = 100) -> None:
        """pps: packets a second of all streams together."""
        self._ns = ns
        self._pps = max(1, pps // STREAMS)
        self._words = [str(size), *(str(port) for port in ports)]
        self._processes: list[subprocess.Popen[Any]] = []
        self._counter = mmap.mmap(-1, 1)  # replaced in __enter__
        self._fd = -1

    def __enter__(self) -> Senders:
        self._fd = os.memfd_create("numbered")
        os.truncate(self._fd, 8 * STREAMS)
        self._counter = mmap.mmap(self._fd, 8 * STREAMS)
        for stream in range(STREAMS):
            argv = [sys.executable, "-m", "compat_tests.numbered", self._ns.right, str(stream), str(self._pps)]
            process = self._ns.popen(
                [*argv, str(self._fd), *self._words],
                stdin=subprocess.PIPE,
                pass_fds=[self._fd],
                cwd=Path(__file__).resolve().parent.parent,
            )
            self._processes.append(process)
        wait_until(lambda: all(self.sent().values()), "the first numbered packets", 60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._counter.close()
        os.close(self._fd)

    def sent(self) -> dict[int, int]:
        """How many of each stream, so far."""
        return dict(enumerate(struct.unpack_from(f"={STREAMS}Q", self._counter)))

    def wait_more(self, count: int) -> None:
        """Until so many more were sent, of each stream."""
        goal = {stream: sent + count for stream, sent in self.sent().items()}
        wait_until(lambda: all(sent >= goal[stream] for stream, sent in self.sent().items()), "more packets", 60)

    def stop(self) -> dict[int, int]:
        """Ends them; how many of each stream were sent. A second call does nothing more."""
        for process in self._processes:
            if process.stdin:
                process.stdin.close()
        for process in self._processes:
            assert process.wait(60) == 0, "a sender failed"
        return self.sent()


def send(interface: str, stream: int, pps: int, counters: memoryview, size: int, ports: Sequence[int]) -> None:
    """Until standard input ends. counters: of the format "Q", whose stores are single ones; struct.pack_into clears
    what it is about to write, and who looks meanwhile would see that nothing was sent."""
    templates = [bytearray(ethernet(udp4(bytes(size), dport=port))) for port in ports]
    os.set_blocking(0, False)
    begin, sent, burst = time.monotonic(), 0, max(1, pps // 10)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((interface, 0))
        while True:
            with contextlib.suppress(BlockingIOError):
                if os.read(0, 1) == b"":
                    return
            due = int((time.monotonic() - begin) * pps) + 1
            if due > sent + burst:  # after a pause, for want of a processor
                begin += (due - sent - burst) / pps
                due = sent + burst
            for number in range(sent, due):
                frame = templates[number % len(templates)]
                PAYLOAD.pack_into(frame, HEADERS, MAGIC, stream, number)
                raw.send(frame)
            sent = max(sent, due)
            counters[stream] = sent
            time.sleep(TICK_S)


def main() -> int:
    interface, stream, pps, counter, size, *ports = sys.argv[1:]
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[int(stream) % len(cpus)]})
    with mmap.mmap(int(counter), 8 * STREAMS) as shared, memoryview(shared) as octets, octets.cast("Q") as counters:
        send(interface, int(stream), int(pps), counters, int(size), [int(port) for port in ports])
    return 0


if __name__ == "__main__":
    sys.exit(main())
