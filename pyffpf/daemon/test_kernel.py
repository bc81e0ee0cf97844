# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd as it is run, with the kernel's hook, on a veth pair of a network namespace. Needs root and eBPF."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from compat_tests.netns import Netns, receivers, wait_until
from pyffpf.cli.control import ControlError
from pyffpf.daemon.status import FlowStatus
from pyffpf.daemon.survival import bpf_objects, exists
from pyffpf.daemon.testing import Opened, Tool, open_to_all

IPV4, IPV6 = 0x0800, 0x86DD
IBUF_STATE, IBUF_W = 24, 64  # csrc/layout.h
LIVE, DETACHED, MOVED = 0, 2, 3
READER_R = 2048
PAGE_BYTES = 4096
STALL_MS = 400
CONFIG = f'[buffers]\nbytes = "512 KiB"\nstall_ms = {STALL_MS}\n'


def ethertype_is(ethertype: int) -> bytes:
    """`ldh [12]; jeq #ethertype, 0, 1; ret #262144; ret #0`"""
    insns = [(0x28, 0, 0, 12), (0x15, 0, 1, ethertype), (0x06, 0, 0, 262144), (0x06, 0, 0, 0)]
    return b"".join(struct.pack("<HBBI", *insn) for insn in insns)


def frames(ethertype: int, count: int, size: int = 64) -> list[bytes]:
    head = bytes(12) + ethertype.to_bytes(2, "big")
    return [(head + number.to_bytes(4, "big")).ljust(size, b"x") for number in range(count)]


class Ffpfd:
    """The daemon in a namespace, as its own process."""

    def __init__(self, ns: Netns, folder: Path, config: str = "") -> None:
        self.ns = ns
        self.path = folder / "ffpfd.sock"
        (folder / "ffpfd.toml").write_text(config)
        command = [sys.executable, "-m", "pyffpf.cli.ffpfd", "--socket", str(self.path)]
        self.process = ns.popen([*command, "--config", str(folder / "ffpfd.toml")], stderr=subprocess.PIPE)
        wait_until(self.path.exists, "ffpfd's socket")

    def connect(self, program: str = "test") -> Tool:
        with self.ns.entered():
            return Tool(self.path, program)

    def flow(self, tool: Tool, opened: Opened) -> FlowStatus:
        (flow,) = [flow for flow in tool.status().flows if flow.id == opened["flow"]]
        return flow

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0
        assert not self.path.exists()

    def reload(self, config: str, answer: str) -> None:
        """Another configuration, whole at once; until the log has the answer."""
        fresh = self.path.with_name("ffpfd.toml.new")
        fresh.write_text(config)
        fresh.rename(self.path.with_name("ffpfd.toml"))
        self.process.send_signal(signal.SIGHUP)
        assert self.process.stderr is not None
        while answer not in (line := self.process.stderr.readline().decode()):
            assert line, "ffpfd ended"

    def clear_up(self) -> None:
        """After stop(), or when there was none; shows what the process said."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None and not self.process.stderr.closed:
            print(self.process.stderr.read().decode())
            self.process.stderr.close()

    def held(self) -> set[tuple[str, int]]:
        """What the process has descriptors of."""
        return bpf_objects(self.process.pid)

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())


def left(held: set[tuple[str, int]]) -> list[tuple[str, int]]:
    return [one for one in held if exists(*one)]


@pytest.fixture(scope="module")
def ns() -> Iterator[Netns]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Netns() as made:
        wait_until(lambda: made.is_up(made.left), "the interface")
        yield made


@pytest.fixture(scope="module")
def running(ns: Netns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ffpfd]:
    """One for most tests: it takes a second to start."""
    made = Ffpfd(ns, tmp_path_factory.mktemp("ffpfd"), CONFIG)
    try:
        yield made
        made.stop()
    finally:
        made.clear_up()


@pytest.fixture
def ffpfd(running: Ffpfd) -> Iterator[Ffpfd]:
    """Nothing is captured when a test begins, nor soon after it has ended."""
    yield running
    wait_until(lambda: not running.held() and receivers(running.ns.name) == 0, "the end of every capture")


def send(ns: Netns, ethertype: int, count: int, size: int = 64) -> None:
    """From the other end; the sender's own socket is no receiver, and does not stay."""
    with ns.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((ns.right, 0))
        for frame in frames(ethertype, count, size):
            raw.send(frame)


