# SPDX-License-Identifier: BSD-3-Clause
"""What is replayed: captures in groups, and the frame that says that a replay is over.

A capture is replayed if an Ethernet interface with the largest MTU takes each of its frames; the others are read as
savefiles in the offline comparisons.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from compat_tests import captures, harness, offline, pcapfile
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
    """A savefile and its frames. whole: each packet is as long as its headers say."""

    path: Path
    frames: tuple[bytes, ...] = field(repr=False, compare=False)
    whole: bool = True

    @property
    def packets(self) -> int:
        return len(self.frames)

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

    def replay(self, ns: Netns, pps: int) -> int:
        """Sends all of it, at that rate, out of the right end; then END. How many packets/s it was."""
        with harness.scratch() as folder:
            path = folder / "all.pcap"
            path.write_bytes(PcapFormat().file(Record(frame) for one in self.captures for frame in one.frames))
            said = ns.run(["tcpreplay", "-q", "-i", ns.right, f"--pps={pps}", str(path)]).stdout
        ns.send(ns.right, [END])
        rated = re.search(r"Rated: .* ([0-9.]+) pps", said)
        assert rated, f"tcpreplay does not say how fast it was:\n{said}"
        return round(float(rated[1]))


class UnsendableError(Exception):
    """Why a capture cannot be replayed."""


def as_pcap(path: Path) -> bytes:
    """Its octets, as a pcap file; of another format as stock libpcap reads it."""
    if path.stat().st_size > LARGEST_FILE:
        raise UnsendableError(f"larger than {LARGEST_FILE} octets")
    content = path.read_bytes()
    if not pcapfile.is_savefile(content):
        content = subprocess.run(["tcpdump", "-r", path, "-w", "-"], capture_output=True, check=False).stdout
    return content


def readable(path: Path, whole: bool = True) -> Capture:
    """The capture, if each of its frames can be sent as it is; UnsendableError if not."""
    content = as_pcap(path)
    link_type = pcapfile.link_type(content)
    if link_type is None:
        raise UnsendableError("stock does not read it")
    if link_type != ETHERNET:
        raise UnsendableError(f"of link type {link_type}, which no veth pair has")
    frames = []
    for record in pcapfile.records(content):
        if len(record.data) != record.captured:
            raise UnsendableError("its last packet is cut off")
        if not LEAST <= record.captured <= MOST:
            raise UnsendableError(f"has a frame of {record.captured} octets")
        frames.append(record.data)
    if not frames:
        raise UnsendableError("holds no packet")
    return Capture(path, tuple(frames), whole)


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
        groups.append(Group(name, tuple(readable(made[member], members is WHOLE) for member in members)))
    return groups


def shared() -> tuple[list[Capture], dict[str, str]]:
    """The captures beside the project, when they are there, those of whole packets first; and of those that cannot be
    replayed, why."""
    found, left_out = [], {}
    for path in sorted(harness.SHARED_CAPTURES.glob("*.pcap*")):
        try:
            found.append(readable(path))
        except UnsendableError as error:
            left_out[path.name] = str(error)
    whole = offline.uncut(tuple(capture.path for capture in found))
    judged = [replace(capture, whole=capture.path in whole) for capture in found]
    return sorted(judged, key=lambda capture: not capture.whole), left_out


def in_groups(name: str, found: Sequence[Capture], packets: int) -> list[Group]:
    """Groups of about so many packets, in order, of whole packets or of others."""
    held: list[list[Capture]] = []
    for capture in found:
        full = not held or sum(one.packets for one in held[-1]) >= packets or held[-1][-1].whole != capture.whole
        if full:
            held.append([])
        held[-1].append(capture)
    return [Group(f"{name} {number}", tuple(members)) for number, members in enumerate(held, 1)]
