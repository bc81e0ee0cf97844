# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified tcpdump on savefiles: every capture, every form of output, every filter of the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from compat_tests import harness, offline, pcapfile
from compat_tests.harness import Case, Expect, Outcome

Delivered = Callable[[Outcome], int] | None

# What tcpdump prints of whole files.
PRINT_FORMS = {
    "verbose hex": ["-nn", "-e", "-vvv", "-xx"],
    "times, sums, text": ["-nn", "-tttt", "-S", "-A", "--number"],
    "nanoseconds": ["-nn", "-t", "--time-stamp-precision=nano", "-tt"],
    "named, quiet": ["-n", "-q", "-ttt"],
    "count": ["--count"],
}
# What tcpdump writes: `out` is in the run's own directory.
WRITE_FORMS = {
    "file": ["-w", "out"],
    "nanoseconds": ["--time-stamp-precision=nano", "-w", "out"],
    "each packet at once": ["-U", "-w", "out"],
    "standard output": ["-w", "-"],
    "rotated by size": ["-C", "1", "-w", "out"],
}
FILTERS = (
    "ip",
    "ip6 or arp",
    "tcp port 80 or udp port 53 or icmp",
    "tcp[tcpflags] & tcp-syn != 0 and not src net 10.0.0.0/8",
    "vlan and ip",
    "greater 100",
    "ether[0] & 1 = 1",
    "mpls or pppoes",
    "len <= 70 and not ip multicast or iso or stp",
)


def read_all(captures: Sequence[Path], options: Sequence[str], delivered: Delivered = None) -> list[Case]:
    """One case a capture. Of a sound file every packet has to be seen; of others nothing is known beforehand."""
    counts = offline.stock_counts(tuple(captures))
    return [
        Case(("tcpdump", "-r", str(path), *options), Expect(seen=counts[path], delivered=delivered))
        if path in counts
        else Case(("tcpdump", "-r", str(path), *options), Expect(handles=0))
        for path in captures
    ]


def all_seen(outcome: Outcome) -> int:
    return outcome.total("seen")


def written(outcome: Outcome) -> int:
    """Packets on standard output."""
    return len(list(pcapfile.records(outcome.stdout)))


@pytest.mark.parametrize("form", PRINT_FORMS)
def test_prints_the_same(captures: tuple[Path, ...], form: str) -> None:
    harness.assert_all_same(read_all(captures, PRINT_FORMS[form], all_seen))


@pytest.mark.parametrize("form", WRITE_FORMS)
def test_writes_the_same_file(captures: tuple[Path, ...], form: str) -> None:
    harness.assert_all_same(read_all(captures, WRITE_FORMS[form], all_seen))


@pytest.mark.parametrize("text", FILTERS)
def test_filters_and_writes_the_same(captures: tuple[Path, ...], text: str) -> None:
    """The packets on standard output show which passed; a filter that the link type refuses shows its error."""
    harness.assert_all_same(read_all(captures, ["-w", "-", text], written))


@pytest.mark.parametrize("text", FILTERS[2:4])
def test_filters_and_prints_the_same(captures: tuple[Path, ...], text: str) -> None:
    harness.assert_all_same(read_all(captures, ["-nn", text]))
