# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd killed at each step of what is done to a graph: added, activated, paused, removed. The next one goes on as if
the step before had been the last, a request that was not answered is made again, and another graph misses nothing.

A step is a call that changes the kernel or the store. From the one on that kills, none is made, and nobody is answered.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import logging
import mmap
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from compat_tests.netns import Netns, wait_until
from fpl.graph.stage import Stage
from pyffpf.cli.control import ControlError
from pyffpf.daemon import kernel_engine, listener
from pyffpf.daemon.captures import GraphState
from pyffpf.daemon.config import BuffersConfig, Config
from pyffpf.daemon.kernel_capture import KernelSource
from pyffpf.daemon.kernel_engine import KernelEngine
from pyffpf.daemon.run import Daemon, Settings
from pyffpf.daemon.server import Client
from pyffpf.daemon.slow import SlowReaders
from pyffpf.daemon.survival import ETHERTYPE, frame
from pyffpf.daemon.test_adoption import Caller, MemoryStore
from pyffpf.daemon.test_kernel import IPV4, frames
from pyffpf.daemon.testing import Opened, Tool, descriptors
from pyffpf.graph_nodes import compile_filter, nodes_of
from pyffpf.shared_flow import _request_of

CONFIG = Config(buffers=BuffersConfig(bytes=512 << 10, ibuf_bytes=8192))
OF_SOURCE = ("open_group", "reserve", "open_flow", "activate", "clear", "close_flow", "close_group")
OF_STAGE = ("prepare", "commit", "switch", "remove")

pytestmark = pytest.mark.live


class KilledError(Exception):
    pass


