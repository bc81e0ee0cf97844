# SPDX-License-Identifier: BSD-3-Clause
"""For tests: the part of a service manager that keeps descriptors, as systemd.service(5) and sd_notify(3) tell it."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from types import TracebackType

from pyffpf.daemon.fdstore import SystemdStore
from pyffpf.daemon.notify import Notifier


class FakeManager:
    """A context manager. `held` is what it keeps, `said` every other message."""

    def __init__(self, path: Path, limit: int = 4096) -> None:
        self.held: dict[str, int] = {}
        self.said: list[str] = []
        self._path = path
        self._limit = limit
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._read = threading.Condition()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> FakeManager:
        self._socket.bind(str(self._path))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
            telling.sendto(b"", str(self._path))
        self._thread.join()
        self._socket.close()
        for fd in self.held.values():
            os.close(fd)

    def settle(self) -> None:
        """Until everything that was sent so far is read: what a manager does before it looks who died."""
        marker = f"X-SETTLE={os.urandom(8).hex()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
            telling.sendto(marker.encode(), str(self._path))
        with self._read:
            assert self._read.wait_for(lambda: marker in self.said, 10)
            self.said.remove(marker)

    def start_service(self) -> SystemdStore:
        """The store of a process that is started with all that is held now: settle() first."""
        inherited = {name: os.dup(fd) for name, fd in self.held.items()}
        return SystemdStore(Notifier(str(self._path)), inherited, self._limit)

    def _run(self) -> None:
        while True:
            data, fds, _, _ = socket.recv_fds(self._socket, 4096, 8)
            if not data:
                return
            lines = data.decode().split("\n")
            fields = dict(line.partition("=")[::2] for line in lines)
            with self._read:
                if fields.get("FDSTORE") == "1":
                    self._store(fields, fds)
                elif fields.get("FDSTOREREMOVE") == "1":
                    os.close(self.held.pop(fields["FDNAME"]))
                else:
                    self.said.extend(lines)
                self._read.notify_all()

    def _store(self, fields: dict[str, str], fds: list[int]) -> None:
        # Without FDPOLL=0 a manager drops what polls as hung up, which maps do.
        assert fields["FDPOLL"] == "0" and len(fds) == 1 and fields["FDNAME"] not in self.held
        assert len(self.held) < self._limit
        self.held[fields["FDNAME"]] = fds[0]
