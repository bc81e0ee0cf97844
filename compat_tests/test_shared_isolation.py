# SPDX-License-Identifier: BSD-3-Clause
"""What a user of the shared engine cannot do: read another group's packets, write any buffer, steer another's flow."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compat_tests import bpfcalls, live, pcapfile, shared
from compat_tests.capture_packets import ethernet, udp4
from compat_tests.harness import Outcome, Run
from compat_tests.netns import Netns, wait_until
from compat_tests.shared import ANNA, BERT, EVE, Client, Ffpfd
from pyffpf.daemon import holder, transport

pytestmark = pytest.mark.live

SECRET = b"for the group of Anna alone"
PUBLIC = b"wanted by Bert, and by Anna"
SECRET_PORT, PUBLIC_PORT = 7001, 7002
PACKETS = 300


@pytest.fixture(scope="module")
def ffpfd() -> Iterator[Ffpfd]:
    """One for all of these tests: each leaves it without flows."""
    with Netns() as ns, Ffpfd(ns) as running:
        yield running


@pytest.fixture
def ns(ffpfd: Ffpfd) -> Netns:
    ffpfd.wait_status(lambda document: not document.sources, "the end of all captures")
    return ffpfd.ns


def error_of(attempt: Callable[[], object]) -> str:
    """The name of the error that it ends with, or "none"."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "none"


def send_both(ns: Netns, count: int = PACKETS) -> None:
    for number in range(count):
        octets = number.to_bytes(4, "big")
        secret, public = (
            ethernet(udp4(text + octets, dport=port)) for text, port in ((SECRET, SECRET_PORT), (PUBLIC, PUBLIC_PORT))
        )
        ns.send(ns.right, [secret, public])


@contextlib.contextmanager
def annas_tcpdump(ffpfd: Ffpfd) -> Iterator[Run]:
    """Captures everything, and is there."""
    run = shared.start(ffpfd, ANNA, ["tcpdump", "-i", ffpfd.ns.left, "-w", "out", "-U"])
    with shared.discarded([run]):
        live.wait_ready(run, b"listening on")
        ffpfd.wait_flows(1, filtered=1)
        yield run


def ended(run: Run) -> Outcome:
    run.signal(2)
    outcome = run.finish(shared.PATIENCE_S)
    assert outcome.returncode == 0, outcome.stderr
    return outcome


