# SPDX-License-Identifier: BSD-3-Clause
"""The captures that every offline comparison reads, and what stock libpcap says of each."""

from __future__ import annotations

import functools
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compat_tests import harness


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
