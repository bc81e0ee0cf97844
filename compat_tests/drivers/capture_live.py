# SPDX-License-Identifier: BSD-3-Clause
"""Captures live through a Python module: `capture_live.py MODULE INTERFACE FILTER COUNT`; one line a packet.

MODULE: pypcap, pcapy, or scapy (with conf.use_pcap, that is ctypes over libpcap). "ready" is printed when it captures.
"""

from __future__ import annotations

import sys


def say(*words: object) -> None:
    print(*words, flush=True)


def capture_pypcap(interface: str, text: str, count: int) -> None:
    import pcap

    handle = pcap.pcap(interface, snaplen=200, timeout_ms=100, timestamp_in_ns=True)
    handle.setfilter(text)
    say("datalink", handle.datalink(), "nonblocking", handle.getnonblock(), "fd", handle.fd > 2)
    say("ready")
    for number, (stamp, data) in enumerate(handle, 1):
        say(stamp, bytes(data).hex())
        if number == count:
            break
    say("stats", handle.stats())
    handle.setdirection(pcap.PCAP_D_IN)
    handle.setnonblock(True)
    say("dispatched", handle.dispatch(-1, lambda *_: None))
    handle.close()


def capture_pcapy(interface: str, text: str, count: int) -> None:
    import pcapy

    handle = pcapy.open_live(interface, 200, True, 100)
    handle.setfilter(text)
    say("datalink", handle.datalink(), "net", handle.getnet(), "mask", handle.getmask())
    say("ready")
    while count:
        header, data = handle.next()
        if header is None:  # the read timeout
            continue
        count -= 1
        say(header.getts(), header.getcaplen(), header.getlen(), data.hex())
    say("stats", handle.stats())
    handle.close()


def capture_scapy(interface: str, text: str, count: int) -> None:
    from scapy.config import conf

    conf.use_pcap = True
    conf.verb = 0
    from scapy.packet import Raw
    from scapy.sendrecv import sniff

    for link_type in list(conf.l2types.num2layer):
        conf.l2types.register(link_type, Raw)
    packets = sniff(iface=interface, filter=text, count=count, started_callback=lambda: say("ready"))
    for packet in packets:
        say(bytes(packet).hex())


CAPTURES = {"pypcap": capture_pypcap, "pcapy": capture_pcapy, "scapy": capture_scapy}
CAPTURES[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
