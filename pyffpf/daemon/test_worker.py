# SPDX-License-Identifier: BSD-3-Clause
"""Groups' workers, in ffpfd as it is run, on a veth pair of a network namespace. Needs root and eBPF."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compat_tests.netns import Netns, wait_until
from pyffpf.cli import tables
from pyffpf.daemon.fixtures import network, started
from pyffpf.daemon.privileges import Capabilities
from pyffpf.daemon.status import WorkerStatus
from pyffpf.daemon.survival import Ffpfd as SurvivingFfpfd
from pyffpf.daemon.test_kernel import IPV4, IPV6, Ffpfd, frames
from pyffpf.daemon.testing import Tool, open_to_all
from pyffpf.daemon.testing_users import as_user
from pyffpf.errors import Denied, FfpfError
from pyffpf.remote_flow import RemoteFlow
from pyffpf.remote_graph import RemoteGraph

CONFIG = """
[buffers]
bytes = "512 KiB"
[limits]
memory = "6 MiB"
[[allow]]
groups = ["4242", "4243"]
"""
GROUP, OTHER = 4242, 4243
NOBODY = 65534
WHY_FPL_2 = "the administrator keeps FPL-2 in userspace"


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def running(ns: Netns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ffpfd]:
    with started(ns, tmp_path_factory, CONFIG) as made:
        yield made


def graph_at(path: Path, group: int = GROUP) -> RemoteGraph:
    return RemoteGraph(socket=path, group=str(group), promisc=False)


@contextmanager
def flow_at(ns: Netns, path: Path, text: str, group: int = GROUP) -> Iterator[RemoteFlow]:
    with ns.entered(), graph_at(path, group) as graph, graph.flow(text) as flow:
        yield flow


def by_user(running: Ffpfd, uid: int, work: Callable[[RemoteGraph], Any], group: int = GROUP) -> Any:
    """work() with a graph of this user, of the group, in a process of its own."""

    def run() -> Any:
        with graph_at(running.path, group) as graph:
            return work(graph)

    open_to_all(running.path.parent)  # tests that begin meanwhile close the folder that all have theirs in
    with running.ns.entered():
        return as_user(uid, run, group)


def workers(running: Ffpfd | SurvivingFfpfd) -> list[WorkerStatus]:
    with running.connect() as tool:
        assert isinstance(tool, Tool)
        return tool.status().workers


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def count(flow: RemoteFlow, node: str = "n") -> int:
    return int(flow[node].mbuf["packets"])


def text_of(ns: Netns, more: str) -> str:
    return f'(device,{ns.left}) -> ip=(BPF,"ip") -> {more}'


def test_a_prefix_of_two_users_that_only_userspace_can_run_ran_once(ns: Netns, running: Ffpfd) -> None:
    """Each user is a process of its own; the second one comes while the first is there."""
    text = text_of(ns, "once=(dedup,window=10s) -> n=(packetcount)")
    plain = text_of(ns, "all=(distinct,of=ip.src)")

    def run(graph: RemoteGraph) -> Any:
        with graph.flow(text) as flow, graph.flow(plain) as other:
            before = flow["once"].counters.packets_in
            ns.send(ns.right, frames(IPV4, 10))
            wait_until(lambda: flow["once"].counters.packets_in == before + 10, "ten packets")
            once, distinct = flow["once"].counters, other["all"].counters
            assert not flow.delivers
            return [
                os.getuid(), before, once.packets_in, distinct.packets_in, count(flow),
                int(flow["n"].report()["packets"]), flow.explain().splitlines()[2:],
            ]  # fmt: skip

    with flow_at(ns, running.path, text) as kept, kept.graph.flow(plain):
        first, second = (by_user(running, uid, run) for uid in (4300, 4301))
        assert first[:6] == [4300, 0, 10, 10, 10, 10]
        assert second[:6] == [4301, 10, 20, 20, 10, 10]  # it remembers what came while the first was there
        assert (
            first[6]
            == second[6]
            == [
                f"once: userspace (worker of group {GROUP}): the kernel has no dedup",
                f"n: userspace (worker of group {GROUP}): its input once runs in userspace",
            ]
        )
        assert count(kept) == 10
        wait_until(lambda: workers(running)[0].flows == 2, "the end of the users' flows")
        (worker,) = workers(running)
        assert (worker.gid, worker.nodes) == (GROUP, 3)
        assert worker.cpu_s > 0
        with running.connect() as tool:
            shown = tables.tables(tool.status(), None)[-1]
        assert (shown.title, shown.rows[0][:4]) == ("Workers", [str(GROUP), str(worker.pid), "2", "3"])
        pid = worker.pid
    wait_until(lambda: is_gone(pid), "the end of the worker")


def test_a_worker_has_no_rights_and_no_memory_of_another_group(ns: Netns, running: Ffpfd) -> None:
    mark = b"only for one group"
    one_text, other_text = (f'(device,{ns.left}) -> (BPF,"{ip}") -> d=(distinct,of=len)' for ip in ("ip", "ip6"))
    with (
        flow_at(ns, running.path, one_text) as one,
        flow_at(ns, running.path, other_text, OTHER) as other,
    ):
        pids = {worker.gid: worker.pid for worker in workers(running)}
        assert set(pids) == {GROUP, OTHER}
        for gid, pid in pids.items():
            said = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert (said["Uid"].split(), said["Gid"].split()) == ([str(NOBODY)] * 4, [str(gid)] * 4)
            assert said["Groups"].strip() == ""
            rights = Capabilities.of(pid)
            assert (rights.permitted, rights.effective, rights.no_new_privs) == (frozenset(), frozenset(), True)
        ns.send(ns.right, [frame + mark for frame in frames(IPV4, 5)] + frames(IPV6, 3))
        for flow, packets in ((one, 5), (other, 3)):
            wait_until(lambda flow=flow, packets=packets: flow["d"].counters.packets_in == packets, "packets")
        assert (in_its_maps(pids[GROUP], mark), in_its_maps(pids[OTHER], mark)) == (True, False)
        assert (in_its_maps(pids[OTHER], frames(IPV6, 1)[0]), in_its_maps(pids[GROUP], frames(IPV6, 1)[0])) == (
            True,
            False,
        )


def in_its_maps(pid: int, octets: bytes) -> bool:
    """Whether they lie in any memory that a process has mapped of a BPF map: none of them can be written."""
    found = False
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, *_, name = line.split()
            if name == "anon_inode:bpf-map":
                first, end = (int(one, 16) for one in place.split("-"))
                memory.seek(first)
                found |= octets in memory.read(end - first)
    return found


def test_a_flow_that_ends_takes_its_nodes_along_and_nothing_is_left(ns: Netns, running: Ffpfd) -> None:
    one, both = text_of(ns, "(distinct,of=ip.src)"), text_of(ns, "(distinct,of=ip.src) -> (rate,window=1s)")
    left = 0
    for _ in range(2):
        with flow_at(ns, running.path, one):
            with flow_at(ns, running.path, both):
                assert [(worker.flows, worker.nodes) for worker in workers(running)] == [(2, 2)]
            wait_until(lambda: [(worker.flows, worker.nodes) for worker in workers(running)] == [(1, 1)], "its end")
            (worker,) = workers(running)
        wait_until(lambda pid=worker.pid: is_gone(pid), "the end of the worker")
        wait_until(lambda: not running.held(), "the end of the capture")
        assert workers(running) == []
        left = left or settled(running)
    wait_until(lambda: running.descriptors() == left, "all descriptors closed")


def settled(running: Ffpfd) -> int:
    """Descriptors of an ffpfd that has no client."""
    before = -1
    while (now := running.descriptors()) != before:
        before = now
        time.sleep(0.1)
    return now


def test_what_comes_while_a_flow_is_paused_does_not_count(ns: Netns, running: Ffpfd) -> None:
    with flow_at(ns, running.path, text_of(ns, "(distinct,of=ip.src) -> n=(packetcount)")) as flow:
        for sent in range(1, 6):
            ns.send(ns.right, frames(IPV4, 100))
            flow.pause()
            assert count(flow) == 100 * sent == flow["ip"].counters.packets_out  # what came before counts, all of it
            ns.send(ns.right, frames(IPV4, 50))
            flow.activate()


def test_nodes_that_several_of_the_kernel_feed_get_a_packet_once(ns: Netns, running: Ffpfd) -> None:
    text = (
        f'(device,{ns.left}) -> (BPF,"ip") | (BPF,"len < 100") | (BPF,"ip6") -> d=(distinct,of=len) -> n=(packetcount)'
    )
    with flow_at(ns, running.path, text) as flow:
        ns.send(ns.right, frames(IPV4, 20) + frames(IPV6, 7))
        wait_until(lambda: count(flow) == 27, "all packets")
        assert flow["d"].counters.packets_in == 27


def test_fpl_2_runs_in_the_worker(ns: Netns, tmp_path: Path) -> None:
    """Of root's, since its compiler lies in folders that only root may enter, perhaps."""
    open_to_all(tmp_path)
    made = Ffpfd(ns, tmp_path, '[daemon]\nuser = "root"\n[classes.FPL-2]\nlevel = "userspace"\n' + CONFIG)
    text = f'(device,{ns.left}) -> big=(FPL-2,"IF (LEN > 100) THEN RETURN 1; FI RETURN 0;") -> n=(packetcount)'
    try:
        with flow_at(ns, made.path, text) as one, flow_at(ns, made.path, text) as two:
            assert one.explain().splitlines()[1] == f"big: userspace (worker of group {GROUP}): {WHY_FPL_2}"
            ns.send(ns.right, frames(IPV4, 30, 60) + frames(IPV4, 12, 200))
            wait_until(lambda: two["big"].counters.packets_in == 42, "all packets")
            assert (count(one), count(two), two["big"].counters.filtered) == (12, 12, 30)
        made.stop()
    finally:
        made.clear_up()


