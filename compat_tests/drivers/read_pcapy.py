# SPDX-License-Identifier: BSD-3-Clause
"""Reads captures through pcapy-ng: `read_pcapy.py FILTER`, names on standard input; one line a packet or an error.

With a third argument, what passes is also written with pcapy's dumper to files named after it and the line's number.
"""

from __future__ import annotations

import sys

import pcapy


def read(name: str, text: str, copy: str | None) -> None:
    try:
        handle = pcapy.open_offline(name)
        print(name, handle.datalink())
        if text:
            handle.setfilter(text)
        dumper = handle.dump_open(copy) if copy else None
        while True:
            header, data = handle.next()
            if header is None:
                break
            if dumper:
                dumper.dump(header, data)
            print(header.getts(), header.getcaplen(), header.getlen(), data.hex())
    except pcapy.PcapError as error:
        print(f"PcapError: {error}")


for number, line in enumerate(sys.stdin):
    read(line.rstrip("\n"), sys.argv[1], f"{sys.argv[2]}-{number}" if len(sys.argv) > 2 else None)
