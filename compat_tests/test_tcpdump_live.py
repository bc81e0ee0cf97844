# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified tcpdump on live interfaces: stock and FFPF capture the same packets at the same time."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from compat_tests import harness, live, pcapfile
from compat_tests.harness import Expect, Outcome
from compat_tests.live import LiveCase, captured
from compat_tests.netns import Netns

pytestmark = pytest.mark.live


def dump(*words: str, stop: int | None = signal.SIGINT, expect: Expect = harness.DEFAULT) -> LiveCase:
    return LiveCase(("tcpdump", *words), stop=stop, expect=expect)


def without_received(stream: str, content: bytes) -> bytes:
    """-c stops in the middle of the traffic: what the kernel has counted by then is a matter of microseconds."""
    return re.sub(rb"\d+ packets? received", b"N packets received", content) if stream == "stderr" else content


STOPS_ITSELF = Expect(normalise=without_received)

GROUPS: dict[str, list[LiveCase]] = {
    "printing": [
        dump("-i", "{left}", "-nn", "-e", "-vvv", "-xx"),
        dump("-i", "{left}", "-nn", "-tt", "--time-stamp-precision=nano", "-q"),
        dump("-i", "{left}", "-nn", "-l", "-c", "10", stop=None, expect=STOPS_ITSELF),
        dump("-i", "{left}", "-nn", "--immediate-mode", "-A"),
        dump("-i", "{left}", "-nn", "-p", "-S", "-#"),
        dump("-i", "{right}", "-nn", "-e"),
    ],
    "writing": [
        dump("-i", "{left}", "-w", "out"),
        dump("-i", "{left}", "-U", "-w", "out"),
        dump("-i", "{left}", "-s", "64", "-w", "out"),
        dump("-i", "{left}", "-w", "-"),
        dump("-i", "{left}", "-c", "25", "-w", "out", stop=None, expect=STOPS_ITSELF),
        dump("-i", "{left}", "-B", "512", "-w", "out", "-j", "host"),
        dump("-i", "{left}", "--time-stamp-precision=nano", "-w", "out"),
        dump("-i", "{left}", "-Z", "nobody", "-w", "out"),
    ],
    "rotating": [
        dump("-i", "{left}", "-C", "1", "-w", "out"),
        dump("-i", "{left}", "-C", "1", "-W", "2", "-w", "out"),
        dump("-i", "{left}", "-C", "1", "-W", "20", "-U", "-s", "500", "-w", "out"),
    ],
    "filters": [
        dump("-i", "{left}", "-nn", "ip"),
        dump("-i", "{left}", "-nn", "tcp port 80"),
        dump("-i", "{left}", "-w", "out", "tcp[tcpflags] & tcp-syn != 0 and not src net 10.0.0.0/8"),
        dump("-i", "{left}", "-w", "out", "arp or ip6"),
        dump("-i", "{left}", "-nn", "greater 500"),
        dump("-i", "{left}", "-nn", "icmp"),
        dump("-i", "{left}", "-O", "-nn", "not ip"),
    ],
    "directions": [
        *(dump("-i", "{left}", "-nn", "-Q", way) for way in ("in", "out", "inout")),
        *(dump("-i", "any", "-nn", "-Q", way) for way in ("in", "out", "inout")),
    ],
    "any": [
        dump("-i", "any", "-nn", "-e", "-xx"),
        dump("-i", "any", "-w", "out"),
        dump("-i", "any", "-y", "LINUX_SLL", "-w", "out"),
        dump("-i", "any", "-y", "LINUX_SLL2", "-nn", "tcp"),
        dump("-i", "any", "-nn", "-s", "40", "ip"),
        dump("-i", "any", "-p", "-nn", "-c", "10", stop=None, expect=STOPS_ITSELF),
    ],
}
NOTHING = {"icmp", "out"}  # filters that nothing passes; -Q out on the receiving end likewise
REPLAYED = {"rotating": "imix"}