def assert_has_all(outcome: Outcome, sent: int) -> None:
    """Anna's capture went on through whatever others did."""
    packets = [record.data for record in pcapfile.records(outcome.files["out"])]
    for text in (SECRET, PUBLIC):
        numbers = [int.from_bytes(data[at + len(text) :][:4], "big") for data in packets if (at := data.find(text)) > 0]
        assert numbers == [*range(PACKETS)] * (sent // PACKETS), f"{len(numbers)} packets of {sent}"


def octets_of(fd: int) -> int:
    """How much of a map may be mapped."""
    facts = bpfcalls.map_facts(fd)
    octets = -(-facts["value_size"] // 8) * 8 * facts["max_entries"]
    return -(-octets // mmap.PAGESIZE) * mmap.PAGESIZE


def whole(fd: int) -> bytes:
    with mmap.mmap(fd, octets_of(fd), mmap.MAP_SHARED, mmap.PROT_READ) as memory:
        return bytes(memory)


def test_packets_of_another_group_are_not_given(ns: Netns, ffpfd: Ffpfd) -> None:
    """Whatever Bert was given, Anna's secrets are not in it, though the same hook was given both."""
    with annas_tcpdump(ffpfd) as tcpdump:

        def bert() -> tuple[dict[str, int], dict[str, bytes]]:
            client = Client(ffpfd)
            flow, fds = client.open(ns.left)
            wanted = shared.compiled(f"udp dst port {PUBLIC_PORT}")
            assert client.control.ask("filter", flow=flow, insns=wanted).fields["level"] == "kernel"
            ready.set()
            assert sent.wait(60)
            ids = {name: bpfcalls.map_facts(fd)["map_id"] for name, fd in fds.items() if bpfcalls.map_facts(fd)}
            return ids, {name: whole(fd) for name, fd in fds.items() if name.startswith(("lane", "ibuf", "counts"))}

        def anna() -> dict[str, int]:
            _, fds = Client(ffpfd).open(ns.left)
            assert any(SECRET in whole(fd) for name, fd in fds.items() if name.startswith("lane"))
            return {name: bpfcalls.map_facts(fd)["map_id"] for name, fd in fds.items() if bpfcalls.map_facts(fd)}

        ready, sent = multiprocessing.Event(), multiprocessing.Event()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(shared.as_user, ns, BERT, bert)
            assert ready.wait(60)
            send_both(ns)
            sent.set()
            his, memories = asked.result()
        hers = shared.as_user(ns, ANNA, anna)
        ffpfd.wait_flows(1)
        ffpfd.wait_read()
        assert_has_all(ended(tcpdump), PACKETS)
    assert sum(memory.count(PUBLIC) for memory in memories.values()) == PACKETS
    assert not [name for name, memory in memories.items() if SECRET in memory]
    assert {name for name in his if his[name] in hers.values()} == {"counts"}


def test_forged_messages(ns: Netns, ffpfd: Ffpfd) -> None:
    """Bert and Eve name what is Anna's: they get nothing, learn nothing, and change nothing."""
    with annas_tcpdump(ffpfd) as tcpdump:
        (flow,) = (flow.id for flow in ffpfd.ask_status().flows)
        requests: list[tuple[str, dict[str, object]]] = [
            ("filter", {"insns": shared.compiled("arp")}),
            ("filter", {"insns": None}),
            ("successor", {"lane": 0}),
            ("close", {}),
        ]

        def bert() -> None:
            client = Client(ffpfd)
            for operation, fields in requests:
                for number in (flow, flow + 1, 0, 2**53 - 1):
                    assert client.refusal(operation, flow=number, **fields) == "invalid"
            assert client.refusal("revoke", flow=flow, reason="mine now") == "denied"
            assert client.refusal("revoke", flow=flow + 1, reason="mine now") == "denied"
            for group in (str(ANNA.gid), "0", "root", str(ANNA.groups[0])):
                refusal = client.refusal("open", source=ns.left, snap_len=0, promisc=False, group=group)
                assert refusal == "denied"
            mine, _ = client.open(ns.left)
            for operation, fields in requests:  # of one connection, asked for on another
                assert Client(ffpfd).refusal(operation, flow=mine, **fields) == "invalid"

        def seen_by_anybody() -> tuple[list[int], list[int]]:
            document = shared.ask_status(ffpfd.socket)
            return [item.id for item in document.flows], [group.gid for group in document.groups]

        def eve() -> str:
            return Client(ffpfd).refusal("open", source=ns.left, snap_len=0, promisc=False, group=None)

        send_both(ns)
        shared.as_user(ns, BERT, bert)
        assert shared.as_user(ns, EVE, eve) == "denied"
        ffpfd.wait_status(lambda document: len(document.groups) == 1, "the end of Bert's group")
        for stranger in (BERT, EVE):
            assert shared.as_user(ns, stranger, seen_by_anybody) == ([], [])
        assert shared.as_user(ns, ANNA, seen_by_anybody) == ([flow], [ANNA.gid])
        send_both(ns)
        ffpfd.wait_read()
        assert_has_all(ended(tcpdump), 2 * PACKETS)


def test_a_named_group_is_for_its_members(ns: Netns, ffpfd: Ffpfd) -> None:
    """Who is a member shares its memory; the membership counts that the kernel has, at the time of connect(2)."""
    named = ANNA.groups[0]

    def lanes() -> set[int]:
        _, fds = Client(ffpfd).open(ns.left, group=str(named))
        return {bpfcalls.map_facts(fd)["map_id"] for name, fd in fds.items() if name.startswith("lane")}

    tcpdump = shared.start(ffpfd, ANNA, ["tcpdump", "-i", ns.left, "-w", "out"], env={"FFPF_GROUP": str(named)})
    with shared.discarded([tcpdump]):
        live.wait_ready(tcpdump, b"listening on")
        assert [group.gid for group in ffpfd.ask_status().groups] == [named]
        with pytest.raises(AssertionError, match="no member of group"):
            shared.as_user(ns, BERT, lanes)
        hers = shared.as_user(ns, ANNA, lanes)
        assert hers and hers == shared.as_user(ns, BERT, lanes, groups=[named])
        ended(tcpdump)


def test_buffers_cannot_be_written(ns: Netns, ffpfd: Ffpfd) -> None:
    """Nor by who may read them. Only the reader page is its reader's, and the wake-up's own acknowledgement."""

    def anna() -> dict[str, dict[str, str]]:
        _, fds = Client(ffpfd).open(ns.left)
        return {name: {what: error_of(attempt) for what, attempt in attempts(fd)} for name, fd in fds.items()}

    tried = shared.as_user(ns, ANNA, anna)
    frozen = [name for name in tried if name.startswith(("lane", "ibuf")) or name == "counts"]
    assert len(frozen) >= 3
    for name in frozen:
        worked = {what for what, error in tried[name].items() if error == "none"}
        assert worked <= HARMLESS, f"{name}: {worked - HARMLESS} worked"
        assert {tried[name][what] for what in ("map writable", "mprotect", "update")} <= {"EPERM", "EACCES"}
    for name in ("reader", "wake"):
        for what in ("pin", "open again for writing", "map by id"):
            assert tried[name][what] != "none", (name, what)


HARMLESS = {"look up", "next key", "info", "map readable"}  # of memory that one may read anyhow


def attempts(fd: int) -> list[tuple[str, Callable[[], object]]]:
    """Every way that there is to get at what is behind a descriptor."""
    facts = bpfcalls.map_facts(fd)
    size = octets_of(fd) if facts else mmap.PAGESIZE
    value = ctypes.create_string_buffer(max(size, mmap.PAGESIZE))
    libc = ctypes.CDLL(None, use_errno=True)

    def protect() -> None:
        libc.mmap.restype = ctypes.c_void_p
        at = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(0))
        if libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def write_through(path: str) -> None:
        again = os.open(path, os.O_RDWR)
        os.write(again, b"x")

    return [
        ("map readable", lambda: mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)),
        ("map writable", lambda: mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)),
        ("map executable", lambda: mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_EXEC | mmap.PROT_WRITE)),
        ("mprotect", protect),
        ("open again for writing", lambda: write_through(f"/proc/self/fd/{fd}")),
        ("write", lambda: os.write(fd, b"x" * 8)),
        ("pwrite", lambda: os.pwrite(fd, b"x" * 8, 0)),
        ("truncate", lambda: os.truncate(fd, 0)),
        ("look up", lambda: bpfcalls.element(bpfcalls.MAP_LOOKUP, fd, value)),
        ("update", lambda: bpfcalls.element(bpfcalls.MAP_UPDATE, fd, value)),
        ("delete", lambda: bpfcalls.element(bpfcalls.MAP_DELETE, fd, value)),
        ("look up and delete", lambda: bpfcalls.element(bpfcalls.MAP_LOOKUP_AND_DELETE, fd, value)),
        ("next key", lambda: bpfcalls.element(bpfcalls.MAP_GET_NEXT_KEY, fd, value)),
        ("freeze", lambda: bpfcalls.freeze(fd)),
        ("pin", lambda: bpfcalls.pin(fd, Path("/sys/fs/bpf/ffpf-test"))),
        ("info", lambda: bpfcalls.info(fd)),
        ("map by id", lambda: bpfcalls.fd_by_id(bpfcalls.MAP_GET_FD_BY_ID, facts.get("map_id", 1))),
    ]


