# SPDX-License-Identifier: BSD-3-Clause
"""Other unmodified tools on live interfaces: dumpcap, tshark, ngrep, tcpflow, p0f, arpwatch, nmap."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from compat_tests import capture_packets, harness, live, pcapngfile
from compat_tests.harness import Expect, without_costs
from compat_tests.live import LiveCase
from compat_tests.netns import Netns

pytestmark = pytest.mark.live


def without_clock(stream: str, content: bytes) -> bytes:
    """dumpcap's files say when the capture began and ended; each dumpcap has its own clock for that."""
    if not stream.startswith("out"):
        return content
    return pcapngfile.by_interface(pcapngfile.without_statistics_times(content))


def dumpcap(*words: str, stop: int | None = signal.SIGINT) -> LiveCase:
    argv = ("dumpcap", "-q", "-i", "{left}", "-w", "out", *words)
    return LiveCase(argv, ready=b"File:", stop=stop, expect=Expect(normalise=without_clock))


def test_dumpcap(ns: Netns, traffic_files: dict[str, Path]) -> None:
    cases = [
        dumpcap("-P"),
        dumpcap(),
        dumpcap("-f", "tcp port 80"),
        dumpcap("-P", "-s", "64"),
        dumpcap("-c", "40", stop=None),
        dumpcap("-P", "-p", "-B", "1"),
        dumpcap("-i", "{right}"),
        dumpcap("-i", "any", "-i", "lo"),
        dumpcap("-a", "packets:40", stop=signal.SIGTERM),
    ]
    stock = live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"]))
    assert b"Packets captured: 40\n" in stock[0].stderr