def promiscuity(ns: Netns, interface: str) -> int:
    """How many ask for promiscuous mode."""
    (link,) = json.loads(ns.run(["ip", "-json", "-details", "link", "show", interface]).stdout)
    return int(link["promiscuity"])


def obeys_the_law(flow: FlowStatus) -> bool:
    return flow.seen == flow.filtered + flow.delivered + flow.waiting + sum(flow.dropped.values())


def test_two_clients_share_one_socket_and_each_gets_what_its_filter_lets_pass(ffpfd: Ffpfd) -> None:
    ns = ffpfd.ns
    with ffpfd.connect("four") as four, ffpfd.connect("six") as six:
        with four.open(ns.left, promisc=True) as one, six.open(ns.left) as other:
            assert (one["link_type"], one["source"]) == (1, ns.left)
            (there,) = four.status().sources
            assert (there.link_type, there.link_type_name) == (1, "EN10MB")
            assert four.set_filter(one["flow"], ethertype_is(IPV4))["level"] == "kernel"
            six.set_filter(other["flow"], ethertype_is(IPV6))
            assert receivers(ns.name) == 1
            assert promiscuity(ns, ns.left) == 1
            send(ns, IPV4, 30)
            send(ns, IPV6, 20)
            flows = [ffpfd.flow(four, one), ffpfd.flow(six, other)]
            assert [(flow.seen, flow.filtered, flow.waiting) for flow in flows] == [(50, 20, 30), (50, 30, 20)]
            assert all(obeys_the_law(flow) for flow in flows)
            (source,), (group,) = four.status().sources, four.status().groups
            assert source.packets == 50
            assert (group.records, group.flows) == (50, 2)
        four.close()
        wait_until(lambda: promiscuity(ns, ns.left) == 0, "nobody who asks for promiscuous mode")
        wait_until(lambda: len(six.status().flows) == 1, "the end of the first flow")
        assert receivers(ns.name) == 1
    wait_until(lambda: receivers(ns.name) == 0, "the end of the capture")


def test_what_nobody_wants_is_not_stored(ffpfd: Ffpfd) -> None:
    with ffpfd.connect() as tool, tool.open(ffpfd.ns.left) as opened:
        tool.set_filter(opened["flow"], ethertype_is(IPV6))
        send(ffpfd.ns, IPV4, 25)
        (group,) = tool.status().groups
        assert group.records == 0
        assert ffpfd.flow(tool, opened).seen == 25


def test_a_change_of_filter_says_where_it_took_hold(ffpfd: Ffpfd) -> None:
    with ffpfd.connect() as tool, tool.open(ffpfd.ns.left) as opened:
        send(ffpfd.ns, IPV4, 7)
        before = ffpfd.flow(tool, opened).waiting
        positions = tool.set_filter(opened["flow"], ethertype_is(IPV6))["positions"]
        assert (before, sum(positions) % 2**32) == (7, 7)
        send(ffpfd.ns, IPV4, 5)
        assert ffpfd.flow(tool, opened).waiting == 7


def test_a_program_that_the_kernel_cannot_run_is_left_to_the_reader(ffpfd: Ffpfd) -> None:
    backwards = struct.pack("<HBBI", 0x05, 0, 0, 0xFFFFFFFF)  # a jump to itself
    with ffpfd.connect() as tool, tool.open(ffpfd.ns.left) as opened:
        reply = tool.set_filter(opened["flow"], backwards)
        assert reply["level"] == "userspace"
        assert reply["reason"]
        send(ffpfd.ns, IPV4, 5)
        assert ffpfd.flow(tool, opened).waiting == 5


def sums(count: int) -> bytes:
    """A filter that is code, and takes a while to compile: ethertype_is(IPV6), behind tests that are never true."""
    insns = []
    for number in range(count):
        insns += [(0x30, 0, 0, number % 60), (0x04, 0, 0, 256 + number), (0x15, 0, 1, number % 256), (0x06, 0, 0, 1)]
    return b"".join(struct.pack("<HBBI", *insn) for insn in insns) + ethertype_is(IPV6)


