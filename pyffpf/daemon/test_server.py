# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd over its socket, with an engine that captures nothing: requests, rights, and clients that mean harm."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import socket
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyffpf.cli.control import ControlError
from pyffpf.daemon import protocol, transport
from pyffpf.daemon.captures import Captures, Source
from pyffpf.daemon.config import AllowRule, Config, DaemonConfig, LimitsConfig
from pyffpf.daemon.operations import Operations
from pyffpf.daemon.run import Daemon
from pyffpf.daemon.server import QUEUE_MESSAGES
from pyffpf.daemon.testing import (
    LANES,
    NOBODY,
    USERSPACE_FILTER,
    FakeEngine,
    FakeRunning,
    Tool,
    descriptors,
    open_to_all,
    running,
    wait_until,
)
from pyffpf.daemon.testing_users import as_user

ACCEPT_ALL = bytes.fromhex("0600000000000400")
FILTER = bytes.fromhex("2800000000000c00") + ACCEPT_ALL


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")


@contextlib.contextmanager
def suppress_code(code: str) -> Iterator[None]:
    with pytest.raises(ControlError) as refused:
        yield
    assert refused.value.code == code


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeRunning]:
    with running(tmp_path) as made:
        yield made


def test_a_flow_from_hello_to_its_end(server: FakeRunning) -> None:
    with server.connect("tcpdump") as control, control.open("eth0", snap_len=96, promisc=True) as reply:
        assert list(reply.fds) == ["counts", "reader", "wake", "lane:0", "ibuf:0", "lane:1", "ibuf:1"]
        assert (reply["source"], reply["link_type"], reply["bms"], reply["lanes"]) == ("eth0", 1, "srp", LANES)
        assert reply["generation"] == 1
        assert reply["snap_len"] == 96
        (source,) = server.fake.live
        assert source.promiscuous
        assert source.flows[0].snap_len == 96
        assert os.fstat(reply.fds["ibuf:1"]).st_ino == os.fstat(source.flows[0].ibufs[1]).st_ino

        changed = control.set_filter(reply["flow"], FILTER)
        assert (changed["generation"], changed["level"], changed["positions"]) == (2, "kernel", [20, 20])
        assert source.columns == {1: FILTER}
        assert source.active == {0: 1}
        changed = control.set_filter(reply["flow"], USERSPACE_FILTER)
        assert (changed["level"], changed["reason"]) == ("userspace", "too long for the kernel")
        assert source.active == {0: 0}
        control.do("close", flow=reply["flow"])
        assert not server.fake.live


def test_the_new_filter_is_ready_before_it_is_in_force_and_the_old_is_cleared_after_the_grace(
    server: FakeRunning,
) -> None:
    with server.connect() as control, control.open("eth0") as reply:
        source = server.fake.live[0]
        source.log.clear()
        control.set_filter(reply["flow"], FILTER)
        assert source.log == ["activate 0 1", "synchronize"]  # the engine itself refuses to touch a column in force


def test_flows_of_one_group_share_its_buffers_and_the_last_takes_them_along(server: FakeRunning) -> None:
    with server.connect() as one, server.connect() as other:
        first, second = one.open("eth0"), other.open("eth0")
        (source,) = server.fake.live
        assert len(source.groups) == 1
        assert set(source.flows) == {0, 1}
        assert os.fstat(first.fds["lane:0"]).st_ino == os.fstat(second.fds["lane:0"]).st_ino
        assert os.fstat(first.fds["ibuf:0"]).st_ino != os.fstat(second.fds["ibuf:0"]).st_ino
        one.close()
        wait_until(lambda: set(source.flows) == {1}, "the first flow's end")
        assert len(source.groups) == 1
        other.close()
        wait_until(lambda: source.closed, "the source's end")
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"op": "open", "source": "none0"}, "no-such-device"),
        ({"op": "open", "source": "broken0"}, "failed"),
        ({"op": "open", "source": "eth0", "group": "no such group"}, "invalid"),
        ({"op": "filter", "flow": 1, "insns": None}, "invalid"),
        ({"op": "close", "flow": 2**53 - 1}, "invalid"),
        ({"op": "successor", "flow": 1, "lane": 0}, "invalid"),
        ({"op": "revoke", "flow": 9}, "invalid"),
        ({"op": "frobnicate"}, "invalid"),
    ],
)
def test_refusals_have_a_code_and_leave_the_connection_usable(
    server: FakeRunning, fields: dict[str, Any], code: str
) -> None:
    op = fields.pop("op")
    with server.connect() as control:
        with pytest.raises(ControlError) as refused:
            control.do(op, **fields)
        assert refused.value.code == code
        assert str(refused.value)
        control.open("eth0").close()
    wait_until(lambda: not server.fake.live, "the end of what was opened")