def test_ffpfd_and_other_users_tools_cannot_be_robbed(ns: Netns, ffpfd: Ffpfd) -> None:
    """By ptrace, by pidfd, through /proc, through the holder's socket, by numbers of maps and programs."""
    with annas_tcpdump(ffpfd) as tcpdump:
        capture = tcpdump.process.pid
        maps = sorted(bpfcalls.ids(bpfcalls.MAP_GET_NEXT_ID))[-20:]
        programs = sorted(bpfcalls.ids(bpfcalls.PROG_GET_NEXT_ID))[-8:]
        holder_socket = ffpfd.folder / "holder.sock"
        assert holder_socket.exists()

        def rob(pid: int) -> dict[str, str]:
            folder = Path(f"/proc/{pid}")
            return {
                "pidfd_getfd": error_of(lambda: [bpfcalls.pidfd_getfd(pid, fd) for fd in range(3, 40)]),
                "attach": error_of(lambda: bpfcalls.ptrace(bpfcalls.PTRACE_ATTACH, pid)),
                "seize": error_of(lambda: bpfcalls.ptrace(bpfcalls.PTRACE_SEIZE, pid)),
                "fd": error_of(lambda: list((folder / "fd").iterdir())),
                "mem": error_of(lambda: os.open(folder / "mem", os.O_RDONLY)),
                "map_files": error_of(lambda: list((folder / "map_files").iterdir())),
                "kill": error_of(lambda: os.kill(pid, 9)),
            }

        def by_number(command: int, number: int) -> str:
            return error_of(lambda: bpfcalls.fd_by_id(command, number))

        def bert() -> dict[str, str]:
            found = {f"ffpfd: {what}": error for what, error in rob(ffpfd.pid).items()}
            found |= {f"tcpdump: {what}": error for what, error in rob(capture).items()}
            found |= {f"map {number}": by_number(bpfcalls.MAP_GET_FD_BY_ID, number) for number in maps}
            found |= {f"program {number}": by_number(bpfcalls.PROG_GET_FD_BY_ID, number) for number in programs}
            found["packet socket"] = error_of(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
            return found

        def ask_holder() -> list[int]:
            """The descriptors that the holder gives; an error is as good as none."""
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
                asking.settimeout(5)
                asking.connect(str(holder_socket))
                for message in ({"op": "hello"}, {"op": "take", "after": ""}):
                    holder.send_message(asking, message, [])
                    _, fds, _ = holder.receive_message(asking)
                    if fds:
                        return fds
            return []

        tried = shared.as_user(ns, BERT, bert)
        assert {what for what, error in tried.items() if error not in ("EPERM", "EACCES")} == set(), tried
        assert shared.as_user(ns, BERT, ask_holder) == []
        send_both(ns)
        ffpfd.wait_read()
        assert_has_all(ended(tcpdump), PACKETS)


def test_descriptors_sent_to_ffpfd_are_closed(ns: Netns, ffpfd: Ffpfd) -> None:
    """Those that it gave, and others, with messages that are well formed and not."""
    folder = Path(f"/proc/{ffpfd.pid}/fd")
    with annas_tcpdump(ffpfd) as tcpdump:
        before = len(list(folder.iterdir()))

        def bert() -> None:
            client = Client(ffpfd)
            flow, fds = client.open(ns.left)
            given = [*fds.values(), *(os.open("/dev/null", os.O_RDWR) for _ in range(100))]
            hello = b'{"id":9,"op":"hello","version":1,"program":"thief"}'
            for message in (hello, b'{"id":9,"op":"status"}', b'{"id":9,"op":"close","flow":1}', b"{", b"\xff" * 65536):
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as raw:
                    raw.settimeout(20)
                    raw.connect(str(ffpfd.socket))
                    for _ in range(3):
                        with contextlib.suppress(BrokenPipeError):
                            transport.send(raw, message, given)
                    assert raw.recv(65536)
            client.control.ask("close", flow=flow)

        shared.as_user(ns, BERT, bert)
        wait_until(lambda: len(list(folder.iterdir())) <= before, "descriptors to be closed", shared.PATIENCE_S)
        send_both(ns)
        ffpfd.wait_read()
        assert_has_all(ended(tcpdump), PACKETS)
