# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of interfaces: rtnetlink(7), as the kernel tells it to whoever listens."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

# linux/rtnetlink.h, linux/netlink.h, linux/if_link.h, linux/if.h
RTMGRP_LINK = 1
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
NLM_F_REQUEST = 1
NLM_F_DUMP = 0x300
NLMSG_DONE = 3
IFLA_IFNAME = 3
IFF_UP = 1

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, hardware type, index, flags, which flags changed
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_RECEIVE_BYTES = 1 << 16
_QUEUE_BYTES = 1 << 20


@dataclass(frozen=True)
class Link:
    """An interface as it is now; `gone`: it is no more."""

    ifindex: int
    name: str
    up: bool
    gone: bool = False


def parse(data: bytes) -> tuple[list[Link], bool]:
    """The links that netlink messages tell of, and whether a dump ends with them."""
    links: list[Link] = []
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            break
        if kind == NLMSG_DONE:
            return links, True
        if kind in (RTM_NEWLINK, RTM_DELLINK) and length >= _HEADER.size + _LINK.size:
            family, _, ifindex, flags, _ = _LINK.unpack_from(data, _HEADER.size)
            if family == socket.AF_UNSPEC:  # else a bridge tells of a port: RTM_DELLINK there removes no interface
                name = _name(data[_HEADER.size + _LINK.size : length])
                links.append(Link(ifindex, name, bool(flags & IFF_UP), kind == RTM_DELLINK))
        data = data[(length + 3) & ~3 :]
    return links, False


def _name(attributes: bytes) -> str:
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if not _ATTRIBUTE.size <= length <= len(attributes):
            break
        if kind == IFLA_IFNAME:
            return attributes[_ATTRIBUTE.size : length].rstrip(b"\0").decode(errors="replace")
        attributes = attributes[(length + 3) & ~3 :]
    return ""


class LinkWatch:
    """Calls changed(link) on the event loop for each change. A change that was missed, since too many came at once, is
    made up for: all links are asked for anew, and missed(those that are there) is called."""

    def __init__(self, changed: Callable[[Link], None], missed: Callable[[list[Link]], None]) -> None:
        self._changed = changed
        self._missed = missed
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
        self._socket.setblocking(False)
        self._socket.bind((0, RTMGRP_LINK))
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        while True:
            try:
                data, (sender, _) = self._socket.recvfrom(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                log.warning("changes of interfaces were missed: asking anew")
                self._missed(all_links())
                continue
            if sender == 0:  # the kernel: anybody else may send here too
                for link in parse(data)[0]:
                    self._changed(link)


def all_links() -> list[Link]:
    """Every interface of this network namespace."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asking:
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        flags = NLM_F_REQUEST | NLM_F_DUMP
        asking.sendto(_HEADER.pack(_HEADER.size + len(body), RTM_GETLINK, flags, 1, 0) + body, (0, 0))
        links: list[Link] = []
        done = False
        while not done:
            more, done = parse(asking.recv(_RECEIVE_BYTES))
            links += more
    return links
