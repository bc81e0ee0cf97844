# SPDX-License-Identifier: BSD-3-Clause
"""Flows and their nodes are read in every way that captures are, and give what a capture gives."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest

import pyffpf
from pyffpf import aio
from pyffpf.errors import Busy, NotSupported, WrongState
from pyffpf.graph import Graph
from pyffpf.testing_flows import TCP, UDP, frames, is_tcp, savefile, text

ALL = TCP + UDP


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return savefile(tmp_path)


@pytest.fixture
def graph() -> Iterator[Graph]:
    with Graph() as made:
        yield made


def rows_of(found: Any) -> list[Any]:
    """Of masked columns, or arrays."""
    return [np.ma.getdata(one).tolist() for one in found]


def table_of(source: Any) -> Any:
    return pyarrow.table(source.arrow("ip.src", "tcp.dport", data=True)).drop_columns(["result"]).to_pydict()


async def gathered(source: Any) -> list[bytes]:
    return [bytes(packet) async for packet in source]


WAYS: dict[str, Callable[[Any], object]] = {
    "headers": lambda source: np.concatenate([heads.copy() for heads in source.headers(60, size=7)]).tolist(),
    "columns": lambda source: [
        (name, np.ma.filled(values, 0).tolist())
        for columns in source.columns("ip.src", "tcp.dport", "frame.len", size=1000)
        for name, values in columns.items()
    ],
    "counts": lambda source: source.counts("tcp.sport", "ip.proto").tolist(),
    "count": lambda source: source.count(),
    "some": lambda source: (source.count(5).packets, source.count().packets),
    "rows": lambda source: [row for batch in source.batches(5, octets=False) for row in batch["len"].tolist()],
    "loop": lambda source: source.loop(bytes, 9),
    "table": table_of,
    "itself": lambda source: pyarrow.table(source).num_rows,
    "asyncio": lambda source: asyncio.run(gathered(source)),
}


@pytest.mark.parametrize("way", WAYS)
def test_as_a_capture(graph: Graph, capture: Path, way: str) -> None:
    with pyffpf.open(capture, "tcp") as source:
        expected = WAYS[way](source)
    with graph.flow(text(capture, "tcp=(BPF,tcp) -> n=(packetcount)")) as flow:
        assert WAYS[way](flow) == expected
        assert int(flow["n"].mbuf["packets"]) <= TCP
    with graph.flow(text(capture, "tcp=(BPF,tcp) -> n=(packetcount)"), share=False) as flow:
        assert WAYS[way](flow["tcp"]) == expected


def test_batches_without_octets_and_packets_in_place(graph: Graph, capture: Path) -> None:
    with graph.flow(text(capture, "(BPF,tcp)")) as flow:
        batch = flow.read_batch(3, octets=False)
        assert batch is not None and batch.octets is None and len(batch) == 3
        with pytest.raises(NotSupported, match="packets of a node are copied"):
            flow.read_batch(copy=False)
        with pytest.raises(ValueError, match="at least one"):
            flow.read_batch(0)


def test_a_batch_that_is_too_large_leaves_the_rest_to_the_graph(graph: Graph) -> None:
    """2 MiB of octets is what a batch has room for: nothing is out meanwhile, so other flows go on."""
    hook = graph.hook("h")
    big = b"\x02" * 60000
    with graph.flow("(device,hook:h) -> a=(packetcount)") as flow, graph.flow("(device,hook:h) -> (BPF,ip)") as other:
        flow.begin()
        hook.handle([big] * 50)
        sizes: list[int] = []
        sent = 50
        while sum(sizes) < sent:
            batch = flow.read_batch(timeout=5)
            assert batch is not None and len(batch)
            sizes.append(len(batch))
            assert flow.reader["waiting"] == sent - sum(sizes)
            assert flow.wait(1, timeout=0) == sent - sum(sizes)
            if sent == 50:
                hook.handle(b"")
                sent += 1
            assert other.read_batch(timeout=0) is not None
        assert len(sizes) > 1
        hook.handle(b"\x03" * 200000)
        found = flow.read_batch(timeout=5)
        assert found is not None and bytes(found.packet(-1)) == b"\x03" * 200000


def test_a_batch_has_one_link_type(graph: Graph) -> None:
    hooks = [graph.hook("ethernet"), graph.hook("raw", 101)]
    with graph.flow("(device,hook:ethernet) | (device,hook:raw)") as flow:
        flow.begin()
        for number, of in enumerate([0, 0, 1, 0, 1, 1]):
            hooks[of].handle(bytes([0x45, number]), number)
        for hook in hooks:
            hook.close()
        found = [(batch.link_type, [bytes(packet)[1] for packet in batch]) for batch in flow.batches()]
    assert found == [(1, [0, 1]), (101, [2]), (1, [3]), (101, [4, 5])]


@pytest.mark.parametrize("reads", ["columns", "headers", "count", "batches", "asyncio"])
def test_a_flow_that_is_not_active_gives_what_was_queued(graph: Graph, reads: str) -> None:
    hook = graph.hook("h")
    ways: dict[str, Callable[[Any], int]] = {
        "columns": lambda flow: sum(len(one["frame.len"]) for one in flow.columns("frame.len")),
        "headers": lambda flow: sum(len(one) for one in flow.headers(1)),
        "count": lambda flow: int(flow.count().packets),
        "batches": lambda flow: sum(len(one) for one in flow.batches()),
        "asyncio": lambda flow: len(asyncio.run(gathered(flow))),
    }
    with graph.flow("(device,hook:h)") as flow:
        flow.begin()
        hook.handle(frames())
        flow.pause()
        hook.handle(frames())
        assert [ways[reads](flow) for _ in range(2)] == [ALL, 0]
        flow.activate()
        hook.handle(frames())
        hook.close()
        assert ways[reads](flow) == ALL


def test_asyncio_waits_beside_other_tasks(graph: Graph) -> None:
    hook = graph.hook("h")

    async def feed() -> None:
        for frame in frames():
            hook.handle(frame)
            await asyncio.sleep(0)
        hook.close()

    async def both() -> list[bytes]:
        with graph.flow("(device,hook:h) -> tcp=(BPF,tcp)") as flow:
            flow.begin()
            feeder = asyncio.create_task(feed())
            found = await gathered(flow)
            await feeder
            return found

    assert asyncio.run(both()) == [frame for frame in frames() if is_tcp(frame)]


def test_a_task_that_is_cancelled_loses_no_packet(graph: Graph) -> None:
    hook = graph.hook("h")
    seen: list[int] = []

    async def read(flow: pyffpf.Flow) -> None:
        async for batch in aio.batches(flow):
            seen.append(len(batch))

    async def cancelled(flow: pyffpf.Flow) -> None:
        task = asyncio.create_task(read(flow))
        await asyncio.sleep(0.1)
        task.cancel()
        hook.handle(frames())
        with pytest.raises(asyncio.CancelledError):
            await task

    with graph.flow("(device,hook:h)") as flow:
        flow.begin()
        asyncio.run(cancelled(flow))
        assert sum(seen) + flow.wait(1, timeout=0) == ALL


def test_stop_ends_a_wait_and_a_table(graph: Graph) -> None:
    hook = graph.hook("h")
    with graph.flow("(device,hook:h) -> n=(packetcount)") as flow:
        flow["n"].begin()
        hook.handle(frames())
        threading.Timer(0.2, flow["n"].stop).start()
        assert pyarrow.table(flow["n"]).num_rows == ALL
        assert flow["n"].read_batch() is None
        flow.begin()
        hook.handle(frames())
        assert flow.count(ALL).packets == ALL  # another reader goes on


def test_a_table_outlives_the_flow(graph: Graph) -> None:
    hook = graph.hook("h")
    with graph.flow("(device,hook:h)") as flow:
        flow.begin()
        hook.handle(frames())
        stream = pyarrow.RecordBatchReader.from_stream(flow.arrow("ip.src"))
        assert stream.read_next_batch().num_rows == ALL
    graph.close()
    with pytest.raises(OSError, match="the capture is closed"):
        stream.read_next_batch()
    with pytest.raises(WrongState, match="closed"):
        pyarrow.table(flow)


def test_two_threads_on_one_node(graph: Graph) -> None:
    graph.hook("h")
    with graph.flow("(device,hook:h) -> n=(packetcount)") as flow:
        refused: list[str] = []

        def read() -> None:
            while not refused:
                try:
                    flow.read_batch(timeout=0.1)
                except Busy as error:
                    refused.append(str(error))

        thread = threading.Thread(target=read)
        thread.start()
        read()
        assert flow["n"].read_batch(timeout=0) is not None  # another node is another reader
        thread.join()
    assert refused and "another thread" in refused[0]


def test_a_forked_process_is_told(graph: Graph) -> None:
    hook = graph.hook("h")
    with graph.flow("(device,hook:h)") as flow:
        flow.begin()
        hook.handle(frames())
        assert flow.count(1).packets == 1
        if (child := os.fork()) == 0:
            try:
                flow.read_batch(timeout=0)
            except Busy:
                flow.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert flow.count(ALL - 1).packets == ALL - 1


@pytest.mark.parametrize("way", ["read_batch", "count", "wait"])
def test_an_interrupt_ends_a_wait_and_loses_nothing(graph: Graph, way: str) -> None:
    hook = graph.hook("h")
    ways: dict[str, Callable[[Any], object]] = {
        "read_batch": lambda flow: flow.read_batch(),
        "count": lambda flow: flow.count(),
        "wait": lambda flow: flow.wait(1),
    }
    with graph.flow("(device,hook:h)") as flow:
        flow.begin()
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        timer = threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                ways[way](flow)
        finally:
            timer.join()
            signal.signal(signal.SIGINT, before)
        hook.handle(frames())
        assert flow.count(ALL).packets == ALL
