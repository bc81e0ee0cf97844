# SPDX-License-Identifier: BSD-3-Clause
"""Workers of sources whose lanes ffpfd fills itself: savefiles that are replayed, and interfaces where the kernel
refuses eBPF. Needs root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pyffpf
from compat_tests.captures import write_imix
from compat_tests.netns import Netns, wait_until
from pyffpf.daemon import test_fallback
from pyffpf.daemon.fixtures import network
from pyffpf.daemon.test_kernel import Ffpfd
from pyffpf.daemon.test_relay import numbered, read
from pyffpf.daemon.testing import open_to_all
from pyffpf.flow import Flow
from pyffpf.remote_flow import RemoteFlow
from pyffpf.remote_graph import RemoteGraph

PACKETS = 5000
WHY = "packets of this source are captured in userspace"
Row = tuple[int, int, bytes]


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with network() as made:
        yield made


def rows(flow: Flow, seconds: float) -> list[Row]:
    """Time, length and octets of each, until none comes for so long."""
    found: list[Row] = []
    while batch := flow.read_batch(timeout=seconds):
        found += [(int(row["ts_ns"]), int(row["len"]), bytes(packet))
                  for row, packet in zip(batch.rows, batch, strict=True)]  # fmt: skip
    return found


def graph_at(path: Path) -> RemoteGraph:
    return RemoteGraph(socket=path, promisc=False)


def test_a_replay_comes_from_the_worker_as_it_is_in_the_file(ns: Netns, tmp_path: Path) -> None:
    """To two flows that begin together; a third shares nothing, and runs its nodes itself. All fits the buffers."""
    open_to_all(tmp_path)
    file = tmp_path / "imix.pcap"
    write_imix(file, PACKETS)
    made = Ffpfd(ns, tmp_path, f'[buffers]\nbytes = "8 MiB"\n[source.monday]\nfile = "{file}"\nrate = "full"\n'
                               "lossless = true\npatience_ms = 60000\nreaders = 2\n")  # fmt: skip
    text = "(device,monday) -> some=(sampler,3) -> once=(dedup,window=1us)"
    try:
        with ns.entered(), graph_at(made.path) as one, graph_at(made.path) as two:
            first = RemoteFlow(text, graph=one, deliver=["once"])
            own = RemoteFlow(text, graph=two, share=False)
            second = RemoteFlow("(device,monday) -> some=(sampler,3)", graph=one)
            with first, second:
                for flow in (first, second):
                    flow.begin()
                assert [line.partition(": ")[2] for line in first.explain().splitlines()[1:]] == [
                    f"userspace (worker of group root): {WHY}", f"userspace (worker of group root): {WHY}",
                ]  # fmt: skip
                with own:
                    own.begin()
                    assert (
                        own.explain().splitlines()[1].endswith(f"{WHY}; in this process, since its flow shares nothing")
                    )
                    found = rows(first, 1)
                    assert found == rows(own, 1)
                    assert len(rows(second, 1)) == first["some"].counters.packets_out == PACKETS // 3
        with pyffpf.Flow(text.replace("monday", str(file)), engine="embedded") as embedded:
            assert found == rows(embedded, 0) != []
        made.stop()
    finally:
        made.clear_up()


def test_an_interface_without_ebpf_has_workers_too(ns: Netns, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    made = test_fallback.Ffpfd(ns, tmp_path)
    try:
        text = f"(device,{ns.left}) -> once=(dedup,window=10s)"
        with ns.entered(), graph_at(made.path) as graph, graph.flow(text) as flow:
            assert flow.explain().splitlines()[1] == f"once: userspace (worker of group root): {WHY}"
            flow.begin()
            ns.send(ns.right, numbered(20) + numbered(20))
            assert read(flow, 20) == numbered(20)
            # The second twenty are nothing to read: a pause before the worker took them would keep them from the node.
            wait_until(lambda: flow["once"].counters.packets_in == 40, "what came twice")
            flow.pause()
            ns.send(ns.right, numbered(5, 100))
            wait_until(lambda: flow.packets_seen()[ns.left] >= 45, "what comes meanwhile")
            flow.activate()
            ns.send(ns.right, numbered(5, 200))
            assert read(flow, 5) == numbered(5, 200)
            assert flow["once"].counters.packets_in == 45
    finally:
        made.process.terminate()
        made.process.wait(20)
