# SPDX-License-Identifier: BSD-3-Clause
"""What is replayed: captures in groups, and the frame that says that a replay is over.

A capture is replayed if an Ethernet interface with the largest MTU takes each of its frames; the others are read as
savefiles in the offline comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compat_tests import captures, harness, live, offline, pcapfile
from compat_tests.capture_files import PcapFormat, Record
from compat_tests.netns import Netns

MTU = 65535  # the most that veth takes: packets as large as GRO makes them
LEAST, MOST = 14, MTU + 14  # octets of a frame, without its check sequence
ETHERNET = 1
LARGEST_FILE = 4 << 20  # octets: a group is to be over in seconds

# An EtherType for experiments (IEEE 802, 88B5), to everybody. The kernel hands it to captures and to nobody else.
END = bytes.fromhex("ffffffffffff 02ffff000001 88b5") + b"ffpf: end of the replay".ljust(46, b"\0")


@dataclass(frozen=True)
class Capture:
    """A savefile and how many frames it has. whole: each packet is as long as its headers say."""

    path: Path
    packets: int
    whole: bool = True

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Group:
    """Captures that are replayed one after the other while the tools run."""

    name: str
    captures: tuple[Capture, ...]

    @property
    def packets(self) -> int:
        return sum(capture.packets for capture in self.captures)

    @property
    def whole(self) -> bool:
        return all(capture.whole for capture in self.captures)

    def whose(self, number: int) -> str:
        """The capture that packet `number` (from 1) of all that are replayed is in, and its number there."""
        left = number
        for capture in self.captures:
            if left <= capture.packets:
                return f"packet {left} of {capture.name}"
            left -= capture.packets
        return "behind all captures"

    def replay(self, ns: Netns, pps: int) -> None:
        """Sends all of it, at that rate, out of the right end; then END."""
        for capture in self.captures:
            live.replay(ns, capture.path, pps=pps)
        ns.send(ns.right, [END])


def readable(path: Path, whole: bool = True) -> Capture | None:
    """The capture, if each of its frames can be sent as it is."""
    content = path.read_bytes() if path.stat().st_size <= LARGEST_FILE else b""
    order = pcapfile.byte_order(content)
    if order is None or int.from_bytes(content[20:24], "little" if order == "<" else "big") != ETHERNET:
        return None
    count = 0
    for record in pcapfile.records(content):
        there = len(record.data) == record.captured
        if not there or not LEAST <= record.captured <= MOST or record.seconds >= 1 << 31:
            return None
        count += 1
    return Capture(path, count, whole) if count else None


# One each of what networks do to packets.
WHOLE = ("mixed", "imix", "jumbo", "fragmented", "ipv6-extensions", "vlan", "qinq", "tunnels", "gro")
CUT = ("malformed", "snapped")


def without_runts(path: Path) -> None:
    """Takes out of a capture of the project's own the frames that are shorter than an Ethernet header."""
    kept = [record for record in pcapfile.records(path.read_bytes()) if record.captured >= LEAST]
    path.write_bytes(PcapFormat().file(Record(one.data, one.wire, one.seconds, one.fraction) for one in kept))


def families(folder: Path) -> list[Group]:
    """The project's own captures, written into the folder: whole packets, and others."""
    made = {path.stem: path for path in captures.write_families(folder)}
    without_runts(made["malformed"])
    groups = []
    for name, members in (("families", WHOLE), ("cut and malformed", CUT)):
        found = [capture for member in members if (capture := readable(made[member], members is WHOLE))]
        assert len(found) == len(members), "a family cannot be replayed"
        groups.append(Group(name, tuple(found)))
    return groups


def shared() -> list[Capture]:
    """The captures beside the project, when they are there; those of whole packets first."""
    found = [capture for path in sorted(harness.SHARED_CAPTURES.glob("*.pcap")) if (capture := readable(path))]
    whole = offline.uncut(tuple(capture.path for capture in found))
    judged = [replace(capture, whole=capture.path in whole) for capture in found]
    return sorted(judged, key=lambda capture: not capture.whole)


def in_groups(name: str, found: Sequence[Capture], packets: int) -> list[Group]:
    """Groups of about so many packets, in order, of whole packets or of others."""
    held: list[list[Capture]] = []
    for capture in found:
        full = not held or sum(one.packets for one in held[-1]) >= packets or held[-1][-1].whole != capture.whole
        if full:
            held.append([])
        held[-1].append(capture)
    return [Group(f"{name} {number}", tuple(members)) for number, members in enumerate(held, 1)]
