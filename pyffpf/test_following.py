# SPDX-License-Identifier: BSD-3-Clause
"""Following what comes fast, and then slowly: reads wait for company, and no packet waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import pyffpf
from compat_tests.capture_packets import ethernet, udp4
from compat_tests.netns import Netns
from compat_tests.shared import Ffpfd
from pyffpf.reading import Reading

pytestmark = pytest.mark.live

BURST, BURSTS = 500, 8
SECONDS = 30.0  # what a packet of a test may take, on a machine that has other work


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        yield made


def frame(number: int) -> bytes:
    return ethernet(udp4(number.to_bytes(4, "big"), "10.0.0.2", "10.0.0.1", 4000, 53))


def numbers(source: Reading, count: int) -> list[int]:
    """Of so many packets, however they come together."""
    found: list[int] = []
    while len(found) < count:
        batch = source.read_batch(timeout=SECONDS)
        assert batch is not None and len(batch)
        found += [int.from_bytes(packet.data[42:46], "big") for packet in batch]
    return found


@pytest.mark.parametrize("kind", ["flow", "capture"])
@pytest.mark.parametrize("engine", ["embedded", "shared"])
def test_a_stream_and_then_a_lone_packet(ns: Netns, engine: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: pyffpf.Flow | pyffpf.Capture
    with ExitStack() as stack:
        if engine == "shared":
            monkeypatch.setenv("FFPF_SOCKET", str(stack.enter_context(Ffpfd(ns)).socket))
        with ns.entered():
            if kind == "flow":
                opened = pyffpf.Flow(f'(device,{ns.left}) -> (BPF,"udp port 53")', engine=engine)
            else:
                opened = pyffpf.open(ns.left, "udp port 53", engine=engine)
            source = stack.enter_context(opened)
        if isinstance(source, pyffpf.Flow):
            source[-1].begin()
        for first in range(0, BURST * BURSTS, BURST):  # an interface's ring holds few blocks
            ns.send(ns.right, [frame(first + i) for i in range(BURST)])
            assert numbers(source, BURST) == list(range(first, first + BURST))
        for lone in (7, 8):
            ns.send(ns.right, [frame(lone)])
            assert numbers(source, 1) == [lone]
        empty = source.read_batch(timeout=0.05)
        assert empty is not None and len(empty) == 0
