# SPDX-License-Identifier: BSD-3-Clause
"""Filters that take long to compile, with an engine that compiles nothing: who waits for them, and who does not."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyffpf.cli.control import ControlError
from pyffpf.daemon.fake_filters import SlowCompiler
from pyffpf.daemon.testing import LANES, FakeRunning, running, wait_until
from pyffpf.daemon.turns import Turns

FILTER = bytes.fromhex("2800000000000c000600000000000400")
SLOW_FILTER = FILTER[:8] + FILTER


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeRunning]:
    with running(tmp_path) as made:
        yield made


def test_what_is_compiled_keeps_nobody_waiting(server: FakeRunning) -> None:
    """A light filter that is asked for later is answered before, another flow comes and goes, and the one that is
    compiled takes hold when it is there: until then the flow has its old filter."""
    with server.connect() as heavy, heavy.open("eth0") as changing, server.connect() as light:
        (source,) = server.fake.live
        heavy.set_filter(changing["flow"], FILTER).close()
        compiler = source.slow[SLOW_FILTER] = SlowCompiler()
        with ThreadPoolExecutor(1) as pool, light.open("eth0") as other:
            asked = pool.submit(heavy.set_filter, changing["flow"], SLOW_FILTER)
            wait_until(lambda: compiler.begun, "the compiler")
            for insns in (FILTER, None, FILTER):
                light.set_filter(other["flow"], insns).close()
            light.open("eth0").close()
            assert [flow.generation for flow in light.status().flows] == [2, 4, 1]
            assert source.active[0] == 1
            assert not asked.done()
            source.log.clear()
            compiler.begun[0].set()
            with asked.result(20) as reply:
                assert (reply["generation"], reply["positions"]) == (3, [30] * LANES)
            assert source.log == ["activate 0 0", "synchronize"]
            assert source.columns[0] == SLOW_FILTER


def test_what_is_compiled_for_nobody_is_cancelled(server: FakeRunning) -> None:
    """Its client has gone, and with it the source; or its right."""
    with server.connect() as staying, staying.open("eth0"):
        (source,) = server.fake.live
        compiler = source.slow[SLOW_FILTER] = SlowCompiler()
        filter_of = b'{"id":3,"op":"filter","flow":%d,"insns":"' + base64.b64encode(SLOW_FILTER) + b'"}'
        dying = server.raw()
        hello, opening = b'{"id":1,"op":"hello","version":1}', b'{"id":2,"op":"open","source":"eth0"}'
        for message in (hello, opening):
            dying.send(message)
            answer = dying.recv(65536)
        dying.send(filter_of % json.loads(answer)["flow"])
        wait_until(lambda: compiler.begun, "the compiler")
        dying.close()
        wait_until(lambda: compiler.cancelled == 1 and len(source.flows) == 1, "the end of the dead one")
    wait_until(lambda: source.closed, "the source's end")

    with server.connect() as losing, losing.open("eth0") as lost, server.connect() as other:
        compiler = server.fake.live[0].slow[SLOW_FILTER] = SlowCompiler()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(losing.set_filter, lost["flow"], SLOW_FILTER)
            wait_until(lambda: compiler.begun, "the compiler")
            other.do("revoke", flow=lost["flow"], reason="enough").close()
            compiler.begun[0].set()
            with pytest.raises(ControlError) as refused:
                asked.result(20)
        assert refused.value.code == "denied"


def test_users_take_turns_at_the_compilers() -> None:
    """With two of them, whatever they are for: of many filters of one user one is in work, and another's begins at
    once; with more users than compilers one waits for one of each of the others at most."""
    begun: list[int] = []

    async def serve() -> None:
        turns, go_on = Turns(2), asyncio.Semaphore(0)

        async def request(uid: int) -> None:
            async with turns.turn(None, uid):
                begun.append(uid)
                await go_on.acquire()

        requests = [asyncio.ensure_future(request(uid)) for uid in (1, 1, 1, 1, 2, 2, 3)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert begun == [1, 2]
        for _ in range(len(requests)):
            go_on.release()
            for _ in range(10):
                await asyncio.sleep(0)
        await asyncio.gather(*requests)

    asyncio.run(serve())
    assert begun[:3] == [1, 2, 3]
    assert sorted(begun) == [1, 1, 1, 1, 2, 2, 3]