def test_fpl_1_runs_in_the_worker_and_extends_itself_there(ns: Netns, tmp_path: Path) -> None:
    """Each length that a packet has is added to the program, once: the second of a kind is let through."""
    open_to_all(tmp_path)
    made = Ffpfd(ns, tmp_path, '[daemon]\nuser = "root"\n' + CONFIG)
    program = (".memory 8; fact LEN; .area known 8, seen; stm.u32 0; push known; stm.u32 4; "
               "push 0; dup; call ExtendWithPort; drop; ret 0; seen: ret 1")  # fmt: skip
    text = f'(device,{ns.left}) -> p=(FPL-1,"{program}") -> n=(packetcount)'
    try:
        with flow_at(ns, made.path, text) as flow:
            ns.send(ns.right, frames(IPV4, 2, 200) + frames(IPV4, 1, 300) + frames(IPV4, 1, 200))
            wait_until(lambda: flow["p"].counters.packets_in >= 4, "the packets")
            assert count(flow) == 2
            assert flow["p"].report() == {"out_of_steps": 0, "extended": 2, "refused": 0}
            assert int.from_bytes(bytes(flow["p"].mbuf)[-8:-4], "little") == 2  # the segment says so, too
        made.stop()
    finally:
        made.clear_up()


def test_a_user_pays_for_the_memory_of_its_nodes(ns: Netns, running: Ffpfd) -> None:
    def run(graph: RemoteGraph) -> str:
        try:
            with graph.flow(text_of(ns, "(rate,window=1s history=1048576)")):
                return "it was granted"
        except FfpfError as refused:
            return str(refused)

    assert "and may have 6291456" in by_user(running, 4300, run)
    wait_until(lambda: workers(running) == [], "the end of the worker")