class Steps:
    """Kills at the goal-th step, counted from 1."""

    def __init__(self, goal: int) -> None:
        self.goal, self.made, self.dead = goal, 0, False

    def step(self) -> None:
        self.made += 1
        self.dead |= self.made == self.goal
        if self.dead:
            raise KilledError

    def wrap(self, owner: Any, names: tuple[str, ...]) -> None:
        for name in names:
            setattr(owner, name, functools.partial(self._stepped, getattr(owner, name)))

    def _stepped(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.step()
        return call(*args, **kwargs)


async def no_tick(_: SlowReaders) -> None:
    """Nothing."""


class Life:
    """One ffpfd after the other, on the loop of the test."""

    def __init__(self, ns: Netns, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ns, self.path = ns, folder / "ffpfd.sock"
        self.engine = KernelEngine()
        self.store = MemoryStore()
        self.steps = Steps(0)
        self.daemon: Daemon | None = None
        self._sources: list[KernelSource] = []
        self._running: asyncio.Task[None] | None = None
        self._listening: socket.socket | None = None
        life = self

        class Stepped(KernelSource):
            def __init__(self, *args: Any, **more: Any) -> None:
                super().__init__(*args, **more)
                life._sources.append(self)
                life.steps.wrap(self, OF_SOURCE)

            @property
            def stage(self) -> Stage:
                known, made = self._stage, super().stage
                if made is not known or "commit" not in vars(made):
                    life.steps.wrap(made, OF_STAGE)
                return made

            def close(self) -> None:
                life._sources.remove(self)
                super().close()

        send = Client.send

        def unless_dead(client: Client, message: Mapping[str, Any], descriptors: Any = ()) -> None:
            if not life.steps.dead:
                send(client, message, descriptors)

        monkeypatch.setattr(kernel_engine, "KernelSource", Stepped)
        monkeypatch.setattr(Client, "send", unless_dead)
        monkeypatch.setattr(SlowReaders, "tick", no_tick)  # no thread of a dead one is in its engine

    async def start(self) -> None:
        self.steps = Steps(0)
        self._listening = listener.listen(self.path, 0o666)
        self.engine.on_prepared(lambda _: None)
        self.daemon = Daemon(Settings(None, self.path), CONFIG, self.engine, self._listening, self.store)
        self.steps.wrap(self.store, ("set_state", "_put", "_remove"))
        self._running = asyncio.create_task(self.daemon.run())
        await asyncio.sleep(0)

    def aim(self, goal: int) -> None:
        """It is killed at the goal-th step from now on."""
        self.steps.goal, self.steps.made = goal, 0

    async def kill(self) -> None:
        """The process is gone with its descriptors; the store's are somebody else's."""
        assert self.daemon is not None and self._running is not None and self._listening is not None
        self.steps.dead = True
        before, self.store = self.store, self.store.successor()
        self._running.cancel()
        await asyncio.gather(self._running, *self.daemon.server._tasks, return_exceptions=True)
        loop = asyncio.get_running_loop()
        for client in self.daemon.server.clients:
            loop.remove_reader(client.fileno())
            client._sock.close()
        loop.remove_reader(self._listening)
        self._listening.close()
        for flow in self.daemon.service.captures.flows.values():
            flow.drop_successors()
        for source in list(self._sources):
            source.close()
        before.discard()

    async def stop(self) -> None:
        assert self.daemon is not None and self._running is not None and self._listening is not None
        self.daemon.stop()
        await self._running
        self._listening.close()


def nodes_in(text: str) -> list[dict[str, Any]]:
    asked = [_request_of(node) for node in nodes_of(text)]
    for node in asked:
        if node["class"] == "BPF":
            node["insns"] = base64_of(compile_filter(node["argument"], 1))
    return asked


def base64_of(octets: bytes | None) -> str:
    return base64.b64encode(octets or b"").decode()


def counted(opened: Opened, position: int) -> int:
    """What a packetcount at this position has counted."""
    at = opened["nodes"][position]["mbuf_at"]
    with mmap.mmap(opened.fds[f"mbuf:{position}"], at + 8, prot=mmap.PROT_READ) as memory:
        return int(struct.unpack_from("=Q", memory, at)[0])


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        wait_until(lambda: made.is_up(made.left), "the interface")
        yield made


async def use_a_graph(caller: Caller, ns: Netns) -> None:
    """All that can be done to one, and what it counts meanwhile."""
    flow = await caller.do("flow", source=ns.left)
    text = f'(device,{ns.left}) -> (BPF,"ether proto {ETHERTYPE}") -> (packetcount) -> (BPF,"greater 50")'
    with await caller.do("graph", flow=flow["flow"], nodes=nodes_in(text)) as graph:
        assert graph["state"] == "paused" and "ibuf:0" in graph.fds
        assert [node["level"] for node in graph["nodes"]] == ["kernel"] * 4
        assert (await caller.do("activate", flow=flow["flow"]))["state"] == "active"
        ns.send(ns.right, (frame(number) for number in range(3)))
        assert counted(graph, 2) == 3
        assert (await caller.do("pause", flow=flow["flow"]))["state"] == "paused"
        ns.send(ns.right, (frame(number) for number in range(7)))
        assert counted(graph, 2) == 3
        with contextlib.suppress(ControlError):  # of a close that was done, and not answered, nothing is known
            await caller.do("close", flow=flow["flow"])


def test_killed_at_each_step(ns: Netns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyffpf.daemon.server", "asyncio"):  # what they say of who is killed
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)

    async def run() -> None:
        life = Life(ns, tmp_path, monkeypatch)
        await life.start()
        stays = Caller(await asyncio.to_thread(Tool, life.path, "stays"))
        uses = Caller(await asyncio.to_thread(Tool, life.path, "uses"))
        staying = (await stays.do("flow", source=ns.left))["flow"]
        nodes = nodes_in(f"(device,{ns.left}) -> (packetcount)")
        with await stays.do("graph", flow=staying, nodes=nodes) as others:
            await stays.do("activate", flow=staying)
            own = await uses.open(ns.left)  # its connection is held, also where it has no graph yet
            before = counted(others, 1)
            killed, goal = 0, 1
            while True:
                life.aim(goal)
                using = asyncio.create_task(use_a_graph(uses, ns))
                while not using.done() and not life.steps.dead:
                    await asyncio.sleep(0.002)
                died = life.steps.dead
                if died:
                    killed += 1
                    await life.kill()
                    ns.send(ns.right, frames(IPV4, 5))
                    await life.start()
                await using
                ns.send(ns.right, frames(IPV4, 2))
                before += (5 if died else 0) + 2 + 3 + 7
                assert counted(others, 1) == before, f"at step {goal}"
                check_that_nothing_is_left(life, staying, own["flow"], goal)
                if not died:
                    break
                goal += 1
            own.close()
        assert killed > 25, "there are fewer steps than were thought of"
        life.aim(0)
        for caller in (stays, uses):
            caller.tool.close()
        await life.stop()
        life.engine.close()
        assert not life._sources

    ns.sender(ns.right)
    before = descriptors()
    with ns.entered():
        asyncio.run(run())
    assert descriptors() <= before


def check_that_nothing_is_left(life: Life, stays: int, own: int, goal: int) -> None:
    assert life.daemon is not None
    captures = life.daemon.service.captures
    (source,) = captures.sources.values()
    stage = source.open.stage
    assert stage is not None
    assert [(graph.id, graph.state) for graph in captures.graphs.values()] == [(stays, GraphState.ACTIVE)], goal
    assert (stage.running, stage.columns, source.node_columns) == (1, [], []), goal
    assert [flow.id for flow in source.flows.values()] == [own], goal
