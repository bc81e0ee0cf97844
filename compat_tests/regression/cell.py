# SPDX-License-Identifier: BSD-3-Clause
"""One cell of the matrix: a group of captures, a rate and an engine, all tools at once, each beside itself on stock.

Both runs of a tool see the same packets at the same time, stamped once, in a namespace of the cell's own. So they must
leave the same octets behind: packets, their order, their times, and what the tool says of its statistics. At rates at
which stock loses packets that cannot be asked: then what both have seen must be the same, and nothing may lack beyond
what is said to be lost.
"""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from compat_tests import harness, live, shared
from compat_tests.harness import Outcome, Run
from compat_tests.netns import Netns, wait_until
from compat_tests.regression import decode, losses, measure
from compat_tests.regression.engines import ENGINES, Served
from compat_tests.regression.measure import UNKNOWN, Measured
from compat_tests.regression.tools import Tool
from compat_tests.regression.traffic import END, MTU, Group

END_S = shared.PATIENCE_S  # until tools have shown all they saw; until one that was asked to end has ended
PACES = (500, 100)  # packets/s; what every tool keeps up with, on stock, alone; on a machine that is very busy
CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
SAME, LOSSES, CRASHED, DIFFERENT, FAILED = VERDICTS = ("same", "losses", "crashed", "different", "failed")


@dataclass(frozen=True)
class Cell:
    """What is replayed, how fast (packets a second), and who serves FFPF's side."""

    group: Group
    pps: int
    engine: str

    def __str__(self) -> str:
        return f"{self.group.name} at {self.pps} packets/s, {self.engine}"


@dataclass(frozen=True)
class Verdict:
    """What became of one tool in one cell. detail: what differs, empty when nothing does; decoded: that packet.
    sent_pps: the rate as it became; None: nothing was sent."""

    cell: Cell
    tool: str
    verdict: str
    stock: Measured = UNKNOWN
    ffpf: Measured = UNKNOWN
    detail: str = ""
    decoded: str = ""
    repeat: str = ""
    sent_pps: int | None = None

    @property
    def good(self) -> bool:
        return self.verdict in (SAME, LOSSES, CRASHED)


@dataclass
class Trial:
    """A tool's pair of runs. left: the interface that stock captures on. failed: why nothing can be compared."""

    tool: Tool
    left: str
    pair: live.Pair
    outcomes: tuple[Outcome, ...] = ()
    failed: str = ""

    def attempt(self, step: Callable[[], None]) -> None:
        if not self.failed:
            try:
                step()
            except AssertionError as error:
                self.failed = str(error)

    def finish(self) -> None:
        self.outcomes = self.pair.finish(END_S)

    @property
    def waits(self) -> bool:
        """Whether FFPF's run has not ended."""
        return self.pair.runs[1].process.poll() is None

    def finish_late(self) -> None:
        """The same for one that waited for its last packet until another one came: it must have lost it."""
        self.finish()
        assert self.outcomes[1].total("dropped"), (
            "FFPF lost nothing, and handed over the last packet when the next came"
        )


def run_cell(cell: Cell, tools: Sequence[Tool]) -> Iterator[Verdict]:
    """Runs it; a verdict for each tool.

    A tool whose runs are not the same is run again, alone: where tools lose because all want the processors at once
    they do not then. If they are not the same again, as slowly as stock keeps up with.
    """
    for verdict in run_once(cell, tools):
        if verdict.verdict == SAME:
            yield verdict
        else:
            yield repeated(verdict, next(tool for tool in tools if tool.name == verdict.tool))


