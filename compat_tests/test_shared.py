# SPDX-License-Identifier: BSD-3-Clause
"""The comparisons of the live suite once more, with ffpfd capturing for FFPF's side while stock captures for itself:
forms of printing and writing, filters, directions, `any`, tags, times, counts, interfaces that come and go; and what
users without a right are told."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from compat_tests import harness, live, shared, test_interfaces
from compat_tests.harness import Expect, Outcome
from compat_tests.live import LiveCase, captured
from compat_tests.netns import Netns
from compat_tests.shared import ANNA, EVE, Ffpfd, User
from compat_tests.test_readers_live import dumpcap
from compat_tests.test_tcpdump_live import GROUPS, VLAN_CASES, dump

pytestmark = pytest.mark.live


@pytest.fixture
def ffpfd(ns: Netns) -> Iterator[Ffpfd]:
    with Ffpfd(ns) as daemon:
        yield daemon


def on_shared(ffpfd: Ffpfd) -> dict[str, str]:
    return {"FFPF_SOCKET": str(ffpfd.socket), "FFPF_ENGINE": "shared"}


def same(
    ffpfd: Ffpfd, cases: Sequence[LiveCase], traffic: Callable[[], None], settle: float = live.SETTLE_S
) -> list[Outcome]:
    expected = [dataclasses.replace(case, expect=dataclasses.replace(case.expect, engine="shared")) for case in cases]
    return live.assert_same_live(ffpfd.ns, expected, traffic, settle, on_shared(ffpfd))


# Each comparison waits for the read timeout of tcpdump: so many at once. dumpcap reads its interfaces in threads.
COMPARED = {
    "forms": [*GROUPS["printing"], *GROUPS["writing"], dumpcap("-i", "any", "-i", "lo")],
    "filters": [*GROUPS["filters"], *GROUPS["directions"], *GROUPS["any"]],
    "tags": [*VLAN_CASES, dump("-i", "any", "-y", "LINUX_SLL", "-w", "out", "less 400")],
}
REPLAYED = {"forms": ("mixed",), "filters": ("mixed",), "tags": ("vlan", "qinq")}


@pytest.mark.parametrize("kind", COMPARED)
def test_captures_the_same(ffpfd: Ffpfd, traffic_files: dict[str, Path], kind: str) -> None:
    def traffic() -> None:
        for name in REPLAYED[kind]:
            live.replay(ffpfd.ns, traffic_files[name], pps=500)

    stock = same(ffpfd, COMPARED[kind], traffic)
    dumped = [outcome for outcome in stock if b"captured" in outcome.stderr and "tcpdump" in outcome.argv]
    assert sum(captured(outcome) > 0 for outcome in dumped) > 0.8 * len(dumped)


def without_received(stream: str, content: bytes) -> bytes:
    """What the loopback interface sends comes back to it: a socket's filter sees it twice, ffpfd's hook once."""
    return re.sub(rb"\d+ packets? received", b"N packets received", content) if stream == "stderr" else content


def test_loopback_shows_each_packet_once(ffpfd: Ffpfd) -> None:
    expect = Expect(normalise=without_received)
    cases = [
        dump("-i", "lo", "-nn", "-e", "-xx", expect=expect),
        dump("-i", "any", "-nn", "udp", expect=expect),
        dump("-i", "lo", "-nn", "-Q", "in", expect=expect),
    ]
    stock = same(ffpfd, cases, lambda: live.loopback_datagrams(ffpfd.ns, 20))
    assert captured(stock[0]) == 20


def test_interfaces_that_go_down_and_vanish(ffpfd: Ffpfd, traffic_files: dict[str, Path]) -> None:
    ns = ffpfd.ns

    def down_and_gone() -> None:
        live.replay(ns, traffic_files["mixed"])
        live.settle()
        ns.ip("link", "set", ns.left, "down")
        live.settle(0.2)
        ns.ip("link", "set", ns.left, "up")
        test_interfaces.delete_after(ns, traffic_files["mixed"])

    cases = [
        dump("-i", "{left}", "-nn", stop=None),
        dump("-i", "{left}", "-w", "out", "ip", stop=None),
        dump("-i", "{left}", "-nn", "--immediate-mode", stop=None),
        LiveCase(("dumpcap", "-q", "-P", "-i", "{left}", "-w", "out"), ready=b"File:", stop=None),
    ]
    stock = same(ffpfd, cases, down_and_gone, settle=0)
    assert b"The interface disappeared" in stock[0].stderr


# ---- who may not, and where it cannot be ----


def alone(
    ffpfd: Ffpfd, user: User, *words: str, engine: str = "shared", env: Mapping[str, str] | None = None
) -> Outcome:
    return shared.start(ffpfd, user, ["tcpdump", *words], {"FFPF_ENGINE": engine, **(env or {})}).finish()


def test_refusals_say_why(ffpfd: Ffpfd) -> None:
    ns = ffpfd.ns
    denied = alone(ffpfd, EVE, "-i", ns.left)
    assert denied.returncode == 1 and denied.stderr.startswith(
        f"tcpdump: {ns.left}: You don't have permission to perform this capture on that device\n"
        "(FFPF_ENGINE=shared: ".encode()
    ), denied
    # who is refused, and may not capture by himself, is told both
    both = alone(ffpfd, EVE, "-i", ns.left, engine="auto")
    assert both.returncode == 1 and b"Operation not permitted; ffpfd: " in both.stderr, both
    no_daemon = alone(ffpfd, ANNA, "-i", ns.left, env={"FFPF_SOCKET": "/no/daemon"})
    assert no_daemon.stderr == b"tcpdump: FFPF_ENGINE=shared: /no/daemon: No such file or directory\n", no_daemon
    monitor = alone(ffpfd, ANNA, "-i", ns.left, "-I")
    assert b"FFPF_ENGINE=shared: it has no monitor mode" in monitor.stderr, monitor
    group = alone(ffpfd, ANNA, "-i", ns.left, env={"FFPF_GROUP": "61003"})
    assert group.returncode == 1 and b"61003" in group.stderr, group


@pytest.mark.parametrize("engine", ["shared", "auto"])
def test_devices_that_are_not_there_or_not_up_have_the_words_of_stock(ffpfd: Ffpfd, engine: str) -> None:
    """As root has them on stock: for who may capture through ffpfd, a missing right is not what stands in the way."""
    ns = ffpfd.ns
    ns.ip("link", "set", ns.left, "down")
    for device in ("nosuch0", ns.left):
        stock = harness.run(ns.command(["tcpdump", "-i", device]), harness.STOCK)
        assert stock.returncode == 1
        ffpf = alone(ffpfd, ANNA, "-i", device, engine=engine)
        assert not harness.differences(stock, ffpf)


def test_what_ffpfd_does_not_serve_is_captured_by_the_tool_itself(ffpfd: Ffpfd, traffic_files: dict[str, Path]) -> None:
    """auto, as root, where the daemon refuses."""
    ns = ffpfd.ns
    refusing = {"FFPF_SOCKET": str(ffpfd.socket), "FFPF_GROUP": "no such group"}
    case = dump("-i", "{left}", "-nn")
    with live.kernel_stamps():
        ((stock, ffpf),) = live.run_pairs(ns, [case], lambda: live.replay(ns, traffic_files["mixed"]), env=refusing)
    harness.assert_same(stock, ffpf, Expect(engine="embedded"))
