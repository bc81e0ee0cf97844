# SPDX-License-Identifier: BSD-3-Clause
"""What happens to the interface, and who asks: deleted, down and up, not up, no permission, one capability."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_tests import harness, live
from compat_tests.harness import Expect
from compat_tests.live import LiveCase
from compat_tests.netns import Netns

pytestmark = pytest.mark.live

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
WITH_NET_RAW = [*NOBODY, "--inh-caps=+net_raw", "--ambient-caps=+net_raw"]


def delete_after(ns: Netns, capture: Path) -> None:
    live.replay(ns, capture)
    live.settle()
    ns.ip("link", "del", ns.left)


@pytest.mark.parametrize("options", [["-nn"], ["-w", "out"], ["-nn", "--immediate-mode"], ["-w", "out", "ip"]])
def test_deleted_while_capturing(ns: Netns, traffic_files: dict[str, Path], options: list[str]) -> None:
    case = LiveCase(("tcpdump", "-i", "{left}", *options), stop=None)
    (stock,) = live.assert_same_live(ns, [case], lambda: delete_after(ns, traffic_files["mixed"]), settle=0)
    assert stock.returncode == 1 and b"The interface disappeared" in stock.stderr


def test_deleted_under_other_tools(ns: Netns, traffic_files: dict[str, Path], daq_driver: tuple[str, ...]) -> None:
    cases = [
        LiveCase(("dumpcap", "-q", "-P", "-i", "{left}", "-w", "out"), ready=b"File:", stop=None),
        LiveCase((*daq_driver, "-i", "{left}"), ready=b"started", stop=None),
    ]
    live.assert_same_live(ns, cases, lambda: delete_after(ns, traffic_files["mixed"]), settle=0)


def test_down_and_up_again(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """Nothing is said, and the packets after it come."""

    def down_between() -> None:
        live.replay(ns, traffic_files["mixed"])
        live.settle()
        ns.ip("link", "set", ns.left, "down")
        live.settle(0.2)
        ns.ip("link", "set", ns.left, "up")
        live.replay(ns, traffic_files["mixed"])

    cases = [LiveCase(("tcpdump", "-i", name, "-nn")) for name in ("{left}", "any")]
    live.assert_same_live(ns, cases, down_between)


NOT_UP = (["tcpdump", "-i"], ["p0f", "-i"], ["dumpcap", "-w", "out", "-i"], ["arpwatch", "-d", "-i"], ["ngrep", "-d"])


@pytest.mark.parametrize("argv", NOT_UP, ids=lambda argv: argv[0])
def test_not_up(ns: Netns, argv: list[str]) -> None:
    """ngrep prints errno as well."""
    ns.ip("link", "set", ns.left, "down")
    stock, ffpf = harness.run_both(ns.command([*argv, ns.left]))
    assert stock.returncode != 0
    harness.assert_same(stock, ffpf)


@pytest.mark.parametrize("device", ["{left}", "any", "lo", "nosuch0"])
def test_no_permission(ns: Netns, device: str) -> None:
    argv = ns.command([*NOBODY, "tcpdump", "-i", device.replace("{left}", ns.left)])
    stock, ffpf = harness.run_both(argv)
    assert stock.returncode == 1
    harness.assert_same(stock, ffpf)


def test_devices_that_a_user_sees(ns: Netns) -> None:
    argv = ns.command([*NOBODY, "tcpdump", "-D"])
    harness.assert_same(*harness.run_both(argv), Expect(handles=0))


def test_a_user_with_one_capability_captures(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """An ambient capability is no reason for the loader to ignore LD_PRELOAD: CAP_NET_RAW is all that is needed."""
    case = LiveCase((*WITH_NET_RAW, "tcpdump", "-i", "{left}", "-nn", "-w", "out", "ip"))
    (stock,) = live.assert_same_live(ns, [case], lambda: live.replay(ns, traffic_files["mixed"]))
    assert live.captured(stock) > 0
