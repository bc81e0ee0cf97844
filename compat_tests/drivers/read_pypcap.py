# SPDX-License-Identifier: BSD-3-Clause
"""Reads captures through pypcap: `read_pypcap.py FILTER`, names on standard input; one line a packet or an error."""

from __future__ import annotations

import sys

import pcap


def read(name: str, text: str) -> None:
    try:
        handle = pcap.pcap(name, timestamp_in_ns=True)
        print(name, handle.datalink(), handle.snaplen)
        if text:
            handle.setfilter(text)
        for stamp, data in handle:
            print(stamp, bytes(data).hex())
    except Exception as error:
        print(f"{type(error).__name__}: {error}")


for line in sys.stdin:
    read(line.rstrip("\n"), sys.argv[1])