def test_dumpcap_rotates(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """Names of the files carry the time: compared is what is in them, in order."""
    case = dumpcap("-P", "-b", "filesize:200", "-b", "files:20")
    with live.kernel_stamps():
        ((stock, ffpf),) = live.run_pairs(ns, [case], lambda: live.replay(ns, traffic_files["imix"], pps=4000))
    for outcome in (stock, ffpf):
        outcome.files = {f"out-{i}": outcome.files[name] for i, name in enumerate(sorted(outcome.files))}
        outcome.stderr = re.sub(rb"File: out_\S+", b"File: out", outcome.stderr)
    assert len(stock.files) > 3
    harness.assert_same(stock, ffpf, Expect(normalise=without_clock))


@pytest.mark.parametrize(
    "words",
    [
        *(["-D"], ["-D", "-M"], ["-L", "-i", "{left}"], ["-L", "-M", "-i", "any"], ["-i", "nosuch0", "-w", "out"]),
        *(["-d", "-i", "{left}", "-f", text] for text in ("tcp port 80", "no (")),
        *(["-i", "{left}", "-w", "/no/such/dir/out"], ["-i", "{left}", "-f", "port (", "-w", "out"]),
        ["-i", "{left}", "-y", "PPP", "-w", "out"],
    ],
)
def test_dumpcap_answers(ns: Netns, words: Sequence[str]) -> None:
    argv = ns.command(["dumpcap", *(word.replace("{left}", ns.left) for word in words)])
    harness.assert_same(*harness.run_both(argv), Expect(handles=0))


def without_log_heads(stream: str, content: bytes) -> bytes:
    """tshark logs with its process id and the time, and names its temporary file at random."""
    if stream != "stderr":
        return content
    return re.sub(rb"\(tshark:\d+\) [\d:.]+|/tmp/wireshark_\S+", b"", content)


def test_tshark(ns: Netns, traffic_files: dict[str, Path]) -> None:
    """tshark captures through a dumpcap that it starts."""
    expect = Expect(normalise=without_log_heads)
    cases = [
        LiveCase(("tshark", "-n", "-i", "{left}", *words), ready=b"Capture started", stop=None, expect=expect)
        for words in (["-l", "-c", "40"], ["-c", "5", "-f", "arp or ip6"])
    ]
    live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"], pps=200))


def test_ngrep(ns: Netns, traffic_files: dict[str, Path]) -> None:
    cases = [
        LiveCase(("ngrep", "-d", "{left}", "-x", "-t"), ready=b""),
        LiveCase(("ngrep", "-d", "{left}", "-q", "-l", ".", "tcp port 80"), ready=b""),
        LiveCase(("ngrep", "-d", "{left}", "-O", "out", "-X", "00", "ip"), ready=b""),
        LiveCase(("ngrep", "-d", "any", "-n", "10", "-W", "single", "."), ready=b"", stop=None),
    ]
    live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"]))


def test_tcpflow(ns: Netns, traffic_files: dict[str, Path]) -> None:
    expect = Expect(normalise=without_costs)
    cases = [
        LiveCase(("tcpflow", "-i", "{left}"), ready=b"listening on", expect=expect),
        LiveCase(("tcpflow", "-c", "-i", "{left}", "port 80"), ready=b"listening on", expect=expect),
        LiveCase(("tcpflow", "-p", "-i", "{left}"), ready=b"listening on", stop=signal.SIGTERM, expect=expect),
    ]
    live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"]))


def test_p0f(ns: Netns, traffic_files: dict[str, Path]) -> None:
    cases = [
        LiveCase(("p0f", "-p", "-i", "{left}"), ready=b"Entered main event loop"),
        LiveCase(("p0f", "-i", "{left}", "-o", "log", "tcp port 80"), ready=b"Entered main event loop"),
    ]
    live.assert_same_live(ns, cases, lambda: live.replay(ns, traffic_files["mixed"]))


def arp_traffic(ns: Netns) -> None:
    """Stations that announce themselves, one of which changes its hardware address."""
    frames = [capture_packets.arp(f"10.0.0.{host}", "10.0.0.254") for host in (10, 11, 12, 10)]
    changed = bytearray(frames[0])
    changed[6:12] = changed[22:28] = bytes.fromhex("02000000aa01")
    ns.send(ns.right, [*frames, bytes(changed)])


def test_arpwatch(ns: Netns) -> None:
    def with_database(directory: Path) -> None:
        (directory / "arp.dat").touch()
        (directory / "arp.dat").chmod(0o666)

    argv = ("arpwatch", "-d", "-N", "-i", "{left}", "-f", "{cwd}/arp.dat")
    case = LiveCase(argv, ready=b"", stop=signal.SIGTERM, prepare=with_database)
    (stock,) = live.assert_same_live(ns, [case], lambda: arp_traffic(ns))
    assert stock.files["arp.dat"] or stock.stderr


def without_date(stream: str, content: bytes) -> bytes:
    """nmap says when it ran and how long it took."""
    content = re.sub(rb"Starting Nmap (\S+) .*", rb"Starting Nmap \1", content)
    content = re.sub(rb"\((\d\.\d+s|\d+\.\d+s) latency\)", b"(latency)", content)
    content = re.sub(rb"scanned in \S+ seconds", b"scanned", content)
    return re.sub(rb"(?m)^# Nmap .*$", b"# Nmap", content)


@pytest.mark.parametrize(
    "words",
    [["-sS", "-p", "20-30", "--reason"], ["-sn", "-PR"], ["-sU", "-p", "9", "-Pn"], ["-sS", "-oG", "out", "-p", "22"]],
)
def test_nmap(ns: Netns, words: list[str]) -> None:
    """Against a host on the other end of a veth pair: it answers ARP, has port 22 open, refuses the rest."""
    with Netns() as other:
        other.ip("link", "del", other.right)  # every namespace's own pair has the same names
        ns.ip("link", "set", ns.right, "netns", other.name)
        other.ip("link", "set", ns.right, "up")
        other.ip("addr", "add", "10.0.0.77/24", "dev", ns.right)
        with other.entered():
            server = socket.create_server(("10.0.0.77", 22))
        with server:
            argv = ns.command(["nmap", "-n", "-T4", *words, "10.0.0.77"])
            stock, ffpf = harness.run_both(argv)
    assert b"1 host up" in stock.stdout
    harness.assert_same(stock, ffpf, Expect(normalise=without_date))
