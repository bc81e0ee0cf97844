# SPDX-License-Identifier: BSD-3-Clause
"""What a service and its manager tell each other: sd_notify(3) and sd_listen_fds(3), without libsystemd.

notifier = Notifier.from_environment(os.environ)      # does nothing when there is no manager
notifier.ready("2 sources")
"""

from __future__ import annotations

import array
import asyncio
import errno
import os
import socket
import time
from collections.abc import MutableMapping, Sequence

FIRST_FD = 3  # SD_LISTEN_FDS_START
RETRY_S = 0.01
RETRIES = 100


class Notifier:
    """Datagrams to the service manager. The order in which they are sent is the one in which they are read."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """address: a path, or "@name" for an abstract one; None: nobody listens. watchdog_s: a sign of life is
        expected this often."""
        self.watchdog_s = watchdog_s
        self._socket: socket.socket | None = None
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            try:
                self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
            except OSError:
                self._socket.close()
                raise

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment: children are not the service."""
        address = environ.pop("NOTIFY_SOCKET", None)
        usec = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        ours = usec.isdigit() and int(usec) > 0 and pid in ("", str(os.getpid()))
        return cls(address or None, int(usec) / 1e6 if ours else None)

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def send(self, *assignments: str, fds: Sequence[int] = ()) -> None:
        """One datagram with these assignments. OSError when there is a manager and it cannot be reached."""
        if self._socket is None:
            return
        data = "\n".join(assignments).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        for retries_left in range(RETRIES, -1, -1):
            try:
                self._socket.sendmsg([data], rights)
                return
            except OSError as error:
                # Too many descriptors are on their way: the manager has not read yet.
                if error.errno != errno.ETOOMANYREFS or not retries_left:
                    raise
            time.sleep(RETRY_S)

    def ready(self, status: str) -> None:
        self.send("READY=1", _status(status))

    def status(self, status: str) -> None:
        self.send(_status(status))

    def reloading(self) -> None:
        """Followed by ready() when the reload is done."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self.send("STOPPING=1")

    def watchdog(self) -> None:
        self.send("WATCHDOG=1")

    async def keep_alive(self) -> None:
        """Sends signs of life for ever, as long as the event loop turns; returns at once when none are expected."""
        while self.watchdog_s is not None and self._socket is not None:
            self.watchdog()
            await asyncio.sleep(self.watchdog_s / 2)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _status(text: str) -> str:
    return "STATUS=" + text.replace("\n", " ")


def inherited_fds(environ: MutableMapping[str, str]) -> list[tuple[str, int]]:
    """The descriptors that the manager started this process with, with their names: activation sockets and what was
    stored. Takes the variables out of the environment, and no child inherits the descriptors."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "")
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    fds = list(range(FIRST_FD, FIRST_FD + int(count)))
    for fd in fds:
        os.set_inheritable(fd, False)
    listed = names.split(":") if names else []
    if len(listed) != len(fds):
        listed = ["unknown"] * len(fds)
    return list(zip(listed, fds, strict=True))
