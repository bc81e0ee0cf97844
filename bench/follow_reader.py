# SPDX-License-Identifier: BSD-3-Clause
"""`python -m bench.follow_reader KIND HOW ENGINE INTERFACE`: follows an interface until its standard input ends.

It says "ready" when it captures, and at the end how many packets it read, and their octets.
KIND: flow, or capture. HOW: batches, rows (no octets), or columns (source and length).
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import pyffpf
from pyffpf.reading import Reading


def read(source: Reading, how: str) -> tuple[int, int]:
    """All packets until it is stopped, and their octets on the wire."""
    packets = octets = 0
    if how == "columns":
        for columns in source.columns("ip.src", "frame.len"):
            packets += len(columns["ip.src"])
            octets += int(columns["frame.len"].data.sum())
    else:
        for batch in source.batches(octets=how == "batches"):
            packets += len(batch)
            octets += int(batch["len"].sum())
    return packets, octets


def stop_at_end_of_input(source: Reading) -> None:
    sys.stdin.read()
    source.stop()


def follow(source: Any, how: str) -> tuple[int, int]:
    print("ready", flush=True)
    threading.Thread(target=stop_at_end_of_input, args=(source,)).start()
    return read(source, how)


def main() -> None:
    kind, how, engine, interface = sys.argv[1:]
    opened = pyffpf.Flow(f"(device,{interface})", engine=engine) if kind == "flow" else pyffpf.open(
        interface, engine=engine)  # fmt: skip
    with opened as source:
        print(*follow(source, how))


if __name__ == "__main__":
    main()
