# SPDX-License-Identifier: BSD-3-Clause
"""How a savefile is replayed, as the administrator writes it: [source.NAME] of the configuration.

file = "/srv/captures/monday.pcap"
rate = "1x"            # times as fast as recorded; or "20000 pps", "100 Mbit/s", "full"
loops = 3              # or "forever"
times = "recorded"     # or "now"
lossless = true        # SRP: waits for slow readers ...
patience_ms = 1000     # ... so long for one packet
readers = 2            # begins when so many flows are open
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOREVER = 2**64 - 1
_UNITS = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9}
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?(x|pps|bit/s|kbit/s|Mbit/s|Gbit/s)")


@dataclass(frozen=True)
class Rate:
    """pace: "full", "recorded" (value: times as fast), "packets" (a second) or "bits" (a second)."""

    pace: str
    value: float = 1.0


@dataclass(frozen=True)
class Replay:
    """One savefile that clients open by the name of its table."""

    file: Path
    rate: Rate = Rate("recorded")
    loops: int = 1
    times: str = "recorded"
    lossless: bool = False
    patience_ms: int = 1000
    readers: int = 1


def rate(value: object) -> Rate:
    """ValueError for what is none."""
    if value == "full":
        return Rate("full")
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError('must be text such as "1x", "20000 pps", "100 Mbit/s" or "full"')
    if match[2] == "x":
        return Rate("recorded", float(match[1]))
    if match[2] == "pps":
        return Rate("packets", float(match[1]))
    return Rate("bits", float(match[1]) * _UNITS[match[2]])


def loops(value: object) -> int:
    """ValueError for what is no number of times."""
    if value == "forever":
        return FOREVER
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < FOREVER:
        raise ValueError('must be a whole number of at least 1, or "forever"')
    return value


def times(value: object) -> str:
    """ValueError for what does not say which times packets get."""
    if value not in ("recorded", "now"):
        raise ValueError('must be "recorded" or "now"')
    return str(value)


def file(value: object) -> Path:
    """ValueError for what is no absolute path."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("must be an absolute path")
    return Path(value)
