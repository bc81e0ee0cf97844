# SPDX-License-Identifier: BSD-3-Clause
"""Datagrams and descriptors on a UNIX SEQPACKET socket: what the server and its clients do alike."""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from pyffpf.daemon import protocol

_INT_BYTES = array.array("i").itemsize
# The kernel passes 253 at most (SCM_MAX_FD, include/net/scm.h, Linux 6.1); all are taken, so that none is left behind.
_ANCILLARY_BYTES = socket.CMSG_SPACE(253 * _INT_BYTES)


@dataclass(frozen=True)
class Datagram:
    """data is empty when the other side has closed. The descriptors belong to whoever received them."""

    data: bytes
    descriptors: list[int]
    truncated: bool


def receive(sock: socket.socket) -> Datagram:
    """One datagram; BlockingIOError and other OSErrors are the caller's."""
    data, ancillary, flags, _ = sock.recvmsg(protocol.MESSAGE_MAX, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, octets in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(octets[: len(octets) - len(octets) % _INT_BYTES])
    return Datagram(data, list(descriptors), bool(flags & socket.MSG_TRUNC))


def send(sock: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """One datagram, whole or not at all."""
    ancillary = []
    if descriptors:
        ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)))
    sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
