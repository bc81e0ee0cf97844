# SPDX-License-Identifier: BSD-3-Clause
"""The holder as a process: whom it serves, when it ends, what it is without."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests.netns import wait_until
from pyffpf.daemon.fdstore import StoreBusyError, StoreError, StoreFullError
from pyffpf.daemon.holder import OTHERS_MAX
from pyffpf.daemon.holder_store import ProcessStore, call
from pyffpf.daemon.privileges import Capabilities
from pyffpf.daemon.survival import end_holder, holder_pid

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "holder.sock"
    yield path
    end_holder(path)


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid: int) -> None:
    wait_until(lambda: not running(pid), f"the end of process {pid}")


def test_it_is_a_process_apart_with_no_rights(path: Path) -> None:
    fd = os.memfd_create("x")
    with contextlib.closing(ProcessStore(path)) as store:
        store.put("x", fd)
        pid = holder_pid(path)
        assert os.getsid(pid) != os.getsid(0) and os.getpgid(pid) != os.getpgid(0)
        found = Capabilities.of(pid)
        nothing: frozenset[int] = frozenset()
        assert (found.permitted, found.effective, found.inheritable, found.ambient) == (nothing,) * 4
        assert found.no_new_privs
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        streams = {Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)}
        assert streams == {Path("/dev/null")}
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        store.put("y", fd)
    os.close(fd)


def test_it_ends_when_it_is_told(path: Path) -> None:
    store = ProcessStore(path)
    store.set_state(b"state")
    pid = holder_pid(path)
    store.end()
    wait_gone(pid)
    assert not path.exists()
    store.end()


def test_it_ends_when_it_holds_nothing_for_nobody(path: Path) -> None:
    fd = os.memfd_create("x")
    store = ProcessStore(path)
    pid = holder_pid(path)
    store.put("x", fd)
    store.close()
    store = ProcessStore(path)
    assert holder_pid(path) == pid
    close_taken(store)
    store.remove("x")
    store.close()
    wait_gone(pid)
    os.close(fd)
    with contextlib.closing(ProcessStore(path)) as store:  # a new one is started
        assert store.take_all() == (None, {})


def close_taken(store: ProcessStore) -> None:
    for fd in store.take_all()[1].values():
        os.close(fd)


def test_one_owner_at_a_time(path: Path) -> None:
    store = ProcessStore(path)
    for _ in range(OTHERS_MAX + 3):
        with pytest.raises(StoreBusyError, match="another ffpfd is running"):
            ProcessStore(path)
    store.put("x", 0)
    store.close()
    store = ProcessStore(path)
    close_taken(store)
    store.close()


def test_other_users_get_nothing(path: Path) -> None:
    store = ProcessStore(path)
    store.put("x", 0)
    for folder in (path, *path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011 | (0o006 if folder == path else 0))
    store.close()
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            become_nobody()
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
                asking.connect(str(path))
                try:
                    call(asking, {"op": "take"})
                except OSError:
                    code = 0  # hung up
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store = ProcessStore(path)  # the owner may come back
    assert "x" in store._take()
    store.close()


def test_another_users_holder_is_given_nothing(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as trap:
        trap.bind(str(path))
        for folder in (path, *path.parents[:-1]):
            folder.chmod(folder.stat().st_mode | 0o011)
        pid = os.fork()
        if pid == 0:
            try:
                become_nobody()
                trap.listen()
                signal.pause()
            finally:
                os._exit(0)
        try:
            wait_until(lambda: _listens(path), "the trap to listen")
            with pytest.raises(StoreError, match="another user's process"):
                ProcessStore(path)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    path.unlink()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True


def test_a_new_holder_is_given_everything(path: Path) -> None:
    fd = os.memfd_create("x")
    store = ProcessStore(path)
    store.put("x", fd)
    store.set_state(b"before")
    watched = store.fileno()
    assert watched is not None
    first = holder_pid(path)
    os.kill(first, signal.SIGKILL)
    wait_gone(first)
    store.repair()
    assert holder_pid(path) != first
    os.kill(holder_pid(path), signal.SIGKILL)
    store.put("y", fd)  # notices by itself
    store.set_state(b"after")
    store.close()
    store = ProcessStore(path)
    state, found = store.take_all()
    assert state == b"after" and set(found) == {"x", "y"}
    for each in (fd, *found.values()):
        os.close(each)
    store.close()


def test_nonsense_is_answered_and_keeps_nothing(path: Path) -> None:
    store = ProcessStore(path)
    connection, pid = store._connection, holder_pid(path)
    for _ in range(2):  # by then it has seen the end of our second connection
        store.put("kept", 0)
    before = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for message in (b"{", b"[]", b'"take"', b"{}", b'{"op":"put"}', b'{"op":"put","name":7}', b'{"op":"dance"}',
                    b'{"op":"remove"}', b"\xff\xfe", b'{"op":"put","name":"two"}'):  # fmt: skip
        socket.send_fds(connection, [message], [0, 1])
        answer = connection.recv(65536)
        assert b'"ok": false' in answer and b'"invalid"' in answer
    assert len(list(Path(f"/proc/{pid}/fd").iterdir())) == before
    store.put("still", 0)
    store.close()


def test_full(path: Path) -> None:
    store = ProcessStore(path)
    pid = holder_pid(path)
    there = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (there + 20, there + 20))
    with pytest.raises(StoreFullError, match="as many descriptors as it may"):
        for number in range(30):
            store.put(f"n{number}", 0)
    held = store.held()
    assert 1 < len(held) < 20
    with pytest.raises(StoreBusyError):
        ProcessStore(path)
    store.remove("n0")
    store.put("again", 0)
    store.close()


def test_it_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"does not start: .*No such file"):
        ProcessStore(tmp_path / "no" / "such" / "folder" / "holder.sock")
