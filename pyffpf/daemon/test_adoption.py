# SPDX-License-Identifier: BSD-3-Clause
"""What one ffpfd leaves and the next one takes over, with a stand-in for the kernel."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyffpf.cli.control import ControlError
from pyffpf.daemon import listener, saved, transport
from pyffpf.daemon.captures import FlowState
from pyffpf.daemon.config import BuffersConfig, Config
from pyffpf.daemon.engine import FlowCounts, LaneCounts
from pyffpf.daemon.fdstore import FdStore, StoreFullError
from pyffpf.daemon.run import Daemon, Settings
from pyffpf.daemon.saved import Saved
from pyffpf.daemon.status import Totals
from pyffpf.daemon.testing import USERSPACE_FILTER, FakeEngine, FakeSource, Opened, Tool, descriptors

FILTER = bytes.fromhex("0600000000000400")
CONFIG = Config(buffers=BuffersConfig(ibuf_bytes=8192))


class MemoryStore(FdStore):
    """A store within this process: what it holds are copies, as everywhere."""

    kind = "process"

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, int] = {}
        self.full = False
        self.ended = False

    def successor(self) -> MemoryStore:
        """The same, as it is handed to the next ffpfd."""
        other = MemoryStore()
        other.files = {name: os.dup(fd) for name, fd in self.files.items()}
        return other

    def end(self) -> None:
        self.ended = True
        self.discard()

    def discard(self) -> None:
        transport.close_all(list(self.files.values()))
        self.files.clear()
        self.close()

    def held(self) -> set[str]:
        return set(self.files)

    def _put(self, name: str, fd: int) -> None:
        if self.full:
            raise StoreFullError("no more room")
        assert name not in self.files, "a name was given to another file"
        self.files[name] = os.dup(fd)

    def _remove(self, name: str) -> None:
        if name in self.files:
            os.close(self.files.pop(name))

    def _take(self) -> dict[str, int]:
        return {name: os.dup(fd) for name, fd in self.files.items()}


class Life:
    """One ffpfd after the other, each on the loop of the test; what a killed one had open is closed behind it."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.engine = FakeEngine("eth0", "eth1", "forgotten0")
        self.path = folder / "ffpfd.sock"
        self.daemon: Daemon | None = None
        self._listening: socket.socket | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> Daemon:
        self._listening = listener.listen(self.path, 0o666)
        self.daemon = Daemon(Settings(None, self.path), CONFIG, self.engine, self._listening, self.store)
        self._running = asyncio.create_task(self.daemon.run())
        await asyncio.sleep(0)
        return self.daemon

    async def kill(self) -> None:
        """Nothing of it runs on, and nothing is said to anybody; its successor has the store as it is."""
        assert self.daemon is not None and self._running is not None and self._listening is not None
        store, self.store = self.store, self.store.successor()
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        loop = asyncio.get_running_loop()
        for client in self.daemon.server.clients:
            loop.remove_reader(client.fileno())
            client._sock.close()
        loop.remove_reader(self._listening)
        self._listening.close()
        for flow in self.daemon.service.captures.flows.values():
            flow.drop_successors()
        for source in self.engine.live:
            forget(source)
        store.discard()
        self.engine = FakeEngine("eth0", "eth1", "forgotten0")

    async def restart(self) -> Daemon:
        await self.kill()
        return await self.start()

    async def stop(self) -> None:
        assert self.daemon is not None and self._running is not None and self._listening is not None
        self.daemon.stop()
        await self._running
        self._listening.close()
        assert self.store.ended and not self.store.files and not self.engine.live


def forget(source: FakeSource) -> None:
    """The process's own descriptors of a source, gone with it."""
    for flow in source.flows.values():
        flow.close()
    for fds in source.groups.values():
        transport.close_all(fds)
    os.close(source._counts)
    source.closed = True