@pytest.mark.parametrize("group", GROUPS)
def test_captures_the_same(ns: Netns, traffic_files: dict[str, Path], group: str) -> None:
    file = traffic_files[REPLAYED.get(group, "mixed")]
    stock = live.assert_same_live(ns, GROUPS[group], lambda: live.replay(ns, file))
    for outcome in stock:
        assert captured(outcome) > 0 or NOTHING & set(outcome.argv), f"no packet to compare: {outcome.repeat}"


def test_filters_on_facts_of_the_kernel_lose_nothing(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """libpcap runs such a filter again over the first ring block without those facts, and loses what is in it."""
    capture = traffic_files["mixed"]
    case = dump("-i", "{left}", "-nn", "inbound")
    with live.kernel_stamps():
        ((stock, ffpf),) = live.run_pairs(ns, [case], lambda: live.replay(ns, capture))
    harness.assert_served(ffpf)
    assert set(stock.stdout.splitlines()) <= set(ffpf.stdout.splitlines())
    assert captured(ffpf) == len(list(pcapfile.records(capture.read_bytes())))


VLAN_CASES = [
    dump("-i", "{left}", "-nn", "-e", "-xx"),
    dump("-i", "{left}", "-w", "out"),
    dump("-i", "{left}", "-s", "20", "-w", "out"),
    dump("-i", "{left}", "-nn", "-e", "vlan"),
    dump("-i", "{left}", "-nn", "-e", "vlan and ip"),
    dump("-i", "{left}", "-nn", "-e", "ip"),
    dump("-i", "{left}", "-nn", "-e", "vlan 7 or (vlan and vlan 7)"),
    dump("-i", "any", "-w", "out"),
]


@pytest.mark.parametrize("kind", ["vlan", "qinq"])
def test_tags_are_put_back_the_same(ns: Netns, traffic_files: dict[str, Path], kind: str) -> None:
    stock = live.assert_same_live(ns, VLAN_CASES, lambda: live.replay(ns, traffic_files[kind]))
    assert b"vlan" in stock[0].stdout


def test_loopback_shows_each_packet_once(ns: Netns) -> None:
    cases = [
        dump("-i", "lo", "-nn", "-e", "-xx"),
        dump("-i", "lo", "-w", "out", "udp"),
        dump("-i", "any", "-nn", "udp"),
        dump("-i", "lo", "-nn", "-Q", "out"),
        dump("-i", "lo", "-nn", "-Q", "in"),
    ]
    stock = live.assert_same_live(ns, cases, lambda: live.loopback_datagrams(ns, 20))
    assert captured(stock[1]) == 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE], ids=lambda n: n.name)
def test_signals_end_it_with_the_same_words(ns: Netns, traffic_files: dict[str, Path], number: int) -> None:
    cases = [dump("-i", "{left}", "-nn", stop=number), dump("-i", "{left}", "-w", "out", stop=number)]
    live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"]))


