# SPDX-License-Identifier: BSD-3-Clause
"""Python's pcap modules on live interfaces."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compat_tests import harness, live
from compat_tests.live import LiveCase
from compat_tests.netns import Netns

pytestmark = pytest.mark.live

DRIVER = str(Path(__file__).resolve().parent / "drivers" / "capture_live.py")
# pcapy-ng brings a libpcap of another release: the system's is put before it.
STOCK_UNDER = {"pypcap": harness.STOCK, "pcapy": harness.SYSTEM, "scapy": harness.STOCK}


@pytest.mark.parametrize("module", STOCK_UNDER)
def test_captures_the_same(ns: Netns, traffic_files: dict[str, Path], module: str) -> None:
    """Each ends at the last packet that passes its filter, so that the statistics are those of all the traffic."""
    capture = traffic_files["mixed"]

    def case(text: str) -> LiveCase:
        found = harness.run(["tcpdump", "-r", str(capture), "--count", text], harness.STOCK).stdout.split()[0].decode()
        argv = (sys.executable, DRIVER, module, "{left}", text, found)
        return LiveCase(argv, ready=b"ready\n", stop=None, stock=STOCK_UNDER[module])

    live.assert_same_live(ns, [case(""), case("arp or ip6")], lambda: live.replay(ns, capture, pps=300))


@pytest.mark.parametrize("module", ["pypcap", "pcapy"])
def test_a_missing_device_has_the_same_words(ns: Netns, module: str) -> None:
    argv = ns.command([sys.executable, DRIVER, module, "nosuch0", "", "1"])
    stock, ffpf = harness.run(argv, STOCK_UNDER[module]), harness.run(argv, harness.FFPF)
    assert stock.returncode == 1
    harness.assert_same(stock, ffpf)
