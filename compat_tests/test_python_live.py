# SPDX-License-Identifier: BSD-3-Clause
"""Python's pcap modules on live interfaces."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compat_tests import harness, live, pcapfile
from compat_tests.live import LiveCase
from compat_tests.netns import Netns

DRIVER = str(Path(__file__).resolve().parent / "drivers" / "capture_live.py")
MODULES = ["pypcap", "pcapy", "scapy"]


@pytest.mark.parametrize("module", MODULES)
def test_captures_the_same(ns: Netns, traffic_files: dict[str, Path], module: str) -> None:
    total = len(list(pcapfile.records(traffic_files["mixed"].read_bytes())))
    cases = [
        LiveCase((sys.executable, DRIVER, module, "{left}", "", str(total)), ready=b"ready\n", stop=None),
        LiveCase((sys.executable, DRIVER, module, "{left}", "arp or ip6", "5"), ready=b"ready\n", stop=None),
    ]
    # pcapy-ng's own libpcap has the statistics of another release: it, too, counts what passed the filter.
    live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"], pps=300))


@pytest.mark.parametrize("module", ["pypcap", "pcapy"])
def test_a_missing_device_has_the_same_words(ns: Netns, module: str) -> None:
    argv = ns.command([sys.executable, DRIVER, module, "nosuch0", "", "1"])
    stock, ffpf = harness.run_both(argv)
    assert stock.returncode == 1
    harness.assert_same(stock, ffpf)
