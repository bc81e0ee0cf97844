# SPDX-License-Identifier: BSD-3-Clause
"""ffpfd's side of the holder process, and the choice between the stores."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyffpf.daemon.fdstore import FdStore, NoStore, StoreBusyError, StoreError, StoreFullError, SystemdStore
from pyffpf.daemon.holder import EXIT_OTHER, close_all, peer_uid, receive_message, send_message
from pyffpf.daemon.notify import Notifier

TIMEOUT_S = 10.0
RETRY_S = 0.02
SYSTEMD_LIMIT = 8192  # FileDescriptorStoreMax= of units/ffpfd.service


class ProcessStore(FdStore):
    """ffpfd's side of a holder process, which it starts when there is none."""

    kind = "process"

    def __init__(self, path: Path) -> None:
        """path: of the holder's socket, in a folder that only this user, or root, can write to."""
        super().__init__()
        self._path = path
        self._given: dict[str, int] = {}  # what a new holder would have to be given
        self._connection = self._connect()

    def _connect(self) -> socket.socket:
        """To the holder that runs, or to a new one. One that is about to end refuses, or hangs up: tried again."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            connection.settimeout(TIMEOUT_S)
            try:
                connection.connect(str(self._path))
                if peer_uid(connection) not in (os.geteuid(), 0):
                    raise StoreError(f"{self._path} belongs to another user's process")
                call(connection, {"op": "hello"})
                return connection
            except OSError as error:
                connection.close()
                if time.monotonic() > end:
                    raise StoreError(f"no holder answers at {self._path}: {error}") from error
            except BaseException:
                connection.close()
                raise
            self._start(end)

    def _start(self, end: float) -> None:
        command = [sys.executable, "-P", "-m", "pyffpf.daemon.holder", str(self._path.absolute())]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if done.returncode == EXIT_OTHER and time.monotonic() < end:
            time.sleep(RETRY_S)
        elif done.returncode != 0:
            raise StoreError(f"the holder does not start: {done.stderr.strip()}")

    def fileno(self) -> int | None:
        return self._connection.fileno()

    def repair(self) -> None:
        """The holder never speaks first, so it has died: a new one is given everything."""
        self._connection.close()
        self._connection = self._connect()
        for name, fd in self._given.items():
            self._call({"op": "put", "name": name}, [fd])

    def close(self) -> None:
        self._connection.close()
        super().close()

    def end(self) -> None:
        """The holder ends, and with it what nobody else has."""
        if self._connection.fileno() >= 0:
            with contextlib.suppress(StoreError):  # it may have ended already
                self._call({"op": "end"}, [])
        self.close()

    def held(self) -> set[str]:
        return set(self._given)

    def _put(self, name: str, fd: int) -> None:
        self._repaired_call({"op": "put", "name": name}, [fd])
        self._given[name] = fd

    def _remove(self, name: str) -> None:
        if name in self._given:
            self._repaired_call({"op": "remove", "name": name}, [])
            del self._given[name]

    def _take(self) -> dict[str, int]:
        taken: dict[str, int] = {}
        after, more = "", True
        while more:
            reply, fds = self._call({"op": "take", "after": after}, [])
            names = reply["names"]
            if len(names) != len(fds):
                close_all(fds)
                raise StoreError("the holder's descriptors do not fit this process: raise its RLIMIT_NOFILE")
            taken.update(zip(names, fds, strict=True))
            after, more = (names[-1] if names else ""), reply["more"]
        self._given = dict(taken)
        return taken

    def _repaired_call(self, request: dict[str, Any], fds: list[int]) -> None:
        try:
            self._call(request, fds)
        except (StoreBusyError, StoreFullError):
            raise
        except StoreError:
            self.repair()
            self._call(request, fds)

    def _call(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        try:
            return call(self._connection, request, fds)
        except OSError as error:
            raise StoreError(f"the holder does not answer: {error}") from error


def call(
    connection: socket.socket, request: dict[str, Any], fds: list[int] | None = None
) -> tuple[dict[str, Any], list[int]]:
    """One question to a holder, and its answer. OSError: it is gone. StoreError: what it objects to."""
    send_message(connection, request, fds or [])
    data, received, _ = receive_message(connection)
    if not data:
        raise ConnectionResetError("it has ended")
    reply: dict[str, Any] = json.loads(data)
    if not reply["ok"]:
        kind = {"busy": StoreBusyError, "full": StoreFullError}.get(reply["code"], StoreError)
        raise kind(reply["error"])
    return reply, received


def open_store(
    kind: str, path: Path, notifier: Notifier, inherited: dict[str, int], environ: Mapping[str, str]
) -> FdStore:
    """kind: "systemd", "process", "none", or "auto": systemd's where it says that there is one (FDSTORE, since 254, or
    FFPF_HOLDER=systemd from our unit), else a process. path: of the process's socket. inherited: stored descriptors
    that came with LISTEN_FDS."""
    if kind == "auto":
        kind = "systemd" if notifier.connected and _systemd_stores(environ) else "process"
    if kind == "systemd":
        if not notifier.connected:
            raise StoreError("systemd's descriptor store is asked for, but there is no NOTIFY_SOCKET")
        limit = environ.get("FDSTORE", "")
        return SystemdStore(notifier, inherited, int(limit) if limit.isdigit() else SYSTEMD_LIMIT)
    close_all(list(inherited.values()))
    if kind == "none":
        return NoStore()
    if kind != "process":
        raise ValueError(f"{kind!r}: a store is systemd, process, none or auto")
    return ProcessStore(path)


def _systemd_stores(environ: Mapping[str, str]) -> bool:
    return environ.get("FDSTORE", "0") != "0" or environ.get("FFPF_HOLDER") == "systemd"
