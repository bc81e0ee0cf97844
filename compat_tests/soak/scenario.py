# SPDX-License-Identifier: BSD-3-Clause
"""The soak itself: rounds of tools that join, stand still, leave and are killed while the rate changes; after each of
them nothing is sent until all is read, everything is compared, and what is left of the round is looked for.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from compat_tests import shared
from compat_tests.netns import wait_until
from compat_tests.shared import ANNA, BERT, Ffpfd
from compat_tests.soak import leaks
from compat_tests.soak.kinds import FOURTH, FRP, Kind, kinds, reader, writes
from compat_tests.soak.leaks import Watch
from compat_tests.soak.tools import Tally, Tool, World
from compat_tests.soak.traffic import FLAT_OUT, SIZE_MAX, SIZE_MIN, Traffic
from pyffpf.cli.control import Control, ControlError
from pyffpf.daemon.status import Status

AT_ONCE = 8  # tools that come and go
ROUNDS = 3  # at least: one that warms up, one for the baseline, one to compare
WHOLE = 3  # tools that are there for all of a round
STEP_S = (0.1, 1.2)  # between two things that happen
RATES = ((0, 1.0), (50, 2.0), (500, 3.0), (2000, 4.0), (6000, 2.0), (20000, 0.7), (FLAT_OUT, 0.4))  # with weights
EMPTY_EVERY = 5  # rounds: then the pillars leave, too, and the source is closed
SAMPLE_S = 3.0
CALM_S = 2.0  # until all that can be given back has been: before the baseline
NO_ANSWER = "ffpfd does not answer"  # what a client says after some seconds
OVERLOADED = 4.0 * (os.cpu_count() or 1)  # processes that want a processor


@dataclass
class Sample:
    """A point of the curves."""

    at_s: float
    life: int  # of ffpfd: how many came before it
    tools: int
    pps: int
    joined: int  # tools, until now
    descriptors: int
    memory_kib: int
    holder_descriptors: int
    holder_memory_kib: int
    load: float  # of the machine, in processes that want a processor, over a minute
    rest: bool  # after a round, with no tool but the pillars


@dataclass
class Result:
    seed: int
    findings: list[str] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    facts: list[tuple[float, str, dict[str, int]]] = field(default_factory=list)  # when, with what, which
    excuses: dict[str, int] = field(default_factory=dict)  # why tools failed where that was no fault of FFPF's
    kinds: list[dict[str, int]] = field(default_factory=list)  # of ffpfd's descriptors, beside `facts`
    rounds: int = 0
    restarts: int = 0
    stops: int = 0  # times that a tool stood still
    sent: int = 0
    load: tuple[float, float] = (0.0, 0.0)  # of the machine: in the mean, at most
    seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    """seconds: of rounds of round_s each. patience_s: until what is gone must be gone. fault: what is done wrong on
    purpose, to see that it is found: "descriptor", a connection to ffpfd that nobody closes; "packet", one of those
    that a tool has is taken out; empty for nothing."""

    seed: int
    seconds: float
    round_s: float
    patience_s: float = shared.PATIENCE_S
    fault: str = ""


class Soak:
    """say: shows progress, a line each."""

    def __init__(self, ffpfd: Ffpfd, traffic: Traffic, folder: Path, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.world = World(ffpfd, traffic, takes_a_packet=plan.fault == "packet")
        self.ffpfd, self.traffic = ffpfd, traffic
        self.chance = random.Random(plan.seed)
        self.kinds: list[Kind] = kinds(folder)
        self.turn = self.chance.sample(self.kinds, len(self.kinds))  # each kind comes once, before chance says which
        self.watch = Watch(ffpfd, folder)
        self.result = Result(plan.seed)
        self.say = say
        self.kept = contextlib.ExitStack()
        self.keeps = False
        self.begin = time.monotonic()
        self.tools: list[Tool] = []
        self.pillars: list[Tool] = []
        self.number = 0
        self.baselines: dict[str, dict[str, int]] = {}
        self.sampled = 0.0
        self.source_before: tuple[int, int] | None = None  # packets of the source, packets sent
        self.known: set[int] = set()  # processes there before any tool

    # ---- the whole

    def run(self) -> Result:
        there = leaks.processes()
        self.known = set(there) - leaks.descendants(there, self.ffpfd.pid) - {self.ffpfd.pid, self.ffpfd.holder_pid}
        try:
            while self.elapsed < self.plan.seconds or self.result.rounds < ROUNDS:
                self.round()
        except (AssertionError, OSError, ControlError, ValueError, subprocess.SubprocessError) as error:
            self.find("the soak", f"cannot go on: {type(error).__name__}: {error}")
        finally:
            for tool in (*self.tools, *self.pillars):
                tool.stand_still(False)
                tool.discard()
            self.kept.close()
        self.result.seconds = self.elapsed
        self.result.sent = sum(self.traffic.at_least().values())
        loads = [sample.load for sample in self.result.samples] or [0.0]
        self.result.load = (sum(loads) / len(loads), max(loads))
        return self.result

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begin

    def find(self, whose: str, what: str) -> None:
        self.result.findings.append(f"{self.elapsed:.1f} s, round {self.result.rounds}: {whose}: {what}")
        self.say("FINDING " + self.result.findings[-1])

    def round(self) -> None:
        self.traffic.still()
        if not self.pillars:
            self.raise_pillars()
        share = len(self.turn) // max(1, ROUNDS - self.result.rounds)  # each kind has come by the last of these
        for _ in range(max(WHOLE, share)):
            self.join(self.next_kind())
        self.wait_ready()
        end = time.monotonic() + self.plan.round_s
        while time.monotonic() < end:
            self.step()
            self.sample()
            time.sleep(self.chance.uniform(*STEP_S))
        if self.elapsed > self.plan.seconds / 2 and not self.result.restarts:
            self.restart()
        self.rest()
        self.result.rounds += 1
        if self.plan.fault == "descriptor" and "pillars" in self.baselines and not self.keeps:
            with self.ffpfd.ns.entered():
                self.kept.enter_context(Control(self.ffpfd.socket, "soak"))
            self.keeps = True

    # ---- what happens in a round

    def step(self) -> None:
        dice = self.chance.random()
        living = [tool for tool in self.tools if not tool.leaving]
        if dice < 0.35:
            rates, weights = zip(*RATES, strict=True)
            (pps,) = self.chance.choices(rates, weights)
            self.traffic.change(pps, self.chance.choice((SIZE_MIN, 100, 300, 700, SIZE_MAX)))
        elif dice < 0.7 and len(living) < AT_ONCE:
            self.join(self.next_kind())
        elif living:
            tool = self.chance.choice(living)
            if dice < 0.85 and tool.ready is not None:
                tool.leave(rested=False)
            elif 0.85 <= dice < 0.91:
                tool.kill()
            elif 0.91 <= dice < 0.96 and tool.user in (ANNA,) and tool.ready is not None:
                tool.stand_still(not tool.stands_still)
                self.result.stops += tool.stands_still
            elif dice > 0.985 and self.may_restart:
                self.restart()
        if self.traffic.pps >= 20000 and self.chance.random() < 0.5:
            self.traffic.change(500, 100)  # such rates last a second or two
        self.look()

    @property
    def may_restart(self) -> bool:
        """In the first and the last quarter: between them one ffpfd serves all."""
        return self.result.rounds > 0 and not 0.25 < self.elapsed / self.plan.seconds < 0.75

    def next_kind(self) -> Kind:
        if self.turn:
            return self.turn.pop()
        return self.chance.choices(self.kinds, [kind.weight for kind in self.kinds])[0]

    def join(self, kind: Kind) -> Tool:
        self.number += 1
        user = self.chance.choice(kind.users)
        tool = kind.make(self.world, f"{kind.name} {self.number}", user, self.chance)
        self.tools.append(tool)
        self.tally(tool).joined += 1
        return tool

    def tally(self, tool: Tool) -> Tally:
        return self.result.tallies.setdefault(tool.what.rsplit(" ", 1)[0], Tally())

    def look(self) -> None:
        """Who captures now; who has ended."""
        for tool in list(self.tools):
            tool.look()
            if tool.ended:
                self.tools.remove(tool)
                self.judge(tool)

    def judge(self, tool: Tool) -> None:
        tally = self.tally(tool)
        found, counted, packets = tool.judge()
        tally.killed += tool.killed
        tally.left += not tool.killed
        if found and not tool.excused and NO_ANSWER in found[0] and os.getloadavg()[0] > OVERLOADED:
            tool.excused = "ffpfd did not answer in time, and the machine was overloaded"
        if found and tool.excused:
            tally.excused += 1
            self.result.excuses[tool.excused] = self.result.excuses.get(tool.excused, 0) + 1
            return
        tally.packets += packets
        tally.dropped += counted.dropped or 0
        for cause, dropped in counted.causes.items():
            tally.causes[cause] = tally.causes.get(cause, 0) + dropped
        if found:
            tally.findings += 1
            self.find(f"{tool.what} of {tool.user.uid}", f"{'; '.join(found)}; {tool.stay()}")

    def restart(self) -> None:
        """Killed, or asked to leave its captures to the next."""
        self.look()
        for tool in self.tools:
            if tool.ready is None or tool.what.startswith("tcpdump of a replay"):
                tool.excused = "ffpfd was away"
        self.watch.sample()
        if self.chance.random() < 0.5:
            self.ffpfd.kill()
        else:
            assert self.ffpfd.process is not None
            self.ffpfd.process.send_signal(signal.SIGUSR1)
            self.ffpfd.process.wait(300)
        time.sleep(self.chance.random())
        self.ffpfd.start()
        self.result.restarts += 1

    # ---- between rounds

    def raise_pillars(self) -> None:
        """Three that stay over rounds: all packets; some, in a group that waits for nobody; a savefile of another user.
        They come and go while nothing is sent."""
        rows = (
            ("pillar, pyffpf.open", BERT, reader()),
            ("pillar, pyffpf.open, FRP", ANNA, reader(FOURTH, group=FRP)),
            ("pillar, tcpdump", BERT, writes(("udp[27] = 7", 256, 7))),
        )
        for name, user, make in rows:
            self.number += 1
            self.pillars.append(make(self.world, f"{name} {self.number}", user, self.chance))
            self.tally(self.pillars[-1]).joined += 1
        self.wait_ready()

    def wait_ready(self) -> None:
        def ready() -> bool:
            for tool in (*self.tools, *self.pillars):
                tool.look()
            return all(tool.ready is not None or tool.ended for tool in (*self.tools, *self.pillars))

        wait_until(ready, f"tools to capture: {[tool.what for tool in self.tools if not tool.ready]}", 60)

    def rest(self) -> None:
        sent = self.traffic.still()
        for tool in self.tools:
            tool.stand_still(False)
        try:
            self.wait_ready()
            wait_until(lambda: not any(flow.waiting for flow in self.world.status().flows), "all to be read", 60)
        except AssertionError as error:
            self.find("ffpfd", f"after the round not all is read: {error}")
        document = self.world.status()
        self.compare(document, sum(sent.values()))
        empty = self.result.rounds % EMPTY_EVERY == EMPTY_EVERY - 1 or (
            self.elapsed >= self.plan.seconds and self.result.rounds + 1 >= ROUNDS
        )
        self.all_leave(self.tools)
        self.settle("pillars")
        if empty:
            self.all_leave(self.pillars)
            self.source_before = None
            self.settle("nobody")
        self.sample(rest=True)

    def all_leave(self, tools: list[Tool]) -> None:
        for tool in tools:
            if not tool.leaving:
                tool.leave(rested=True)
        for tool in list(tools):
            try:
                wait_until(lambda tool=tool: tool.ended, f"{tool.what} to end", 60)
            except AssertionError as error:
                self.find(tool.what, str(error))
                tool.kill()
            tools.remove(tool)
            self.judge(tool)

    def compare(self, document: Status, sent: int) -> None:
        """The law of each flow and each group; the source against what was sent."""
        for flow in document.flows:
            try:
                shared.assert_lawful(flow)
            except AssertionError as error:
                self.find("status", str(error))
        for group in document.groups:
            closed = group.closed
            if closed.seen != closed.filtered + closed.delivered + closed.unread + sum(closed.dropped.values()):
                self.find("status", f"flows that were closed of group {group.gid} on {group.source}: {closed}")
        for source in document.sources:
            if source.name == self.ffpfd.ns.left:
                packets = source.packets + sum(source.dropped.values())
                before, self.source_before = self.source_before, (packets, sent)
                if before and packets - before[0] != sent - before[1]:
                    self.find("status", f"{sent - before[1]} were sent since {before}, and the source has {source}")

    def settle(self, left: str) -> None:
        """What there is with only so much left, against the first time (after a round for what is made once)."""
        now: dict[str, int] = {}
        known = self.known | self.traffic.pids | {tool.pid for tool in self.pillars}
        baseline = self.baselines.get(left)

        def back() -> bool:
            nonlocal now
            document = self.world.status()
            if {flow.pid for flow in document.flows} - {tool.pid for tool in self.pillars} or document.workers:
                return False
            now = self.watch.facts(known)
            return baseline is None or not leaks.grown(baseline, now)

        first = baseline is None and (self.result.rounds >= 1 or left == "nobody")
        if first:
            time.sleep(CALM_S)
        end = time.monotonic() + self.plan.patience_s
        while not back():
            if time.monotonic() > end:
                more = leaks.grown(baseline, now) if baseline and now else {}
                flows = [(flow.program, flow.pid) for flow in self.world.status().flows]
                self.find("leak", f"with {left} left: {more}, flows {flows}; {self.watch.words(known)}")
                break
            time.sleep(0.05)
        if now:
            if first:
                self.baselines[left] = now
            self.result.facts.append((self.elapsed, left, now))
            self.result.kinds.append(dict(leaks.descriptors(self.ffpfd.pid)))
            ffpfd = {name: now[name] for name in now if name.startswith("ffpfd")}
            joined = sum(tally.joined for tally in self.result.tallies.values())
            self.say(
                f"{self.elapsed:.0f} s, round {self.result.rounds}: {joined} joined, {self.result.restarts} restarts, "
                f"{sum(self.traffic.at_least().values())} packets, {len(self.result.findings)} findings; "
                f"with {left} left {ffpfd}"
            )

    def sample(self, rest: bool = False) -> None:
        if not rest and time.monotonic() < self.sampled + SAMPLE_S:
            return
        self.sampled = time.monotonic()
        self.watch.sample()
        ffpfd, holder = self.ffpfd.pid, self.ffpfd.holder_pid
        self.result.samples.append(
            Sample(
                round(self.elapsed, 1), self.result.restarts, len(self.tools), self.traffic.pps,
                sum(tally.joined for tally in self.result.tallies.values()),
                leaks.descriptors(ffpfd).total(), leaks.memory_kib(ffpfd),
                leaks.descriptors(holder).total(), leaks.memory_kib(holder),
                os.getloadavg()[0], rest,
            )
        )  # fmt: skip
