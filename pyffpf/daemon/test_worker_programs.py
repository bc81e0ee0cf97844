# SPDX-License-Identifier: BSD-3-Clause
"""Programs in ffpfd that call filters, and read memory of others: which process runs them. Needs root and eBPF."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compat_tests.netns import wait_until
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.test_kernel import IPV4, Ffpfd, frames
from pyffpf.daemon.test_worker import CONFIG, GROUP, count, flow_at, graph_at, workers

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ffpfd]:
    """Of root's, since the compilers lie in folders that only root may enter, perhaps."""
    with network() as ns, started(ns, tmp_path_factory, f'[daemon]\nuser = "root"\n{CONFIG}') as made:
        yield made


def test_what_calls_filters_runs_in_the_worker(running: Ffpfd) -> None:
    """Flows that call the same share it; one that calls another filter by that name does not. What does not call runs
    in the kernel."""
    ns = running.ns
    big, count_it = '(FPL-2,"RETURN LEN > 100;")', '(FPL-2,"MEM[0]++; RETURN 1;")'
    program = '(FPL-2,"IF (EXTERN(big, 0, 0)) THEN EXTERN(count_it, 0, 0); RETURN 1; FI",8)'
    text = f"big={big}; count_it={count_it}; (device,{ns.left}) -> p={program} -> n=(packetcount)"
    with (
        flow_at(ns, running.path, text) as one,
        flow_at(ns, running.path, text) as two,
        flow_at(ns, running.path, text.replace("> 100", "> 50")) as different,
        flow_at(ns, running.path, text.replace(program, '(FPL-2,"RETURN 1;",8)')) as kernel,
    ):
        assert one.explain().splitlines()[1] == (
            f"p: userspace (worker of group {GROUP}): it calls big, and filters are called in userspace alone"
        )
        assert kernel.explain().splitlines()[1].startswith("p: kernel")
        ns.send(ns.right, frames(IPV4, 30, 60) + frames(IPV4, 12, 200))
        wait_until(lambda: two["p"].counters.packets_in == 42 == different["p"].counters.packets_in, "all packets")
        assert (count(one), count(two), count(different), count(kernel)) == (12, 12, 42, 42)
        assert [int(flow["p"].mbuf.view("u4")[0]) for flow in (one, two, different)] == [12, 12, 42]
        assert workers(running)[0].nodes == 4


@pytest.mark.parametrize("share", [True, False])
def test_what_reads_memory_runs_where_that_is(running: Ffpfd, share: bool) -> None:
    """In the worker; in this process, where the flow shares nothing."""
    ns = running.ns
    text = f"""again=(FPL-2,"RETURN MEM@n[0];"); (device,{ns.left}) -> n=(packetcount)
        -> p=(FPL-2,"MEM[0] = M@N[0]; MEM[1] = EXTERN(again,0,0); RETURN 1;",8) -> m=(packetcount)"""
    with ns.entered(), graph_at(running.path) as graph, graph.flow(text, share=share) as flow:
        where = f" (worker of group {GROUP})" if share else ""
        said = flow.explain().splitlines()
        assert said[1].startswith(f"n: userspace{where}: p, which runs in userspace, reads its MBuf")
        assert said[2].startswith(f"p: userspace{where}: it reads the MBuf of n, which userspace alone does")
        ns.send(ns.right, frames(IPV4, 30))
        if not share:
            flow.graph.run(seconds=1)
        wait_until(lambda: count(flow, "m") == 30, "all packets")
        assert flow["p"].mbuf.view("u4").tolist() == [30, 30]


def test_flows_read_memory_of_others_nodes(running: Ffpfd) -> None:
    ns = running.ns
    text = f'x=other.d; (device,{ns.left}) -> p=(FPL-2,"MEM[0] = 1 + MEM@x[0]; RETURN 1;",8) -> (rate)'
    with (
        ns.entered(),
        graph_at(running.path) as graph,
        graph.flow(f"(device,{ns.left}) -> d=(distinct,of=ip.src)", name="other") as other,
        graph.flow(text) as flow,
    ):
        assert [node.class_name for node in flow.nodes] == ["device", "distinct", "device", "FPL-2", "rate"]
        ns.send(ns.right, frames(IPV4, 5))
        wait_until(lambda: flow["p"].counters.packets_in == 5 == other["d"].counters.packets_in, "all packets")
        there = int.from_bytes(other["d"].mbuf.tobytes()[:4], sys.byteorder)
        assert flow["p"].mbuf.view("u4")[0] == 1 + there
        assert workers(running)[0].nodes == 3


def compilers(running: Ffpfd) -> list[int]:
    """ffpfd's processes that compile."""
    tasks = list(Path(f"/proc/{running.process.pid}/task").iterdir())
    found = {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
    return [pid for pid in found if b"fpl.classify.backend" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_programs_are_compiled_while_others_are_served(running: Ffpfd) -> None:
    """Who asks for status, or opens a capture on the same source, does not wait for what another's program takes."""
    ns = running.ns
    text = f'(device,{ns.left}) -> (FPL-2,"IF (UDP_DPORT == {{}}) THEN MEM[0]++; RETURN 1; FI",8) -> n=(packetcount)'
    for port in (1, 2):  # each of two compilers has begun
        with flow_at(ns, running.path, text.format(port)):
            pass
    stopped = compilers(running)
    assert len(stopped) == 3
    done = threading.Event()

    def late() -> None:
        with flow_at(ns, running.path, text.format(3)) as flow:
            assert "kernel" in flow.explain().splitlines()[1]
            done.set()

    with ThreadPoolExecutor(1) as pool, flow_at(ns, running.path, f"(device,{ns.left}) -> n=(packetcount)") as other:
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            asked = pool.submit(late)
            with running.connect() as tool:
                wait_until(lambda: len(tool.status().graphs) == 2, "the flow, not yet made")
                time.sleep(0.5)  # ample for the request behind it
                ns.send(ns.right, frames(IPV4, 7))
                wait_until(lambda: count(other) == 7, "what others count")
                opened = tool.open(ns.left)
                assert running.flow(tool, opened).state == "live"
            assert not done.is_set()
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        asked.result(60)