class Caller:
    """A client whose calls do not stop the loop."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool

    async def open(self, source: str, **fields: object) -> Opened:
        return await asyncio.to_thread(lambda: self.tool.open(source, **fields))

    async def filter(self, flow: int, insns: bytes | None) -> Opened:
        return await asyncio.to_thread(self.tool.set_filter, flow, insns)

    async def do(self, operation: str, **fields: object) -> Opened:
        return await asyncio.to_thread(lambda: self.tool.do(operation, **fields))

    def events(self) -> list[dict[str, Any]]:
        """Those that are there now."""
        found = []
        self.tool._socket.setblocking(False)
        try:
            while data := self.tool._socket.recv(65536):
                found.append(json.loads(data))
        except BlockingIOError:
            pass
        finally:
            self.tool._socket.settimeout(20)
        return found


async def connect(life: Life, program: str = "tool") -> Caller:
    return Caller(await asyncio.to_thread(Tool, life.path, program))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    before = descriptors()
    yield Life(tmp_path)
    assert descriptors() == before, "descriptors were left open"


def inodes(opened: Opened) -> dict[str, int]:
    return {name: os.fstat(fd).st_ino for name, fd in opened.fds.items()}


def test_captures_and_connections_go_on(life: Life) -> None:
    async def run() -> None:
        await life.start()
        tool, other = await connect(life, "tcpdump"), await connect(life, "idle")
        with await tool.open("eth0") as one, await tool.open("eth1", snap_len=100) as two:
            flow_ids = [one["flow"], two["flow"]]
            with await tool.filter(two["flow"], FILTER):
                pass
            daemon = await life.restart()
            assert tool.events() == [{"event": "adopted"}]
            flows = daemon.service.captures.flows
            assert sorted(flows) == flow_ids
            assert {flow.client.program for flow in flows.values()} == {"tcpdump"}
            second = flows[two["flow"]]
            assert (second.generation, second.insns, second.snap_len) == (2, FILTER, 100)
            source = next(source for source in life.engine.live if source.resolved.name == "eth1")
            assert source.columns[source.active[second.slot]] == FILTER
            mine = {name: os.fstat(fd).st_ino for name, fd in source.descriptors(second.slot)}
            assert mine == inodes(two)
            with await tool.filter(two["flow"], USERSPACE_FILTER) as answer:
                assert (answer["generation"], answer["level"]) == (3, "userspace")
            with await tool.open("eth0") as three:
                assert three["flow"] > max(flow_ids)
            with await tool.do("close", flow=one["flow"]):
                pass
            assert one["flow"] not in flows
        assert daemon.service.describer.adoptions == 1
        assert other.tool._socket.recv(100) == b""  # it had nothing that needed to survive
        for caller in (tool, other):
            caller.tool.close()
        await until(lambda: not life.engine.live)
        assert life.store.held() == {"state.0", "state.1"}
        await life.stop()

    asyncio.run(run())


def test_once_more_and_once_more(life: Life) -> None:
    async def run() -> None:
        await life.start()
        tool = await connect(life)
        with await tool.open("eth0") as one:
            for turn in range(1, 5):
                daemon = await life.restart()
                assert daemon.service.describer.adoptions == turn
                with await tool.filter(one["flow"], FILTER if turn % 2 else None) as answer:
                    assert answer["generation"] == turn + 1
        tool.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


def test_a_client_that_died_meanwhile(life: Life) -> None:
    async def run() -> None:
        await life.start()
        dying, living = await connect(life), await connect(life)
        with await dying.open("eth0") as one, await living.open("eth0") as two:
            await life.kill()
            dying.tool.close()
            daemon = await life.start()
            await until(lambda: one["flow"] not in daemon.service.captures.flows)
            assert list(daemon.service.captures.flows) == [two["flow"]]
        living.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


def test_a_request_that_was_not_read_is_answered_by_the_next(life: Life) -> None:
    async def run() -> None:
        await life.start()
        tool = await connect(life)
        with await tool.open("eth0") as one:
            await life.kill()
            asking = asyncio.create_task(tool.filter(one["flow"], FILTER))
            await asyncio.sleep(0.05)
            daemon = await life.start()
            with await asking as answer:
                assert answer["generation"] == 2
        tool.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


def test_a_request_that_comes_again_is_done_once(life: Life) -> None:
    """The client cannot know whether the ffpfd that died had done it: it asks again, with the same number."""

    async def again(tool: Caller, operation: str, **fields: object) -> Opened:
        tool.tool._next_id -= 1
        return await tool.do(operation, **fields)

    async def run() -> None:
        daemon = await life.start()
        tool = await connect(life)
        with await tool.open("eth0") as lost:
            daemon = await life.restart()
            with await again(tool, "open", source="eth0") as found:
                assert (found["flow"], inodes(found)) == (lost["flow"], inodes(lost))
            assert list(daemon.service.captures.flows) == [lost["flow"]]
            flow = daemon.service.captures.flows[lost["flow"]]
            await daemon.service.operations.grow(flow, 1 << 16)
            with await tool.do("successor", flow=flow.id, lane=0) as given:
                await life.restart()
                with await again(tool, "successor", flow=flow.id, lane=0) as found:
                    assert inodes(found) == inodes(given)
            with pytest.raises(ControlError, match="has not moved"):
                await tool.do("successor", flow=flow.id, lane=0)

            await life.kill()
            tool.tool._socket.send(b'{"id":99,"op":"open","source":"eth1"}')
            daemon = await life.start()
            tool.tool._socket.send(b'{"id":99,"op":"open","source":"eth1"}')
            tool.tool._next_id = 100
            with await tool.do("status"):
                assert len(daemon.service.captures.flows) == 2
        tool.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


def test_successors_wait_for_their_readers(life: Life) -> None:
    async def run() -> None:
        daemon = await life.start()
        tool = await connect(life)
        with await tool.open("eth0") as one:
            flow = daemon.service.captures.flows[one["flow"]]
            operations = daemon.service.operations
            await operations.grow(flow, 1 << 16)
            async with operations.locked(flow.source):
                await operations.move_group(flow.source, flow.group, [])
            first, second = ([os.fstat(fd).st_ino for _, fd in waiting] for waiting in flow.successors[1])
            daemon = await life.restart()
            for expected in (first, second):
                with await tool.do("successor", flow=one["flow"], lane=1) as answer:
                    assert list(inodes(answer).values()) == expected
                daemon = await life.restart()
            flow = daemon.service.captures.flows[one["flow"]]
            assert [len(waiting) for waiting in flow.successors.values()] == [2, 0]
            assert flow.group.moves == 1
        tool.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


def test_parked_and_revoked_flows(life: Life) -> None:
    async def run() -> None:
        daemon = await life.start()
        tool = await connect(life)
        with await tool.open("eth0") as slow, await tool.open("eth0") as fast, await tool.open("eth0") as bad:
            captures, operations = daemon.service.captures, daemon.service.operations
            flow = captures.flows[slow["flow"]]
            async with operations.locked(flow.source):
                await operations.move_group(flow.source, flow.group, [flow])
            with await tool.do("revoke", flow=bad["flow"], reason="enough"):
                pass
            tool.events()
            daemon = await life.restart()
            captures = daemon.service.captures
            assert sorted(captures.flows) == sorted([slow["flow"], fast["flow"]])
            assert captures.flows[slow["flow"]].state is FlowState.PARKED
            assert life.engine.live[0].active.keys() == {captures.flows[fast["flow"]].slot}
            with await tool.do("successor", flow=slow["flow"], lane=0):
                assert captures.flows[slow["flow"]].state is FlowState.LIVE
        tool.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


def test_what_cannot_be_taken_over_is_told(life: Life) -> None:
    async def run() -> None:
        await life.start()
        tool = await connect(life)
        with await tool.open("forgotten0") as lost, await tool.open("eth0") as kept:
            daemon = await life.restart()
            adopted, revoked = tool.events()
            assert adopted == {"event": "adopted"}
            assert (revoked["event"], revoked["flow"]) == ("revoked", lost["flow"])
            assert list(daemon.service.captures.flows) == [kept["flow"]]
        tool.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


def test_totals_of_closed_flows_do_not_go_back(life: Life) -> None:
    async def run() -> None:
        await life.start()
        tool = await connect(life)
        with await tool.open("eth0") as one, await tool.open("eth0"):
            (source,) = life.engine.live
            for number, flow in enumerate(source.flows.values(), 1):
                lanes = [LaneCounts(1024, 0, 0, 0, 0)] * 2
                flow.counts = FlowCounts(10 * number, number, 4, 1, {"pbuf": 4, "ibuf": 0}, lanes)
            with await tool.do("close", flow=one["flow"]):
                pass
            daemon = await life.restart()
            (group,) = (await daemon.service.describer.document(None)).groups
            assert group.closed == Totals(10, 1, 4, {"pbuf": 4}, unread=1)
        tool.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


def test_a_full_store_is_no_end(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        await life.start()
        tool = await connect(life)
        with await tool.open("eth0") as one:
            life.store.full = True
            with await tool.open("eth1"):
                assert "would not survive" in caplog.text
                life.store.full = False
                with await tool.filter(one["flow"], FILTER):  # tried again
                    pass
                daemon = await life.restart()
                assert len(daemon.service.captures.flows) == 2
        tool.tool.close()
        await until(lambda: not daemon.server.clients)
        await life.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    "change",
    [lambda state: b"not JSON", lambda state: json.dumps({**json.loads(state), "format": 999}).encode()],
    ids=["garbage", "later-format"],
)
def test_a_state_that_cannot_be_understood(life: Life, change: Callable[[bytes], bytes]) -> None:
    async def run() -> None:
        await life.start()
        tool = await connect(life)
        with await tool.open("eth0"):
            await life.kill()
            between = life.store
            life.store = between.successor()
            state, fds = between.take_all()
            transport.close_all(list(fds.values()))
            assert state is not None
            between.set_state(change(state))  # in the file that both have
            between.discard()
            daemon = await life.start()
            assert not daemon.service.captures.flows
            assert life.store.held() == {"state.0", "state.1"}
            assert tool.tool._socket.recv(100) == b""
        tool.tool.close()
        await life.stop()

    asyncio.run(run())


def test_versions_understand_each_other() -> None:
    document = json.loads(saved.dumps(Saved(adoptions=3, clients=[saved.SavedClient(1, "tcpdump")])))
    document["later"] = {"more": [1]}
    document["clients"][0]["colour"] = "blue"
    del document["last_flow_id"]
    found = saved.loads(json.dumps(document).encode())
    assert found == dataclasses.replace(Saved(adoptions=3), clients=[saved.SavedClient(1, "tcpdump")])
