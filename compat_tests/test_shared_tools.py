# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified tools of three users on one interface, all served by one capture: each gets what stock gives it alone."""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from compat_tests import harness, live, pcapfile, shared
from compat_tests.harness import Expect, Outcome, Run
from compat_tests.netns import Netns
from compat_tests.shared import ANNA, BERT, CARA, Ffpfd, User
from pyffpf.daemon.status import FlowStatus, Status, Totals

pytestmark = pytest.mark.live

DRIVERS = Path(__file__).resolve().parent / "drivers"
SHARED = Expect(engine="shared")
ETH_P_ALL = "0003"

# Rates, in packets a second; the sum of the octets fits into the buffer that libpcap has by default.
REPLAYS = (("mixed", 200, 2), ("vlan", 1000, 1), ("fragmented", 1000, 1), ("imix", 4000, 1), ("imix", 20000, 1))


@dataclass(frozen=True)
class Tool:
    """A tool, whose it is on FFPF (on stock it is root's), and what it is compared by.

    ready: text that says that it captures; empty for a tool that says nothing. stop None: it ends by itself."""

    user: User
    argv: tuple[str, ...]
    ready: bytes = b"listening on"
    stop: int | None = signal.SIGINT
    filters: bool = False
    normalise: Callable[[str, bytes], bytes] = harness.unchanged


def timeless(content: bytes) -> bytes:
    """A savefile without its times: two captures of two replays."""
    if not pcapfile.is_savefile(content):
        return content
    head = content[: pcapfile.FILE_HEADER_OCTETS]
    return head + b"".join(f"{r.captured} {r.wire} ".encode() + r.data for r in pcapfile.records(content))


def without_times(stream: str, content: bytes) -> bytes:
    """Times at the beginning of a line, as the drivers print them, and those of savefiles and logs."""
    if stream not in ("stdout", "stderr"):
        content = timeless(content)
    content = re.sub(rb"tcp=0x[0-9a-f]+", b"", content)  # tcpflow prints a pointer
    return re.sub(rb"(?m)^(\d+(\.\d+)?|\[\d+/\d+/\d+ [\d:]+\]) ", b"", content)


def total(traffic_files: dict[str, Path], text: str = "") -> int:
    """Packets of all replays that a filter lets pass."""

    def matching(name: str) -> int:
        argv = ["tcpdump", "-r", str(traffic_files[name]), "--count", *text.split()]
        return int(harness.run(argv, harness.STOCK).stdout.split()[0])

    return sum(matching(name) * loop for name, _, loop in REPLAYS)


@pytest.fixture(scope="module")
def programs(daq_driver: tuple[str, ...]) -> Iterator[dict[str, tuple[str, ...]]]:
    """Programs that every user may start, wherever this test lies, and none of them with capabilities of its own."""
    pcap = pytest.importorskip("pcap")
    with harness.scratch() as folder:
        for file in (Path(str(pcap.__file__)), DRIVERS / "capture_live.py", Path(shutil.which("dumpcap") or "")):
            copy = Path(shutil.copyfile(file, folder / file.name))  # contents only
            copy.chmod(0o755)
        python = ("env", f"PYTHONPATH={folder}", shared.interpreter(), "-s")
        yield {
            "dumpcap": (str(folder / "dumpcap"),),
            "pypcap": (*python, str(folder / "capture_live.py"), "pypcap"),
            "daq": daq_driver,
        }


def tools(programs: dict[str, tuple[str, ...]], count: Callable[[str], int]) -> list[Tool]:
    """Ten of them; "{left}" is the interface."""

    def tcpdump(user: User, *words: str, filters: bool = False) -> Tool:
        argv = ("tcpdump", "-Z", "root", "-i", "{left}", *words)
        return Tool(user, argv, filters=filters, normalise=without_times)

    def ends(user: User, program: str, ready: bytes, *words: str, filters: bool = False) -> Tool:
        return Tool(user, (*programs[program], *words), ready, None, filters, without_times)

    return [
        tcpdump(ANNA, "-w", "out"),
        tcpdump(ANNA, "-n", "-t", "-l", "tcp port 80", filters=True),
        tcpdump(BERT, "-w", "out", "-s", "96", "-Q", "in", "vlan or (udp and not port 53)", filters=True),
        tcpdump(CARA, "-n", "-t", "-XX", "arp or ip6 or icmp or ip[6:2] & 0x3fff != 0", filters=True),
        Tool(
            BERT,
            (*programs["dumpcap"], "-q", "-P", "-i", "{left}", "-f", "net 198.18.0.0/16", "-w", "out"),
            b"File:",
            filters=True,
            normalise=without_times,
        ),
        Tool(ANNA, ("ngrep", "-d", "{left}", "-R", "-x", "-n", "100000", ".", "tcp"), b"", filters=True),
        Tool(
            BERT,
            ("tcpflow", "-S", "enable_report=NO", "-i", "{left}", "port", "25", "or", "port", "22"),
            filters=True,
            normalise=without_times,
        ),
        Tool(CARA, ("p0f", "-p", "-i", "{left}"), b"Entered main event loop", filters=True),
        ends(CARA, "pypcap", b"ready\n", "{left}", "ip", str(count("ip")), filters=True),
        ends(CARA, "daq", b"started", "-i", "{left}", "-n", str(count(""))),
    ]