def test_flows_of_a_worker_that_is_killed_are_told(ns: Netns, running: Ffpfd) -> None:
    """Others of its group go on, and the next flow has another worker."""
    with (
        flow_at(ns, running.path, text_of(ns, "(distinct,of=ip.src)")) as flow,
        flow_at(ns, running.path, text_of(ns, "n=(packetcount)")) as counting,
    ):
        (worker,) = workers(running)
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(Denied, match=f"the worker of group {GROUP}, which ran nodes of it, has ended"):
            flow.graph.run(0, 20)
        ns.send(ns.right, frames(IPV4, 4))
        wait_until(lambda: count(counting) == 4, "four packets")
        with flow_at(ns, running.path, text_of(ns, "(distinct,of=ip.src)")) as again:
            ns.send(ns.right, frames(IPV4, 6))
            wait_until(lambda: again[2].counters.packets_in == 6, "six packets")


def test_what_a_worker_reads_can_be_revoked_and_its_flows_are_told(ns: Netns, running: Ffpfd) -> None:
    with flow_at(ns, running.path, text_of(ns, "(distinct,of=ip.src)")) as flow:
        with running.connect() as administrator:
            (front,) = [one.id for one in administrator.status().flows if one.program == "ffpf-worker"]
            administrator.ask("revoke", flow=front, reason="enough of it")
        with pytest.raises(Denied, match="enough of it"):
            flow.graph.run(0, 20)
        wait_until(lambda: workers(running) == [], "the end of the worker")


