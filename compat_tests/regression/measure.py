# SPDX-License-Identifier: BSD-3-Clause
"""How much a tool saw, read from what it left behind: packets, octets, and whether their times go forwards."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from compat_tests import pcapfile, pcapngfile
from compat_tests.harness import Outcome


@dataclass(frozen=True)
class Measured:
    """packets and octets, as on the wire; None: this tool writes no savefile. backwards: packets that are older than
    the one before."""

    packets: int | None = None
    octets: int | None = None
    backwards: int | None = None

    def __str__(self) -> str:
        if self.packets is None:
            return "-"
        back = f", {self.backwards} back in time" if self.backwards else ""
        return f"{self.packets} packets, {self.octets} octets{back}"


UNKNOWN = Measured()


@dataclass(frozen=True)
class Seen:
    """A packet as a savefile has it: time in that file's units, octets on the wire, octets that were kept."""

    time: int
    wire: int
    data: bytes


def savefile(content: bytes) -> list[Seen] | None:
    """Its packets; None when it is no savefile."""
    if pcapfile.is_savefile(content):
        return [Seen(r.seconds * 10**9 + r.fraction, r.wire, r.data) for r in pcapfile.records(content)]
    if pcapngfile.is_pcapng(content):
        return [Seen(packet.time, packet.wire, packet.data) for packet in pcapngfile.packets(content)]
    return None


def packets(outcome: Outcome) -> list[Seen] | None:
    """What a run wrote as a savefile; None when it wrote none."""
    for name in sorted(outcome.files):
        found = savefile(outcome.files[name])
        if found is not None:
            return found
    return None


def measured(outcome: Outcome) -> Measured:
    found = packets(outcome)
    if found is None:
        return UNKNOWN
    times = [one.time for one in found]
    backwards = sum(later < earlier for earlier, later in itertools.pairwise(times))
    return Measured(len(found), sum(one.wire for one in found), backwards)
