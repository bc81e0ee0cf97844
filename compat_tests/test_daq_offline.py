# SPDX-License-Identifier: BSD-3-Clause
"""Snort 2.9's acquisition module (libdaq 2, daq_pcap), driven as snort does, on savefiles. See daq_driver.c."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compat_tests import harness, offline
from compat_tests.harness import Case, Expect, Outcome

FORMS: dict[str, list[str]] = {
    "all": [],
    "batches of three": ["-b", "3"],
    "one at a time": ["-b", "1"],
    "filter": ["-f", "ip and not tcp port 22"],
    "filter, batches": ["-f", "ip6 or arp", "-b", "2"],
    "broken at the fifth": ["-n", "5"],
    "statistics reset": ["-z", "-f", "udp or tcp"],
}


def acquired(outcome: Outcome) -> int:
    """Packets that the callback got."""
    found = re.search(rb"^acquired (\d+) ", outcome.stdout, re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("form", FORMS)
def test_reads_the_same(captures: tuple[Path, ...], daq_driver: tuple[str, ...], form: str) -> None:
    sound = offline.stock_counts(captures)
    # Where the loop is broken, the library may have looked at more than the callback got.
    delivered = None if "broken" in form else acquired
    chosen = captures if form in ("all", "filter") else captures[::3]
    harness.assert_all_same(
        [
            Case((*daq_driver, "-r", str(path), *FORMS[form]), Expect(handles=int(path in sound), delivered=delivered))
            for path in chosen
        ]
    )


@pytest.mark.parametrize(
    "words", [["-r", "/etc/hostname"], ["-r", "/no/such/file"], ["-r", "{good}", "-f", "no such ("]]
)
def test_refuses_with_the_same_words(captures: tuple[Path, ...], daq_driver: tuple[str, ...], words: list[str]) -> None:
    good = next(path for path in captures if path.name == "mixed.pcap")
    argv = (*daq_driver, *(word.replace("{good}", str(good)) for word in words))
    stock, ffpf = harness.run_both(argv)
    assert stock.returncode == 1 and stock.stderr
    harness.assert_same(stock, ffpf)