def test_hello_comes_first_and_its_version_is_compared(server: FakeRunning) -> None:
    with server.raw() as sock:
        for message in (b'{"id":1,"op":"status"}', b'{"id":2,"op":"hello","version":2,"program":"x"}'):
            sock.send(message)
            assert b'"code":"version"' in sock.recv(4096)


def test_another_clients_flow_cannot_be_touched(server: FakeRunning) -> None:
    with server.connect() as mine, server.connect() as other, mine.open("eth0") as reply:
        for op, fields in (("filter", {"insns": None}), ("close", {}), ("successor", {"lane": 0})):
            with pytest.raises(ControlError) as refused:
                other.do(op, flow=reply["flow"], **fields)
            assert refused.value.code == "invalid"
        assert 0 in server.fake.live[0].active


def test_garbage_is_answered_and_survived(server: FakeRunning) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    with server.raw() as sock:
        for _ in range(300):
            sock.send(rng.randbytes(rng.randrange(1, 300)))
            answer = sock.recv(65536)
            assert b'"ok":false' in answer
            assert b'"code":"invalid"' in answer
        sock.send(b"{" * 60000)
        assert b'"ok":false' in sock.recv(65536)
        sock.send(b'{"id":1,"op":"hel')
        assert b'"ok":false' in sock.recv(65536)
        sock.send(b" " * 70000)
        assert b"65536 octets at most" in sock.recv(65536)
        assert sock.recv(65536) == b""
    server.connect().close()


def test_descriptors_sent_to_us_are_closed(server: FakeRunning) -> None:
    server.settle()
    before = descriptors()
    read, write = os.pipe()
    with server.raw() as sock:
        transport.send(sock, b'{"id":1,"op":"hello","version":1}', [write] * 250)
        assert b'"ok":true' in sock.recv(4096)
        os.close(write)
        assert os.read(read, 1) == b""  # the end of the pipe: nobody holds its other side
    os.close(read)
    wait_until(lambda: descriptors() == before, "as many descriptors as before")


def test_a_client_that_never_reads_is_left_in_the_end(server: FakeRunning) -> None:
    with server.raw() as sock:
        sock.send(b'{"id":1,"op":"hello","version":1}')
        sock.send(b'{"id":2,"op":"open","source":"eth0"}')
        wait_until(lambda: server.fake.live, "its flow")
        sock.settimeout(5)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for number in range(100_000):
                sock.send(protocol.encode({"id": number, "op": "status"}))
        wait_until(lambda: not server.fake.live, "the end of its flow")
    assert QUEUE_MESSAGES < 100_000
    server.connect().close()


def test_a_flood_of_one_client_leaves_others_served(server: FakeRunning) -> None:
    stop = threading.Event()

    def flood() -> None:
        with server.raw() as sock:
            while not stop.is_set():
                for _ in range(50):
                    sock.send(b"nonsense")
                for _ in range(50):
                    sock.recv(65536)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(20):
            with server.connect() as control, control.open("eth0") as reply:
                control.set_filter(reply["flow"], FILTER)
    finally:
        stop.set()
        thread.join()


def test_connections_are_limited(tmp_path: Path) -> None:
    with running(tmp_path, Config(daemon=DaemonConfig(connections=3))) as server:
        kept = [server.connect() for _ in range(3)]
        with pytest.raises(ControlError, match="3 connections at most"):
            server.connect()
        kept.pop().close()
        wait_until(lambda: server.daemon and len(server.daemon.server.clients) == 2, "room for another")
        kept.append(server.connect())
        for control in kept:
            control.close()


