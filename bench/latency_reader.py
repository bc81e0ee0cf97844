# SPDX-License-Identifier: BSD-3-Clause
"""`python -m bench.latency_reader INTERFACE COUNT FILE ENGINE HOW`: latency_read.c in Python; ENGINE as of pyffpf.open.

HOW: "immediate", packets one by one in immediate mode; or "batches", with the delay that pyffpf has by default: a
packet is read when the batch is there that has it.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType

import numpy as np
import numpy.typing as npt

import pyffpf

SNAP_LEN = 256  # these three as in latency_read.c and latency.h
FRAME_HEAD = 42
MAGIC = 0x79636E6574616C21

Samples = npt.NDArray[np.int64]  # (n, 2): ns from sending to reading, and from the kernel's time stamp


def marks_of(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(n, 2): magic, and when it was sent."""
    return frames[:, FRAME_HEAD : FRAME_HEAD + 16].copy().view(np.int64)


def one_by_one(capture: pyffpf.Capture, count: int) -> Samples:
    taken: list[tuple[int, int, int, bytes]] = []
    for packet in capture:
        taken.append((time.monotonic_ns(), time.time_ns(), packet.ts_ns, packet.data))
        if len(taken) == count:
            break
    if not taken:
        return np.empty((0, 2), np.int64)
    marks = marks_of(
        np.frombuffer(b"".join(one[3][: FRAME_HEAD + 16] for one in taken), np.uint8).reshape(len(taken), -1)
    )
    times = np.array([one[:3] for one in taken], np.int64)
    found: Samples = np.stack([times[:, 0] - marks[:, 1], times[:, 1] - times[:, 2]], axis=1)[marks[:, 0] == MAGIC]
    return found


def in_batches(capture: pyffpf.Capture, count: int) -> Samples:
    found, rest = [np.empty((0, 2), np.int64)], count
    for batch in capture.batches():
        now, real = time.monotonic_ns(), time.time_ns()
        marks = marks_of(batch.headers(FRAME_HEAD + 16))
        samples = np.stack([now - marks[:, 1], real - batch.rows["ts_ns"]], axis=1)
        found.append(samples[marks[:, 0] == MAGIC])
        rest -= len(found[-1])
        if rest <= 0:
            break
    return np.concatenate(found)


def main() -> None:
    interface, count, file, engine, how = sys.argv[1:]
    with pyffpf.open(interface, engine=engine, snaplen=SNAP_LEN, immediate=how == "immediate") as capture:

        def stop(_number: int, _frame: FrameType | None) -> None:
            capture.stop()

        signal.signal(signal.SIGINT, stop)
        print(f"listening on {interface}", file=sys.stderr, flush=True)
        read = one_by_one if how == "immediate" else in_batches
        samples = read(capture, int(count))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it may come while all packets are there already
        Path(file).write_bytes(samples.tobytes())


if __name__ == "__main__":
    main()
