# SPDX-License-Identifier: BSD-3-Clause
"""Packets of nodes that a group's worker runs, read by flows of other processes, on a veth pair of a network namespace.
Needs root and eBPF."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compat_tests.netns import Netns
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.test_kernel import IPV4, Ffpfd, frames
from pyffpf.daemon.test_worker import CONFIG, GROUP, flow_at, text_of
from pyffpf.flow_node import Readable


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def running(ns: Netns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ffpfd]:
    with started(ns, tmp_path_factory, CONFIG) as made:
        yield made


def numbered(packets: int, first: int = 0, octets: int = 100) -> list[bytes]:
    """Each says which it is."""
    return [frame[:-4] + (first + at).to_bytes(4, "big") for at, frame in enumerate(frames(IPV4, packets, octets))]


def read(flow: Readable, packets: int, seconds: float = 20) -> list[bytes]:
    """So many packets at least."""
    found: list[bytes] = []
    while len(found) < packets:
        batch = flow.read_batch(timeout=seconds)
        assert batch, f"{len(found)} of {packets} packets"
        found += [bytes(packet) for packet in batch]
    return found


def test_packets_come_from_the_worker_as_they_are(ns: Netns, running: Ffpfd) -> None:
    with flow_at(ns, running.path, text_of(ns, "once=(dedup,window=10s)")) as flow:
        assert flow.explain().splitlines()[2] == (
            f"once: userspace (worker of group {GROUP}): the kernel has no dedup"
        )
        flow.begin()
        sent = numbered(30)
        ns.send(ns.right, sent)
        assert read(flow, 30) == sent
        counters = flow["once"].counters
        assert (counters.packets_in, counters.packets_out, counters.dropped) == (30, 30, {})
