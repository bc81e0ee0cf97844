# SPDX-License-Identifier: BSD-3-Clause
"""The board as a process, by its window: hosts that are honest, hosts that are not, faults, a live port, ffpf-ixp. The
board runs under the address sanitizer, and must end with 0."""

from __future__ import annotations

import array
import json
import mmap
import os
import random
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import pyffpf
from compat_tests.netns import Netns, wait_until
from ixp_driver import framework
from ixp_driver.control import Session, boards
from ixp_driver.host.running import RunningBoard, running
from pyffpf.cli import ixp as command
from pyffpf.errors import Denied, DeviceGone, NoSuchDevice
from source.live_frames import numbered

LOAD, START, STOP, UNLOAD, COPY_MODE, RESET = range(1, 7)
STAGE, MAILBOX_BYTES = 4096, 65536
ANY_ENGINE = 0xFFFFFFFF
SESSIONS_MAX = 16


class RawHost:
    """A host that writes whatever it likes into its mailbox."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.hello, fds = self._receive()
        self.fds = fds
        if not fds:
            return
        self.mailbox = mmap.mmap(fds[1], MAILBOX_BYTES)
        self.replies = mmap.mmap(fds[2], 4096, prot=mmap.PROT_READ)
        self.sequence = 0

    def _receive(self) -> tuple[tuple[int, ...], list[int]]:
        data, ancillary, _, _ = self.socket.recvmsg(256, socket.CMSG_SPACE(16 * 4))
        fds = array.array("i")
        for _, _, octets in ancillary:
            fds.frombytes(octets)
        return struct.unpack(f"<{len(data) // 4}I", data), list(fds)

    def put(self, octets: bytes, at: int) -> None:
        self.mailbox[at : at + len(octets)] = octets

    def ring(self) -> None:
        os.eventfd_write(self.fds[3], 1)

    def ask(self, op: int, engine: int = 0, value: int = 0, flags: int = 0, stage: bytes | int = b"", slots: int = 0,
            mbuf: int = 0) -> tuple[int, int, str]:  # fmt: skip
        """(status, engine, text) of the reply. stage: octets of the staging area, or only how many."""
        octets = b"" if isinstance(stage, int) else stage
        self.put(octets, STAGE)
        size = stage if isinstance(stage, int) else len(octets)
        self.put(struct.pack("<8I", op, engine, value, flags, size, slots, mbuf, 0), 24)
        self.sequence += 1
        self.put(struct.pack("<I", self.sequence), 16)
        self.ring()
        wait_until(lambda: struct.unpack_from("<I", self.replies, 16)[0] == self.sequence, "a reply", 30)
        status, engine = struct.unpack_from("<iI", self.replies, 24)
        return status, engine, self.replies[32:272].split(b"\0")[0].decode()

    def flow(self) -> tuple[tuple[int, ...], list[int]]:
        """The datagram that comes with a filter, and its descriptors."""
        return self._receive()

    def close(self) -> None:
        self.socket.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FFPF_IXP_DIR", str(tmp_path))
    monkeypatch.setenv("FFPF_ENGINE", "embedded")
    return tmp_path


@pytest.fixture
def board(folder: Path) -> Iterator[RunningBoard]:
    """One with packets without end."""
    with running(folder, "generator:full,size=100", variant="asan") as it:
        yield it
    assert it.process.returncode == 0


def filters(board: RunningBoard) -> int:
    with Session(str(board.folder / board.name)) as session:
        return session.status().filters


def test_a_filter_and_its_memories_come_and_go_with_their_session(board: RunningBoard) -> None:
    host = RawHost(board.folder / "ixp0")
    status, engine, text = host.ask(LOAD, ANY_ENGINE, slots=64, mbuf=4096)
    assert (status, engine, text) == (0, 1, "")
    said, fds = host.flow()
    assert said[2:7] == (2, host.sequence, engine, 1, 1)
    kinds = [struct.unpack_from("<IHHQ", os.pread(fd, 16, 0)) for fd in fds[:1] + fds[2:]]
    assert [kind for _, _, kind, _ in kinds] == [3, 1, 2, 4]  # reader page, lane, IBuf, MBuf
    assert [size for *_, size in kinds] == [os.fstat(fd).st_size for fd in fds[:1] + fds[2:]]
    assert filters(board) == 1
    assert host.ask(STOP, engine)[0] == 0
    assert filters(board) == 0
    assert host.ask(START, engine)[0] == 0
    assert host.ask(START, engine)[0] < 0  # it runs
    host.close()
    wait_until(lambda: filters(board) == 0, "the board to forget the session")
    state = struct.unpack_from("<I", os.pread(fds[3], 4096, 0), 24)[0]
    assert state == 2  # FFPF_IBUF_DETACHED
    for fd in fds:
        os.close(fd)


def ibuf_page(fd: int) -> tuple[int, int]:
    """W, and dropped since the IBuf was full; the law is checked."""
    page = os.pread(fd, 4096, 0)
    (w,) = struct.unpack_from("<Q", page, 64)
    seen, filtered, *dropped = struct.unpack_from("<16Q", page, 256)
    assert seen == filtered + sum(dropped) + w
    assert filtered == sum(dropped) - dropped[2] == 0
    return w, dropped[2]


def ibuf_w(fd: int) -> int:
    w: int = struct.unpack("<Q", os.pread(fd, 8, 64))[0]
    return w


def test_a_filter_goes_on_where_it_stopped_and_as_r_advances(board: RunningBoard) -> None:
    host = RawHost(board.folder / "ixp0")
    status, engine, _ = host.ask(LOAD, ANY_ENGINE, flags=1, slots=64)  # stopped
    assert status == 0
    _, (reader, wake, lane, ibuf) = host.flow()
    assert ibuf_page(ibuf) == (0, 0)
    for r in (0, 64, 128):
        assert host.ask(START, engine)[0] == 0
        os.pwrite(reader, struct.pack("<Q", r), 2048)
        host.put(struct.pack("<I", r + 1), 20)
        host.ring()
        full = r + 64
        wait_until(lambda full=full: ibuf_w(ibuf) == full, f"{full} entries", 30)
        assert host.ask(STOP, engine)[0] == 0
        w, dropped = ibuf_page(ibuf)  # a packet may have been under way when the filter began with a full IBuf
        assert w == full
        assert dropped <= r // 64
    os.pwrite(reader, struct.pack("<Q", 1), 2048)  # an R that goes back
    assert host.ask(START, engine)[0] == 0
    wait_until(lambda: struct.unpack_from("<I", os.pread(ibuf, 28, 0), 24)[0] == 1, "the flow to be evicted", 30)
    for fd in (reader, wake, lane, ibuf):
        os.close(fd)
    host.close()


def test_lanes_and_ibufs_cannot_be_written_by_the_host(board: RunningBoard) -> None:
    host = RawHost(board.folder / "ixp0")
    assert host.ask(LOAD, ANY_ENGINE)[0] == 0
    _, fds = host.flow()
    for fd in (host.fds[0], host.fds[2], fds[2], fds[3]):  # registers, replies, lane, IBuf
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 4096)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    host.close()


def test_what_makes_no_sense_is_refused(board: RunningBoard) -> None:
    accept = framework.accept().octets
    spoilt = bytearray(accept)
    spoilt[-1] ^= 1
    host, other = RawHost(board.folder / "ixp0"), RawHost(board.folder / "ixp0")
    status, engine, _ = other.ask(LOAD, ANY_ENGINE)
    assert status == 0
    refused = [
        host.ask(99), host.ask(0), host.ask(START, engine), host.ask(STOP, engine), host.ask(UNLOAD, engine),
        host.ask(UNLOAD, 77), host.ask(LOAD, 0), host.ask(LOAD, engine), host.ask(LOAD, 6),
        host.ask(LOAD, ANY_ENGINE, stage=bytes(spoilt)), host.ask(LOAD, ANY_ENGINE, stage=b"x"),
        host.ask(LOAD, ANY_ENGINE, stage=accept[:-4]), host.ask(LOAD, ANY_ENGINE, stage=0xFFFFFFFF),
        host.ask(LOAD, ANY_ENGINE, stage=framework.receive().octets), host.ask(LOAD, ANY_ENGINE, slots=3),
        host.ask(LOAD, ANY_ENGINE, slots=1 << 20), host.ask(LOAD, ANY_ENGINE, mbuf=3),
        host.ask(LOAD, ANY_ENGINE, mbuf=1 << 20), host.ask(COPY_MODE, value=3),
    ]  # fmt: skip
    assert all(status < 0 and text for status, _, text in refused), refused
    assert filters(board) == 1
    assert host.ask(LOAD, ANY_ENGINE)[0] == 0  # it is none the worse
    host.close()
    other.close()


@pytest.mark.parametrize("seed", range(3))
def test_random_mailboxes_do_no_harm(board: RunningBoard, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    honest = RawHost(board.folder / "ixp0")
    assert honest.ask(LOAD, ANY_ENGINE)[0] == 0
    hosts = [RawHost(board.folder / "ixp0") for _ in range(3)]
    accept = framework.accept().octets
    for _ in range(150):
        host = chance.choice(hosts)
        stage = bytearray(accept)
        for _ in range(chance.choice([0, 0, 1, 5])):
            stage[chance.randrange(len(stage))] ^= 1 << chance.randrange(8)
        number = chance.choice([chance.randrange(8), chance.getrandbits(32)])
        op = chance.choice([LOAD, LOAD, START, STOP, UNLOAD, chance.getrandbits(32)])
        host.ask(op, number, chance.getrandbits(32), chance.getrandbits(1),
                 bytes(stage[: chance.choice([0, len(stage), 100])]),
                 chance.choice([0, 2, 64, 3]), chance.choice([0, 8, 4096, 5]))  # fmt: skip
        while select.select([host.socket], [], [], 0)[0]:
            for fd in host.flow()[1]:
                if chance.random() < 0.3 and os.fstat(fd).st_size == 4096:  # a reader page
                    os.pwrite(fd, chance.randbytes(2048 + 16), 64)
                os.close(fd)
        host.put(chance.randbytes(4), 20)
        host.ring()
    for host in hosts:
        host.close()
    wait_until(lambda: filters(board) == 1, "the other sessions to end")
    assert honest.ask(STOP, 1)[0] == 0
    honest.close()


def test_more_hosts_than_there_is_room_for_are_refused(board: RunningBoard) -> None:
    hosts = [RawHost(board.folder / "ixp0") for _ in range(SESSIONS_MAX + 1)]
    assert [host.hello[2] for host in hosts] == [1] * SESSIONS_MAX + [3]
    for host in hosts:
        host.close()


def test_reset_loses_filters_and_the_next_one_works(folder: Path) -> None:
    with running(folder, "generator:full,size=100,count=3000", variant="asan"), pyffpf.open("ixp0") as first:
        assert len(next(iter(first)).data) == 100
        with Session("ixp0") as session:
            session.reset()
            status = session.status()
        assert (status.resets, status.filters) == (1, 0)
        assert (status.engines[0].packets, status.engines[0].sustained_pps) == (0, 0)  # begun anew, as its cycles
        assert "reset" in status.engines[1].text
        with pytest.raises(DeviceGone, match="reset"):
            for _ in first:
                pass
        with pyffpf.open("ixp0") as second:
            assert sum(1 for _ in second) == 3000


def test_after_a_reset_engines_have_done_what_their_rings_say(folder: Path) -> None:
    """Packets of before stood against the cycles since: many million packets a second."""
    with running(folder, "generator:full,size=100,count=3000,hold=1", variant="asan"), Session("ixp0") as session:
        with pyffpf.open("ixp0") as capture:
            assert sum(1 for _ in capture) == 3000
        session.reset()
        receive = session.status().engines[0]
        assert (receive.packets, receive.sustained_pps) == (0, 0)
        with pyffpf.open("ixp0") as capture:
            assert sum(1 for _ in capture) == 3000
            wait_until(lambda: session.status().engines[0].packets == 3000, "the last packet to be counted", 30)


def test_only_the_boards_user_and_root_administer(board: RunningBoard) -> None:
    board.folder.chmod(0o755)
    (board.folder / "ixp0").chmod(0o777)
    child = os.fork()
    if child == 0:
        done = 1
        try:
            os.chdir(board.folder)  # which another user could not reach by its path
            os.setgid(65534)
            os.setuid(65534)
            os.environ["FFPF_IXP_DIR"] = "."
            with Session("ixp0") as session:
                try:
                    session.reset()
                except Denied:
                    done = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(done)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with Session("ixp0") as session:
        assert session.status().resets == 0


@pytest.mark.live
def test_a_live_port_brings_what_arrives(folder: Path) -> None:
    with Netns() as ns, ExitStack() as stack:
        with ns.entered():
            board = stack.enter_context(running(folder, f"if:{ns.left}", variant="asan"))
        capture = stack.enter_context(pyffpf.open("ixp0", immediate=True))
        frames = [numbered(i, 60 + i, ((0x8100, 100),) if i % 3 == 0 else ()) for i in range(200)]
        ns.send(ns.right, frames)
        got = [packet.data for _, packet in zip(range(200), capture, strict=False)]
        assert got == frames
        with Session(str(board.folder / "ixp0")) as session:
            port = session.status().ports[0]
        assert (port.kind, port.received, port.rx_lost) == ("live", 200, 0)


def test_the_command_shows_and_tells(board: RunningBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert boards() == ["ixp0"]
    assert command.main(["copy-mode", "interesting"]) == 0
    with pyffpf.open("ixp0") as capture:
        next(iter(capture))
        assert command.main(["status"]) == 0
        shown = capsys.readouterr().out
        assert "interesting" in shown
        assert "1 of 5" in shown
        assert command.main(["status", "--json", "ixp0"]) == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert [engine["role"] for engine in status["engines"]] == ["receive", "filter", *["none"] * 4]
    assert status["ports"][0]["name"] == "generator:full,size=100"
    assert command.main(["reset"]) == 0
    board.kill()
    assert command.main(["status"]) == 1
    assert "no board runs" in capsys.readouterr().err
    board.process.returncode = 0  # as the fixture wants it
    with pytest.raises(NoSuchDevice):
        Session("ixp0")


def test_the_command_is_a_board(folder: Path) -> None:
    read, write = os.pipe()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "pyffpf.cli.ixp", "board", "--name", "own", "--port", "generator:full,count=5",
         "--set", "clock_hz=100000000", "--bms", "frp"],
        {**os.environ, "FFPF_IXP_DIR": str(folder)}, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as said:
        assert said.readline() == "ready\n"
    with Session("own") as session:
        status = session.status()
    assert (status.clock_hz, status.bms) == (100_000_000, "frp")
    with pyffpf.open("own") as capture:
        assert sum(1 for _ in capture) == 5
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not (folder / "own").exists()