def _hostile_client(path: Path, seed: int) -> None:
    """A child process: does what clients do, in any order, until it is killed."""
    rng = random.Random(seed)
    while True:
        with contextlib.suppress(ControlError), Tool(path, "hostile") as control:
            flows: list[int] = []
            for _ in range(rng.randrange(1, 20)):
                with contextlib.suppress(ControlError):
                    match rng.randrange(4):
                        case 0:
                            with control.open(rng.choice(["eth0", "eth1", "broken0"])) as reply:
                                flows.append(reply["flow"])
                        case 1:
                            control.set_filter(rng.choice(flows or [0]), rng.choice([None, FILTER, USERSPACE_FILTER]))
                        case 2:
                            control.do("close", flow=flows.pop() if flows else rng.randrange(100))
                        case 3:
                            control.do(rng.choice(["nonsense", "hello", "status"])).close()


def test_clients_killed_at_any_instant_leave_nothing(server: FakeRunning) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    server.settle()
    before = descriptors()
    for _ in range(12):
        children = []
        for _ in range(4):
            child_seed = rng.randrange(2**32)
            pid = os.fork()
            if pid == 0:
                try:
                    _hostile_client(server.path, child_seed)
                finally:
                    os._exit(1)
            children.append(pid)
        time.sleep(rng.random() * 0.05)
        for pid in children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    wait_until(lambda: server.daemon and not server.daemon.server.clients, "all connections' end")
    wait_until(lambda: not server.fake.live, "all flows' end")
    wait_until(lambda: descriptors() == before, "as many descriptors as before")


def test_a_client_that_died_in_the_queue_keeps_nobody_waiting(server: FakeRunning) -> None:
    """Its connection is not read while its request waits; that it is gone is seen all the same."""
    release = threading.Event()
    with server.connect() as staying, staying.open("eth0"):
        (source,) = server.fake.live
        before = list(source.log)

        async def hold(daemon: Daemon) -> None:
            (capture,) = daemon.service.captures.sources.values()
            async with daemon.service.operations.locked(capture):
                await asyncio.to_thread(release.wait, 20)

        server.call(lambda daemon: daemon.server.spawn(hold(daemon)))
        dying = server.raw()
        for message in (
            b'{"id":1,"op":"hello","version":1,"program":"dying"}',
            b'{"id":2,"op":"open","source":"eth0"}',
        ):
            dying.send(message)
        assert b'"ok":true' in dying.recv(65536).replace(b" ", b"")
        wait_until(lambda: _unread(dying) == 0, "the request to be taken")
        dying.close()
        release.set()
        wait_until(lambda: server.daemon and len(server.daemon.server.clients) == 1, "the end of the dead one")
        assert source.log == before


def _unread(sock: socket.socket) -> int:
    """Octets that were sent and not read by the other side."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def test_users_take_turns_at_a_source() -> None:
    """However many requests of one user wait, another's comes behind one of them."""
    served: list[int] = []

    async def serve() -> None:
        operations, source = Operations(Captures(), FakeEngine(), lambda _: None), Source("if:1", "eth0")

        async def request(uid: int) -> None:
            async with operations.turn(source.key, uid), operations.locked(source):
                served.append(uid)
                await asyncio.sleep(0)

        await asyncio.gather(*(request(uid) for uid in (1, 1, 1, 1, 1, 2, 3, 2)))

    asyncio.run(serve())
    assert served[:3] == [1, 2, 3]
    assert sorted(served) == [1, 1, 1, 1, 1, 2, 2, 3]


def test_status_tells_of_flows_and_their_programs(server: FakeRunning) -> None:
    with server.connect("tcpdump") as control, control.open("eth1") as reply:
        control.set_filter(reply["flow"], FILTER)
        document = control.status()
        assert [source.name for source in document.sources] == ["eth1"]
        (group,) = document.groups
        assert (group.gid, group.flows, group.bms) == (os.getgid(), 1, "srp")
        (flow,) = document.flows
        assert (flow.id, flow.program, flow.pid, flow.uid) == (reply["flow"], "tcpdump", os.getpid(), os.getuid())
        assert (flow.generation, flow.filter_instructions, flow.level, flow.kind) == (2, 2, "kernel", "table")