def replay(ns: Netns, traffic_files: dict[str, Path]) -> None:
    for name, pps, loop in REPLAYS:
        live.replay(ns, traffic_files[name], pps, loop)


def wait_ready(runs: Sequence[tuple[Tool, Run]]) -> None:
    for tool, run in runs:
        if tool.ready:
            live.wait_ready(run, tool.ready)
            assert run.process.poll() is None, f"{run.outcome.repeat} ended: {run.so_far('stderr')!r}"


def finished(runs: Sequence[tuple[Tool, Run]]) -> list[Outcome]:
    for tool, run in runs:
        if tool.stop is not None:
            run.signal(tool.stop)
    return [run.finish(shared.PATIENCE_S) for _, run in runs]


def words(tool: Tool, ns: Netns) -> list[str]:
    return [word.replace("{left}", ns.left) for word in tool.argv]


def on_stock(ns: Netns, wanted: Sequence[Tool], traffic_files: dict[str, Path]) -> list[Outcome]:
    """Root's, with a socket for each."""
    runs = [(tool, Run(ns.command(words(tool, ns)), harness.STOCK)) for tool in wanted]
    with shared.discarded([run for _, run in runs]):
        wait_ready(runs)
        live.wait_sockets(ns, len(runs))
        time.sleep(live.READY_S)
        replay(ns, traffic_files)
        live.settle()
        return finished(runs)


def assert_counters(document: Status, packets: int, flows: int) -> None:
    """Each flow saw every packet, and the law holds for each and for the sums over all, those that ended included."""
    (source,) = document.sources
    assert source.packets == packets and not any(source.dropped.values()), source
    for flow in document.flows:
        assert flow.seen == packets
        shared.assert_lawful(flow)
    counted: list[FlowStatus | Totals] = [*document.flows, *(group.closed for group in document.groups)]
    seen = sum(item.seen for item in counted)
    assert seen == sum(item.filtered + item.delivered + sum(item.dropped.values()) for item in counted)
    assert seen == packets * flows
    assert {group.gid for group in document.groups} == {user.gid for user in shared.USERS}


def test_many_tools_share_one_capture(
    ns: Netns, traffic_files: dict[str, Path], programs: dict[str, tuple[str, ...]]
) -> None:
    wanted = tools(programs, lambda text: total(traffic_files, text))
    stock = on_stock(ns, wanted, traffic_files)
    with Ffpfd(ns) as ffpfd:
        runs = [(tool, shared.start(ffpfd, tool.user, words(tool, ns))) for tool in wanted]
        with shared.discarded([run for _, run in runs]):
            wait_ready(runs)
            ffpfd.wait_flows(len(runs), filtered=sum(tool.filters for tool in wanted))
            sockets = shared.capture_sockets(ns)
            replay(ns, traffic_files)
            ffpfd.wait_read(flows=sum(tool.stop is not None for tool in wanted))
            after = ffpfd.status()
            ffpf = finished(runs)

    assert [(row[3], row[4]) for row in sockets] == [(ETH_P_ALL, str(shared.ifindex(ns, ns.left)))]
    assert_counters(after, packets=total(traffic_files), flows=len(wanted))
    failures = []
    for tool, one, other in zip(wanted, stock, ffpf, strict=True):
        try:
            harness.assert_same(one, other, Expect(engine="shared", normalise=tool.normalise))
        except AssertionError as error:
            failures.append(f"{tool.argv[0]}: {error}")
    assert not failures, "\n\n".join([f"{len(failures)} of {len(wanted)} differ:", *failures])
