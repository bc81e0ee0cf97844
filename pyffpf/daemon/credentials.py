# SPDX-License-Identifier: BSD-3-Clause
"""Who is at the other end of a connection: as the kernel recorded it when the connection was made.

A tool that drops its rights afterwards keeps what its connection was granted: tcpdump becomes another user before it
sets its filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from dataclasses import dataclass

# include/uapi/asm-generic/socket.h, Linux 6.1; the socket module has no names for them.
SO_PEERGROUPS = 59
SO_NETNS_COOKIE = 71

_UCRED = struct.Struct("iII")
_GROUPS_MAX = 65536  # NGROUPS_MAX, include/uapi/linux/limits.h

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Peer:
    """`groups` are all of the process's groups, the effective one included."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]
    netns_cookie: int


def netns_cookie(sock: socket.socket) -> int:
    """The network namespace that the socket was made in: for an accepted socket, that of who connected."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")


def own_netns_cookie() -> int:
    """That of the namespace that this thread is in. Not the listening socket's: a service manager made it elsewhere."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as fresh:
        return netns_cookie(fresh)


def _peer_groups(sock: socket.socket) -> frozenset[int]:
    room = 64
    while True:
        groups = (ctypes.c_uint32 * room)()
        length = ctypes.c_uint32(ctypes.sizeof(groups))
        # By ctypes: the socket module passes buffers of 1024 octets at most, and a user may be in more groups.
        if not _libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, SO_PEERGROUPS, groups, ctypes.byref(length)):
            return frozenset(groups[: length.value // 4])
        error = ctypes.get_errno()
        if error != errno.ERANGE or room > _GROUPS_MAX:
            raise OSError(error, f"groups of the peer: {os.strerror(error)}")
        room *= 4


def peer_of(sock: socket.socket) -> Peer:
    """Of an accepted UNIX socket; OSError when the kernel will not say, and then nobody is trusted."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid, gid, _peer_groups(sock) | {gid}, netns_cookie(sock))
