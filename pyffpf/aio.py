# SPDX-License-Identifier: BSD-3-Clause
"""Packets in asyncio: `async for packet in aio.packets(capture)`, or of a flow, or of a node.

A live capture is read without waiting, and its descriptor is watched by the event loop; a savefile gives way to other
tasks between two batches; for a pipe, and for a flow, a thread of the loop's executor waits. The thread that waits for
a flow drives its graph, so callbacks and filters in Python run there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pyffpf.batch import Batch
from pyffpf.capture import Capture
from pyffpf.flow_node import Readable
from pyffpf.packet import Packet
from pyffpf.reading import BATCH_ROWS, Reading

LOOK_AGAIN_S = 0.05  # without word from the descriptor: stop() was called, or the interface has gone


async def batches(source: Reading, size: int = BATCH_ROWS, *, octets: bool = True) -> AsyncIterator[Batch]:
    """`source.batches` for asyncio, until the end or stop; copies. Cancelling the task loses no packet, but of a pipe:
    the thread that waits for it ends with the pipe's next octets. One that waits for a flow ends within 50 ms."""
    loop = asyncio.get_running_loop()
    while True:
        if isinstance(source, Capture) and source.streams:
            batch = await loop.run_in_executor(None, lambda: source.read_batch(size, octets=octets))
        else:
            batch = source.read_batch(size, octets=octets, timeout=0)
        if batch is None:
            return
        if len(batch):
            yield batch
            await asyncio.sleep(0)
        elif isinstance(source, Capture):
            await _readable(loop, source.fileno())
        elif isinstance(source, Readable) and source.comes:
            await loop.run_in_executor(None, source.wait, 1, LOOK_AGAIN_S)
        else:
            return


async def packets(source: Reading) -> AsyncIterator[Packet]:
    """The packets one after the other."""
    async for batch in batches(source):
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
