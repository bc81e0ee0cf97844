# SPDX-License-Identifier: BSD-3-Clause
"""A netfilter rule that logs what this network namespace sends, written to the kernel as nfnetlink messages.

Source: linux/netfilter/nf_tables.h and nfnetlink.h, Linux 6.1.
"""

from __future__ import annotations

import itertools
import socket
import struct

NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_APPEND = 1, 4, 0x400, 0x800
NLMSG_ERROR = 2
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE = 0, 3, 6
NF_INET_LOCAL_OUT = 3
NESTED = 0x8000


def attribute(kind: int, value: bytes) -> bytes:
    octets = struct.pack("=HH", 4 + len(value), kind) + value
    return octets.ljust((len(octets) + 3) & ~3, b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))


def message(kind: int, flags: int, sequence: int, family: int, resource: int, payload: bytes = b"") -> bytes:
    body = struct.pack("!BBH", family, 0, resource) + payload
    return struct.pack("=IHHII", 16 + len(body), kind, flags | NLM_F_REQUEST, sequence, 0) + body


def log_what_is_sent(group: int = 0) -> None:
    """Every IPv4 packet sent from now on goes to the log group. OSError when the kernel refuses."""
    numbers = itertools.count()

    def change(kind: int, *attributes: bytes) -> bytes:
        flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND
        return message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, next(numbers), socket.AF_INET, 0, b"".join(attributes))

    hook = nested(4, attribute(1, struct.pack("!I", NF_INET_LOCAL_OUT)), attribute(2, struct.pack("!i", 0)))
    log = nested(1, attribute(1, b"log\0"), nested(2, attribute(1, struct.pack("!H", group))))
    batch = b"".join([
        message(NFNL_MSG_BATCH_BEGIN, 0, next(numbers), 0, NFNL_SUBSYS_NFTABLES),
        change(NFT_MSG_NEWTABLE, attribute(1, b"ffpf\0")),
        change(NFT_MSG_NEWCHAIN, attribute(1, b"ffpf\0"), attribute(3, b"sent\0"), hook, attribute(7, b"filter\0")),
        change(NFT_MSG_NEWRULE, attribute(1, b"ffpf\0"), attribute(2, b"sent\0"), nested(4, log)),
        message(NFNL_MSG_BATCH_END, 0, next(numbers), 0, NFNL_SUBSYS_NFTABLES),
    ])  # fmt: skip
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as channel:
        channel.bind((0, 0))
        channel.send(batch)
        for _ in range(3):  # one answer for each change
            _, kind, _, _, _, error = struct.unpack_from("=IHHIIi", channel.recv(65536))
            if kind == NLMSG_ERROR and error:
                raise OSError(-error, "the kernel refuses the logging rule")