def test_statistics_on_demand(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """SIGUSR1 prints the counts and goes on; SIGUSR2 writes what is buffered."""
    cases = [dump("-i", "{left}", "-w", "out"), dump("-i", "{left}", "-nn", "tcp")]
    with live.kernel_stamps(), ExitStack() as stack:
        pairs = [live.start_pair(ns, case, stack) for case in cases]
        for pair in pairs:
            pair.wait_ready()
        for _ in range(2):
            live.replay(ns, traffic_files["mixed"])
            live.settle()
            for pair in pairs:
                pair.signal(signal.SIGUSR1)
                pair.signal(signal.SIGUSR2)
            live.settle(0.3)
        for pair in pairs:
            pair.stop()
            stock, ffpf = pair.finish()
            assert stock.stderr.count(b"packets captured, ") == 2
            harness.assert_same(stock, ffpf)


def number_of(what: bytes, outcome: Outcome) -> int:
    """N of tcpdump's "N packets WHAT"."""
    found = re.search(rb"^(\d+) packets? " + what, outcome.stderr, re.MULTILINE)
    assert found, outcome.stderr
    return int(found[1])


def test_a_reader_that_is_too_slow_has_its_losses_counted(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """Stopped for a while, with a small buffer: how much is lost depends on the buffer, that it adds up does not."""
    case = dump("-i", "{left}", "-B", "256", "-w", "out")
    sent = 5 * len(list(pcapfile.records(traffic_files["imix"].read_bytes())))
    with ExitStack() as stack:
        pair = live.start_pair(ns, case, stack)
        pair.wait_ready()
        pair.signal(signal.SIGSTOP)
        live.replay(ns, traffic_files["imix"], pps=20000, loop=5)
        pair.signal(signal.SIGCONT)
        live.settle(2.5)
        pair.stop()
        stock, ffpf = pair.finish()
    for outcome in (stock, ffpf):
        captured_, dropped = captured(outcome), number_of(b"dropped by kernel", outcome)
        assert dropped > 0
        assert captured_ + dropped == number_of(b"received by filter", outcome) == sent, str(outcome)
        assert len(list(pcapfile.records(outcome.files["out"]))) == captured_
    harness.assert_served(ffpf, Expect(seen=sent, delivered=captured(ffpf)))
    assert ffpf.total("dropped") == number_of(b"dropped by kernel", ffpf)


def test_rotation_by_time(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """Each burst has a file of its own. Their names are the seconds of their beginning, which may differ by one."""
    # -B: room for a burst, for a tool that has to wait for a processor; frames are as large as the snap length here
    options = ["-B", "32768", "--immediate-mode", "-U", "-G", "1", "-w", "out-%s"]
    cases = [dump("-i", "{left}", *options, stop=signal.SIGINT)]

    def bursts() -> None:
        for _ in range(3):
            live.replay(ns, traffic_files["mixed"], pps=20000)
            live.settle(2.2)

    with live.kernel_stamps():
        ((stock, ffpf),) = live.run_pairs(ns, cases, bursts)
    for outcome in (stock, ffpf):
        contents = [outcome.files[name] for name in sorted(outcome.files)]
        outcome.files = {f"file-{i}": content for i, content in enumerate(contents)}
    assert len(stock.files) == 3
    harness.assert_same(stock, ffpf)


@pytest.mark.parametrize(
    "words",
    [
        ["-D"],
        ["-i", "{left}", "-L"],
        ["-i", "any", "-L"],
        ["-i", "lo", "-L"],
        ["-i", "{left}", "-J"],
        ["-i", "any", "-J"],
    ],
)
def test_lists(ns: Netns, words: list[str]) -> None:
    argv = ns.command(["tcpdump", *(word.replace("{left}", ns.left) for word in words)])
    harness.assert_same(*harness.run_both(argv), Expect(handles=0))


@pytest.mark.parametrize(
    "words",
    [
        ["-i", "{left}", "-d", "vlan and tcp port 80"],
        ["-i", "any", "-ddd", "ip or inbound"],
        ["-i", "{left}", "-d", "no such ("],
        ["-i", "nosuchdev0"],
        ["-i", "nosuchdev0", "-D"],
        ["-i", "99999"],
        ["-i", "{left}", "tcp port"],
        ["-i", "{left}", "-y", "PPP"],
        ["-i", "{left}", "-y", "NOSUCH"],
        ["-i", "{left}", "-j", "adapter", "-c", "0"],
        ["-i", "{left}", "-j", "nosuch"],
        ["-i", "{left}", "-I"],
        ["-i", "{left}", "-w", "/no/such/directory/out"],
        ["-i", "{left}", "-Z", "nosuchuser"],
        ["-i", "{left}", "-s", "-5"],
        ["-i", "any", "-Q", "sideways"],
        ["-i", "bluetooth-monitor"],
        ["-i", "nflog:70000"],
        ["-i", "usbmon99"],
    ],
)
def test_refuses_with_the_same_words(ns: Netns, words: list[str]) -> None:
    argv = ns.command(["tcpdump", *(word.replace("{left}", ns.left) for word in words)])
    stock, ffpf = harness.run_both(argv)
    harness.assert_same(stock, ffpf, Expect(engine="embedded", handles=0))
