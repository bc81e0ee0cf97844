# SPDX-License-Identifier: BSD-3-Clause
"""Packets of nodes that a group's worker runs, read by flows of other processes, on a veth pair of a network namespace.
Needs root and eBPF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pyffpf
from compat_tests.netns import Netns, wait_until
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.test_kernel import IPV4, IPV6, Ffpfd, frames
from pyffpf.daemon.test_worker import CONFIG, GROUP, by_user, flow_at, text_of
from pyffpf.flow_node import Readable
from pyffpf.remote_graph import RemoteGraph


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
        assert flow.explain().splitlines()[2] == (f"once: userspace (worker of group {GROUP}): the kernel has no dedup")
        flow.begin()
        sent = numbered(30)
        ns.send(ns.right, sent)
        assert read(flow, 30) == sent
        counters = flow["once"].counters
        assert (counters.packets_in, counters.packets_out, counters.dropped) == (30, 30, {})


def test_what_two_processes_of_two_users_read_ran_once(ns: Netns, running: Ffpfd) -> None:
    """One reads the node, the other what stands behind it; a third flow only counts."""
    once = text_of(ns, "once=(dedup,window=10s)")
    behind = text_of(ns, "once=(dedup,window=10s) -> few=(rate,window=1s)")
    sent = numbered(40)

    def run(graph: RemoteGraph) -> Any:
        with graph.flow(behind, deliver=["few"]) as flow:
            flow.begin()
            print_ready()
            return [
                [packet.hex() for packet in read(flow, 40)],
                flow["once"].counters.packets_in,
                flow.explain().splitlines()[2:],
            ]

    ready, told = os.pipe()

    def print_ready() -> None:
        os.write(told, b"!")

    with flow_at(ns, running.path, once) as mine, flow_at(ns, running.path, behind) as counts:
        mine.begin()
        with ThreadPoolExecutor(1) as other:
            theirs = other.submit(by_user, running, 4300, run)
            os.read(ready, 1)
            ns.send(ns.right, sent)
            found, came, explained = theirs.result(60)
        os.close(ready)
        os.close(told)
        assert [bytes.fromhex(packet) for packet in found] == sent == read(mine, 40)
        assert came == mine["once"].counters.packets_in == counts["few"].counters.packets_in == 40
        assert explained == [
            f"once: userspace (worker of group {GROUP}): the kernel has no dedup",
            f"few: userspace (worker of group {GROUP}): the kernel has no rate",
        ]


def test_a_packet_of_several_nodes_comes_once_and_each_can_be_read(ns: Netns, running: Ffpfd) -> None:
    """Of one in the kernel, and one of the worker's."""
    text = f'(device,{ns.left}) -> ip=(BPF,"ip") | once=(dedup,window=10s)'
    with flow_at(ns, running.path, text) as flow:
        flow.begin()
        flow["ip"].begin()
        flow["once"].begin()
        four, six = numbered(5), frames(IPV6, 2)
        ns.send(ns.right, four + four + six)
        assert read(flow, 12) == [*four, *four, *six]
        assert read(flow["ip"], 10) == four + four
        assert read(flow["once"], 7) == [*four, *six]


def test_what_the_application_runs_reads_a_prefix_from_the_worker(ns: Netns, running: Ffpfd, tmp_path: Path) -> None:
    path = tmp_path / "kept.pcap"
    with flow_at(ns, running.path, text_of(ns, f"once=(dedup,window=10s) -> kept=(file,path={path})")) as flow:
        assert [line.partition(":")[2].partition(":")[0] for line in flow.explain().splitlines()[2:]] == [
            f" userspace (worker of group {GROUP})", " userspace",
        ]  # fmt: skip
        ns.send(ns.right, numbered(7) + numbered(7))
        wait_until(lambda: flow.graph.run(0, 0.05) is not None and flow["kept"].counters.packets_in == 7, "packets")
    with pyffpf.open(str(path)) as kept:
        assert [bytes(packet) for packet in kept] == numbered(7)


def test_they_are_those_that_the_node_lets_out_in_the_process(ns: Netns, running: Ffpfd) -> None:
    """A flow that shares nothing runs its nodes itself: packets, times and results are the same."""
    text = text_of(ns, "few=(sampler,3) -> (dedup,window=10s ignore=link)")
    sent = [frame for octets in range(60, 260) for frame in numbered(2, octets, octets)]
    with flow_at(ns, running.path, text) as relayed, relayed.graph.flow(text, share=False) as own:
        found = []
        for flow in (relayed, own):
            flow.begin()
        ns.send(ns.right, sent)
        wait_until(lambda: relayed[2].counters.packets_in == own[2].counters.packets_in == len(sent), "all packets")
        for flow in (relayed, own):
            packets: list[tuple[int, int, int, bytes]] = []
            while batch := flow.read_batch(timeout=0.5):
                packets += [(int(row["ts_ns"]), int(row["result"]), int(row["len"]), bytes(packet))
                            for row, packet in zip(batch.rows, batch, strict=True)]  # fmt: skip
            found.append(packets)
        assert found[0] == found[1] != []