def test_a_worker_that_stands_still_loses_packets_and_no_other_does(ns: Netns, running: Ffpfd) -> None:
    """Its group leaves it behind, as any reader; it goes on in fresh memory, and says what it missed."""
    with flow_at(ns, running.path, text_of(ns, "d=(distinct,of=ip.src)")) as flow:
        (worker,) = workers(running)
        ns.send(ns.right, frames(IPV4, 10))
        wait_until(lambda: flow["d"].counters.packets_out == 10, "ten packets")
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            with flow_at(ns, running.path, f'(device,{ns.left}) -> all=(BPF,"ip or ip6")') as quick:
                quick.begin()
                for _ in range(12):
                    ns.send(ns.right, frames(IPV4, 1000))
                    while quick.read_batch(timeout=0.05):
                        pass
                wait_until(lambda: sum(flow["d"].counters.dropped.values()) > 0, "a loss", 60)
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        let_out = flow["ip"].counters.packets_out
        wait_until(lambda: flow["d"].counters.packets_in == let_out, "all to be accounted for", 60)
        counters = flow["d"].counters
        assert counters.packets_out + sum(counters.dropped.values()) == let_out == 12_010
        ns.send(ns.right, frames(IPV4, 5))
        wait_until(lambda: flow["d"].counters.packets_out == counters.packets_out + 5, "five packets more")


@pytest.mark.live
def test_it_counts_on_while_ffpfd_is_killed_and_the_next_one_goes_on_with_it(ns: Netns, tmp_path: Path) -> None:
    """No packet is missed or counted twice; who joins later finds all of it; when its flows end, so does the worker."""
    ffpfd = SurvivingFfpfd(ns, tmp_path)
    ffpfd.start()
    ffpfd.wait_ready()
    text = text_of(ns, "d=(distinct,of=ip.src) -> n=(packetcount)")
    both = f'(device,{ns.left}) -> (BPF,"ip") | (BPF,"ip6") -> all=(distinct,of=len) -> n=(packetcount)'
    with flow_at(ns, ffpfd.socket, text) as flow, flow_at(ns, ffpfd.socket, both) as other:
        (worker,) = workers(ffpfd)
        sent = 0

        def send() -> None:
            nonlocal sent
            for _ in range(5):
                ns.send(ns.right, frames(IPV4, 100))
                sent += 100
            wait_until(lambda: count(flow) == sent == count(other), f"{sent} packets")

        send()
        for life in (1, 2):
            ffpfd.kill()
            send()
            ffpfd.start()
            ffpfd.wait_ready(adoptions=life)
            send()
            assert [(one.pid, one.flows, one.nodes) for one in workers(ffpfd)] == [(worker.pid, 2, 4)]
            flow.graph.run(0, 0.01)  # nobody has ended it
        assert (flow["d"].counters.packets_in, flow["d"].counters.dropped) == (sent, {})
        with flow_at(ns, ffpfd.socket, text) as joined:
            assert count(joined) == sent
            send()
            flow.pause()
            joined.pause()
            ns.send(ns.right, frames(IPV4, 9))
            wait_until(lambda: count(other) == sent + 9, "nine packets more")
            assert count(joined) == sent
    wait_until(lambda: is_gone(worker.pid), "the end of the worker")
    ffpfd.stop()


@pytest.mark.live
def test_a_worker_whose_flows_ended_while_ffpfd_was_away_ends_with_the_next(ns: Netns, tmp_path: Path) -> None:
    ffpfd = SurvivingFfpfd(ns, tmp_path)
    ffpfd.start()
    ffpfd.wait_ready()
    with ns.entered():
        stays = Tool(ffpfd.socket, "stays")
    with stays, stays.open(ns.left):
        with flow_at(ns, ffpfd.socket, text_of(ns, "(distinct,of=ip.src)")):
            (worker,) = workers(ffpfd)
            ffpfd.kill()
        assert not is_gone(worker.pid)
        ffpfd.start()
        ffpfd.wait_ready(adoptions=1)
        wait_until(lambda: is_gone(worker.pid), "the end of the worker")
        assert workers(ffpfd) == []
    ffpfd.stop()
