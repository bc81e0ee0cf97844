# SPDX-License-Identifier: BSD-3-Clause
"""Captures whole packets with a Python module until the frame that ends a replay: `driver.py MODULE INTERFACE END`.

MODULE: pypcap; immediate, which is pypcap without a read timeout, so that nothing but a packet wakes it; pcapy; scapy;
or pyffpf, which on stock libpcap is pypcap. END: the first octets of that frame, in
hexadecimal. "ready" is printed when it captures; then a line for each packet: nanoseconds since 1970, octets.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

SNAP_LEN = 262144
BUFFER_OCTETS = 32 << 20


def say(*words: object) -> None:
    print(*words, flush=True)


def capture_pypcap(interface: str, end: bytes, out: TextIO, immediate: bool = False) -> None:
    import pcap

    handle = pcap.pcap(
        interface,
        snaplen=SNAP_LEN,
        timeout_ms=0 if immediate else 100,
        immediate=immediate,
        timestamp_in_ns=True,
        buffer_size=BUFFER_OCTETS,
    )
    say("ready")
    for stamp, data in handle:
        out.write(f"{stamp} {bytes(data).hex()}\n")
        if bytes(data[: len(end)]) == end:
            break
    handle.close()


def capture_pcapy(interface: str, end: bytes, out: TextIO) -> None:
    import pcapy

    handle = pcapy.create(interface)
    handle.set_snaplen(SNAP_LEN)
    handle.set_promisc(1)
    handle.set_timeout(100)
    handle.set_buffer_size(BUFFER_OCTETS)
    handle.activate()
    say("ready")
    while True:
        header, data = handle.next()
        if header is None:  # the read timeout
            continue
        out.write(f"{header.getts()} {header.getlen()} {data.hex()}\n")
        if data.startswith(end):
            break
    handle.close()


def capture_scapy(interface: str, end: bytes, out: TextIO) -> None:
    from scapy.config import conf

    conf.use_pcap = True
    conf.verb = 0
    conf.bufsize = BUFFER_OCTETS
    from scapy.packet import Raw
    from scapy.sendrecv import sniff

    for link_type in list(conf.l2types.num2layer):
        conf.l2types.register(link_type, Raw)
    packets = sniff(
        iface=interface,
        stop_filter=lambda packet: bytes(packet).startswith(end),
        started_callback=lambda: say("ready"),
    )
    for packet in packets:
        out.write(f"{bytes(packet).hex()}\n")


def capture_pyffpf(interface: str, end: bytes, out: TextIO) -> None:
    if "FFPF_STATS" not in os.environ:
        capture_pypcap(interface, end, out)
        return
    import pyffpf

    with pyffpf.open(interface, buffer_size=BUFFER_OCTETS) as capture:
        say("ready")
        for packet in capture:
            data = bytes(packet)
            out.write(f"{packet.ts_ns} {data.hex()}\n")
            if data.startswith(end):
                break
        counted = capture.statistics
        words = f"seen={counted.seen} filtered={counted.filtered} delivered={counted.delivered}"
        with Path(os.environ["FFPF_STATS"]).open("a") as stats:  # the library writes its line at the end of a program
            stats.write(f"ffpf: engine={capture.engine} handles=1 {words} dropped={counted.dropped}\n")


def capture_immediate(interface: str, end: bytes, out: TextIO) -> None:
    capture_pypcap(interface, end, out, immediate=True)


CAPTURES = {
    "pypcap": capture_pypcap,
    "immediate": capture_immediate,
    "pcapy": capture_pcapy,
    "scapy": capture_scapy,
    "pyffpf": capture_pyffpf,
}
with Path("packets.txt").open("w") as written:
    CAPTURES[sys.argv[1]](sys.argv[2], bytes.fromhex(sys.argv[3]), written)
