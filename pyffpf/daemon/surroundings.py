# SPDX-License-Identifier: BSD-3-Clause
"""What ffpfd is started with, and what it makes of it before it serves: descriptors, the manager, its own rights."""

from __future__ import annotations

import os
import pwd
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from pyffpf.daemon import privileges
from pyffpf.daemon.config import DaemonConfig
from pyffpf.daemon.fdstore import FdStore, NoStore
from pyffpf.daemon.holder import close_all
from pyffpf.daemon.holder_store import open_store
from pyffpf.daemon.notify import Notifier, inherited_fds

CONTROL = "control"  # FileDescriptorName= of units/ffpfd.socket
HOLDER_SOCKET = "holder.sock"  # beside ffpfd's own


@dataclass(frozen=True)
class Surroundings:
    """control: the listening socket, when somebody else made it. stored: what the manager's store gave back."""

    notifier: Notifier
    control: int | None
    stored: dict[str, int]
    environ: dict[str, str]

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Surroundings:
        """To be called once: what is about this process alone is taken out of the environment."""
        kept = dict(environ)
        notifier = Notifier.from_environment(environ)
        control: list[int] = []
        stored: dict[str, int] = {}
        for name, fd in inherited_fds(environ):
            if name == CONTROL:
                control.append(fd)
            else:
                stored[name] = fd
        close_all(control[1:])
        return cls(notifier, control[0] if control else None, stored, kept)

    @classmethod
    def none(cls) -> Surroundings:
        return cls(Notifier(None), None, {}, {})

    def store(self, kind: str, socket: Path) -> FdStore:
        """Where descriptors are kept. kind: as in holder_store.open_store. socket: where ffpfd listens. StoreError."""
        if kind == "none":
            close_all(list(self.stored.values()))
            return NoStore()
        return open_store(kind, socket.with_name(HOLDER_SOCKET), self.notifier, self.stored, self.environ)


def drop_privileges(config: DaemonConfig, socket: Path) -> list[str]:
    """Keeps what capturing takes and nothing else; root becomes the configured user, if there is one of that name. To
    be called before any thread is started. The names of capabilities that are needed and were not there.

    The folder of the socket is made first, for that user: where it lies only root may make one."""
    needed = privileges.NETFILTER if config.netfilter else privileges.CAPTURE
    user = config.user if os.geteuid() == 0 and _exists(config.user) else None
    if user is not None and not socket.parent.exists():
        account = pwd.getpwnam(user)
        socket.parent.mkdir(mode=0o755, parents=True)
        os.chown(socket.parent, account.pw_uid, account.pw_gid)
    privileges.drop(needed, user)
    return privileges.missing(needed)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
