# SPDX-License-Identifier: BSD-3-Clause
"""Snort 2.9's acquisition module (libdaq 2, daq_pcap), driven as snort does, on live interfaces."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from compat_tests import harness, live
from compat_tests.harness import Expect
from compat_tests.live import LiveCase
from compat_tests.netns import Netns
from compat_tests.shared import Ffpfd

pytestmark = pytest.mark.live

SHARED = Expect(engine="shared")


def without_hardware_counts(stream: str, content: bytes) -> bytes:
    """Broken in the middle of the traffic, what the kernel has counted by then is a matter of microseconds."""
    return re.sub(rb"hw received \d+|filtered \d+", b"", content) if stream == "stdout" else content


def test_acquires_the_same(ns: Netns, traffic_files: dict[str, Path], daq_driver: tuple[str, ...]) -> None:
    """Ends at the last packet that passes, so that the statistics are those of all the traffic."""

    def case(*words: str) -> LiveCase:
        return LiveCase((*daq_driver, "-i", "{left}", *words), ready=b"started", stop=None)

    cases = [
        case("-n", "40"),
        case("-n", "40", "-b", "3", "-p"),
        case("-n", "40", "-s", "64", "-t", "100"),
        case("-n", "40", "-V", "buffer_size=1048576", "-z"),
    ]
    live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"]))


def test_acquires_the_same_from_ffpfd(ns: Netns, traffic_files: dict[str, Path], daq_driver: tuple[str, ...]) -> None:
    """As snort would: snap length, time-out, batches, a filter, variables of the module, statistics that are reset."""

    def case(*words: str, expect: Expect = SHARED) -> LiveCase:
        return LiveCase((*daq_driver, "-i", "{left}", *words), ready=b"started", stop=None, expect=expect)

    with Ffpfd(ns) as ffpfd:
        env = {"FFPF_SOCKET": str(ffpfd.socket), "FFPF_ENGINE": "shared"}
        cases = [
            case("-n", "40"),
            case("-n", "40", "-b", "3", "-p", "-s", "64", "-t", "100"),
            case("-n", "40", "-V", "buffer_size=1048576", "-z"),
            case("-n", "5", "-f", "arp or ip6", expect=replace(SHARED, normalise=without_hardware_counts)),
        ]
        live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"]), env=env)


@pytest.mark.parametrize("text", ["tcp", "arp or ip6"])
def test_filters_the_same(ns: Netns, traffic_files: dict[str, Path], daq_driver: tuple[str, ...], text: str) -> None:
    argv = (*daq_driver, "-i", "{left}", "-f", text, "-n", "5")
    case = LiveCase(argv, ready=b"started", stop=None, expect=Expect(normalise=without_hardware_counts))
    live.assert_same_live(ns, [case], lambda: live.replay(ns, traffic_files["mixed"]))


@pytest.mark.parametrize("words", [["-i", "nosuch0"], ["-i", "{left}", "-f", "port ("]])
def test_refuses_with_the_same_words(ns: Netns, daq_driver: tuple[str, ...], words: list[str]) -> None:
    argv = ns.command([*daq_driver, *(word.replace("{left}", ns.left) for word in words)])
    stock, ffpf = harness.run_both(argv)
    assert stock.returncode == 1 and stock.stderr
    harness.assert_same(stock, ffpf)
