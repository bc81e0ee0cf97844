# SPDX-License-Identifier: BSD-3-Clause
"""A process that starts groups' workers (pyffpf/worker.py), since ffpfd itself may not become another user.

    main --fork, before the rights are dropped--> starter: CAP_SETUID and CAP_SETGID, and nothing else
    ffpfd --{"gid", "group"} + 2 descriptors--> starter --> python -m pyffpf.worker     {"pid"} or {"error"}

Where ffpfd is not started by root a worker has ffpfd's own user and group. The starter ends with ffpfd, workers do not.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path

from pyffpf.daemon import privileges, transport
from pyffpf.daemon.privileges import Cap

RIGHTS = frozenset({Cap.SETUID, Cap.SETGID})
TIMEOUT_S = 10.0
NOBODY = 65534  # also of the group of root, whose files are not a worker's business
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "FFPF_FPLC", "FFPF_FPL_PATH", "ASAN_OPTIONS")  # of the environment


class StartError(Exception):
    """There is no worker; the text is for people."""


class Starter:
    """ffpfd's side. Calls block, and are made by one thread at a time."""

    def __init__(self, connection: socket.socket, pid: int, uid: int) -> None:
        """uid: of the workers that it starts."""
        connection.settimeout(TIMEOUT_S)
        self.uid = uid
        self._connection = connection
        self.pid = pid

    @classmethod
    def fork(cls, user: str) -> Starter:
        """To be called before rights are dropped and before any thread. user: whom root's workers become; nobody, when
        there is none of that name."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        uid = _uid(user)
        pid = os.fork()
        if pid:
            theirs.close()
            return cls(ours, pid, uid if uid >= 0 else os.geteuid())
        try:
            ours.close()
            _serve(theirs, uid)
        finally:
            os._exit(0)

    def start(self, gid: int, group: str, asks: int, commands: int) -> int:
        """The worker's pid. The descriptors stay the caller's. StartError."""
        try:
            transport.send(self._connection, json.dumps({"gid": gid, "group": group}).encode(), [asks, commands])
            data = transport.receive(self._connection).data
        except OSError as error:
            raise StartError(f"no worker can be started: {error}") from error
        answer = json.loads(data) if data else {"error": "who starts them has ended"}
        if "pid" not in answer:
            raise StartError(f"no worker can be started: {answer['error']}")
        return int(answer["pid"])

    def close(self) -> None:
        self._connection.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _uid(user: str) -> int:
    """-1: a worker stays who ffpfd is."""
    if os.geteuid() != 0:
        return -1
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return NOBODY


def _serve(connection: socket.socket, uid: int) -> None:
    """Until ffpfd closes its end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers
    _close_but(connection.fileno())
    privileges.set_no_new_privs()
    with contextlib.suppress(privileges.PrivilegeError):  # without CAP_SETPCAP there are only ambient ones to give up
        privileges.drop_bounding(RIGHTS, secure=False)
    privileges.drop_capabilities(RIGHTS)
    while True:
        datagram = transport.receive(connection)
        if not datagram.data:
            return
        try:
            answer: dict[str, object] = {"pid": _start(json.loads(datagram.data), datagram.descriptors, uid)}
        except (OSError, ValueError, KeyError) as error:
            answer = {"error": str(error)}
        transport.close_all(datagram.descriptors)
        transport.send(connection, json.dumps(answer).encode())


def _close_but(kept: int) -> None:
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 1 << 16)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)


def _start(said: dict[str, object], fds: list[int], uid: int) -> int:
    asks, commands = fds
    gid = int(str(said["gid"])) or NOBODY
    command = [sys.executable, "-P", "-m", "pyffpf.worker", str(asks), str(commands), str(uid), str(gid),
               str(said["group"])]  # fmt: skip
    environ = {name: os.environ[name] for name in KEPT if name in os.environ} | {"OPENBLAS_NUM_THREADS": "1"}
    devnull = subprocess.DEVNULL
    child = subprocess.Popen(command, env=environ, cwd=Path("/"), pass_fds=fds, start_new_session=True, stdin=devnull,
                             stdout=devnull, stderr=devnull)  # fmt: skip
    child.returncode = 0  # it is nobody's to wait for
    return child.pid
