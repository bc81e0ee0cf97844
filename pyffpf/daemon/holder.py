# SPDX-License-Identifier: BSD-3-Clause
"""A process that does nothing but hold descriptors while ffpfd comes and goes. ffpfd's side is in holder_store.py.

    python -m pyffpf.daemon.holder PATH     # returns when the holder listens at PATH, in a session of its own

It answers one connection at a time, and only processes of its own user or root: SEQPACKET, one JSON object a
datagram, descriptors by SCM_RIGHTS. A holder outlives updates of the project, so this protocol only ever grows:

    {"op": "hello"}                           {"ok": true, "version": 1}
    {"op": "put", "name": N} + 1 descriptor   {"ok": true}         an older one of that name is closed
    {"op": "remove", "name": N}               {"ok": true}
    {"op": "take", "after": N}                {"ok": true, "names": [...], "more": bool} + descriptors, names above N
    {"op": "end"}                             {"ok": true}, and the holder ends
    anything else                             {"ok": false, "code": "full"|"busy"|"invalid", "error": text}

What was sent is held, even if the sender died before it saw the answer: the kernel keeps a socket's queue. The holder
ends when it is told to, or when it holds nothing and nobody is connected.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from pyffpf.daemon import privileges

MESSAGE_MAX_BYTES = 65536
VERSION = 1
BATCH = 100  # descriptors in one answer
FIRST_CONNECTION_S = 30.0
OTHERS_MAX = 8
RESERVE = 16  # descriptors that are not for holding: connections must always be accepted
EXIT_OTHER = 3  # another holder is there, or is just about to end
PEERCRED = struct.Struct("iII")  # pid, uid, gid


def peer_uid(connection: socket.socket) -> int:
    _, uid, _ = PEERCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEERCRED.size))
    return int(uid)


def send_message(connection: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    connection.sendmsg([json.dumps(message).encode()], rights)


def receive_message(connection: socket.socket) -> tuple[bytes, list[int], bool]:
    """One datagram (empty: the other side is gone), its descriptors, and whether all of them arrived."""
    space = socket.CMSG_SPACE(BATCH * array.array("i").itemsize)
    data, ancillary, got_flags, _ = connection.recvmsg(MESSAGE_MAX_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(value[: len(value) - len(value) % fds.itemsize])
    return data, list(fds), not got_flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC)


class Holder:
    """The holding process."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._owner: socket.socket | None = None
        self._others: list[socket.socket] = []
        self._fds: dict[str, int] = {}
        self._ended = False

    def run(self) -> None:
        """Until it is told to end, or has nothing to hold for nobody."""
        while self._owner is None and select.select([self._listener], [], [], FIRST_CONNECTION_S)[0]:
            self._accept()
        while not self._ended and (self._owner is not None or self._fds):
            poll = select.poll()
            poll.register(self._listener, select.POLLIN)
            for connection in [*([self._owner] if self._owner else []), *self._others]:
                poll.register(connection, select.POLLIN)
            poll.poll()
            self._serve()
            self._refuse()
            self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        if peer_uid(connection) not in (os.geteuid(), 0):
            connection.close()
            return
        self._serve()  # an owner that died has sent all that it will: only then is its successor served
        if self._owner is None:
            self._owner = connection
            return
        self._others.append(connection)
        while len(self._others) > OTHERS_MAX:
            self._others.pop(0).close()

    def _refuse(self) -> None:
        """Answers those who are not the owner. They hang up: if we did, with a question unread, the kernel would throw
        the answer away."""
        for connection in list(self._others):
            try:
                data, fds, _ = receive_message(connection)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                data, fds = b"", []
            close_all(fds)
            if data:
                _answer(connection, {"ok": False, "code": "busy", "error": "another ffpfd is running"}, [])
            else:
                connection.close()
                self._others.remove(connection)

    def _serve(self) -> None:
        """Answers what the owner has sent so far, and notices its end."""
        while self._owner is not None:
            try:
                data, fds, whole = receive_message(self._owner)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it died with an answer unread; what it had sent is still there to receive
            if not data:
                self._owner.close()
                self._owner = None
                return
            reply, reply_fds = self._do(data, fds, whole)
            _answer(self._owner, reply, reply_fds)

    def _do(self, data: bytes, fds: list[int], whole: bool) -> tuple[dict[str, Any], list[int]]:
        try:
            request = json.loads(data)
            operation, name = request["op"], request.get("name", "")
            if not isinstance(name, str):
                raise TypeError("name")
        except (ValueError, KeyError, TypeError, AttributeError):
            operation, name = None, ""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if operation == "put" and (not whole or len(self._fds) + RESERVE >= limit):
            close_all(fds)
            return {"ok": False, "code": "full", "error": "the holder has as many descriptors as it may"}, []
        if operation == "put" and name and len(fds) == 1:
            self._drop(name)
            self._fds[name] = fds[0]
            return {"ok": True}, []
        close_all(fds)
        if operation == "hello":
            return {"ok": True, "version": VERSION}, []
        if operation == "remove" and name:
            self._drop(name)
            return {"ok": True}, []
        if operation == "take":
            after = request.get("after", "")
            names = sorted(held for held in self._fds if held > str(after))
            return {"ok": True, "names": names[:BATCH], "more": len(names) > BATCH}, [
                self._fds[held] for held in names[:BATCH]
            ]
        if operation == "end":
            self._ended = True
            return {"ok": True}, []
        return {"ok": False, "code": "invalid", "error": "not an operation of the holder"}, []

    def _drop(self, name: str) -> None:
        fd = self._fds.pop(name, None)
        if fd is not None:
            os.close(fd)


def close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _answer(connection: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
    """Who is gone, or sends without reading, goes without answers; what it sent counts all the same."""
    with contextlib.suppress(OSError):
        send_message(connection, message, fds)


def bind(path: Path) -> socket.socket:
    """The holder's socket, not yet listening. A lock beside it, held as long as the holder lives, tells a stale socket
    from a live one."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"holder: another one serves {path}", file=sys.stderr)
        raise SystemExit(EXIT_OTHER) from None
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener


def become_background(listener: socket.socket) -> bool:
    """Forks; False in the parent, once the child listens: the kernel tells who connects whose socket it is. The child
    has a session of its own and none of the parent's streams."""
    listens, told = os.pipe()
    if os.fork():
        os.close(told)
        os.read(listens, 1)
        return False
    listener.listen(16)
    os.close(listens)
    os.close(told)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    return True


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m pyffpf.daemon.holder SOCKET", file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    try:
        listener = bind(path)
    except OSError as error:
        print(f"holder: {path}: {error.strerror}", file=sys.stderr)
        return 1
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if become_background(listener):
        privileges.drop_capabilities(privileges.NONE)
        privileges.set_no_new_privs()
        Holder(listener).run()
        path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
