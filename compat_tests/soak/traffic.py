# SPDX-License-Identifier: BSD-3-Clause
"""Numbered packets (compat_tests/numbered.py) whose rate and size change while they are sent.

with Traffic(ns) as traffic:
    traffic.change(pps=2000, size=300)          # both streams together; sizes in octets of UDP payload
    traffic.at_least(), traffic.at_most()       # how many of each stream, while they are sent
    traffic.still()                             # nothing is sent any more: how many of each were, exactly

python -m compat_tests.soak.traffic INTERFACE STREAM COUNTER        # orders on standard input: a line "PPS SIZE" each
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from compat_tests.capture_packets import ethernet, udp4
from compat_tests.netns import Netns, wait_until
from compat_tests.numbered import HEADERS, MAGIC, PAYLOAD, STREAMS, TICK_S

Counts = dict[int, int]  # by stream

PORTS = (1001, 1002)  # of a packet: PORTS[number % 2]
SIZE_MIN, SIZE_MAX = 64, 1400
BATCH = 1000  # packets between two looks at the orders
FLAT_OUT = 10**7  # packets a second: more than can be sent
WORDS = 3  # of a stream, u64: sent for certain, sent at most, orders obeyed; each is one load, and one store
WORD_BYTES = 8


class Traffic:
    """The sending processes, one for each stream; a context manager."""

    def __init__(self, ns: Netns) -> None:
        self._ns = ns
        self._processes: list[subprocess.Popen[Any]] = []
        self._orders = 0
        self._fd = os.memfd_create("soak")
        os.truncate(self._fd, WORDS * WORD_BYTES * STREAMS)
        self._memory = mmap.mmap(self._fd, WORDS * WORD_BYTES * STREAMS)
        self._words = memoryview(self._memory).cast("Q")
        self.pps = 0

    def __enter__(self) -> Traffic:
        for stream in range(STREAMS):
            argv = [sys.executable, "-m", "compat_tests.soak.traffic", self._ns.right, str(stream), str(self._fd)]
            self._processes.append(
                self._ns.popen(
                    argv, stdin=subprocess.PIPE, pass_fds=[self._fd], cwd=Path(__file__).resolve().parent.parent.parent
                )
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._words.release()
        self._memory.close()
        os.close(self._fd)

    @property
    def pids(self) -> set[int]:
        return {process.pid for process in self._processes}

    def _read(self) -> list[list[int]]:
        return [[self._words[WORDS * stream + word] for word in range(WORDS)] for stream in range(STREAMS)]

    def at_least(self) -> Counts:
        return {stream: words[0] for stream, words in enumerate(self._read())}

    def at_most(self) -> Counts:
        return {stream: words[1] for stream, words in enumerate(self._read())}

    def change(self, pps: int, size: int) -> None:
        self.pps = pps
        self._orders += 1
        for process in self._processes:
            assert process.poll() is None and process.stdin, "a sender ended"
            process.stdin.write(f"{pps // STREAMS} {size}\n".encode())
            process.stdin.flush()

    def still(self) -> Counts:
        self.change(0, SIZE_MIN)
        wait_until(lambda: all(words[2] == self._orders for words in self._read()), "the senders to be still", 60)
        sent = self.at_least()
        assert sent == self.at_most()
        return sent


def send(interface: str, stream: int, words: memoryview) -> None:
    """Until standard input ends."""
    os.set_blocking(0, False)
    sent, pps, orders, unread = 0, 0, 0, b""
    templates: list[bytearray] = []
    began, base = time.monotonic(), 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((interface, 0))
        while True:
            with contextlib.suppress(BlockingIOError):
                said = os.read(0, 4096)
                if said == b"":
                    return
                *lines, unread = (unread + said).split(b"\n")
                for line in lines:
                    pps, size = map(int, line.split())
                    templates = [bytearray(ethernet(udp4(bytes(size), dport=port))) for port in PORTS]
                    began, base, orders = time.monotonic(), sent, orders + 1
            due = base + int((time.monotonic() - began) * pps)
            if due > sent + BATCH:  # after a pause for want of a processor, or flat out: it begins anew from there
                due = sent + BATCH
                began, base = time.monotonic(), due
            store(words, stream, sent, due, orders)
            for number in range(sent, due):
                frame = templates[number % len(templates)]
                PAYLOAD.pack_into(frame, HEADERS, MAGIC, stream, number)
                transmit(raw, frame)
            full, sent = due == sent + BATCH, due
            store(words, stream, sent, sent, orders)
            if not full:
                time.sleep(TICK_S)


def store(words: memoryview, stream: int, at_least: int, at_most: int, orders: int) -> None:
    """Not by struct.pack_into, which clears first: who looks meanwhile would see that nothing was sent."""
    for word, value in enumerate((at_least, at_most, orders)):
        words[WORDS * stream + word] = value


def transmit(raw: socket.socket, frame: bytearray) -> None:
    """The other end's queue may be full: then the kernel has sent nothing."""
    while True:
        try:
            raw.send(frame)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            time.sleep(TICK_S)
        else:
            return


def main() -> int:
    interface, stream, counter = sys.argv[1:]
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[int(stream) % len(cpus)]})
    with (
        mmap.mmap(int(counter), WORDS * WORD_BYTES * STREAMS) as memory,
        memoryview(memory) as octets,
        octets.cast("Q") as words,
    ):
        send(interface, int(stream), words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