def compilers_of(ffpfd: Ffpfd) -> set[int]:
    """Its compilers' process ids."""
    children = Path(f"/proc/{ffpfd.process.pid}/task")
    found = {int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()}
    return {pid for pid in found if b"fpl.classify.backend" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def test_a_filter_that_takes_long_to_compile_keeps_nobody_waiting(ffpfd: Ffpfd) -> None:
    """Its compiler stands still until all else has been done on the source; the flow has its old filter until then, and
    is told exactly until when."""
    ns = ffpfd.ns
    with ffpfd.connect("heavy") as heavy, heavy.open(ns.left) as changing, ffpfd.connect("light") as light:
        heavy.set_filter(changing["flow"], ethertype_is(IPV4))
        before = compilers_of(ffpfd)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(heavy.set_filter, changing["flow"], sums(100))
            wait_until(lambda: compilers_of(ffpfd) - before, "another compiler")
            (compiler,) = compilers_of(ffpfd) - before
            os.kill(compiler, signal.SIGSTOP)
            try:
                with light.open(ns.left) as other:
                    for ethertype in (IPV4, IPV6):
                        assert light.set_filter(other["flow"], ethertype_is(ethertype))["level"] == "kernel"
                    send(ns, IPV4, 5)
                    send(ns, IPV6, 3)
                    counted = [(flow.seen, flow.waiting) for flow in light.status().flows]
                    assert counted == [(8, 5), (8, 3)]
                assert not asked.done()
            finally:
                os.kill(compiler, signal.SIGCONT)
            with asked.result(60) as reply:
                assert (reply["level"], sum(reply["positions"]) % 2**32) == ("kernel", 5)
            send(ns, IPV4, 2)
            send(ns, IPV6, 4)
            flow = ffpfd.flow(light, changing)
            assert (flow.kind, flow.waiting) == ("code", 9)
            assert obeys_the_law(flow)


def come_and_go(ffpfd: Ffpfd, interface: str, turns: int) -> set[tuple[str, int]]:
    """Five flows of two connections a turn; what ffpfd had of maps and programs meanwhile."""
    seen = set()
    for turn in range(turns):
        with ffpfd.connect() as tool, ffpfd.connect() as other:
            opened = [connection.open(interface) for connection in (tool, tool, tool, other, other)]
            for one in opened:
                one.close()
            if turn % 4 == 0:
                tool.set_filter(opened[0]["flow"], ethertype_is(IPV4))
                tool.ask("close", flow=opened[1]["flow"])
            seen |= ffpfd.held()
    return seen


def test_hundreds_of_flows_come_and_go_without_a_trace(ffpfd: Ffpfd) -> None:
    with ffpfd.connect() as tool, tool.open(ffpfd.ns.left):
        pass  # what is made once is made
    wait_until(lambda: not ffpfd.held(), "the end of the first capture")
    before = ffpfd.descriptors()
    interfaces = [ffpfd.ns.left, ffpfd.ns.right, "lo", "any"]
    with ThreadPoolExecutor() as pool:  # flows of one source wait for one another
        seen = set().union(*pool.map(lambda interface: come_and_go(ffpfd, interface, 10), interfaces))
    wait_until(lambda: ffpfd.descriptors() == before, "as many descriptors as before")
    assert len(seen) > 200
    wait_until(lambda: not left(seen), "the end of every map and program")


def test_interfaces_go_down_and_up_are_renamed_deleted_and_made_again(ffpfd: Ffpfd) -> None:
    ns = ffpfd.ns
    ns.add_veth("vx0", "vx1")
    with ffpfd.connect() as tool, tool.open("vx0") as opened:
        ns.ip("link", "set", "vx0", "down")
        assert tool.next_event() == {"event": "source", "flow": opened["flow"], "state": "down", "name": "vx0"}
        with pytest.raises(ControlError) as refused, ffpfd.connect() as other:
            other.open("vx0")
        assert refused.value.code == "device-down"
        ns.ip("link", "set", "vx0", "name", "vx9")
        ns.ip("link", "set", "vx9", "up")
        assert tool.next_event() == {"event": "source", "flow": opened["flow"], "state": "up", "name": "vx9"}
        wait_until(lambda: tool.status().sources[0].name == "vx9", "its new name")
        seen = ffpfd.flow(tool, opened).seen
        with ns.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind(("vx1", 0))
            raw.send(frames(IPV4, 1)[0])
        assert ffpfd.flow(tool, opened).seen == seen + 1
        ns.ip("link", "del", "vx9")
        while (event := tool.next_event())["state"] == "down":
            pass
        assert event["state"] == "gone"
        ns.add_veth("vx0", "vx1")
        with ffpfd.connect() as other, other.open("vx0") as again:
            assert again["ifindex"] != opened["ifindex"]
            assert [source.state for source in other.status().sources] == ["gone", "up"]
        ns.ip("link", "del", "vx0")


def ibuf_page(opened: Opened, lane: int) -> tuple[int, int]:
    """State, and W."""
    with contextlib.closing(_mapped(opened.fds[f"ibuf:{lane}"])) as page:
        return struct.unpack_from("=I", page, IBUF_STATE)[0], struct.unpack_from("=Q", page, IBUF_W)[0]


def _mapped(fd: int, writable: bool = False) -> mmap.mmap:
    return mmap.mmap(fd, PAGE_BYTES, mmap.MAP_SHARED, mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0))


