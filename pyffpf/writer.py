# SPDX-License-Identifier: BSD-3-Clause
"""Writing savefiles: pcap with nanoseconds or microseconds, and pcapng.

Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng, in this machine's byte order.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import IO

import numpy as np

from pyffpf._core import lib
from pyffpf.batch import Batch
from pyffpf.closing import Closing
from pyffpf.packet import Packet

MAGIC_US, MAGIC_NS = 0xA1B2C3D4, 0xA1B23C4D
SECTION, INTERFACE, ENHANCED, BYTE_ORDER_MAGIC = 0x0A0D0D0A, 1, 6, 0x1A2B3C4D
IF_TSRESOL, NANOSECONDS = 9, 9


class Writer(Closing):
    """A savefile that is being written; a context manager.

    target: a path, which is overwritten, or a file object for octets, which stays open. link_type: DLT_ value of all
    packets. format: "pcap" or "pcapng". nanoseconds=False writes pcap with microseconds, for readers of old; what is
    less is cut off. Raises OSError.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | IO[bytes],
        link_type: int = 1,
        *,
        format: str = "pcap",
        nanoseconds: bool = True,
        snaplen: int = 262144,
    ) -> None:
        if format not in ("pcap", "pcapng"):
            raise ValueError(f"no format {format!r}: pcap or pcapng")
        self._own = isinstance(target, str | os.PathLike)
        self._file: IO[bytes] = open(target, "wb") if isinstance(target, str | os.PathLike) else target  # noqa: SIM115, PTH123 (closed by close)
        self.link_type = link_type
        self.packets = 0
        self._pcapng = format == "pcapng"
        self._divisor = 1 if nanoseconds or self._pcapng else 1000
        number = lib.ffpf_dlt_to_linktype(link_type)
        if self._pcapng:
            resolution = struct.pack("=HHBxxxHH", IF_TSRESOL, 1, NANOSECONDS, 0, 0)
            self._file.write(_block(SECTION, struct.pack("=IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)))
            self._file.write(_block(INTERFACE, struct.pack("=HHI", number, 0, snaplen) + resolution))
        else:
            magic = MAGIC_NS if nanoseconds else MAGIC_US
            self._file.write(struct.pack("=IHHiIII", magic, 2, 4, 0, 0, snaplen, number))

    def write(self, data: bytes | Packet, ts_ns: int = 0, wire_len: int | None = None) -> None:
        """Writes one packet: of a capture as it is, or octets with their time in ns since 1970 and their length on the
        wire (None: that of data). Raises ValueError when a packet has another link type than the file, or a time that
        the format has no place for (pcap: before 1970 or after 2106)."""
        if isinstance(data, Packet):
            self._check(data.link_type)
            ts_ns, wire_len, data = data.ts_ns, data.len, data.data
        self._file.write(self._record(data, ts_ns, len(data) if wire_len is None else wire_len))
        self.packets += 1

    def write_batch(self, packets: Batch | Iterable[Packet]) -> None:
        """Writes all packets of a batch, or any others, together."""
        if not isinstance(packets, Batch):
            for packet in packets:
                self.write(packet)
            return
        self._check(packets.link_type)
        octets = packets.octet_bytes
        columns = zip(packets.starts, packets.ends, packets.times, packets["len"].tolist(), strict=True)
        self._file.write(b"".join(self._record(octets[start:end], ts, length) for start, end, ts, length in columns))
        self.packets += len(packets)

    def _check(self, link_type: int) -> None:
        if link_type != self.link_type:
            raise ValueError(f"a packet of link type {link_type} in a file of link type {self.link_type}")

    def _record(self, data: bytes, ts_ns: int, wire_len: int) -> bytes:
        if self._pcapng:
            ticks = ts_ns & 0xFFFFFFFFFFFFFFFF
            head = struct.pack("=IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire_len)
            return _block(ENHANCED, head + data + bytes(-len(data) % 4))
        seconds, rest = divmod(ts_ns, 1_000_000_000)
        if not 0 <= seconds <= np.iinfo(np.uint32).max:
            raise ValueError(f"pcap has no place for the time {seconds} s")
        return struct.pack("=IIII", seconds, rest // self._divisor, len(data), wire_len) + data

    def close(self) -> None:
        """Writes what is still in memory; closes a file that was opened by its path."""
        if self._own:
            self._file.close()
        elif not self._file.closed:
            self._file.flush()


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("=II", kind, length) + body + struct.pack("=I", length)
