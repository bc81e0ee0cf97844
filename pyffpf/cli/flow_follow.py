# SPDX-License-Identifier: BSD-3-Clause
"""Packets on standard output: a line each, or a pcap file with times in nanoseconds.

A line: local time, length on the wire, who speaks to whom, and the classification result, where a filter gave one that
says more than that the packet passes:

    10:15:42.123456789  60  tcp 10.0.0.1:1024 -> 10.0.0.2:80
"""

from __future__ import annotations

import struct
import time
from typing import BinaryIO, Protocol

import numpy as np

from pyffpf import tuples
from pyffpf.batch import Batch

BATCH_ROWS = 4096
PCAP_MAGIC_NS = 0xA1B23C4D
SNAPLEN = 262144
PASSES = (0xFFFFFFFF, 1, 65535, 262144)  # no filter; a filter that says yes; what BPF says for "all of it"


class Writer(Protocol):
    """Where followed packets go."""

    def write(self, batch: Batch) -> None: ...

    def close(self) -> None: ...


class TextWriter:
    """Lines; each batch is flushed."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._second = -1
        self._clock = ""

    def write(self, batch: Batch) -> None:
        lines = []
        columns = (batch[name].tolist() for name in ("ts_ns", "len", "caplen", "result"))
        for speaker, ts_ns, length, captured, result in zip(tuples.texts(batch), *columns, strict=True):
            seconds, ns = divmod(ts_ns, 1_000_000_000)
            if seconds != self._second:
                self._second, self._clock = seconds, time.strftime("%H:%M:%S", time.localtime(seconds))
            said = "" if result in PASSES else f"  result {result}"
            cut = "" if captured == length else f" (captured {captured})"
            lines.append(f"{self._clock}.{ns:09}  {length}{cut}  {speaker}{said}\n")
        self._output.write("".join(lines).encode())
        self._output.flush()

    def close(self) -> None:
        self._output.flush()


class PcapWriter:
    """A pcap file; its link type is that of the first packet, and packets of another are refused."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._link_type: int | None = None

    def write(self, batch: Batch) -> None:
        if not len(batch):
            return
        self.begin(batch.link_type)
        if batch.link_type != self._link_type:
            raise OSError(
                0, f"a pcap file has one link type: {self._link_type}, and here are packets of {batch.link_type}"
            )
        heads = np.empty((len(batch), 4), np.uint32)
        heads[:, 0], heads[:, 1] = np.divmod(batch["ts_ns"], 1_000_000_000)
        heads[:, 2], heads[:, 3] = batch["caplen"], batch["len"]
        headers, octets = heads.tobytes(), batch.octet_bytes
        pieces: list[bytes] = []
        for row, (start, end) in enumerate(zip(batch.starts, batch.ends, strict=True)):
            pieces += (headers[16 * row : 16 * row + 16], octets[start:end])
        self._output.write(b"".join(pieces))
        self._output.flush()

    def close(self) -> None:
        self.begin(1)  # without a packet it is a pcap file too
        self._output.flush()

    def begin(self, link_type: int) -> None:
        """Writes the file's header, once: for readers that wait for it before there is a packet."""
        if self._link_type is None:
            self._link_type = link_type
            self._output.write(struct.pack("=IHHiIII", PCAP_MAGIC_NS, 2, 4, 0, 0, SNAPLEN, _on_file(link_type)))
            self._output.flush()


def _on_file(link_type: int) -> int:
    """LINKTYPE_ of a DLT_: they differ for raw IP alone among those that Linux captures."""
    return 101 if link_type == 12 else link_type


def writer(form: str, output: BinaryIO) -> Writer:
    """form: "text" or "pcap"."""
    return PcapWriter(output) if form == "pcap" else TextWriter(output)
