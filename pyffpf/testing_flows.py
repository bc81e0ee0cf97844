# SPDX-License-Identifier: BSD-3-Clause
"""Packets for tests of flows, and graph text that reads them."""

from __future__ import annotations

from pathlib import Path

from compat_tests import capture_packets as packets
from compat_tests.capture_files import PcapFormat, stamped

TCP, UDP = 30, 12


def frames(tcp: int = TCP, udp: int = UDP) -> list[bytes]:
    """TCP packets, and after every few of them a datagram."""
    one = [packets.ethernet(packets.tcp4(b"t" * n, sport=1000 + n)) for n in range(tcp)]
    other = [packets.ethernet(packets.udp4(b"u" * n)) for n in range(udp)]
    step = max(1, len(one) // max(1, len(other)))
    for number, frame in enumerate(other):
        one.insert((step + 1) * number, frame)
    return one


def is_tcp(frame: bytes) -> bool:
    return frame[23] == 6


def savefile(folder: Path) -> Path:
    """All of them, in a file whose name needs quotation marks."""
    path = folder / "some file.pcap"
    path.write_bytes(PcapFormat().file(stamped(frames())))
    return path


def text(capture: Path, rest: str) -> str:
    return f'(device,"{capture}") -> {rest}'
