# SPDX-License-Identifier: BSD-3-Clause
"""Runs of which stock's lost packets: what can still be asked of what both have seen."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compat_tests.harness import Outcome
from compat_tests.regression import measure
from compat_tests.regression.measure import Seen

# as tcpdump, dumpcap, softflowd, driver.py, daq_driver.c, snort and suricata say it
LOST = re.compile(
    rb"(\d+) packets? dropped by kernel|packets dropped by libpcap: (\d+)|^(\d+) packets? dropped|"
    rb"^received \d+ dropped (\d+)|^stats 0 hw received \d+ hw dropped (\d+).*\nstop|"
    rb"^(?:drops|Dropped|dropped): +(\d+)",
    re.M,
)


@dataclass(frozen=True)
class Said:
    """Packets that each of both runs says it lost; and those that did not reach FFPF's engine."""

    stock: int
    ffpf: int
    before: int = 0

    def __str__(self) -> str:
        before = f", before it: {self.before}" if self.before else ""
        return f"lost on stock: {self.stock}, on ffpf: {self.ffpf}{before}"


def lost(outcome: Outcome) -> int:
    """Packets that this run itself says it lost; on FFPF what FFPF says, if that is more."""
    said = sum(int(number) for found in LOST.findall(outcome.stdout + outcome.stderr) for number in found if number)
    return max(said, outcome.total("dropped"))


def beside(stock: Outcome, ffpf: Outcome, said: Said) -> list[str]:
    """What differs beside the losses, where both wrote savefiles: the packets that both have must stand in the same
    order, and neither may lack more than was lost."""
    one, other = measure.packets(stock), measure.packets(ffpf)
    if one is None or other is None:
        return []
    both = set(one) & set(other)
    found = []
    if in_common(one, both) != in_common(other, both):
        found.append("packets that both have seen stand in another order, or another number of times")
    for name, has, dropped in (("stock", other, said.stock), ("ffpf", one, said.ffpf + said.before)):
        missing = len(has) - len(in_common(has, both))
        if missing > dropped:
            found.append(f"{missing} packets are missing on {name}, which lost {dropped}")
    return found


def in_common(packets: list[Seen], both: set[Seen]) -> list[Seen]:
    return [packet for packet in packets if packet in both]
