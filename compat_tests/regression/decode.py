# SPDX-License-Identifier: BSD-3-Clause
"""The first packet that differs, in tcpdump's words, and in which capture it was."""

from __future__ import annotations

import difflib
import subprocess

from compat_tests.capture_files import PcapFormat, Record
from compat_tests.harness import Outcome
from compat_tests.regression import measure
from compat_tests.regression.measure import Seen
from compat_tests.regression.traffic import Group

SNAP_LEN = 262144


def words(packet: Seen) -> list[str]:
    """One packet as stock tcpdump shows it."""
    content = PcapFormat(snap_len=SNAP_LEN).file([Record(packet.data, packet.wire)])
    argv = ["tcpdump", "-r", "-", "-nn", "-e", "-vvv", "-t", "-XX"]
    done = subprocess.run(argv, input=content, capture_output=True, check=False)
    return [f"time {packet.time}, {packet.wire} octets on the wire", *done.stdout.decode(errors="replace").splitlines()]


def first_difference(stock: Outcome, ffpf: Outcome, group: Group) -> str:
    """Where both wrote savefiles: the first packet that is not the same, decoded on both sides; else nothing."""
    one, other = measure.packets(stock), measure.packets(ffpf)
    if one is None or other is None:
        return ""
    for number in range(max(len(one), len(other))):
        first = one[number] if number < len(one) else None
        second = other[number] if number < len(other) else None
        if first == second:
            continue
        before, after = (words(packet) if packet else ["(no packet)"] for packet in (first, second))
        shown = difflib.unified_diff(before, after, "stock", "ffpf", n=100, lineterm="")
        where = group.whose(number + 1) if len(one) >= group.packets else "of those that the filter lets pass"
        return "\n".join([f"packet {number + 1} of the run ({where}):", *shown])
    return ""
