# SPDX-License-Identifier: BSD-3-Clause
"""Captures in an event loop: other tasks go on, packets arrive, stop and cancellation end it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest

import pyffpf
from compat_tests.capture_files import PcapFormat, Record
from compat_tests.capture_packets import ethernet, udp4
from compat_tests.netns import Netns
from compat_tests.shared import Ffpfd
from pyffpf import aio


def record(i: int) -> Record:
    return Record(i.to_bytes(4, "big") * 15)


def test_a_savefile_gives_way_to_other_tasks() -> None:
    octets = PcapFormat().file(map(record, range(1000)))

    async def other(turns: list[int]) -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def main() -> tuple[list[bytes], int]:
        turns: list[int] = []
        task = asyncio.create_task(other(turns))
        with pyffpf.open(octets) as capture:
            found = [packet.data async for batch in aio.batches(capture, 10) for packet in batch]
        task.cancel()
        return found, len(turns)

    found, turns = asyncio.run(main())
    assert found == [record(i).data for i in range(1000)]
    assert turns >= 100


def test_a_pipe_is_waited_for_beside_the_loop() -> None:
    async def main() -> list[bytes]:
        end, start = os.pipe()
        os.write(start, PcapFormat().header())
        with os.fdopen(end, "rb", 0) as reader, pyffpf.open(reader) as capture:

            async def feed() -> None:
                for i in range(3):
                    await asyncio.sleep(0.02)
                    os.write(start, PcapFormat().record(record(i)))
                os.close(start)

            feeding = asyncio.create_task(feed())
            found = [packet.data async for packet in capture]
            await feeding
        return found

    assert asyncio.run(main()) == [record(i).data for i in range(3)]


async def first_of(capture: pyffpf.Capture) -> pyffpf.Packet:
    return await anext(capture.__aiter__())


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


@pytest.mark.live
@pytest.mark.parametrize("engine", ["embedded", "shared"])
def test_live_packets_stop_and_cancellation(ns: Netns, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [ethernet(udp4(bytes([i]) * 30)) for i in range(5)]

    async def main() -> None:
        with ns.entered():
            capture = pyffpf.open(ns.left, "udp", engine=engine, delay=0.01)
        with capture:
            waiting = asyncio.create_task(first_of(capture))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            ns.send(ns.right, frames)
            found: list[bytes] = []
            async for packet in capture:
                found.append(packet.data)
                if len(found) == len(frames):
                    threading.Timer(0.1, capture.stop).start()
            assert found == frames

    if engine == "embedded":
        asyncio.run(main())
        return
    with Ffpfd(ns) as ffpfd:
        monkeypatch.setenv("FFPF_SOCKET", str(ffpfd.socket))
        asyncio.run(main())
