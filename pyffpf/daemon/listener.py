# SPDX-License-Identifier: BSD-3-Clause
"""The socket that ffpfd listens on: made, checked and removed; and where metrics may be served."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from pathlib import Path

BACKLOG = 128


class ListenError(Exception):
    """The socket cannot be had; the text names the path and the reason."""


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at `path`, whose folder is made if need be. A socket that nobody answers on is replaced. It
    appears there when it can be connected to, by everybody who may."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.is_socket() and _answers(path):
            raise ListenError(f"{path}: another ffpfd answers there")
        if path.exists() and not path.is_socket():
            raise ListenError(f"{path}: that is no socket")
        fresh.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.bind(str(fresh))
            fresh.chmod(mode)
            made.listen(BACKLOG)
            fresh.rename(path)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror or error}") from error
    return made


def adopt(descriptor: int) -> socket.socket:
    """A listening socket that was made by somebody else: systemd, or an ffpfd before this one."""
    made = socket.socket(fileno=descriptor)
    if made.family != socket.AF_UNIX or made.type != socket.SOCK_SEQPACKET:
        made.detach()
        raise ListenError(f"descriptor {descriptor} is no UNIX socket of type SEQPACKET")
    made.setblocking(False)
    os.set_inheritable(descriptor, False)
    return made


def remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def loopback_address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:9750", "[::1]:9750" or "localhost:9750". ValueError for any other machine: who may
    see the metrics elsewhere is for a web server with authentication to decide."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r}: expected HOST:PORT, as in 127.0.0.1:9750")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if host == "localhost":
        host = "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r}: {host!r} is not an address of this machine's loopback interface") from None
    if not address.is_loopback:
        raise ValueError(f"{text!r}: metrics are served on loopback only, and {host} is another address")
    return str(address), int(port)
