# SPDX-License-Identifier: BSD-3-Clause
"""Python's pcap modules on savefiles: one process reads every capture.

pypcap calls the system's libpcap. pcapy-ng's wheel brings a libpcap of its own (1.9.1) under another name, which
LD_PRELOAD reaches all the same: so it is compared with the system's libpcap, put before its own in that way too. scapy
reads unfiltered savefiles in Python alone; with a filter it compiles that with libpcap and starts tcpdump to read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from compat_tests import harness, offline
from compat_tests.harness import Case, Expect, Outcome

FILTERS = ["", "ip", "tcp port 80 or udp", "not ip and not arp"]


def driver(name: str, words: Sequence[str], captures: Sequence[Path]) -> tuple[tuple[str, ...], bytes]:
    """The command and its standard input: the names of the captures."""
    names = "".join(f"{path}\n" for path in captures).encode()
    return (sys.executable, str(offline.DRIVERS / f"read_{name}.py"), *words), names


def readable(captures: Sequence[Path]) -> int:
    return len(offline.stock_counts(tuple(captures)))


def packets_printed(outcome: Outcome) -> int:
    """Lines of packets: a time first."""
    return len(re.findall(rb"^\(?-?\d", outcome.stdout, re.MULTILINE))


@pytest.mark.parametrize("text", FILTERS)
def test_pypcap(captures: tuple[Path, ...], text: str) -> None:
    argv, names = driver("pypcap", [text], captures)
    expect = Expect(handles=readable(captures), delivered=packets_printed)
    harness.assert_all_same([Case(argv, expect, names)])


@pytest.mark.parametrize("text", FILTERS)
def test_pcapy_ng(captures: tuple[Path, ...], text: str) -> None:
    argv, names = driver("pcapy", [text], captures)
    expect = Expect(handles=readable(captures), delivered=packets_printed)
    stock, ffpf = harness.run(argv, harness.SYSTEM, stdin=names), harness.run(argv, harness.FFPF, stdin=names)
    harness.assert_same(stock, ffpf, expect)


def test_pcapy_ng_writes(captures: tuple[Path, ...]) -> None:
    argv, names = driver(
        "pcapy", ["ip", "copy"], [path for path in captures if "mixed" in path.name or "vlan" in path.name]
    )
    harness.assert_all_same([Case(argv, Expect(delivered=packets_printed), names)])


def test_scapy_with_a_filter(captures: tuple[Path, ...]) -> None:
    """Each capture is read by a tcpdump of its own, which opens a handle."""
    argv, names = driver("scapy", ["ip or arp"], captures[::2])
    harness.assert_all_same([Case(argv, Expect(handles=readable(captures[::2]) // 2), names)])


def test_scapy_without_a_filter_reads_by_itself(captures: tuple[Path, ...]) -> None:
    """The same octets; and no handle of libpcap's, which is what must be true for this not to be a comparison of it."""
    # Simple packets of pcapng carry no time: scapy gives them the present one.
    argv, names = driver("scapy", [""], [path for path in captures if not path.name.startswith("pcapng-")])
    stock, ffpf = harness.run_both(argv, stdin=names)
    harness.assert_same(stock, ffpf, Expect(handles=0))
    assert ffpf.total("handles") == 0
    assert packets_printed(ffpf) > 1000
