# SPDX-License-Identifier: BSD-3-Clause
"""Captures in asyncio: `async for packet in aio.packets(capture)`.

A live capture is read without waiting, and its descriptor is watched by the event loop; a savefile gives way to other
tasks between two batches; a pipe is waited for in a thread of the loop's executor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pyffpf.batch import Batch
from pyffpf.capture import BATCH_ROWS, Capture
from pyffpf.packet import Packet

LOOK_AGAIN_S = 0.05  # without word from the descriptor: stop() was called, or the interface has gone


async def batches(capture: Capture, size: int = BATCH_ROWS, *, octets: bool = True) -> AsyncIterator[Batch]:
    """Capture.batches for asyncio, until the end or stop; copies. Cancelling the task loses no packet of a live
    capture or savefile; the thread that waits for a pipe ends with the pipe's next octets."""
    loop = asyncio.get_running_loop()
    while True:
        if capture.streams:
            batch = await loop.run_in_executor(None, lambda: capture.read_batch(size, octets=octets))
        else:
            batch = capture.read_batch(size, octets=octets, timeout=0)
        if batch is None:
            return
        if len(batch):
            yield batch
            await asyncio.sleep(0)
        else:
            await _readable(loop, capture.fileno())


async def packets(capture: Capture) -> AsyncIterator[Packet]:
    """The packets one after the other."""
    async for batch in batches(capture):
        for packet in batch:
            yield packet


async def _readable(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Waits until the descriptor is readable, or a little while."""
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        async with asyncio.timeout(LOOK_AGAIN_S):
            await ready.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(fd)