def test_status_shows_what_the_asker_may_see(server: FakeRunning) -> None:
    with server.connect() as control, control.open("eth1"):
        mine = server.document(frozenset({os.getgid()}))
        assert [len(part) for part in (mine.sources, mine.groups, mine.flows)] == [1, 1, 1]
        others = server.document(frozenset({os.getgid() + 1}))
        assert [len(part) for part in (others.sources, others.groups, others.flows)] == [0, 0, 0]


@needs_root
def test_another_users_rights_are_asked_of_the_kernel(tmp_path: Path) -> None:
    rule = AllowRule(users=(str(NOBODY),), sources=("eth0",), promisc=False, snap_len=96)
    config = Config(allow=(rule,), limits=LimitsConfig(flows=2, snap_len=128))
    open_to_all(tmp_path)
    with running(tmp_path, config) as server, server.connect() as root, root.open("eth0") as roots:

        def attempts() -> list[str]:
            said = []
            with server.connect() as one, server.connect() as other:
                for tool, source, fields in (
                    (one, "eth0", {}),
                    (one, "eth1", {}),
                    (one, "eth0", {"promisc": True}),
                    (one, "eth0", {"group": "0"}),
                    (other, "eth0", {}),
                    (other, "eth0", {}),
                ):
                    try:
                        said.append(f"{tool.open(source, **fields)['snap_len']} octets")
                    except ControlError as error:
                        said.append(error.code)
                with suppress_code("denied"):
                    one.do("revoke", flow=roots["flow"])
                said.append(" ".join(str(flow.uid) for flow in one.status().flows))
            return said

        assert as_user(NOBODY, attempts) == [
            "96 octets", "denied", "denied", "denied", "96 octets", "limit", f"{NOBODY} {NOBODY}"
        ]  # fmt: skip
        wait_until(lambda: len(server.fake.live[0].groups) == 1, "the end of the other user's flows")


def test_any_sequence_of_requests_keeps_the_books(server: FakeRunning) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    tools = [server.connect(f"tool{number}") for number in range(3)]
    owned: dict[int, Tool] = {}
    for step in range(150):
        tool = rng.choice(tools)
        flow = rng.choice([*owned, 0, 7, 2**53 - 1])
        is_mine = owned.get(flow) is tool
        match rng.choice(["open", "open", "filter", "filter", "close", "successor", "revoke"]):
            case "open":
                with tool.open(rng.choice(["eth0", "eth1"]), promisc=rng.random() < 0.5) as opened:
                    assert opened["flow"] not in owned
                    owned[opened["flow"]] = tool
            case "filter" if is_mine:
                tool.set_filter(flow, rng.choice([None, FILTER, USERSPACE_FILTER]))
            case "filter":
                with suppress_code("invalid"):
                    tool.set_filter(flow, FILTER)
            case "close" if is_mine:
                tool.do("close", flow=flow)
                del owned[flow]
            case "close":
                with suppress_code("invalid"):
                    tool.do("close", flow=flow)
            case "successor" if is_mine:
                try:  # its group moved when another was revoked, or did not
                    tool.do("successor", flow=flow, lane=rng.randrange(LANES)).close()
                except ControlError as error:
                    assert error.code == "busy"
            case "successor":
                with suppress_code("invalid"):
                    tool.do("successor", flow=flow, lane=0)
            case "revoke" if flow in owned:
                tools[0].do("revoke", flow=flow).close()
                with suppress_code("denied"):
                    owned[flow].set_filter(flow, None)
                owned[flow].do("close", flow=flow)
                del owned[flow]
        if step % 20 == 0:
            flows = tool.status().flows
            assert {one.id for one in flows} == set(owned)
            live = [one.id for one in flows if one.state == "live"]  # who does not follow is left behind in the end
            assert sum(len(source.active) for source in server.fake.live) == len(live)
    for tool in tools:
        tool.close()
    wait_until(lambda: not server.fake.live, "the end of everything")
