# SPDX-License-Identifier: BSD-3-Clause
"""The captures that every offline comparison reads, and what stock libpcap says of each."""

from __future__ import annotations

import functools
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compat_tests import harness

DRIVERS = Path(__file__).resolve().parent / "drivers"


@functools.cache
def stock_counts(paths: tuple[Path, ...]) -> dict[Path, int]:
    """Packets in each capture that stock tcpdump reads to the end without complaint; the others are left out."""

    def count(path: Path) -> int | None:
        outcome = harness.run(["tcpdump", "-nn", "--count", "-r", str(path)], harness.STOCK)
        found = re.fullmatch(rb"(\d+) packets?\n", outcome.stdout)
        return int(found[1]) if found and outcome.returncode == 0 else None

    with ThreadPoolExecutor(max_workers=harness.PROCESSORS) as pool:
        counts = zip(paths, pool.map(count, paths), strict=True)
        return {path: number for path, number in counts if number is not None}


@functools.cache
def uncut(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Those of the sound captures whose packets were all captured whole, and are not shorter than they say."""
    sound = tuple(path for path in paths if path in stock_counts(paths))
    names = "".join(f"{path}\n" for path in sound).encode()
    outcome = harness.run([sys.executable, str(DRIVERS / "read_pcapy.py"), ""], harness.SYSTEM, stdin=names)
    cut = set()
    path = ""
    for line in outcome.stdout.decode().splitlines():
        packet = re.match(r"\(-?\d+, -?\d+\) (\d+) (\d+) ", line)
        if packet is None:
            path = line.split(" ")[0]
        elif packet[1] != packet[2]:
            cut.add(path)
    return tuple(path for path in sound if str(path) not in cut)
