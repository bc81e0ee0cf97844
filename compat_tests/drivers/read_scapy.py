# SPDX-License-Identifier: BSD-3-Clause
"""Reads captures through scapy's sniff(offline=...): `read_scapy.py FILTER`, names on standard input."""

from __future__ import annotations

import logging
import sys

logging.getLogger("scapy").setLevel(logging.CRITICAL)

from scapy.config import conf  # noqa: E402  (scapy speaks at import unless it is told before)
from scapy.error import Scapy_Exception  # noqa: E402
from scapy.packet import Packet, Raw  # noqa: E402
from scapy.sendrecv import sniff  # noqa: E402

# Dissection is not what is compared: every link type's packets are octets.
for link_type in list(conf.l2types.num2layer):
    conf.l2types.register(link_type, Raw)
conf.raw_layer = Raw


def show(packet: Packet) -> None:
    print(packet.time, packet.wirelen, bytes(packet).hex())


def read(name: str, text: str) -> None:
    print(name)
    try:
        sniff(offline=name, filter=text or None, prn=show, store=False)
    except (Scapy_Exception, EOFError, ValueError) as error:
        print(f"{type(error).__name__}: {error}")


for line in sys.stdin:
    read(line.rstrip("\n"), sys.argv[1])
