# SPDX-License-Identifier: BSD-3-Clause
"""What a tool has of the numbered packets, and whether that and its counters fit the time that it was there.

Of each stream: the first and the last number, how many, and how many are missing between. A tool with a filter gets
each `step`-th number, those that leave `rest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from compat_tests import pcapfile
from compat_tests.numbered import HEADERS, MAGIC, PAYLOAD
from compat_tests.soak.traffic import Counts

HEAD = HEADERS + PAYLOAD.size  # octets of a packet that are looked at
SNAP = 96  # octets of a packet that tools capture: each packet is longer
RECORD = np.dtype([("time", "<u4", 2), ("captured", "<u4"), ("wire", "<u4"), ("data", "u1", SNAP)])
STREAM_AT, NUMBER_AT = HEADERS + 8, HEADERS + 12


@dataclass
class Numbers:
    """Of one stream."""

    first: int
    last: int
    count: int = 0
    missing: int = 0  # between first and last


@dataclass
class Seen:
    """All that a tool has been given; `take` it in its order."""

    step: int = 1
    rest: int = 0
    streams: dict[int, Numbers] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)  # what cannot be, in words

    @property
    def count(self) -> int:
        return sum(numbers.count for numbers in self.streams.values())

    def take(self, heads: npt.NDArray[np.uint8]) -> None:
        """heads: (packets, HEAD or more) octets."""
        ours = (heads[:, HEADERS : HEADERS + len(MAGIC)] == np.frombuffer(MAGIC, np.uint8)).all(axis=1)
        if not ours.all():
            self.say(f"{len(heads) - int(ours.sum())} packets that nobody sent")
            heads = heads[ours]
        streams = np.ascontiguousarray(heads[:, STREAM_AT:NUMBER_AT]).view(">u4")[:, 0]
        numbers = np.ascontiguousarray(heads[:, NUMBER_AT:HEAD]).view(">u8")[:, 0].astype(np.int64)
        for stream in np.unique(streams).tolist():
            self._take_of(int(stream), numbers[streams == stream])

    def _take_of(self, stream: int, numbers: npt.NDArray[np.int64]) -> None:
        begin = int(numbers[0])
        have = self.streams.get(stream)
        if have is None:
            have = self.streams[stream] = Numbers(begin, begin - self.step)
        steps = np.diff(numbers, prepend=have.last)
        if (steps < self.step).any():
            at = int(np.argmax(steps < self.step))
            self.say(f"stream {stream}: {numbers[at]} follows {numbers[at] - steps[at]}")
        if (numbers % self.step != self.rest).any():
            self.say(f"stream {stream}: numbers that its filter turns away")
        have.missing += int((steps // self.step - 1).clip(0).sum())
        have.count += len(numbers)
        have.last = int(numbers[-1])

    def say(self, what: str) -> None:
        if len(self.wrong) < 5:
            self.wrong.append(what)


def heads_of_savefile(content: bytes, whole: bool) -> npt.NDArray[np.uint8]:
    """(packets, SNAP) octets of a savefile whose packets are all cut at SNAP. whole: it was closed; else the last
    record may be cut short. ValueError: it is not such a file."""
    body = content[pcapfile.FILE_HEADER_OCTETS :]
    if len(content) < pcapfile.FILE_HEADER_OCTETS and not whole:
        return np.empty((0, SNAP), np.uint8)
    if not pcapfile.is_savefile(content) or (whole and len(body) % RECORD.itemsize):
        raise ValueError(f"{len(content)} octets are no savefile of packets of {SNAP} octets")
    records = np.frombuffer(body, RECORD, len(body) // RECORD.itemsize)
    if (records["captured"] != SNAP).any():
        raise ValueError(f"a packet that is not cut at {SNAP} octets")
    heads: npt.NDArray[np.uint8] = records["data"]
    return heads


@dataclass(frozen=True)
class Stay:
    """How many of each stream had been sent: at least before the tool was started, at most when it was seen to
    capture, at least when it was asked to end, at most when it had ended. Where nothing was sent meanwhile both ends
    are exact. rested: it had read all there was when it was asked to end."""

    before: Counts
    ready: Counts
    leave: Counts
    gone: Counts
    rested: bool


@dataclass(frozen=True)
class Counted:
    """What a tool, or ffpfd for it, says. None: nobody has told."""

    seen: int | None = None
    delivered: int | None = None
    dropped: int | None = None
    causes: Mapping[str, int] = field(default_factory=dict)


def among(begin: int, end: int, step: int, rest: int) -> int:
    """Of the numbers of [begin, end) those that leave `rest`."""
    return max(0, (end - rest + step - 1) // step - (begin - rest + step - 1) // step)


def bounds(stay: Stay, step: int = 1, rest: int = 0) -> tuple[int, int]:
    """How many packets came while it was there for certain, and at most."""
    least = sum(among(stay.ready[stream], stay.leave[stream], step, rest) for stream in stay.ready)
    most = sum(among(stay.before[stream], stay.gone[stream], step, rest) for stream in stay.gone)
    return least, most


def findings(seen: Seen, counted: Counted, stay: Stay) -> list[str]:
    """What is wrong, in words; nothing, if all is right."""
    found = list(seen.wrong)
    step, rest = seen.step, seen.rest
    certain = possible = 0  # packets that it must have been told of as dropped, and that it may have been
    for stream, before in stay.before.items():
        have = seen.streams.get(stream)
        if have is None:
            certain += among(stay.ready[stream], stay.leave[stream], step, rest) if stay.rested else 0
            possible += among(before, stay.gone[stream], step, rest)
            continue
        if have.first < before or have.last >= stay.gone[stream]:
            found.append(
                f"stream {stream}: {have.first} to {have.last}, and it was there from {before} to {stay.gone[stream]}"
            )
        early, late = have.first, have.last + 1
        certain += have.missing + among(stay.ready[stream], early, step, rest)
        certain += among(late, stay.leave[stream], step, rest) if stay.rested else 0
        possible += have.missing + among(before, early, step, rest) + among(late, stay.gone[stream], step, rest)
    if counted.dropped is not None and not certain <= counted.dropped <= possible:
        found.append(f"misses {certain} to {possible} packets, and {counted.dropped} are counted as dropped")
    if counted.delivered is not None and counted.delivered != seen.count:
        found.append(f"has {seen.count} packets, and {counted.delivered} are counted as delivered")
    if counted.seen is not None:
        least, most = bounds(stay)
        if counted.seen > most or (stay.rested and counted.seen < least):
            found.append(f"{least} to {most} packets came, and {counted.seen} are counted as seen")
    return [*found, f"it has {seen.streams}"] if found else []