def repeated(first: Verdict, tool: Tool) -> Verdict:
    (again,) = run_once(first.cell, [tool])
    if again.verdict == SAME:
        return dataclasses.replace(again, detail=f"alone; beside the others {first.verdict}: {first.detail}")
    if again.verdict in (CRASHED, FAILED):  # whatever the pace, and waiting for what does not end takes minutes
        return again
    for pace in PACES:
        pps = min(pace, first.cell.pps // 4)
        (paced,) = run_once(dataclasses.replace(first.cell, pps=pps), [tool])
        if paced.verdict == SAME:
            break
    if paced.verdict == LOSSES:  # of what is left to compare nothing differs
        return dataclasses.replace(paced, cell=first.cell, detail=f"at {pps} packets/s, alone: {paced.detail}")
    if paced.verdict != SAME:
        said = f"at {pps} packets/s, alone: {paced.detail}"
        return dataclasses.replace(paced, cell=first.cell, verdict=DIFFERENT, detail=said)
    if again.verdict == LOSSES or (again.verdict == DIFFERENT and not tool.tells):
        return dataclasses.replace(again, verdict=LOSSES, detail=f"{again.detail}; the same at {pps} packets/s")
    return again


def run_once(cell: Cell, tools: Sequence[Tool]) -> Iterator[Verdict]:
    with Netns(MTU) as ns, live.kernel_stamps(), ENGINES[cell.engine].serve(ns) as served, ExitStack() as stack:
        trials = [
            Trial(tool, ns.left, live.start_pair(ns, tool.case, stack, served.env, served.device)) for tool in tools
        ]
        wait_all(trials, served)
        sent_pps = cell.group.replay(ns, cell.pps)
        live.settle_all([trial.pair for trial in trials], END_S)
        by_signal = [trial for trial in trials if trial.pair.case.stop is not None]
        by_end = [trial for trial in trials if trial.pair.case.stop is None]
        for trial in by_signal:
            trial.pair.stop()
        for trial in by_signal:
            trial.attempt(trial.finish)
        late = [trial for trial in by_end if trial.waits]
        end_again(ns, by_end)
        for trial in by_end:
            trial.attempt(trial.finish_late if trial in late else trial.finish)
        lost_before = served.lost()
    for trial in trials:
        if trial.failed:
            verdict = Verdict(cell, trial.tool.name, FAILED, detail=trial.failed)
        else:
            verdict = judged(cell, trial.tool, trial.outcomes, served, trial.left, lost_before)
        yield dataclasses.replace(verdict, sent_pps=sent_pps)


def end_again(ns: Netns, trials: Sequence[Trial]) -> None:
    """For those that have lost the frame that they end with; when nobody else captures any more."""
    end = time.monotonic() + END_S
    while time.monotonic() < end and any(run.process.poll() is None for trial in trials for run in trial.pair.runs):
        ns.send(ns.right, [END])
        time.sleep(live.LOOK_S)


def wait_all(trials: Sequence[Trial], served: Served) -> None:
    """Until every tool captures; those that say nothing are given some time from then on, to begin to read."""
    for trial in trials:
        trial.attempt(trial.pair.wait_ready)
    silent = [trial for trial in trials if not trial.pair.case.ready]
    for trial in silent:
        for run, captures in zip(trial.pair.runs, (live.has_packet_socket, served.captures), strict=True):
            trial.attempt(lambda run=run, captures=captures: wait_captures(run, captures))  # type: ignore[misc]
    if silent:
        time.sleep(4 * live.READY_S)


def wait_captures(run: Run, captures: Callable[[int], bool]) -> None:
    pid = run.process.pid
    wait_until(lambda: captures(pid) or run.process.poll() is not None, f"a capture of {run.outcome.repeat}", END_S)


def judged(
    cell: Cell, tool: Tool, outcomes: Sequence[Outcome], served: Served, left: str, lost_before: int = 0
) -> Verdict:
    """outcomes: on stock, which captured on the interface `left`, and on FFPF. lost_before: see Served.lost."""
    for outcome in outcomes:
        tool.prepared(outcome)
    stock, ffpf = outcomes
    if served.device:
        called(ffpf, served.device, left)
    sizes = (measure.measured(stock), measure.measured(ffpf))
    verdict = Verdict(cell, tool.name, SAME, *sizes, repeat=f"{stock.repeat}\n{ffpf.repeat}")
    if -stock.returncode in CRASHES:
        said = f"{signal.Signals(-stock.returncode).name} on stock, exit code {ffpf.returncode} on ffpf"
        return dataclasses.replace(verdict, verdict=CRASHED, detail=said)
    expect = dataclasses.replace(tool.case.expect, engine=served.kind)
    try:
        harness.assert_served(ffpf, expect)
    except AssertionError as error:
        said = f"{error}\nexit code {ffpf.returncode}: {ffpf.stderr[-500:].decode(errors='replace')}"
        return dataclasses.replace(verdict, verdict=FAILED, detail=said)
    found = harness.differences(stock, ffpf, expect.normalise)
    if not found:
        return verdict
    drops = losses.Said(losses.lost(stock), losses.lost(ffpf), lost_before)
    if drops.stock or drops.before:
        beside = losses.beside(stock, ffpf, drops)
        kind = DIFFERENT if beside else LOSSES
        return dataclasses.replace(verdict, verdict=kind, detail="\n".join([str(drops), *beside]))
    decoded = decode.first_difference(stock, ffpf, cell.group)
    return dataclasses.replace(verdict, verdict=DIFFERENT, detail="\n".join([str(drops), *found]), decoded=decoded)


def called(outcome: Outcome, device: str, name: str) -> None:
    """Puts another name of that length in the device's place wherever the tool has written it."""
    outcome.stdout, outcome.stderr, *contents = (
        content.replace(device.encode(), name.encode())
        for content in (outcome.stdout, outcome.stderr, *outcome.files.values())
    )
    outcome.files = dict(zip(outcome.files, contents, strict=True))
