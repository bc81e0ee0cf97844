# SPDX-License-Identifier: BSD-3-Clause
"""What joins and leaves: one class for programs that are started, one for Python that is forked; each is asked
whether it captures, told to end, and judged.

    starting --captures--> there --leave, kill--> ending --ended--> judged
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from compat_tests import harness
from compat_tests.harness import Run, Side
from compat_tests.netns import Netns
from compat_tests.shared import PATIENCE_S, Ffpfd, User
from compat_tests.soak.numbers import Counted, Numbers, Seen, Stay, findings, heads_of_savefile
from compat_tests.soak.traffic import Counts, Traffic
from pyffpf.cli.control import ControlError
from pyffpf.daemon.status import Status

ENGINE = "shared"


@dataclass(frozen=True)
class World:
    """What all tools are given."""

    ffpfd: Ffpfd
    traffic: Traffic
    takes_a_packet: bool = False  # out of what a tool has

    def status(self) -> Status:
        """Asked until there is an answer: a machine may be busy."""
        end = time.monotonic() + max(PATIENCE_S, float(os.environ.get("FFPF_TEST_PATIENCE", "0")))
        while True:
            try:
                return self.ffpfd.ask_status()
            except ControlError:
                if time.monotonic() > end:
                    raise

    @property
    def ns(self) -> Netns:
        return self.ffpfd.ns


class Tool:
    """One stay of one tool. `what` says what it is, with a number; `user` whose."""

    flows = True  # it has a flow of ffpfd while it captures

    def __init__(self, world: World, what: str, user: User) -> None:
        self.world = world
        self.what = what
        self.user = user
        self.before: Counts = world.traffic.at_least()
        self.ready: Counts | None = None
        self.leaving: Counts = {}
        self.rested = False
        self.killed = False
        self.stands_still = False
        self.excused = ""  # why it may end with an error: ffpfd was away when it came
        self.since = time.monotonic()

    @property
    def pid(self) -> int:
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        raise NotImplementedError

    def captures(self) -> bool:
        """Whether it says that it does."""
        raise NotImplementedError

    def look(self) -> None:
        """Notes when it began to capture."""
        if self.ready is None and self.captures():
            self.ready = self.world.traffic.at_most()

    def stand_still(self, still: bool) -> None:
        if not self.ended:
            os.kill(self.pid, signal.SIGSTOP if still else signal.SIGCONT)
        self.stands_still = still

    def leave(self, rested: bool) -> None:
        """Asks it to end. rested: nothing is sent, and it has read all there was."""
        self.stand_still(False)
        self.leaving = self.world.traffic.at_least()
        self.rested = rested and self.flows  # what others have still to read, ffpfd does not know
        self.ask_to_end()

    def kill(self) -> None:
        self.killed = True
        self.leaving = self.world.traffic.at_least()
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)

    def ask_to_end(self) -> None:
        raise NotImplementedError

    def stay(self) -> Stay:
        gone = self.world.traffic.at_most()
        return Stay(self.before, self.ready or gone, self.leaving or self.before, gone, self.rested)

    def judge(self) -> tuple[list[str], Counted, int]:
        """After its end: what is wrong; what it counted; how many packets it had."""
        raise NotImplementedError

    def discard(self) -> None:
        """Nothing is left of it."""
        raise NotImplementedError


class Command(Tool):
    """A program. `ready`: what it says when it captures."""

    ready_words: tuple[bytes, ...] = (b"listening on",)
    side: Side = harness.FFPF

    def __init__(
        self, world: World, what: str, user: User, argv: Sequence[str], env: dict[str, str] | None = None
    ) -> None:
        super().__init__(world, what, user)
        settings = {"FFPF_SOCKET": str(world.ffpfd.socket), "FFPF_ENGINE": ENGINE, **(env or {})}
        words = user.command(argv) if user.uid else argv  # root keeps what it may
        self.run = Run(world.ns.command(words), self.side, env=settings)

    @property
    def pid(self) -> int:
        return self.run.process.pid

    @property
    def ended(self) -> bool:
        return self.run.process.poll() is not None

    def captures(self) -> bool:
        said = self.run.so_far("stderr")
        return any(word in said for word in self.ready_words)

    def ask_to_end(self) -> None:
        self.run.signal(signal.SIGINT)

    def discard(self) -> None:
        self.run.discard()


class Writes(Command):
    """tcpdump, dumpcap: what it has is in the savefile `out`, what it counted in the line of FFPF_STATS."""

    engine = ENGINE

    def __init__(
        self,
        world: World,
        what: str,
        user: User,
        argv: Sequence[str],
        env: dict[str, str] | None = None,
        step: int = 1,
        rest: int = 0,
    ) -> None:
        super().__init__(world, what, user, argv, env)
        self.step, self.rest = step, rest

    def judge(self) -> tuple[list[str], Counted, int]:
        stay = self.stay()
        wrong, counted, seen = self.told()
        return [*wrong, *findings(seen, counted, stay)], counted, seen.count

    def told(self) -> tuple[list[str], Counted, Seen]:
        """What is wrong by itself; what it counted; what it has."""
        outcome = self.run.finish()
        seen, counted, wrong = Seen(self.step, self.rest), Counted(), []
        try:
            heads = heads_of_savefile(outcome.files.get("out", b""), whole=not self.killed)
            seen.take(np.delete(heads, len(heads) // 2, axis=0) if self.world.takes_a_packet and len(heads) else heads)
        except ValueError as error:
            wrong.append(str(error))
        if self.killed:
            return wrong, counted, seen
        if outcome.returncode != 0:
            wrong.append(f"ended with {outcome.returncode}: {outcome.stderr[-300:]!r}")
        lines = [line for line in outcome.stats if line.handles]
        if len(lines) != 1:
            wrong.append(f"{len(lines)} lines of counters: {outcome.stderr[-300:]!r}")
        for line in lines:
            counted = Counted(line.seen, line.delivered, line.dropped, causes(line.text))
            if not line.lawful or line.engine != self.engine:
                wrong.append(f"counters, or engine: {line.text}")
        return wrong, counted, seen


def causes(text: str) -> dict[str, int]:
    """Of a line of FFPF_STATS: what is in its brackets, without those that are 0."""
    within = re.search(r"\(([^)]*)\)", text)
    pairs = re.findall(r"(\w+)=(\d+)", within[1] if within else "")
    return {cause: int(packets) for cause, packets in pairs if int(packets)}


class CountingCommand(Command):
    """ffpf-flow: what its (packetcount) counted; in = out + filtered + dropped of each node."""

    side = harness.STOCK  # it has its own core

    def __init__(self, world: World, what: str, user: User, argv: Sequence[str], step: int, rest: int) -> None:
        super().__init__(world, what, user, argv)
        self.step, self.rest = step, rest

    def captures(self) -> bool:
        return any(graph.pid == self.pid and graph.state == "active" for graph in self.world.status().graphs)

    def judge(self) -> tuple[list[str], Counted, int]:
        from compat_tests.soak.flows import judge_document

        stay, outcome = self.stay(), self.run.finish()
        if self.killed:
            return [], Counted(), 0
        if outcome.returncode not in (0, 130):
            return [f"ended with {outcome.returncode}: {outcome.stderr[-500:]!r}"], Counted(), 0
        try:
            document = json.loads(outcome.stdout.splitlines()[-1])
        except (ValueError, IndexError) as error:
            return [f"{error}: {outcome.stdout[-300:]!r} {outcome.stderr[-300:]!r}"], Counted(), 0
        return judge_document(document["flows"][0]["nodes"], stay, self.step, self.rest)


class Forked(Tool):
    """Python: `work(say, ended)` in a process of the user's, in the namespace; what it returns (as JSON) is what
    `verdict` gets. say(): it captures. ended(): it is asked to end."""

    def __init__(
        self,
        world: World,
        what: str,
        user: User,
        work: Callable[[Callable[[], None], Callable[[Callable[[], None]], None]], dict[str, Any]],
        verdict: Callable[[dict[str, Any], Stay], tuple[list[str], Counted, int]],
    ) -> None:
        super().__init__(world, what, user)
        self._verdict = verdict
        self._said = b""
        self._code: int | None = None
        self._pipe, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                os.close(self._pipe)
                code = self._child(writing, work)
            finally:
                os._exit(code)
        os.close(writing)
        os.set_blocking(self._pipe, False)

    def _child(self, writing: int, work: Callable[..., dict[str, Any]]) -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with self.world.ns.entered(), os.fdopen(writing, "w") as pipe:
            user = self.user
            os.setgroups(user.groups)
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
            os.environ.update(FFPF_SOCKET=str(self.world.ffpfd.socket), FFPF_ENGINE=ENGINE)

            def say() -> None:
                pipe.write("ready\n")
                pipe.flush()

            def on_end(call: Callable[[], None]) -> None:
                signal.signal(signal.SIGTERM, lambda *_: call())

            try:
                told = {"result": work(say, on_end)}
            except BaseException:
                told = {"error": {"text": traceback.format_exc()}}
            pipe.write(json.dumps(told) + "\n")
            return 0 if "result" in told else 1

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def ended(self) -> bool:
        self._listen()
        if self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._pipe, 65536):
                self._said += piece

    def captures(self) -> bool:
        self._listen()
        return self._said.startswith(b"ready\n")

    def ask_to_end(self) -> None:
        if not self.ended:
            os.kill(self._pid, signal.SIGTERM)

    def judge(self) -> tuple[list[str], Counted, int]:
        stay = self.stay()
        self._listen()
        self.discard()
        if self.killed:
            return [], Counted(), 0
        lines = self._said.splitlines()
        told = json.loads(lines[-1]) if lines and lines[-1] != b"ready" else {"error": {"text": "it said nothing"}}
        if "error" in told:
            return [f"ended with {self._code}: {told['error']['text'][-1500:]}"], Counted(), 0
        return self._verdict(told["result"], stay)

    def discard(self) -> None:
        if self._pipe < 0:
            return
        if self._code is None and not self.ended:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._pipe)
        self._pipe = -1


def seen_as_json(seen: Seen) -> dict[str, Any]:
    return asdict(seen)


def seen_of_json(told: dict[str, Any]) -> Seen:
    streams = {int(stream): Numbers(**numbers) for stream, numbers in told["streams"].items()}
    return Seen(told["step"], told["rest"], streams, told["wrong"])


@dataclass
class Tally:
    """Of one kind of tool, over all of its stays."""

    joined: int = 0
    left: int = 0
    killed: int = 0
    excused: int = 0
    packets: int = 0
    dropped: int = 0
    findings: int = 0
    causes: dict[str, int] = field(default_factory=dict)  # of what was dropped, as far as the tool tells