class Reader:
    """What a reader does with R, and with IBufs that moved."""

    def __init__(self, tool: Tool, opened: Opened) -> None:
        self.tool, self.opened = tool, opened
        self.page = _mapped(opened.fds["reader"], writable=True)

    def read_all(self) -> None:
        for lane in range(self.opened["lanes"]):
            state, w = ibuf_page(self.opened, lane)
            struct.pack_into("=Q", self.page, READER_R + 8 * lane, w)
            if state == MOVED:
                self.follow(lane)

    def follow(self, lane: int) -> None:
        successor = self.tool.do("successor", flow=self.opened["flow"], lane=lane)
        for name in (f"lane:{lane}", f"ibuf:{lane}"):
            os.close(self.opened.fds[name])
            self.opened.fds[name] = successor.fds.pop(name)


def lane_digest(opened: Opened, lane: int) -> bytes:
    fd = opened.fds[f"lane:{lane}"]
    with mmap.mmap(fd, 256 << 10, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
        return hashlib.sha256(memory).digest()


def test_a_reader_that_stands_still_is_left_behind_on_buffers_that_do_not_change(ffpfd: Ffpfd) -> None:
    with ffpfd.connect("stalled") as tool, ffpfd.connect("other") as other, ExitStack() as opened:
        stalled = opened.enter_context(tool.open(ffpfd.ns.left))
        reader = Reader(other, opened.enter_context(other.open(ffpfd.ns.left)))
        event = None
        deadline = time.monotonic() + 30
        while event is None and time.monotonic() < deadline:
            send(ffpfd.ns, IPV4, 100, 1500)
            reader.read_all()
            event = tool.event_now()
        assert event is not None
        assert (event["event"], event["flow"]) == ("moved", stalled["flow"])
        assert "read nothing for" in event["reason"]
        lanes = range(stalled["lanes"])
        assert {ibuf_page(stalled, lane)[0] for lane in lanes} == {MOVED}

        left_there = [lane_digest(stalled, lane) for lane in lanes]
        reader.read_all()
        lost = sum(ffpfd.flow(other, reader.opened).dropped.values())
        assert lost > 0
        for _ in range(10):
            send(ffpfd.ns, IPV4, 100, 1500)
            reader.read_all()
        flow = ffpfd.flow(other, reader.opened)
        assert sum(flow.dropped.values()) == lost  # nobody stops the group any more
        assert obeys_the_law(flow)
        assert [lane_digest(stalled, lane) for lane in lanes] == left_there
        assert ffpfd.flow(tool, stalled).state == "parked"

        follower = Reader(tool, stalled)  # it reads again
        follower.read_all()
        assert {ibuf_page(stalled, lane)[0] for lane in lanes} == {LIVE}
        before = sum(ibuf_page(stalled, lane)[1] for lane in lanes)
        send(ffpfd.ns, IPV4, 10)
        assert sum(ibuf_page(stalled, lane)[1] for lane in lanes) == before + 10
        assert ffpfd.flow(tool, stalled).state == "live"


def test_a_revoked_flow_sees_no_later_packet_and_its_group_goes_on(ffpfd: Ffpfd) -> None:
    with ExitStack() as open_ones:
        tool, other = open_ones.enter_context(ffpfd.connect()), open_ones.enter_context(ffpfd.connect())
        gone = open_ones.enter_context(tool.open(ffpfd.ns.left))
        kept = open_ones.enter_context(other.open(ffpfd.ns.left))
        send(ffpfd.ns, IPV4, 3)
        other.ask("revoke", flow=gone["flow"], reason="enough")
        assert tool.next_event() == {"event": "revoked", "flow": gone["flow"], "reason": "enough"}
        with pytest.raises(ControlError) as refused:
            tool.set_filter(gone["flow"], None)
        assert refused.value.code == "denied"
        send(ffpfd.ns, IPV4, 4)
        lanes = range(gone["lanes"])
        assert {ibuf_page(gone, lane)[0] for lane in lanes} == {DETACHED}
        assert {ibuf_page(kept, lane)[0] for lane in lanes} == {MOVED}
        assert sum(ibuf_page(gone, lane)[1] for lane in lanes) == 3
        flow = ffpfd.flow(other, kept)
        assert (flow.seen, flow.waiting) == (7, 7)
        inodes = set()
        for lane in lanes:
            with other.do("successor", flow=kept["flow"], lane=lane) as successor:
                assert list(successor.fds) == [f"lane:{lane}", f"ibuf:{lane}"]
                assert ibuf_page(successor, lane)[0] == LIVE
                inodes.add(ibuf_page(successor, lane)[1] % 2**32)
        assert sum(inodes) == 4
        with pytest.raises(ControlError) as busy:
            other.ask("successor", flow=kept["flow"], lane=0)
        assert busy.value.code == "busy"


def test_memories_cannot_be_written_by_who_was_given_them(ffpfd: Ffpfd) -> None:
    with ffpfd.connect() as tool, tool.open(ffpfd.ns.left) as opened:
        for name, fd in opened.fds.items():
            if name not in ("reader", "wake"):
                with pytest.raises(PermissionError):
                    _mapped(fd, writable=True)


def test_a_reload_revokes_rights_that_ended_and_leaves_other_captures_alone(ns: Netns, tmp_path: Path) -> None:
    allow = '[[allow]]\nusers = ["65534"]\n'
    made = Ffpfd(ns, tmp_path, allow)
    try:
        open_to_all(tmp_path)
        script = (
            "import sys, pathlib; from pyffpf.daemon.testing import Tool\n"
            "tool = Tool(pathlib.Path(sys.argv[1]), 'nobody'); tool.open(sys.argv[2])\n"
            "print('open', flush=True); print(tool.next_event()['event'], flush=True)"
        )
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", script]
        child = ns.popen([*command, str(made.path), ns.left], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with made.connect() as root, root.open(ns.left) as kept:
            made.reload("[deamon]", "not reloaded: ")
            made.reload(allow, "configuration reloaded")
            assert {flow.state for flow in root.status().flows} == {"live"}
            made.reload("", "configuration reloaded")
            assert child.stdout.readline() == "revoked\n"
            assert made.flow(root, kept).state == "live"
        made.stop()
    finally:
        made.clear_up()


def test_another_namespace_is_refused(ffpfd: Ffpfd) -> None:
    with pytest.raises(ControlError) as refused:
        Tool(ffpfd.path, "outside")
    assert refused.value.code == "not-supported"


def test_the_end_of_ffpfd_ends_its_captures(ns: Netns, tmp_path: Path) -> None:
    made = Ffpfd(ns, tmp_path)
    with made.connect() as tool, tool.open(ns.left) as opened:
        held = made.held()
        made.process.send_signal(signal.SIGINT)
        assert made.process.wait(20) == 0
        assert {ibuf_page(opened, lane)[0] for lane in range(opened["lanes"])} == {DETACHED}
    assert receivers(ns.name) == 0
    assert made.process.stderr is not None
    assert not [line for line in made.process.stderr if b"ERROR" in line]
    made.process.stderr.close()
    wait_until(lambda: not left(held), "the end of every map and program")
