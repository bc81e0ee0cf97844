# SPDX-License-Identifier: BSD-3-Clause
"""Clients and ffpfd killed at random instants, in any order, under load: nothing is left behind, no reader misses a
packet. FFPF_TEST_CLIENT_KILLS and FFPF_TEST_KILLS say how many of each (compat_tests/README.md).
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compat_tests import live, numbered, shared
from compat_tests.harness import Run
from compat_tests.netns import Netns, wait_until
from compat_tests.numbered import Senders
from compat_tests.shared import ANNA, BERT, CARA, Ffpfd, User
from compat_tests.soak.leaks import Objects, all_objects, descriptors, objects_of
from pyffpf.cli.control import ControlError

CLIENT_KILLS = int(os.environ.get("FFPF_TEST_CLIENT_KILLS", "40"))
DAEMON_KILLS = int(os.environ.get("FFPF_TEST_KILLS", "3"))
AT_ONCE = 4  # clients that live at the same time
LIFE_S = 0.4  # at most, of a client that will be killed
PPS = 2000
PORTS = (1001, 1002)
MEMORY_KIB = 24 << 10  # a Python process may grow by so much and settle there

# What the killed ones capture: by table, by code, on all interfaces.
VICTIMS = (
    ("-i", "{left}", "-w", "/dev/null"),
    ("-i", "{left}", "-w", "/dev/null", "udp", "dst", "port", "1002"),
    ("-i", "{left}", "-n", "ip[8]", ">", "ip[9]", "or", "len", "<", "100"),
    ("-i", "any", "-w", "/dev/null", "udp"),
)


def of_others(mine: set[int]) -> Objects:
    """Those that processes of other people have descriptors of."""
    pids = {int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()} - mine
    return set().union(*map(objects_of, pids))


def resident_kib(pid: int) -> int:
    found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


class Readers:
    """Three tools that live through all of it, one of each user; and what there is while only they are there."""

    def __init__(self, ffpfd: Ffpfd) -> None:
        self.ffpfd = ffpfd
        argv = ["tcpdump", "-i", ffpfd.ns.left, "-w", "out", "-B", "8192"]
        self.runs = {
            "all": shared.start(ffpfd, ANNA, argv),
            "table": shared.start(ffpfd, BERT, [*argv, "udp and net 192.0.2.0/24"]),
            "code": shared.start(ffpfd, CARA, [*argv, "ip[8] >= 1 and udp[4:2] > 8"]),
        }

    def wait_alone(self) -> None:
        for run in self.runs.values():
            live.wait_ready(run, b"listening on")
        pids = self.flows()

        def alone() -> bool:
            try:
                document = self.ffpfd.ask_status()
            except ControlError:  # it has a long queue
                return False
            return len(document.sources) == 1 and sorted(flow.pid for flow in document.flows) == pids

        wait_until(alone, f"only the readers to be left:\n{self.ffpfd.said()[-2000:]}", shared.PATIENCE_S)

    def flows(self) -> list[int]:
        return sorted(run.process.pid for run in self.runs.values())

    def finish(self, sent: dict[int, int]) -> None:
        self.ffpfd.wait_read()
        for name, run in self.runs.items():
            run.signal(signal.SIGINT)
            outcome = run.finish(shared.PATIENCE_S)
            assert outcome.returncode == 0 and b"\n0 packets dropped by kernel" in outcome.stderr, outcome.stderr
            (stats,) = [line for line in outcome.stats if line.handles]
            assert stats.engine == "shared" and stats.lawful and not stats.dropped, stats.text
            packets = numbered.of_savefile(outcome.files["out"])
            numbered.assert_unbroken(packets, sent, name)
            assert {packet.number for packet in packets[:1]} == {0}


class Killing:
    """Starts clients, and kills them."""

    def __init__(self, ffpfd: Ffpfd, chance: random.Random) -> None:
        self.ffpfd = ffpfd
        self.chance = chance
        self.seen: Objects = set()  # what ffpfd had at any time that was looked at
        self.living: list[tuple[float, Run]] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        for _, run in self.living:
            run.discard()

    def start_one(self) -> None:
        user: User = self.chance.choice(shared.USERS)
        argv = [word.replace("{left}", self.ffpfd.ns.left) for word in self.chance.choice(VICTIMS)]
        end = time.monotonic() + self.chance.random() * LIFE_S
        self.living.append((end, shared.start(self.ffpfd, user, ["tcpdump", *argv])))

    def kill_one(self) -> None:
        """The one whose time comes first; some of them have stood still before."""
        self.living.sort(key=lambda living: living[0])
        end, run = self.living.pop(0)
        stops = self.chance.random() < 0.2
        if stops:
            run.signal(signal.SIGSTOP)
        time.sleep(max(0.0, end - time.monotonic()))
        run.signal(signal.SIGKILL)
        run.discard()

    def some(self, count: int, between: Callable[[], None]) -> None:
        for number in range(count):
            self.start_one()
            if len(self.living) >= AT_ONCE:
                self.kill_one()
            if number % 5 == 0:
                self.seen |= objects_of(self.ffpfd.pid)
            between()

    def all_left(self) -> None:
        while self.living:
            self.kill_one()


@pytest.mark.alone
def test_killed_clients_and_killed_daemons_leave_nothing_and_lose_nothing(ns: Netns) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed={seed}")
    chance = random.Random(seed)
    before_all = all_objects()
    with Ffpfd(ns) as ffpfd:
        readers, killing = Readers(ffpfd), Killing(ffpfd, chance)
        with shared.discarded(list(readers.runs.values())), killing:
            readers.wait_alone()
            mine = {os.getpid(), ffpfd.pid, ffpfd.holder_pid, *readers.flows()}
            with Senders(ns, PPS, PORTS) as senders:
                killing.some(AT_ONCE, lambda: None)  # what is made at the first use is there now
                killing.all_left()
                readers.wait_alone()
                baseline = facts(ffpfd, mine)

                killing.some(CLIENT_KILLS - AT_ONCE, lambda: None)
                killing.all_left()
                readers.wait_alone()
                assert_settles(ffpfd, mine, baseline)

                for turn in range(DAEMON_KILLS):
                    ffpfd.kill()
                    mine.discard(ffpfd.pid)
                    killing.some(2, lambda: None)  # these come in vain, or die while nobody sees it
                    senders.wait_more(chance.randrange(1, PPS // 4))
                    ffpfd.start()
                    mine.add(ffpfd.pid)
                    killing.some(2, lambda: None)
                    document = ffpfd.ask_status()
                    assert document.adoptions == turn + 1 and set(readers.flows()) <= {f.pid for f in document.flows}
                killing.all_left()
                readers.wait_alone()
                senders.wait_more(PPS // 4)
                assert_settles(ffpfd, mine, baseline)
                for flow in ffpfd.ask_status().flows:
                    shared.assert_lawful(flow)
                sent = senders.stop()
            readers.finish(sent)
        print(
            f"{CLIENT_KILLS + 4 * DAEMON_KILLS} clients and {DAEMON_KILLS} ffpfd killed; {sum(sent.values())} packets"
        )
    gone = (killing.seen | objects_of(ffpfd.pid)) - before_all
    wait_until(lambda: not gone & all_objects(), "maps and programs that ffpfd had to go", shared.PATIENCE_S)
    mine = {os.getpid()}
    wait_until(lambda: not all_objects() - before_all - of_others(mine), "maps and programs to go", shared.PATIENCE_S)


def compilers_pipes(pid: int) -> int:
    """Ends of pipes to compilers, which begin when they are first needed: two each."""
    children = [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    return 2 * sum(b"fpl.classify.backend" in line for line in lines)


def facts(ffpfd: Ffpfd, mine: set[int]) -> dict[str, int]:
    """What must not grow."""
    ours = all_objects() - of_others(mine)
    return {
        "maps": sum(1 for kind, _ in ours if kind == "map"),
        "programs": sum(1 for kind, _ in ours if kind == "prog"),
        "descriptors of ffpfd": descriptors(ffpfd.pid).total() - compilers_pipes(ffpfd.pid),
        "descriptors of the holder": descriptors(ffpfd.holder_pid).total(),
        "memory of ffpfd, KiB": resident_kib(ffpfd.pid),
        "memory of the holder, KiB": resident_kib(ffpfd.holder_pid),
    }


def assert_settles(ffpfd: Ffpfd, mine: set[int], baseline: dict[str, int]) -> None:
    now: dict[str, int] = {}

    def settled() -> bool:
        nonlocal now
        now = facts(ffpfd, mine)
        return all(now[what] <= baseline[what] + (MEMORY_KIB if "memory" in what else 0) for what in baseline)

    try:
        wait_until(settled, "what killed clients had to go", shared.PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: at first {baseline}, now {now}") from None
    print(now)
