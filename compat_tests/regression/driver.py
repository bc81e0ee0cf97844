# SPDX-License-Identifier: BSD-3-Clause
"""Captures whole packets with a Python module until the frame that ends a replay: `driver.py MODULE INTERFACE END`.

MODULE: pypcap; immediate, which is pypcap without a read timeout, so that nothing but a packet wakes it; pcapy; scapy;
or pyffpf, which on stock libpcap is pypcap. END: the first octets of that frame, in hexadecimal.

"ready" is printed when it captures; packets are written into the savefile `out` (nanoseconds; a module that does not
tell the length on the wire has the captured one there). At the end what the module says of its statistics is printed:
packets received, and dropped.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

SNAP_LEN = 262144
BUFFER_OCTETS = 32 << 20
NS_PER_S = 10**9

Packet = tuple[int, int, bytes]  # nanoseconds since 1970, octets on the wire, octets


def say(*words: object) -> None:
    print(*words, flush=True)


def capture_pypcap(interface: str, end: bytes, immediate: bool = False) -> Iterator[Packet]:
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
        octets = bytes(data)
        yield stamp, len(octets), octets
        if octets.startswith(end):
            break
    received, dropped, _ = handle.stats()
    say("received", received, "dropped", dropped)
    handle.close()


def capture_pcapy(interface: str, end: bytes) -> Iterator[Packet]:
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
        seconds, micros = header.getts()
        yield seconds * NS_PER_S + micros * 1000, header.getlen(), data
        if data.startswith(end):
            break
    received, dropped, _ = handle.stats()
    say("received", received, "dropped", dropped)
    handle.close()


def capture_scapy(interface: str, end: bytes) -> Iterator[Packet]:
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
        yield round(packet.time * NS_PER_S), packet.wirelen or len(packet), bytes(packet)


def capture_pyffpf(interface: str, end: bytes) -> Iterator[Packet]:
    if "FFPF_STATS" not in os.environ:
        yield from capture_pypcap(interface, end)
        return
    import pyffpf

    with pyffpf.open(interface, buffer_size=BUFFER_OCTETS) as capture:
        say("ready")
        for packet in capture:
            octets = bytes(packet)
            yield packet.ts_ns, len(octets), octets
            if octets.startswith(end):
                break
        counted = capture.statistics
        say("received", counted.seen, "dropped", counted.dropped)
        words = f"seen={counted.seen} filtered={counted.filtered} delivered={counted.delivered}"
        with Path(os.environ["FFPF_STATS"]).open("a") as stats:  # the library writes its line at the end of a program
            stats.write(f"ffpf: engine={capture.engine} handles=1 {words} dropped={counted.dropped}\n")


def capture_immediate(interface: str, end: bytes) -> Iterator[Packet]:
    return capture_pypcap(interface, end, immediate=True)


CAPTURES = {
    "pypcap": capture_pypcap,
    "immediate": capture_immediate,
    "pcapy": capture_pcapy,
    "scapy": capture_scapy,
    "pyffpf": capture_pyffpf,
}


def main(module: str, interface: str, end: str) -> None:
    with Path("out").open("wb") as out:
        out.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAP_LEN, 1))
        for stamp, wire_len, data in CAPTURES[module](interface, bytes.fromhex(end)):
            out.write(struct.pack("=IIII", *divmod(stamp, NS_PER_S), len(data), wire_len) + data)


if __name__ == "__main__":
    main(*sys.argv[1:])
